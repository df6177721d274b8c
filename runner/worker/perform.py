"""One attempt at a step to its result: every step of every kind is executed here."""

import math
from collections.abc import Callable
from typing import Any

from runner.errors import RunnerError
from runner.language.plan import arguments
from runner.language.tolerance import verdict
from runner.ledger.damage import MissingData
from runner.ledger.values import decode_value
from runner.settings import Settings
from runner.text import listed
from runner.worker import endings, fan_in, notes
from runner.worker.attempt import Attempt
from runner.worker.call import call, call_async
from runner.worker.callee import Callee
from runner.worker.endings import Failure, Result, Skip, Success, Unread
from runner.worker.executions import execution
from runner.worker.leases import Held

# A function and what it is called with.
Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def perform(attempt: Attempt, callee: Callee, held: Held, settings: Settings) -> Result:
    """Execute a step that has been claimed, and return what came of it; recording it is the caller's part.

    The order is that of `_prepare`: the gate, how often it was lost, the task, the arguments; then the call. What a step
    may have later has its place in it: ``when`` and the cache after the arguments and before the call (either returns a
    result without one), ``then`` and ``expect`` after the call, on its value.

    Raises:
        MissingData: the ledger lacks what the step is handed, and the run cannot go on.
    """
    with held.limited(attempt.step.id, callee.limits.hard), notes.kept() as facts:
        prepared = _prepare(attempt, callee, settings)
        if not isinstance(prepared, tuple):
            return prepared
        function, args, kwargs = prepared
        limits = callee.limits
        try:
            result = call(
                function,
                args,
                kwargs,
                timeout=limits.soft,  # defence: SOFT_LIMIT
                value_limit=_value_limit(attempt, settings),
                may_catch=limits.may_catch,
            )
        except Unread as unread:
            result = _unread(unread)
        return endings.noted(result, facts)


async def perform_async(attempt: Attempt, callee: Callee, held: Held, settings: Settings) -> Result:
    """Do the same in an event loop, for a collector whose task is a coroutine."""
    with held.limited(attempt.step.id, callee.limits.hard), notes.kept() as facts:
        prepared = _prepare(attempt, callee, settings)
        if not isinstance(prepared, tuple):
            return prepared
        function, _, kwargs = prepared
        limit = _value_limit(attempt, settings)
        return endings.noted(await call_async(function, kwargs, timeout=callee.limits.soft, value_limit=limit), facts)


def open_gate(attempt: Attempt) -> list[str] | Skip:
    """Return the collectors that a gather does without, or that it is skipped because it cannot; nothing for other steps.

    Raises:
        MissingData: the ledger lacks what the step is handed.
    """
    run, handed = attempt.run, attempt.claim.before
    if attempt.step.kind == "collector":
        return []
    if attempt.step.kind == "stage":
        if not handed:  # defence: MISSED_BEFORE
            before = run.plan.before(attempt.step)
            raise MissingData(run.id, f"the value of {before.id if before else attempt.step.id} is missing")
        return []
    count, outcomes = map(int, handed.split())
    fan_out = run.plan.fan_out_of(attempt.step)
    if outcomes < run.layout.total(fan_out):
        lost = [step for ids in run.ids(fan_out.collectors) for step in run.lost(ids)]
        raise MissingData(run.id, f"the outcome of {listed(sorted(lost))} is missing")
    absent = run.absent() if count else []
    decision = verdict(fan_out, run.layout, absent)
    return absent if decision.opens_gate else Skip(decision.cause)


def _prepare(attempt: Attempt, callee: Callee, settings: Settings) -> Call | Result:
    """Return the callee of a step, or its result if the step is not called."""
    absent = open_gate(attempt)
    if isinstance(absent, Skip):
        return absent
    if lost := endings.lost_too_often(attempt.claim):
        return lost
    if isinstance(callee.task, RunnerError):
        return endings.refused(callee.task)
    try:
        kwargs = arguments(attempt.run.plan, attempt.step, attempt.run_names)
        args = () if attempt.step.kind == "collector" else (_handed(attempt, callee.task, settings, absent, kwargs),)
    except RunnerError as error:
        return endings.refused(error)
    except Exception as error:
        if endings.is_away(error):
            raise
        return endings.exception(error)  # of this step alone: its arguments, its signature, or the values it is handed
    return execution(callee.function, attempt), args, kwargs


def _handed(
    attempt: Attempt, task: Callable[..., Any], settings: Settings, absent: list[str], kwargs: dict[str, Any]
) -> Any:
    """Return the first argument of a gather or a stage; ``outcomes`` is added to the others if the gather asks for it."""
    run, claim = attempt.run, attempt.claim
    if attempt.step.kind == "stage":
        return decode_value(claim.before)
    streamed = fan_in.streams(task)
    limit = math.inf if streamed else settings.fan_in_limit
    fan_out = run.plan.fan_out_of(attempt.step)
    collected = run.collected(fan_out.collectors, absent=absent, limit=limit, read=decode_value, handed=claim.handed)
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
