"""Rows, headers and hints to lines of text that fit a screen."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any, cast

from runner.ledger.entries import RunStatus
from runner.ledger.statuses import Status
from runner.text import cut, duration, printable, to_json, width
from runner.views.screen import Screen
from runner.views.signs import sign


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], screen: Screen) -> str:
    """Return a table whose columns are as wide as their cells, without empty columns; a line that is too long is cut.

    Args:
        rows: a status under STATUS is shown as its word, in its colour.
    """
    at = headings.index("STATUS") if "STATUS" in headings else None
    signs = [sign(cast("Status | RunStatus", row[at])) for row in rows] if at is not None else []
    lines = [headings, *rows]
    if at is not None:
        lines[1:] = [(*row[:at], each.word, *row[at + 1 :]) for row, each in zip(rows, signs, strict=True)]
    used = [column for column in range(len(headings)) if any(line[column] for line in lines[1:])]
    widths = {column: max(width(line[column]) for line in lines) for column in used}
    laid_out = []
    for line, style in zip_longest(lines, ["dim", *(each.style for each in signs)], fillvalue=""):
        shown, room = "", screen.width
        for column in used:
            cell = cut(line[column], max(room, 0))
            painted = screen.paint(cell, style) if style and (column == at or line is headings) else cell
            shown += painted + " " * (widths[column] + 2 - width(cell))
            room -= widths[column] + 2
        laid_out.append(shown.rstrip())
    return "\n".join(laid_out)


def header(fields: Mapping[str, str], screen: Screen) -> str:
    """Return a line for each field that has a value."""
    return "\n".join(f"{screen.paint(f'{name:<10}', 'dim')}{value}" for name, value in fields.items() if value)


def hint(words: str, screen: Screen) -> str:
    """Return a line that says what to do next."""
    return f"{screen.paint('hint:', 'cyan')} {printable(words)}"


def json_line(value: Any) -> str:
    """Return JSON on one line of at most 300 columns, for people."""
    return cut(to_json(value, indent=None), 300)


def one_line(words: str) -> str:
    """Return a text as one line of at most 300 columns: the cause of a run may name 1,000 collectors."""
    return cut(printable(words.strip()), 300)


def how_long(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def local_time(seconds: float | None) -> str:
    """Return a time in the time zone of this machine.

    Args:
        seconds: since the epoch.
    """
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %Z}"
