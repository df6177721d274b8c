"""What can go wrong, what to tell the user, and which exit code it ends with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in a file something stands.

    Args:
        file: as the user wrote it; ``<stdin>`` for standard input.
        line: 1-based; 0 when the fault is the file's and not a line's (no such file).
        column: 1-based, in characters.
        length: how many characters the caret underlines.
        text: the line itself, to be shown above the caret; empty if there is none to show.
    """

    file: str
    line: int = 0
    column: int = 0
    length: int = 1
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a file, at its place.

    Args:
        code: ``E001`` … as FAULTS lists them; stable, so that scripts may match it.
        message: what is wrong, in one line, already escaped and cut.
        hint: what to do about it; empty if the message says it.
    """

    code: str
    message: str
    place: Place
    hint: str = ""


class RunnerError(Exception):
    """Something went wrong."""

    exit_code = 70

    def __init__(self, message: str = "", hint: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])
        self.hint = hint


class InvalidWorkflow(RunnerError):
    """The workflow file is not valid."""

    exit_code = 3

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(f"{faults[0].place}: error[{faults[0].code}]: {faults[0].message}", faults[0].hint)
        self.faults = faults


class InvalidInputs(RunnerError):
    """The inputs given do not fit those that the workflow declares."""

    exit_code = 3


class MalformedRunId(RunnerError):
    """Not a run id: letters, digits, "-" and "_", at most 64, starting with a letter or a digit."""

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
