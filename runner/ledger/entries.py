"""The entries of the ledger: a run, the outcomes of its steps, and its events."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

StepStatus = Literal["succeeded", "failed", "timed_out", "not_run", "cancelled", "late", "not_needed", "skipped"]
# The statuses of a step whose value counts: the fan-in gets it, and the next step is executed.
PASSING: frozenset[StepStatus] = frozenset({"succeeded"})
# `unreadable` is no state: the record of such a run is damaged, or of a newer version.
RunStatus = Literal["pending", "running", "succeeded", "partial", "failed", "cancelled", "unreadable"]
ENDED: frozenset[RunStatus] = frozenset({"succeeded", "partial", "failed", "cancelled"})
# The events of a run, then those of its steps.
EventName = Literal[
    "accepted",
    "resumed",
    "waiting",
    "ended",
    "settled",
    "begun",
    "limited",
    "started",
    "postponed",
    "finished",
    "answered",
]
Refusal = Literal["done", "busy", "cancelled", "not ready", "later", "full", "limited", "unknown"]
# The results of parking a step that no worker can execute.
Parked = Literal["parked", "expired", "ended"]


@dataclass(frozen=True, slots=True)
class Error:
    """Why an attempt failed.

    Args:
        type: the exception's class name.
        traceback: the frames of the user's task; empty where there is none.
    """

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a step ended.

    Args:
        value: of the task, as it may be shown; None unless it `passes`, and where values were not asked for.
        attempts: how often it was started.
        started_at: of the last attempt, seconds since the epoch by the broker's clock.
        finished_at: the same.
        worker: the worker that executed it; empty if none did.
        ref: a collector's name in its message (`Step.ref`), under which the ledger counts it. Empty for any other step.
        json: the value as it is stored (values.py), if it has been encoded already.
        notes: the facts that the task has noted (notes.py).
        handed_on: whether its value is the one before it: it was skipped, or has failed and is not required.
    """

    step: str
    status: StepStatus
    value: Any = None
    error: Error | None = None
    attempts: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    worker: str = ""
    ref: str = ""
    json: str = field(default="", compare=False)
    notes: Mapping[str, Any] = field(default_factory=dict)
    handed_on: bool = False

    @property
    def passes(self) -> bool:
        """Whether the step has a value, and the next one is executed."""
        return self.status in PASSING or self.handed_on

    @property
    def seconds(self) -> float | None:
        """How long the last attempt took."""
        if self.started_at is None or self.finished_at is None:
            return None
        return round(self.finished_at - self.started_at, 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Postponed:
    """A failed attempt that is tried again.

    Args:
        attempt: its number.
        seconds: until the next one.
        started_at: seconds since the epoch by the broker's clock.
        finished_at: the same.
        ref: a collector's name in its message.
    """

    step: str
    error: Error
    attempt: int
    seconds: float
    started_at: float = 0.0
    finished_at: float = 0.0
    worker: str = ""
    ref: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedAttempt:
    """An attempt that failed before the last one of its step.

    Args:
        attempt: its number.
        started_at: seconds since the epoch by the broker's clock.
        finished_at: the same.
        error: without its traceback.
    """

    attempt: int
    started_at: float
    finished_at: float
    worker: str
    error: Error


@dataclass(frozen=True, kw_only=True, slots=True)
class Underway:
    """A step that was started, or that a limit holds back, and that has no outcome.

    Args:
        status: whether it is being executed, waits for its next attempt, or for a limit.
        attempts: how often it was started.
        seconds: until its lease runs out, until the next attempt, or until the limit may allow its start; negative if that is due.
        error: why the last attempt failed, if it is retrying.
        limit: the one that holds it back.
        count: how many collectors of a ``foreach`` it stands for, if a limit holds them back.
    """

    status: Literal["running", "retrying", "limited"]
    attempts: int
    seconds: float
    worker: str = ""
    error: Error | None = None
    limit: str = ""
    count: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Granted:
    """A claim on a step: until its lease runs out, nobody else executes it.

    Args:
        attempt: counted from 1.
        started_at: now, seconds since the epoch by the broker's clock.
        first_started_at: when the first attempt was.
        lost: how many of the attempts ended with their worker, which says nothing about the step.
        delay: seconds from now to the start that its limits allow; a fraction of one.
        run_started_at: when the first step of the run was.
        before: for a stage, the value before it, as JSON, empty if that is missing; for the gather, how many
            collectors are absent, and how many outcomes the run has.
        handed: for a gather of few collectors, their values as JSON.
    """

    step: str
    attempt: int = 1
    started_at: float = 0.0
    first_started_at: float = 0.0
    lost: int = 0
    delay: float = 0.0
    run_started_at: float = 0.0
    before: str = ""
    handed: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(slots=True)
class Follows:
    """What follows the message of a step, for the ledger to do with its outcome: Celery itself takes a round trip for it.

    Args:
        chord: the id of the chord that the message returns to.
        message: its own id.
        commands: those that send the next message of its chain.
        done: whether the ledger has done it.
        last: whether the message was the last of the chord's header.
    """

    chord: str = ""
    message: str = ""
    commands: Sequence[Sequence[Any]] = ()
    done: bool = False
    last: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Why a claim of a step is refused.

    Args:
        why: ``done``; ``busy`` (leased or postponed); ``cancelled`` (the run has ended); ``not ready``; ``later`` (it, or the
            one before it, must be executed alone, or enough were granted); ``full`` (as many of its collector are executed as
            may be); ``limited`` (a limit does not allow it now); ``unknown`` (no such run).
        wait: seconds until the next claim may succeed, if the step is busy or limited.
    """

    step: str
    why: Refusal
    wait: float = 0.0


Claim = Granted | Refused


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run in the ledger. Times are seconds since the epoch by the broker's clock.

    Args:
        waits_for: why a step of it is not executed yet.
        stopped: the fan-outs that have ended early, by their ids.
        attempt: 1, and one more each time it was resumed.
        hooks: those of an ended run that have not ended, by their ids, in their order.
        unattended: says that no process continues the run, and how to; the ledger does not know it (session.py).
    """

    id: str
    workflow: str
    status: RunStatus
    hash: str
    submitted_at: float
    started_at: float | None = None
    finished_at: float | None = None
    cause: str = ""
    waits_for: str = ""
    inputs: Mapping[str, Any] | None = None
    resumed_at: float | None = None
    unattended: str = ""
    stopped: frozenset[str] = frozenset()
    attempt: int = 1
    hooks: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def seconds(self) -> float | None:
        """From when it was submitted or resumed to its end, the wait for a worker included; None before."""
        if self.finished_at is None:
            return None
        return round(self.finished_at - (self.resumed_at or self.submitted_at), 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """What has gone wrong in a run, as far as its ledger shows.

    Args:
        lost: refs and steps whose lease has expired.
        overdue: those whose next attempt should have been made by now.
        held: those that are executed, or wait for their next attempt.
        idle: refs whose collectors have not all ended, if nothing has happened for too long.
        silent: nothing has happened for the grace, or twice as long each time the run was sent again.
        collectors_left: how many have no outcome.
        left: seconds until the deadline of the collectors; infinity without one, and once all have an outcome.
        time_left: seconds until the timeout of the run; infinity without one, and before its first step.
        hook: of a run that has ended, the hook that is executed now.
    """

    lost: frozenset[str]
    overdue: frozenset[str]
    held: frozenset[str]
    idle: frozenset[str]
    silent: bool
    collectors_left: int
    left: float
    time_left: float = math.inf
    hook: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened in a run.

    Args:
        event: of the run, ``accepted``, ``resumed``, ``waiting``, ``ended``, and ``settled`` once its hooks have; of a step, ``limited`` while a
            limit does not allow its start, ``started``, ``postponed``, ``finished``, and ``answered`` if it does so after the deadline.
        status: of the step that has finished, or of the run that has ended.
        at: seconds since the epoch by the broker's clock.
        message: the error of a step that failed, the limit that holds it back and why, or the cause of a run's end.
        seconds: until the next attempt, if the step is postponed, or until the limit may allow it.
        count: how many collectors of a ``foreach`` it happened to; the step is then the one in the YAML.
        hooks: how many follow the end of the run.
    """

    id: str
    event: EventName
    at: float
    step: str = ""
    status: StepStatus | RunStatus | Literal[""] = ""
    attempt: int = 0
    worker: str = ""
    message: str = ""
    seconds: float = 0.0
    count: int = 1
    hooks: int = 0

    @property
    def is_last(self) -> bool:
        """Whether nothing follows it, unless the run is resumed."""
        return self.event == "settled" or (self.event == "ended" and not self.hooks)
