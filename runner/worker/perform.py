"""One attempt at a step to its result: every step of every kind is executed here."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from runner.errors import RunnerError
from runner.language.conditions import holds, is_false
from runner.language.faults import InvalidExpression
from runner.language.plan import HARD_LIMIT_AFTER, FanOut, Plan, arguments
from runner.language.tolerance import verdict
from runner.ledger.damage import MissingData
from runner.ledger.values import decode_value
from runner.settings import Settings
from runner.text import listed
from runner.worker import endings, fan_in, notes
from runner.worker.attempt import Attempt
from runner.worker.call import call, call_async
from runner.worker.callee import Callee, Limits
from runner.worker.endings import Ending, Failure, NotRun, Result, Skipped, Success, Unread
from runner.worker.executions import execution
from runner.worker.leases import Held


@dataclass(frozen=True, slots=True)
class _Call:
    """A function and what it is called with.

    Args:
        value_limit: bytes that its value may have as JSON; None of a value that the next call takes as it is.
        name: what a failure of it says first, of a call under ``then``.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    limits: Limits
    value_limit: int | None
    name: str = ""


def perform(attempt: Attempt, callee: Callee, held: Held, settings: Settings) -> Result:
    """Execute a step that has been claimed, and return what came of it; recording it is the caller's part.

    The order is that of `_prepare`: the gate, how often it was lost, the tasks, the arguments; then the call, and those
    under ``then``, until one fails. What a step may have later has its place in it: ``when`` and the cache after the
    arguments and before the call (either returns a result without one), ``expect`` after the calls, on their value.

    Raises:
        MissingData: the ledger lacks what the step is handed, and the run cannot go on.
    """
    with notes.kept() as facts:
        chain = _prepare(attempt, callee, settings)
        if not isinstance(chain, list):
            return chain
        began, value = time.monotonic(), None
        for each in chain:
            now = _handed_on(each, value, attempt, began) if each.name else each
            with _limited(held, attempt, now):
                try:
                    result = call(
                        now.function,
                        now.args,
                        now.kwargs,
                        timeout=now.limits.soft,  # defence: SOFT_LIMIT
                        value_limit=now.value_limit,
                        may_catch=now.limits.may_catch,
                    )
                except Unread as unread:
                    result = _unread(unread)
            if isinstance(result, Failure):
                return endings.noted(_named(result, each, attempt), facts)
            value = result.value
        return endings.noted(result, facts)


async def perform_async(attempt: Attempt, callee: Callee, held: Held, settings: Settings) -> Result:
    """Do the same in an event loop, with a collector whose task is a coroutine, beside others."""
    with notes.kept() as facts:
        chain = _prepare(attempt, callee, settings)
        if not isinstance(chain, list):
            return chain
        began, value = time.monotonic(), None
        for each in chain:
            now = _handed_on(each, value, attempt, began) if each.name else each
            with _limited(held, attempt, now):
                result = await call_async(
                    now.function, now.args, now.kwargs, timeout=now.limits.soft, value_limit=now.value_limit
                )
            if isinstance(result, Failure):
                return endings.noted(_named(result, each, attempt), facts)
            value = result.value
        return endings.noted(result, facts)


def _limited(held: Held, attempt: Attempt, now: _Call) -> AbstractContextManager[None]:
    return held.limited(attempt.step.id, now.limits.hard)


def _handed_on(call_: _Call, value: Any, attempt: Attempt, began: float) -> _Call:
    """Return a call under ``then`` with the value before it, in the time that is left of the step's timeout."""
    limits, timeout = call_.limits, attempt.step.timeout
    if timeout is not None:
        # What is left may be nothing: the call then times out at once, and says so.
        left = max(0.001, began + timeout - time.monotonic())
        limits = Limits(left, left + HARD_LIMIT_AFTER)
    return replace(call_, args=(value,), limits=limits)


def _named(failure: Failure, call_: _Call, attempt: Attempt) -> Failure:
    """Return the failure of a call, with the name of that call if it is under ``then``."""
    if not call_.name:
        return failure
    if failure.ending is Ending.TIMEOUT and attempt.step.timeout is not None:
        failure = endings.timed_out(attempt.step.timeout)
    return replace(failure, error=replace(failure.error, message=f"{call_.name}: {failure.error.message}"))


def open_gate(attempt: Attempt) -> list[str] | NotRun:
    """Return the collectors that a gather does without, or that it is not run because it cannot; nothing for other steps.

    Raises:
        MissingData: the ledger lacks what the step is handed.
    """
    run, handed = attempt.run, attempt.claim.before
    if attempt.step.kind in {"collector", "hook"}:
        return []
    if attempt.step.kind == "stage":
        attempt.value_before()
        return []
    count, outcomes = map(int, handed.split())
    fan_out = run.plan.fan_out_of(attempt.step)
    # All outcomes of the run are counted: those of the fan-outs so far, and of the steps that made the values before.
    # A fan-out that was skipped has none but its gather's.
    begun = [each for each in run.layout.fan_outs(run.plan) if each in _until(run.plan, fan_out)]
    expected = sum(map(run.layout.ends, begun)) + run.plan.tail.index(attempt.step)
    if outcomes < expected and not run.is_stopped(fan_out):
        lost = [step for ids in run.ids(fan_out.collectors) for step in run.lost(ids)]
        if lost:
            raise MissingData(run.id, f"the outcome of {listed(sorted(lost))} is missing")
    absent = run.absent(fan_out) if count else []
    decision = verdict(fan_out, run.layout, absent)
    return absent if decision.opens_gate else NotRun(decision.cause)


def decide(attempt: Attempt) -> Skipped | Failure | None:
    """Return that a stage or a hook is skipped, or that it cannot be told; None if it is executed.

    Of a fan-out its gather is asked before the fan-out begins, and a collector was asked when it was counted.
    """
    condition, run = attempt.step.when, attempt.run
    if condition is None:
        return None
    names = {"inputs": run.plan.inputs, "run": attempt.run_names, **attempt.named(condition)}
    try:
        return None if holds(condition, names) else Skipped(is_false(condition))
    except InvalidExpression as error:
        return endings.refused(error)


def _prepare(attempt: Attempt, callee: Callee, settings: Settings) -> list[_Call] | Result:
    """Return what is called, one after the other, or the result of a step that is not executed."""
    absent = open_gate(attempt)
    if isinstance(absent, NotRun):
        return absent
    decides = attempt.step.kind in {"stage", "hook"}
    if decides and (skipped := decide(attempt)):
        return skipped
    if absent or (decides and attempt.step.when is not None):
        attempt.run.started(attempt.step.id, attempt=attempt.claim.attempt, worker=attempt.worker)
    if lost := endings.lost_too_often(attempt.claim):
        return lost
    if isinstance(callee.task, RunnerError):
        return endings.refused(callee.task)
    for each in callee.then:
        if isinstance(each.task, RunnerError):
            return endings.refused(each.task)
    try:
        kwargs = arguments(attempt.run.plan, attempt.step, attempt.run_names, attempt.names())
        args = (_handed(attempt, callee.task, settings, absent, kwargs),) if _is_handed(attempt) else ()
        limit = None if callee.then else _value_limit(attempt, settings)
        first = _Call(execution(callee.function, attempt), args, kwargs, callee.limits, limit)
        return [first, *_thens(attempt, callee, settings)] if callee.then else [first]
    except RunnerError as error:
        return endings.refused(error)
    except Exception as error:
        if endings.is_away(error):
            raise
        return endings.exception(error)  # of this step alone: its arguments, its signature, or the values it is handed


def _thens(attempt: Attempt, callee: Callee, settings: Settings) -> list[_Call]:
    """Return the calls under ``then``, without the value that each is handed; their arguments are evaluated before any call."""
    step, last = attempt.step, len(callee.then)
    tasks = [each.task for each in step.then]
    return [
        _Call(
            execution(link.function, attempt, number),
            (),
            # With the names that an expression of the collector has: its item is theirs.
            arguments(attempt.run.plan, replace(step, arguments=then.arguments), attempt.run_names, attempt.names()),
            link.limits,
            _value_limit(attempt, settings) if number == last else None,
            f"then {then.task}" if tasks.count(then.task) == 1 else f"then {then.task} ({number} of {last})",
        )
        for number, (then, link) in enumerate(zip(step.then, callee.then, strict=True), start=1)
    ]


def _until(plan: Plan, fan_out: FanOut) -> tuple[FanOut, ...]:
    return plan.fan_outs[: plan.fan_outs.index(fan_out) + 1]


def _is_handed(attempt: Attempt) -> bool:
    """Whether a step gets a first argument: a gather, and a stage that another part precedes."""
    step = attempt.step
    return step.kind == "gather" or (step.kind == "stage" and attempt.run.plan.before(step) is not None)


def _handed(
    attempt: Attempt, task: Callable[..., Any], settings: Settings, absent: list[str], kwargs: dict[str, Any]
) -> Any:
    """Return the first argument of a gather or a stage; ``outcomes`` is added to the others if the gather asks for it."""
    run, claim = attempt.run, attempt.claim
    if attempt.step.kind == "stage":
        return attempt.value_before()
    streamed = fan_in.streams(task)
    limit = math.inf if streamed else settings.fan_in_limit
    fan_out = run.plan.fan_out_of(attempt.step)
    collected = run.collected(
        fan_out.collectors,
        absent=absent,
        limit=limit,
        read=decode_value,
        handed=claim.handed,
        stopped=run.is_stopped(fan_out),
    )
    value = fan_in.stream(collected) if streamed else list(collected)
    if fan_in.wants_outcomes(task):
        kwargs["outcomes"] = fan_in.outcomes(run, fan_out)
    return value


def _value_limit(attempt: Attempt, settings: Settings) -> int:
    """Return the limit of the step's value in bytes: a gather without a task returns all values."""
    return settings.value_limit if attempt.step.task else settings.fan_in_limit


def _unread(unread: Unread) -> Success | Failure:
    """Return the result of a gather whose stream broke off, if the run lacks a value; the ledger may only be away."""
    if isinstance(unread.__cause__, RunnerError):
        return endings.refused(unread.__cause__)
    raise unread
