"""What went wrong to its message, its hint and its exit code; what may go wrong to how to fix it."""

from dataclasses import dataclass


class RunnerError(Exception):
    """Something went wrong."""

    exit_code = 70

    def __init__(self, message: str = "", hint: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong or unsafe, but stops no command, and how to fix it."""

    problem: str
    remedy: str


class MalformedRunId(RunnerError):
    """A text that cannot be the id of a run."""

    exit_code = 2


class InvalidSettings(RunnerError):
    """A setting has a value that it cannot have."""

    exit_code = 2


class BrokerUnavailable(RunnerError):
    """The broker cannot be reached."""

    exit_code = 4


class BrokerUnsafe(RunnerError):
    """The broker may not be used as it is."""

    exit_code = 4


class StateDirectoryUnusable(RunnerError):
    """The state directory cannot be used."""

    exit_code = 4


class UnknownRun(RunnerError):
    """No such run, or it has expired."""

    exit_code = 7


class StillRunning(RunnerError, TimeoutError):
    """A run has not ended within the time for which the caller wanted to wait; it continues."""

    exit_code = 5


class RunFailed(RunnerError):
    """A run has failed, or was cancelled, and has no result.

    Args:
        run_id: its id.
        status: ``failed`` or ``cancelled``.
        cause: why it ended so.
        step: the id of the step whose failure decided it; empty if none did.
        place: of that step in the YAML, ``news.yaml:7:5``.
        reason: the error of that step, ``ConnectionError: …``.
    """

    exit_code = 1

    def __init__(
        self,
        message: str = "",
        hint: str = "",
        *,
        run_id: str = "",
        status: str = "failed",
        cause: str = "",
        step: str = "",
        place: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(message, hint)
        self.run_id, self.status, self.cause = run_id, status, cause
        self.step, self.place, self.reason = step, place, reason
