"""Facts that a task notes about its step, kept with the outcome and shown with it.

from runner import note

note(path=path, count=len(records))
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

LIMIT = 4096  # characters of JSON: a receipt, and no second value

_notes: ContextVar[dict[str, Any] | None] = ContextVar("notes", default=None)


def note(**facts: Any) -> None:
    """Keep facts with the step that is being executed; `show RUN --step ID` shows them. Outside of a run nothing happens.

    A name that is noted again has its last value. Of a step that is tried again, the notes of its last attempt are kept.

    Args:
        facts: anything JSON, 4,096 characters of it for all notes of a step.

    Raises:
        TypeError: a fact is not JSON.
        ValueError: the same, or the notes are too long.
    """
    notes = _notes.get()
    if notes is None:
        return
    text = json.dumps({**notes, **facts}, allow_nan=False)
    if len(text) > LIMIT:
        raise ValueError(f"the notes of a step are {len(text):,} characters of JSON, limit {LIMIT:,}")
    notes.update(json.loads(text))


@contextmanager
def kept() -> Iterator[dict[str, Any]]:
    """Give the facts that are noted in the block, and in what it calls and awaits."""
    notes: dict[str, Any] = {}
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)
