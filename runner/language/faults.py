"""What is wrong with a workflow file, its inputs or its items: each fault with its code and its place."""

from dataclasses import dataclass

from runner.errors import RunnerError

# Every code a fault of a workflow file may carry, and what it means. Stable: a code is never given another meaning.
CODES = {
    "E001": "the file is too large",
    "E002": "nested too deeply",
    "E003": "too many aliases, aliases that expand too far, or an alias inside its own anchor",
    "E004": "merge keys (<<) are not supported",
    "E005": "YAML tags are not allowed",
    "E006": "the same key twice in one mapping",
    "E007": "a value of the wrong type, or one that YAML reads as another type than it looks",
    "E010": "a tab used for indentation",
    "E011": "more than one document in a file",
    "E012": "nothing in the file",
    "E013": "the file is not a mapping",
    "E014": "not YAML",
    "E015": "not UTF-8 text, or a character that YAML does not allow",
    "E016": "too many YAML events",
    "E017": "a string that is too long",
    "E018": "a number that JSON cannot carry exactly",
    "E019": "a key that is not a string",
    "E020": "an unknown key",
    "E021": "a required key is missing",
    "E022": "two steps with one id",
    "E023": "an unknown task",
    "E024": "an expression names something that does not exist",
    "E025": "an expression does not parse, or is too long or too deep",
    "E026": "an expression where none is expanded",
    "E027": "a name under `with` that the task does not take",
    "E028": "a value outside what is allowed",
    "E029": "a secret input in a field that is shown",
    "E030": "a malformed name",
    "E031": "a value that the task requires is missing under `with`",
    "E032": "a workflow needs a collector",
    "E033": "too many inputs or steps",
    "E034": "a task that cannot take the value before it",
    "E035": "a name under `with` that the runner fills",
    "E036": "a module under `include` that cannot be read",
    "E037": "a pattern that is not a regular expression",
    "E038": "an expression that cannot be worked out with these inputs",
    "E039": "items of a `foreach` that cannot be read",
    "E040": "too many items, or one that is too large",
    "E041": "two items with one key, or a key that an id cannot have",
    "E042": "an expression in the braces of another language",
    "E043": "a limit that the file does not declare",
    "E100": "the file cannot be read",
}
# The codes of warnings about a valid file.
WARNINGS = {
    "W001": "a name under `on` or `not_on` of `retry` that nothing the task raises has",
    "W002": "a task that several modules define",
    "W003": "what a task asks of Celery and a step does not do: `rate_limit`, retries of its own, `self.replace`",
    "W004": "a `foreach` whose item is not used under `with`",
    "W005": "a limit that no step names",
}


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
    """One thing that is wrong with a file, at its place; or, with a code of `WARNINGS`, that is valid and has no effect.

    Args:
        code: one of `CODES` or `WARNINGS`; stable, so that scripts may match it.
        message: what is wrong, in one line, already escaped and cut.
        hint: what to do about it; empty if the message says it.
    """

    code: str
    message: str
    place: Place
    hint: str = ""


class InvalidWorkflow(RunnerError):
    """The workflow file is not valid."""

    exit_code = 3

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(f"{faults[0].place}: error[{faults[0].code}]: {faults[0].message}", faults[0].hint)
        self.faults = faults


class InvalidInputs(RunnerError):
    """The inputs given do not fit those that the workflow declares."""

    exit_code = 3


class InvalidInput(InvalidInputs, ValueError):
    """The value of one input does not fit its declaration."""


class InvalidExpression(RunnerError, ValueError):
    """An expression cannot be worked out."""

    exit_code = 3


class InvalidItems(RunnerError):
    """The items of a `foreach` cannot be used.

    Args:
        code: of the fault that this is in the workflow.
        loc: where under `foreach` the fault is.
    """

    exit_code = 3

    def __init__(self, message: str, code: str, loc: tuple[str | int, ...] = ("items",), hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code
        self.loc = loc
