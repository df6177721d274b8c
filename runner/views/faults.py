"""Faults of a file to words for people: place, code, message, the line with a caret beneath it, and the hint."""

from collections.abc import Sequence
from typing import Any

from runner.language.faults import WARNINGS, Fault, Place
from runner.text import beginning, cut, ending, printable, width

_LINE_LIMIT = 128  # columns of the line that a fault shows


def describe_faults(faults: Sequence[Fault], limit: int = 20, columns: int = _LINE_LIMIT) -> str:
    """Describe faults for people, in the order of the file.

    Args:
        faults: in any order.
        limit: how many are described; the others are only counted.
        columns: of the screen; the line of the file is cut to them, so that the caret stays beneath the marked text.

    Returns:
        For each fault its place, code and message, the line with a caret beneath it, and the hint.
    """
    ordered = sorted(faults, key=lambda fault: (fault.place.line, fault.place.column, fault.code, fault.message))
    lines = [line for fault in ordered[:limit] for line in _describe(fault, columns)]
    if len(ordered) > limit:
        lines.append(f"… and {len(ordered) - limit} more")
    return "\n".join(lines)


def faults_document(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Faults for programs; line and column are 0 where a fault is the whole file's."""
    return [
        {"code": each.code, "message": each.message, "hint": each.hint}
        | {"file": each.place.file, "line": each.place.line, "column": each.place.column}
        for each in faults
    ]


def _describe(fault: Fault, columns: int) -> list[str]:
    place = fault.place
    word = "warning" if fault.code in WARNINGS else "error"
    lines = [f"{printable(str(place))}: {word}[{fault.code}]: {printable(fault.message)}"]
    if place.text:
        gutter = f"{place.line:>5}"
        before, marked, after = _window(place, min(columns, _LINE_LIMIT) - len(gutter) - len(" | "))
        lines.append(f"{gutter} | {before}{marked}{after}")
        lines.append(f"{' ' * len(gutter)} | {' ' * width(before)}{'^' * max(1, width(marked))}")
    if fault.hint:
        lines.append(f"hint: {printable(fault.hint)}")
    return lines


def _window(place: Place, columns: int) -> tuple[str, str, str]:
    """Return the line before, at and after the marked characters, escaped, and cut to one row of the terminal."""
    start = place.column - 1
    before = printable(place.text[:start])
    marked = printable(place.text[start : start + place.length])
    after = printable(place.text[start + place.length :])
    if width(marked) > columns // 2:
        head = beginning(marked, columns // 2)
        marked, after = head, marked[len(head) :] + after
    if width(before) + width(marked) > columns * 5 // 6:
        before = "…" + ending(before, columns // 3)
    return before, marked, cut(after, columns - width(before) - width(marked))
