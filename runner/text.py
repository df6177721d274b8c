"""Any value to text that a terminal may show: control characters escaped, cut to a width, in a readable unit."""

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, takewhile
from typing import Any, NoReturn

# What moves the cursor or starts an escape sequence (C0, DEL, C1), reverses a line, ends one, or cannot be encoded.
_BEYOND_C0 = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
# What passes for a space or for nothing. Not U+200C and U+200D: some scripts, and emoji, are joined with them.
_UNSEEN = r"\xa0\xad\u1680\u2000-\u200b\u202f\u205f-\u2064\u3000"
_UNSAFE = re.compile(rf"[\x00-\x1f{_BEYOND_C0}]")
_UNSAFE_IN_LINE = re.compile(rf"[\x00-\x1f{_BEYOND_C0}{_UNSEEN}]")
_UNSAFE_IN_JSON = re.compile(f"[{_BEYOND_C0}]")  # which escapes C0 itself, and knows its own line breaks


def printable(text: object) -> str:
    r"""Return one line without hidden characters: an escape sequence as ``\x1b[31m``, a newline as ``\n``, a no-break space as ``\xa0``."""
    return _UNSAFE_IN_LINE.sub(_escaped, str(text))


def block(text: str) -> str:
    """Return several lines that are safe to print; no-break spaces are kept, as prose may have them."""
    return safe("\n".join(line.expandtabs(4).rstrip() for line in text.rstrip("\n").split("\n")))


def safe(text: str) -> str:
    """Escape what moves the cursor in text that is laid out already; its line breaks and spaces are kept."""
    return "\n".join(_UNSAFE.sub(_escaped, line) for line in text.split("\n"))


def to_json(value: Any, indent: int | None = 2) -> str:
    """Return JSON that is safe both to print in a terminal and to read by a program.

    Args:
        value: to dump.
        indent: spaces a level; None for one line.
    """
    document = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def parse_json(text: str) -> Any:
    """Parse JSON as the standard defines it.

    Raises:
        ValueError: it is not JSON, or has one of the constants that Python reads as well: NaN, Infinity, -Infinity.
        RecursionError: it is nested too deeply.
    """
    return _JSON.decode(text)


def width(text: str) -> int:
    """Return the columns of a printable text: two for an ideograph and most emoji, none for a combining accent."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut(text: str, columns: int) -> str:
    """Return the text, or as much of its beginning as fits, and an ellipsis."""
    if width(text) <= columns:
        return text
    return beginning(text, columns - 1) + "…" if columns > 0 else ""


def cut_middle(text: str, columns: int) -> str:
    """Return the text, or its two ends around an ellipsis: names that begin alike often end differently."""
    if width(text) <= columns:
        return text
    tail = ending(text, columns // 2 - 1)
    return cut(text, columns - width(tail)) + tail


def beginning(text: str, columns: int) -> str:
    """Return as much of the beginning as fits, with the accents of its last letter."""
    fitting = takewhile(lambda total: total <= columns, accumulate(map(_columns, text)))
    return text[: sum(1 for _ in fitting)]


def ending(text: str, columns: int) -> str:
    """Return as much of the end as fits."""
    return beginning(text[::-1], columns)[::-1]


def wrap(line: str, columns: int) -> list[str]:
    """Wrap a printable text at its spaces; a word that is longer than a line is broken."""
    lines: list[str] = []
    for word in line.split():
        rest = word
        if lines and width(f"{lines[-1]} {rest}") <= columns:
            lines[-1] += f" {rest}"
            continue
        while width(rest) > columns:
            lines.append(beginning(rest, columns))
            rest = rest[len(lines[-1]) :]
        lines.append(rest)
    return lines


def pad(text: str, columns: int, fill: str = " ") -> str:
    """Return the text, filled up to a number of columns."""
    return text + fill * (columns - width(text))


def duration(seconds: float) -> str:
    """Format a duration as a workflow writes it, in at most two units: ``0.28s``, ``12.5s``, ``1m30s``, ``2h``, ``3d4h``."""
    if seconds < 0.995:
        return f"{max(seconds, 0):.2f}".rstrip("0").rstrip(".") + "s"
    if seconds < 59.95:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    units = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    at = next(at for at, (size, _) in enumerate(units) if whole >= size)
    (size, name), (next_size, next_name) = units[at : at + 2]
    rest = whole % size // next_size
    return f"{whole // size}{name}" + (f"{rest}{next_name}" if rest else "")


def count(number: int, noun: str) -> str:
    """Format a number with its noun: ``1 collector``, ``1,000 collectors``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def rate(each_second: float) -> str:
    """Format a rate: ``1,250/s``, ``2.5/s``; below one a second in minutes or hours, ``12/min``."""
    if each_second < 1:
        return f"{each_second * 60:.0f}/min" if each_second >= 1 / 60 else f"{each_second * 3600:.0f}/h"
    return f"{each_second:,.0f}/s" if each_second >= 10 else f"{each_second:.1f}".removesuffix(".0") + "/s"


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)  # one for all: a file may have a million lines


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _columns(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def echo(value: object) -> str:
    """Format a user's value for a message: a string in quotes, else JSON; escaped, and cut at 80 characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    shown = printable(text[:80])
    shown = f"{shown[:80]}…" if len(text) > 80 or len(shown) > 80 else shown
    return f'"{shown}"' if isinstance(value, str) else shown


def nearest(name: str, good: Iterable[str]) -> str:
    """Return the valid name that a misspelt one resembles most; empty if it resembles none."""
    return _nearest(name[:80], tuple(good))


@lru_cache(maxsize=1024)
def _nearest(name: str, good: tuple[str, ...]) -> str:
    lower = {each.lower(): each for each in good}
    return next((lower[each] for each in difflib.get_close_matches(name.lower(), lower, 1)), "")


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Join names with commas; those beyond the limit are an ellipsis."""
    return ", ".join(map(printable, names[:limit])) + (", …" if len(names) > limit else "") or "none"
