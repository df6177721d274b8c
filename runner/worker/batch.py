"""The collectors of a message to their outcomes: claimed some at a time, called, and recorded together.

What is claimed and recorded together is about ``SLICE`` of work: of a worker that is killed no more is lost. A slow collector
is claimed and recorded alone; a hundred thousand that do next to nothing cost the ledger a few hundred round trips.
"""

import asyncio
import os
import signal
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, cast

from billiard.process import current_process
from celery.utils.log import get_task_logger

from runner.errors import RunnerError
from runner.language import plan as plans
from runner.language import redact as mask
from runner.language.plan import Plan, Step
from runner.ledger.entries import Follows, Outcome, Postponed
from runner.ledger.ledger import Ledger
from runner.settings import Settings
from runner.system.crashpoints import Crashpoint, crashpoint
from runner.worker import endings, leases, notes
from runner.worker.call import call, call_async, in_loop
from runner.worker.endings import Failure, Success
from runner.worker.executions import Limits, execution, limits
from runner.worker.record import Attempt, judged, record, settle
from runner.worker.step_task import StepTask, function_of, is_async

logger = get_task_logger(__name__)

SLICE = 0.1  # seconds of work that are claimed, and recorded, at once
MOST = 500  # steps that are
SOON = 0.01  # seconds until a retry that are waited for where it is, as a message takes about as long
CONCURRENCY = 64  # of async collectors, if neither the workflow nor the index of tasks says

# Seconds that a collector of a task has taken of late in this process: how many to claim at first.
_pace: dict[str, float] = {}


@dataclass(slots=True)
class Batch:
    """Collectors of one message that are executed in turn, or all of them together.

    Args:
        steps: in their order.
        tasks: for the task of each of them, what is called, or why there is nothing to call.
        follows: what follows the message, of which they are the last.
        waiting: for each that is not ours now, when it may be, by this process's monotonic clock.
    """

    ledger: Ledger
    plan: Plan
    run_id: str
    steps: Sequence[Step]
    tasks: Mapping[str, Callable[..., Any] | RunnerError]
    worker: str
    settings: Settings
    follows: Follows | None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    waiting: dict[str, float] = field(default_factory=dict)
    functions: dict[str, Callable[..., Any] | StepTask] = field(init=False)
    _limits: dict[tuple[str | None, float | None], Limits] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.functions = {name: function_of(task) if callable(task) else _nothing for name, task in self.tasks.items()}

    def task(self, step: Step) -> Callable[..., Any] | RunnerError:
        return self.tasks[step.task or ""]

    def function(self, step: Step) -> Callable[..., Any] | StepTask:
        return self.functions[step.task or ""]

    def limits(self, step: Step) -> Limits:
        key = step.task, step.timeout
        if key not in self._limits:
            self._limits[key] = limits(step, self.task(step))
        return self._limits[key]


def execute(batch: Batch) -> dict[str, float]:
    """Execute those of the steps that are ours to execute; answers the others that must wait, with the seconds."""
    first = batch.steps[0]
    in_threads = not all(callable(task) and is_async(task) for task in batch.tasks.values())
    limit = first.max_concurrency or (1 if in_threads else CONCURRENCY)
    # Of a message with one step, its timeout is the message's hard limit (canvas.py); a task's own is not known there.
    timed = any(batch.limits(step).hard for step in batch.steps)
    ends = timed and (len(batch.steps) > 1 or first.timeout is None) and is_child()
    overdue = partial(_overdue, batch) if ends else None  # defence: OVERDUE
    renewed = leases.renewed(batch.ledger, batch.run_id, token=batch.token, lease=batch.settings.lease, overdue=overdue)
    with renewed as held:
        if len(batch.steps) > 1 and limit > 1:
            in_loop(_together(batch, held, min(limit, len(batch.steps)), in_threads=in_threads))
        else:
            _in_turn(batch, held)
    now = time.monotonic()
    return {step_id: max(0.0, due - now) for step_id, due in batch.waiting.items()}


def _in_turn(batch: Batch, held: leases.Held) -> None:
    rest, by_id = deque(batch.steps), {step.id: step for step in batch.steps}
    name = batch.steps[0].task or ""
    size = _affordable(name)
    while rest:
        attempts, later = _claimed(batch, held, [rest.popleft() for _ in range(min(size, len(rest)))], alone=True)
        rest.extendleft(reversed(later))
        began = time.monotonic()
        results: list[Outcome | Postponed] = []
        for attempt in attempts:
            after = time.monotonic() - began
            if after > 2 * SLICE:  # slower than those before: the others are anyone's again
                break
            results.append(judged(attempt, _called(batch, held, attempt), after=after))
        if results:
            _pace[name] = max((time.monotonic() - began) / len(results), 1e-6)
        size = min(_affordable(name) if attempts else MOST, size * 8)
        unbegun = [attempt.step for attempt in attempts[len(results) :]]
        _record(batch, held, results, are_last=not (rest or unbegun))
        _give_back(batch, held, unbegun)
        rest.extendleft(reversed(unbegun))
        rest.extend(by_id[step_id] for step_id in _due(batch, wait=not rest))


def _affordable(task: str) -> int:
    return max(1, min(MOST, int(SLICE / _pace[task]))) if task in _pace else 1


async def _together(batch: Batch, held: leases.Held, limit: int, *, in_threads: bool) -> None:
    rest, by_id = deque(batch.steps), {step.id: step for step in batch.steps}
    running: dict[asyncio.Task[Success | Failure], Attempt] = {}
    threads = ThreadPoolExecutor(limit) if in_threads else None
    crowded = False  # what is left is to be executed alone
    try:
        while rest or running:
            free = limit - len(running)
            if rest and free and not (crowded and running):
                some = [rest.popleft() for _ in range(min(free, len(rest)))]
                attempts, later = _claimed(batch, held, some, alone=not running)
                rest.extendleft(reversed(later))
                crowded = bool(later)
                for attempt in attempts:
                    running[asyncio.ensure_future(_calling(batch, held, attempt, threads))] = attempt
            if running:
                done = await _some_done(running)
                results = [judged(running.pop(each), _result(each)) for each in done]
                _record(batch, held, results, are_last=not (rest or running))
            rest.extend(by_id[step_id] for step_id in _due(batch, wait=not rest and not running))
    finally:
        if threads:
            threads.shutdown(wait=False, cancel_futures=True)


async def _some_done(running: Mapping["asyncio.Task[Any]", Attempt]) -> set["asyncio.Task[Any]"]:
    """Those that have ended; with the first come those that end within some milliseconds of it: one round trip for them."""
    done: set[asyncio.Task[Any]] = set()
    try:
        done, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        if left:
            more, _ = await asyncio.wait(left, timeout=0.005)
            done |= more
    except asyncio.CancelledError:  # a step has cancelled all that runs in the loop, as some do that clean up
        cast("asyncio.Task[Any]", asyncio.current_task()).uncancel()
    return done


def _result(ended: "asyncio.Task[Success | Failure]") -> Success | Failure:
    """What came of an attempt; also where it was not even begun, as when no thread can be started."""
    if ended.cancelled():
        return endings.exception(asyncio.CancelledError("another step cancelled it"))
    error = ended.exception()
    if error is None:
        return ended.result()
    if not isinstance(error, Exception):
        raise error  # this process is being ended
    return endings.exception(error)


def _claimed(
    batch: Batch, held: leases.Held, steps: Sequence[Step], *, alone: bool
) -> tuple[list[Attempt], list[Step]]:
    """The attempts at those of the steps that are ours, and the steps that are to be claimed another time."""
    crashpoint(Crashpoint.CLAIM_BEFORE)
    claims = batch.ledger.claim(
        batch.run_id,
        steps,
        batch.plan,
        token=batch.token,
        worker=batch.worker,
        lease=batch.settings.lease,
        alone=alone,
    )
    crashpoint(Crashpoint.CLAIM_AFTER)
    attempts, later = [], []
    for step, claim in zip(steps, claims, strict=True):
        if claim.answer == "yours":
            attempts.append(Attempt(plan=batch.plan, run_id=batch.run_id, step=step, claim=claim, worker=batch.worker))
        elif claim.answer == "busy":
            batch.waiting[step.id] = time.monotonic() + claim.wait
        elif claim.answer == "later":
            later.append(step)
    logger.info(
        "run %s: %d of %d steps from %s: ours",
        batch.run_id,
        len(attempts),
        len(steps),
        mask.line(steps[0].id, batch.plan),
    )
    held.steps.update(attempt.step.id for attempt in attempts)
    return attempts, later


def _record(batch: Batch, held: leases.Held, results: list[Outcome | Postponed], *, are_last: bool) -> None:
    if not results:
        return
    follows = batch.follows if are_last and not batch.waiting else None
    again = record(batch.ledger, batch.plan, batch.run_id, results, follows)
    now = time.monotonic()  # not before: by the ledger's clock they wait since it was asked
    batch.waiting |= {step_id: now + seconds for step_id, seconds in again.items()}
    held.steps.difference_update(result.step for result in results)
    results.clear()


def _give_back(batch: Batch, held: leases.Held, steps: Sequence[Step]) -> None:
    if steps:
        ids = [step.id for step in steps]
        batch.ledger.give_back(batch.run_id, ids, token=batch.token)
        held.steps.difference_update(ids)


def _due(batch: Batch, *, wait: bool) -> Iterator[str]:
    """Those whose time has come; if there is nothing else to do, after the moment that it takes to come.

    Then the last of the moment is waited for: each alone would be as many round trips as there are.
    """
    now = time.monotonic()
    if wait and (soon := [due for due in batch.waiting.values() if due <= now + SOON]):
        time.sleep(max(0.0, max(soon) - now))
        now = time.monotonic()
    for step_id in [step_id for step_id, due in batch.waiting.items() if due <= now]:
        del batch.waiting[step_id]
        yield step_id


def _called(batch: Batch, held: leases.Held, attempt: Attempt) -> Success | Failure:
    arguments = _arguments(batch, attempt)
    if isinstance(arguments, Failure):
        return arguments
    function, limit = execution(batch.function(attempt.step), attempt), batch.settings.value_limit
    within = batch.limits(attempt.step)
    with limited(held, attempt.step, within), notes.kept() as noted:
        result = call(
            function,
            (),
            arguments,
            timeout=within.soft,  # defence: SOFT_LIMIT
            value_limit=limit,
            may_catch=within.may_catch,
        )
        return endings.noted(result, noted)


async def _calling(
    batch: Batch, held: leases.Held, attempt: Attempt, threads: ThreadPoolExecutor | None
) -> Success | Failure:
    if threads:
        return await asyncio.get_running_loop().run_in_executor(threads, _called, batch, held, attempt)
    arguments = _arguments(batch, attempt)
    if isinstance(arguments, Failure):
        return arguments
    function, limit = execution(batch.function(attempt.step), attempt), batch.settings.value_limit
    within = batch.limits(attempt.step)
    with limited(held, attempt.step, within), notes.kept() as noted:
        result = await call_async(function, arguments, timeout=within.soft, value_limit=limit)
        return endings.noted(result, noted)


def _arguments(batch: Batch, attempt: Attempt) -> dict[str, Any] | Failure:
    """What the task is called with, or why it is not."""
    task = batch.task(attempt.step)
    if isinstance(task, RunnerError):
        return endings.refused(task)
    if gone := endings.lost_too_often(attempt.claim):
        return gone
    try:
        return plans.arguments(batch.plan, attempt.step, names(attempt))
    except RunnerError as error:
        return endings.refused(error)
    except Exception as error:  # noqa: BLE001 - it is this step's, and no other's
        return endings.exception(error)


@contextmanager
def limited(held: leases.Held, step: Step, within: Limits) -> Iterator[None]:
    """Have what is executed in the block end with its process, if it lets nothing else end it."""
    if held.overdue is not None and within.hard is not None:
        held.limits[step.id] = time.monotonic() + within.hard
    try:
        yield
    finally:
        held.limits.pop(step.id, None)


def is_child() -> bool:
    """Whether this is a process of a pool, which another takes the place of when it ends."""
    return hasattr(current_process(), "index")


def _overdue(batch: Batch, step_id: str) -> None:
    step = next(step for step in batch.steps if step.id == step_id)
    end_the_process(batch.ledger, batch.plan, batch.run_id, step, within=batch.limits(step), worker=batch.worker)


def end_the_process(ledger: Ledger, plan: Plan, run_id: str, step: Step, *, within: Limits, worker: str) -> None:
    """A step lets nothing interrupt it, not even Python: its process ends, as at the hard limit of a message with one step.

    What else the process had claimed counts as lost, and is executed again by another.
    """
    failure = endings.past_the_hard_limit(within.soft)
    try:
        for claim in ledger.release(run_id, [step.id], worker=worker):
            settle(ledger, Attempt(plan=plan, run_id=run_id, step=step, claim=claim, worker=worker), failure)
    except Exception as error:
        if endings.is_away(error):
            raise  # it is recorded the next time that the leases are looked at
        logger.exception("%s: its timeout cannot be recorded", mask.line(step.id, plan))
    logger.error("%s: %s", mask.line(step.id, plan), failure.error.message)
    os.kill(os.getpid(), signal.SIGKILL)


def names(attempt: Attempt) -> Mapping[str, str]:
    """What ``run.*`` means in an expression of a step."""
    return {"id": attempt.run_id, "name": attempt.plan.name, "started_at": _as_text(attempt.claim.run_started_at)}


@lru_cache(maxsize=8)
def _as_text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _nothing() -> None:
    """What is called where there is no task: nobody does."""
