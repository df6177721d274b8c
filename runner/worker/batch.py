"""The steps of a message to their outcomes: claimed some at a time, performed, and recorded together.

What is claimed and recorded together is about ``SLICE`` of work: no more is lost with a worker that is killed. A slow collector
is claimed and recorded alone; a hundred thousand that do next to nothing cost the ledger a few hundred round trips.
"""

import asyncio
import os
import random
import signal
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

from celery.utils.log import get_task_logger

from runner.language.ids import written
from runner.language.plan import Step
from runner.language.redact import redact_line
from runner.ledger.entries import Follows, Granted, Outcome, Postponed, Refused
from runner.ledger.run_record import NO_LIMIT, RunRecord
from runner.settings import Settings
from runner.system.crashpoints import Crashpoint, crashpoint
from runner.worker import endings
from runner.worker.attempt import Attempt
from runner.worker.call import in_loop
from runner.worker.callee import Callee, find_callee
from runner.worker.endings import Result
from runner.worker.leases import Held, renewed
from runner.worker.limits import BatchLimits
from runner.worker.perform import perform, perform_async
from runner.worker.process import is_child, own
from runner.worker.record import outcome_of, record

logger = get_task_logger(__name__)

SLICE = 0.1  # seconds of work that are claimed, and recorded, at once
MOST = 500  # steps that are
TRIED = 16  # steps of a collector with `max_concurrency` of which one is claimed, where others may execute the same
# Seconds until a step is claimed again of whose collector as many are executed as may be; and the messages for each of these
# seconds, as each costs some milliseconds.
FULL, FULL_PER = 1.0, 25
LOOK_EVERY = 1.0  # seconds between two looks whether collectors that are executed are still needed
PROMPT = 0.01  # seconds of work that are claimed at once of steps with limits: a start is counted when it is granted
SOON = 0.01  # seconds until a retry that are waited for where it is, as a message takes about as long
CONCURRENCY = 64  # of async collectors, if neither the workflow nor the index of tasks says


class Paces(dict[str, float]):
    """For each task, the seconds that a step of it has taken of late in this process: how many to claim at first."""


@dataclass(kw_only=True, slots=True)
class Batch:
    """Steps of one message that are executed in turn, or all of them together; a gather or a stage is a batch of one.

    Args:
        steps: in their order.
        follows: says what follows the message, of which they are the last.
        callees: what is called for the steps, by their task, their timeout and the tasks under `then`.
        waiting: for each step that this worker cannot execute now, when it may be, by this process's monotonic clock.
        held: the leases on the steps that are claimed.
        values: those of other steps that were read for these, by the step's id.
        limits: those that must allow their starts.
    """

    run: RunRecord
    steps: Sequence[Step]
    worker: str
    settings: Settings
    follows: Callable[[], Follows] | None = None
    callees: dict[tuple[str | float | None, ...], Callee] = field(default_factory=dict)
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    waiting: dict[str, float] = field(default_factory=dict)
    held: Held = field(init=False)
    values: dict[str, Any] = field(default_factory=dict)
    limits: BatchLimits = field(init=False)
    _full: bool = False

    def __post_init__(self) -> None:
        self.limits = BatchLimits(run=self.run)

    def execute(self) -> dict[str, float]:
        """Execute the steps that this worker can; return the seconds until each of the others is due."""
        first = self.steps[0]
        for step in self.steps:
            self.callee(step)
        callees = self.callees.values()
        in_threads = not all(callee.is_async for callee in callees)
        limit = first.max_concurrency or (1 if in_threads else CONCURRENCY)
        # Of a message with one step, its timeout is the message's hard limit (canvas.py); a task's own is not known there.
        timed = any(callee.may_end_its_process for callee in callees)
        ends = timed and (len(self.steps) > 1 or first.timeout is None or first.max_concurrency) and is_child()
        overdue = self._end_process if ends else None  # defence: OVERDUE
        leases = renewed(self.run, token=self.token, lease=self.settings.lease, overdue=overdue)
        with leases as self.held:
            if len(self.steps) > 1 and limit > 1:
                in_loop(self._together(min(limit, len(self.steps)), in_threads=in_threads))
            else:
                self._in_turn()
        now = time.monotonic()
        return {step_id: max(0.0, due - now) for step_id, due in self.waiting.items()}

    def callee(self, step: Step) -> Callee:
        key = step.task, step.timeout, *(each.task for each in step.then)
        found = self.callees.get(key)
        if found is None:
            found = self.callees[key] = find_callee(step, self.worker)
        return found

    def _in_turn(self) -> None:
        rest, by_id = deque(self.steps), {step.id: step for step in self.steps}
        name, paces = self.steps[0].task or "", own(Paces)
        # One that is claimed takes a slot of its collector, also while it waits for those before it in this batch.
        limited = self.steps[0].max_concurrency is not None
        slice_ = PROMPT if any(step.limits for step in self.steps) else SLICE
        size = TRIED if limited else _affordable(paces.get(name), slice_)
        while rest:
            some = [rest.popleft() for _ in range(min(size, len(rest)))]
            attempts, later = self._claim(some, alone=True, take=1 if limited else NO_LIMIT, ahead=True)
            rest.extendleft(reversed(later))
            if self._full and not attempts:
                self._wait_for_a_slot(rest)
                return
            began = time.monotonic()
            results: list[Outcome | Postponed] = []
            performed = 0
            slept = 0.0
            for attempt in attempts:
                slept += _sleep_until_start(attempt)
                after = time.monotonic() - began
                if after > 2 * SLICE:  # slower than those before: another worker may execute the others
                    break
                result = self._perform(attempt)
                performed += 1
                results += self._judged(attempt, result, after=after)
            if performed:
                paces[name] = max((time.monotonic() - began - slept) / performed, 1e-6)
            if not limited:
                size = min(_affordable(paces.get(name), slice_) if attempts else MOST, size * 8)
            unbegun = [attempt.step for attempt in attempts[performed:]]
            self._record(results, are_last=not (rest or unbegun))
            self._release(unbegun)
            rest.extendleft(reversed(unbegun))
            rest.extend(by_id[step_id] for step_id in self._due(wait=not rest))

    async def _together(self, limit: int, *, in_threads: bool) -> None:
        rest, by_id = deque(self.steps), {step.id: step for step in self.steps}
        running: dict[asyncio.Task[Result], Attempt] = {}
        threads = ThreadPoolExecutor(limit) if in_threads else None
        crowded = False  # what is left must be executed alone
        fan_out = self.run.plan.fan_out_of(self.steps[0])
        try:
            while rest or running:
                free = limit - len(running)
                if rest and free and not (crowded and running):
                    some = [rest.popleft() for _ in range(min(free, len(rest)))]
                    attempts, later = self._claim(some, alone=not running)
                    rest.extendleft(reversed(later))
                    crowded = bool(later) and not self._full
                    if self._full and not (attempts or running):
                        self._wait_for_a_slot(rest)
                        return
                    for attempt in attempts:
                        running[asyncio.ensure_future(self._performing(attempt, threads))] = attempt
                if running:
                    looks = [LOOK_EVERY] if fan_out.stop else []
                    if self.waiting and not rest and len(running) < limit:
                        looks.append(max(0.0, min(self.waiting.values()) - time.monotonic()))
                    done = await _first_done(running, min(looks, default=None))
                    results = [one for each in done for one in self._judged(running.pop(each), _result(each))]
                    self._record(results, are_last=not (rest or running))
                    if self.run.is_stopped(fan_out):
                        await _cancel(running)
                        return
                rest.extend(by_id[step_id] for step_id in self._due(wait=not rest and not running))
        finally:
            if threads:
                threads.shutdown(wait=False, cancel_futures=True)

    async def _performing(self, attempt: Attempt, threads: ThreadPoolExecutor | None) -> Result:
        if seconds := _until_start(attempt):
            await asyncio.sleep(seconds)
        if threads:
            return await asyncio.get_running_loop().run_in_executor(threads, self._perform, attempt)
        if refused := self.limits.refused.get(attempt.step.id):
            return refused
        return await perform_async(attempt, self.callee(attempt.step), self.held, self.settings)

    def _perform(self, attempt: Attempt) -> Result:
        if refused := self.limits.refused.get(attempt.step.id):
            return refused
        return perform(attempt, self.callee(attempt.step), self.held, self.settings)

    def _judged(self, attempt: Attempt, result: Result, *, after: float = 0.0) -> list[Outcome | Postponed]:
        """Return what is recorded of an attempt; nothing if its source has said to wait, and it waits for its limit."""
        if not attempt.step.limits:
            return [outcome_of(attempt, result, after=after)]
        judged = self.limits.hold_back(attempt, result, self.token)
        if isinstance(judged, float):
            self.waiting[attempt.step.id] = time.monotonic() + judged
            self.held.steps.discard(attempt.step.id)
            return []
        ended = outcome_of(attempt, judged, after=after)
        self.limits.note(attempt, judged, ended)
        return [ended]

    def _claim(
        self, steps: Sequence[Step], *, alone: bool, take: int = NO_LIMIT, ahead: bool = False
    ) -> tuple[list[Attempt], list[Step]]:
        """Return the attempts at the steps that are granted, and the steps to claim another time."""
        self._full = False
        steps, held = self.limits.split(steps)
        self.waiting |= held
        if not steps:
            return [], []
        crashpoint(Crashpoint.CLAIM_BEFORE)
        claims = self.run.claim(
            steps,
            token=self.token,
            worker=self.worker,
            lease=self.settings.lease,
            alone=alone,
            take=take,
            back=self._back(),
            limits=self.limits.asked(steps),
            ahead=ahead,
        )
        crashpoint(Crashpoint.CLAIM_AFTER)
        attempts, later = [], []
        for step, claim in zip(steps, claims, strict=True):
            if isinstance(claim, Granted):
                attempts.append(
                    Attempt(
                        run=self.run,
                        step=step,
                        claim=claim,
                        worker=self.worker,
                        values=self.values,
                    )
                )
            elif claim.why in {"busy", "limited"}:
                self.waiting[step.id] = due = time.monotonic() + claim.wait
                if claim.why == "limited":
                    self.limits.shut(step, due)
            elif claim.why in {"later", "full"}:
                later.append(step)
        self._full = any(isinstance(claim, Refused) and claim.why == "full" for claim in claims)
        first = redact_line(steps[0].id, self.run.plan)
        logger.info("run %s: claimed %d of %d steps from %s", self.run.id, len(attempts), len(steps), first)
        self.held.steps.update(attempt.step.id for attempt in attempts)
        return attempts, later

    def _record(self, results: list[Outcome | Postponed], *, are_last: bool) -> None:
        if not results:
            return
        follows = self.follows if are_last and not self.waiting else None  # defence: FOLLOWS
        again = record(self.run, results, follows)
        now = time.monotonic()  # not before: by the ledger's clock they wait since it was asked
        self.waiting |= {step_id: now + seconds for step_id, seconds in again.items()}
        self.held.steps.difference_update(result.step for result in results)
        self.limits.count()
        results.clear()

    def _wait_for_a_slot(self, steps: Iterable[Step]) -> None:
        """Have steps wait of whose collector as many are executed as may be; no slot of the pool waits with them.

        What executes some of them goes on with these when it has finished its own (execute.py).
        """
        due = time.monotonic() + self._back() * random.uniform(0.3, 1)  # noqa: S311 - so that they do not all come at once
        self.waiting |= {each.id: due for each in steps}

    def _back(self) -> float:
        """Return the seconds after which a step is claimed again of whose collector as many are executed as may be."""
        step = self.run.plan.by_id[written(self.steps[0].id)]
        return max(FULL, len(self.run.refs(step)) / FULL_PER) if step.max_concurrency else 0.0

    def _release(self, steps: Iterable[Step]) -> None:
        if ids := [step.id for step in steps]:
            self.run.release(ids, token=self.token)
            self.held.steps.difference_update(ids)

    def _due(self, *, wait: bool) -> Iterator[str]:
        """Yield the steps whose retry is due.

        Args:
            wait: there is nothing else to do: wait for those that are due within ``SOON``, all of them, as each alone would
                cost a round trip.
        """
        now = time.monotonic()
        if wait and (soon := [due for due in self.waiting.values() if due <= now + SOON]):
            time.sleep(max(0.0, max(soon) - now))
            now = time.monotonic()
        for step_id in [step_id for step_id, due in self.waiting.items() if due <= now]:
            del self.waiting[step_id]
            yield step_id

    def _end_process(self, step_id: str) -> None:
        """End this process, as at the hard limit of a message with one step: nothing interrupts the step, not even Python.

        What else the process had claimed counts as lost, and is executed again by another.
        """
        step = next(step for step in self.steps if step.id == step_id)
        failure = endings.past_the_hard_limit(self.callee(step).limits.soft)
        shown = redact_line(step_id, self.run.plan)
        try:
            for claim in self.run.abandon([step_id], worker=self.worker):
                attempt = Attempt(
                    run=self.run,
                    step=step,
                    claim=claim,
                    worker=self.worker,
                )
                record(self.run, [outcome_of(attempt, failure)])
        except Exception as error:
            if endings.is_away(error):
                raise  # it is recorded the next time that the leases are looked at
            logger.exception("%s: its timeout cannot be recorded", shown)
        logger.error("%s: %s", shown, failure.error.message)
        os.kill(os.getpid(), signal.SIGKILL)


def _affordable(seconds: float | None, slice_: float) -> int:
    """Return how many steps to claim at once, given the seconds that each takes; one if that is unknown.

    Args:
        slice_: seconds of work that they are.
    """
    return max(1, min(MOST, int(slice_ / seconds))) if seconds else 1


def _until_start(attempt: Attempt) -> float:
    """Return the seconds until the start that the limits of the step allow."""
    return max(0.0, attempt.began + attempt.claim.delay - time.monotonic()) if attempt.claim.delay else 0.0


def _sleep_until_start(attempt: Attempt) -> float:
    if seconds := _until_start(attempt):
        time.sleep(seconds)
    return seconds


async def _cancel(running: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel what is not needed any more, and let it clean up."""
    some = list(running)
    for each in some:
        each.cancel()
    if some:
        await asyncio.wait(some, timeout=1)


async def _first_done(
    running: Mapping["asyncio.Task[Any]", Attempt],
    seconds: float | None = None,
) -> set["asyncio.Task[Any]"]:
    """Return the first to end, and any that follow within 5 ms: one round trip records them. None may end in these seconds."""
    done: set[asyncio.Task[Any]] = set()
    try:
        done, left = await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if left and done:
            more, _ = await asyncio.wait(left, timeout=0.005)
            done |= more
    except asyncio.CancelledError:  # a step has cancelled all that runs in the loop, as some do that clean up
        cast("asyncio.Task[Any]", asyncio.current_task()).uncancel()
    return done


def _result(ended: "asyncio.Task[Result]") -> Result:
    """Return the result of an attempt; also of one that was not even begun, as when no thread can be started."""
    if ended.cancelled():
        return endings.exception(asyncio.CancelledError("another step cancelled it"))
    error = ended.exception()
    if error is None:
        return ended.result()
    if not isinstance(error, Exception):
        raise error  # this process is being ended
    return endings.exception(error)
