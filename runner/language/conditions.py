"""What is written under ``when`` to whether a step is executed."""

from collections.abc import Mapping
from typing import Any

from runner.language import expressions
from runner.language.faults import InvalidExpression
from runner.language.source import kind
from runner.text import echo

# As it is written: a boolean, or one expression.
Condition = bool | str


def holds(condition: Condition, names: Mapping[str, Any]) -> bool:
    """Return the value of a condition.

    Args:
        names: the values of ``inputs``, ``value`` ….

    Raises:
        InvalidExpression: it cannot be evaluated, or its value is no boolean: the text "false" is not false.

    >>> holds("${{ inputs.page > 2 }}", {"inputs": {"page": 3}})
    True
    """
    found = expressions.expand(condition, names)
    if isinstance(found, bool):
        return found
    raise InvalidExpression(
        f"{_written(condition)}: expected true or false, found {kind(found)}", "compare it: ${{ size(value) > 0 }}"
    )


def is_false(condition: Condition) -> str:
    """Return the words for a step that is skipped: ``${{ inputs.page > 2 }} is false``."""
    return f"{_written(condition)} is false"


def _written(condition: Condition) -> str:
    return echo(condition)[1:-1] if isinstance(condition, str) else "when"
