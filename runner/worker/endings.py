"""Every way in which an execution of a step may end, and what follows for the step.

The code that calls, interrupts or loses a step says which ending it was; ``RULES`` says what follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

import redis
from celery.exceptions import Retry as RetryRequest
from kombu.exceptions import OperationalError

from runner.errors import RunnerError
from runner.ledger.damage import is_refused_for_now
from runner.ledger.entries import Error, Granted, StepStatus
from runner.ledger.exceptions import (
    attribute_of,
    class_name,
    error_of,
    is_final,
    message_of,
    names_of,
    retry_after,
    valid_text,
)

# defence: RECOVERIES
RECOVERIES = 3  # lost workers before a step is failed: a poison step must not kill every worker


class Ending(Enum):
    VALUE = "the task returned JSON"
    EXCEPTION = "the task raised, or what it returned is not JSON"
    EXIT = "the task raised what is no Exception: SystemExit, KeyboardInterrupt, GeneratorExit, CancelledError, its own"
    TIMEOUT = "it took longer than its timeout"
    DIED = "its process is gone: killed, crashed, ended by os._exit"
    REFUSED = "it was not called: no such task, or its arguments cannot be worked out"
    UNRECORDED = "the ledger refused its outcome"
    LOST = "its lease ran out: the worker is gone, or recorded nothing, once too often"
    STOPPED = "the worker is being stopped"
    AWAY = "the ledger or the broker cannot be reached, or refuses everything for now"
    CANCELLED = "the run has ended meanwhile"
    REVOKED = "somebody has revoked or terminated its message: Flower, or `celery control revoke`"


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows an ending.

    Args:
        status: recorded for the step once it is not executed again; None where nothing is recorded.
        again: when it is executed again: as its ``retry`` says; at least ``once``, whatever it says; ``never``; or
            ``free``: by the worker that gets the message, which is given back; no retry is used up.
    """

    status: StepStatus | None
    again: Literal["retry", "once", "never", "free"]


RULES: Mapping[Ending, Rule] = {
    Ending.VALUE: Rule("succeeded", "never"),
    Ending.EXCEPTION: Rule("failed", "retry"),
    Ending.EXIT: Rule("failed", "retry"),
    Ending.TIMEOUT: Rule("timed_out", "retry"),
    # A process may die of something else than its step: the kernel's memory killer, an operator.
    Ending.DIED: Rule("failed", "once"),  # defence: ONCE_MORE
    Ending.REFUSED: Rule("failed", "never"),
    Ending.UNRECORDED: Rule("failed", "never"),
    Ending.LOST: Rule("failed", "never"),
    Ending.STOPPED: Rule(None, "free"),
    Ending.AWAY: Rule(None, "free"),
    Ending.CANCELLED: Rule(None, "never"),
    Ending.REVOKED: Rule("cancelled", "never"),
}


@dataclass(frozen=True, slots=True)
class Success:
    """What a task returned.

    Args:
        value: anything JSON.
        json: the value as JSON.
        notes: the facts that the task has noted (notes.py).
    """

    value: Any
    json: str = field(default="", compare=False)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ending(self) -> Ending:
        return Ending.VALUE


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An attempt that gave no value.

    Args:
        names: what ``retry.on`` and ``not_on`` may call it: the class names of the exception, ``http_…``, and its own
            attribute ``names``.
        retryable: false if the task says that trying again cannot help.
        retry_after: seconds before which trying again cannot help, if the task says so.
        notes: what the task has noted of itself.
    """

    error: Error
    ending: Ending = Ending.EXCEPTION
    names: frozenset[str] = frozenset()
    retryable: bool = True
    retry_after: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotRun:
    """A gather that lacks too many collectors.

    Args:
        reason: why, for people.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A step whose ``when`` is false.

    Args:
        reason: that it is, for people.
    """

    reason: str


Result = Success | Failure | NotRun | Skipped


def noted(result: Success | Failure, notes: Mapping[str, Any]) -> Success | Failure:
    return replace(result, notes=dict(notes)) if notes else result


class Unread(BaseException):
    """The ledger could not be read while a gather read its stream: not the gather's fault, and not for it to catch."""


def exception(error: BaseException, *, retryable: bool = True) -> Failure:
    """Return the failure of a task that raised, whatever it raised."""
    if issubclass(type(error), RetryRequest):  # a task's own `self.retry(exc=…)`: the workflow's retry decides
        cause = attribute_of(error, "exc")
        error = cause if issubclass(type(cause), Exception) else error
    return Failure(
        error=error_of(error),
        ending=Ending.EXCEPTION if issubclass(type(error), Exception) else Ending.EXIT,
        names=names_of(error),
        retryable=retryable and not is_final(error),
        retry_after=retry_after(error),
    )


def timed_out(timeout: float | None, more: str = "") -> Failure:
    error = Error("StepTimedOut", f"took longer than {timeout or 0:g} s{more}")
    return Failure(error=error, ending=Ending.TIMEOUT, names=frozenset({"StepTimedOut", "TimeoutError", "timed_out"}))


def past_the_hard_limit(timeout: float | None) -> Failure:
    """Return the failure of an attempt that took longer than its timeout, and that nothing interrupted."""
    return timed_out(timeout, ", and its process had to be ended")


def process_died(error: BaseException) -> Failure:
    """Return the failure of a step whose process the pool found dead.

    Args:
        error: how it died, in the pool's words.
    """
    message = f"its process died: {message_of(error)}"
    return Failure(error=Error("ProcessDied", message), ending=Ending.DIED, names=frozenset({"ProcessDied"}))


def revoked(how: str) -> Failure:
    """Return the failure of a step whose message somebody has revoked.

    Args:
        how: Celery's word for it: revoked, terminated or expired.
    """
    return Failure(
        error=Error("Revoked", f"its message was {how}, by Flower or `celery control`"), ending=Ending.REVOKED
    )


def refused(error: RunnerError) -> Failure:
    return Failure(error=Error(class_name(error), message_of(error)), ending=Ending.REFUSED)


def unrecorded(error: BaseException) -> Failure:
    """Return what is recorded instead of an outcome that the ledger refuses, and would refuse again."""
    message = valid_text(f"its outcome could not be recorded: {class_name(error)}: {message_of(error)}")
    return Failure(error=Error("NotRecorded", message), ending=Ending.UNRECORDED)


def lost_too_often(claim: Granted) -> Failure | None:
    if claim.lost <= RECOVERIES:
        return None
    message = f"{claim.lost} workers were lost while they executed it, or could not record its outcome"
    return Failure(error=Error("WorkerLost", message), ending=Ending.LOST)


def is_away(error: BaseException) -> bool:
    """Whether the ledger or the broker may answer later.

    It will not where a script fails at its arguments: that is an outcome (``unrecorded``), or a fault of ours.
    """
    if isinstance(error, Unread):
        return error.__cause__ is None or is_away(error.__cause__)
    if isinstance(error, redis.ResponseError):
        return is_refused_for_now(error)
    return isinstance(error, redis.RedisError | OperationalError) and not isinstance(error, redis.DataError)
