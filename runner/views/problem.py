"""An error to words for people: what is wrong, and what to do about it."""

from runner.errors import RunnerError
from runner.language.faults import InvalidWorkflow
from runner.text import printable
from runner.views.faults import describe_faults
from runner.views.layout import hint
from runner.views.screen import PLAIN, Screen


def problem(error: RunnerError, *, screen: Screen = PLAIN) -> str:
    """``error: …``, then ``hint: …`` if there is something to do; of an invalid workflow every fault at its place."""
    if isinstance(error, InvalidWorkflow):
        return describe_faults(error.faults, columns=screen.width)
    label = screen.paint("error:", "red", "bold")
    lines = [f"{label} {printable(line)}" for line in str(error).splitlines()]
    return "\n".join([*lines, *([hint(error.hint, screen)] if error.hint else [])])
