"""An error to words for people: the message and the hint."""

from runner.errors import RunnerError
from runner.language.faults import InvalidWorkflow
from runner.text import printable
from runner.views.faults import describe_faults
from runner.views.layout import hint
from runner.views.screen import PLAIN, Screen


def problem(error: RunnerError, *, screen: Screen = PLAIN) -> str:
    """Return ``error: …``, and ``hint: …`` if there is one; for an invalid workflow, every fault at its place."""
    if isinstance(error, InvalidWorkflow):
        return describe_faults(error.faults, columns=screen.width)
    label = screen.paint("error:", "red", "bold")
    lines = [f"{label} {printable(line)}" for line in str(error).splitlines()]
    return "\n".join([*lines, *([hint(error.hint, screen)] if error.hint else [])])
