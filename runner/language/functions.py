"""The functions that expressions have besides those of CEL: each a Python function of JSON values, and dates.

Their names and their arguments are those of CEL's extensions (https://github.com/google/cel-spec, ext: strings, math, lists)
where those have them; each may be called as a function, ``join(tags, ", ")``, and as a method, ``tags.join(", ")``.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from runner.text import echo, nearest

SIZE_LIMIT = 5 * 1024 * 1024  # characters that the functions of one expression may make together
# Those of `strftime` that are the same in every language.
_CODES = frozenset("YmdHMSfyjGVuwzZ%")
_CODE = re.compile(r"%(.?)", re.DOTALL)


class Misused(Exception):
    """A function is called with what it cannot take; the message says what it takes."""


def _most(name: str, choose: Callable[..., Any]) -> Callable[..., Any]:
    def most(*given: Any) -> Any:
        values = given[0] if len(given) == 1 and isinstance(given[0], list) else list(given)
        if not values:
            raise Misused(f"{name} of an empty list: ask size(…) > 0 first")
        if not (
            all(map(_is_number, values))
            or any(all(isinstance(each, kind) for each in values) for kind in (str, datetime))
        ):
            raise Misused(f"{name} takes numbers, or texts, or timestamps: {name}([1, 2])")
        return choose(values)

    return most


def _sum(*given: Any) -> Any:
    if len(given) != 1 or not isinstance(given[0], list) or not all(map(_is_number, given[0])):
        raise Misused("sum takes a list of numbers: sum([1, 2])")
    return sum(given[0])


def _join(*given: Any) -> str:
    values, separator = given if len(given) == 2 else (*given, "")
    if not isinstance(values, list) or not isinstance(separator, str):
        raise Misused('join takes a list and a text: tags.join(", ")')
    if not all(isinstance(each, str | int | float | None) for each in values):
        raise Misused("join takes a list of texts, numbers and booleans, and it has a list or a map")
    texts = [each if isinstance(each, str) else "" if each is None else json.dumps(each) for each in values]
    _check_size(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _split(*given: Any) -> list[str]:
    match given:
        case str(text), str(separator) if separator:
            parts = text.split(separator)
        case str(text), str(separator), int(limit) if separator and limit > 0:
            parts = text.split(separator, limit - 1)
        case _:
            raise Misused('split takes a text and what separates its parts: text.split(",")')
    _check_size(16 * len(parts))
    return parts


def _replace(*given: Any) -> str:
    match given:
        case str(text), str(old), str(new) if old:
            _check_size(len(text) + text.count(old) * len(new))
            return text.replace(old, new)
    raise Misused('replace takes three texts: text.replace("a", "b")')


def _substring(*given: Any) -> str:
    match given:
        case str(text), int(start) if 0 <= start <= len(text):
            return text[start:]
        case str(text), int(start), int(end) if 0 <= start <= end <= len(text):
            return text[start:end]
        case str(text), int(), *_:
            raise Misused(f"substring is called with places that a text of {len(text):,} characters does not have")
    raise Misused("substring takes a text, a first place and perhaps an end: text.substring(0, 3)")


def _of_text(name: str, change: Callable[[str], str]) -> Callable[..., str]:
    def changed(*given: Any) -> str:
        match given:
            case (str(text),):
                return change(text)
        raise Misused(f"{name} takes a text: text.{name}()")

    return changed


def _format(*given: Any) -> str:
    match given:
        case (str() | datetime() as date, str(pattern)):
            zone = "UTC"
        case (str() | datetime() as date, str(pattern), str(zone)):
            pass
        case _:
            raise Misused('format takes a date and a pattern: run.started_at.format("%Y-%m-%d")')
    for code in _CODE.findall(pattern):
        if code not in _CODES:
            codes = " ".join(f"%{each}" for each in sorted(_CODES))
            raise Misused(f"format knows no {echo(f'%{code}')}: it has {codes}, which are the same in every language")
    try:
        at = datetime.fromisoformat(date) if isinstance(date, str) else date
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(_zone(zone)).strftime(pattern)
    except (ValueError, OverflowError) as error:
        raise Misused(
            f"format takes a date as 2026-01-31 or 2026-01-31T10:20:30Z, and not {echo(str(date))}"
        ) from error


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = nearest(name, sorted(available_timezones()))
        hint = f"did you mean {near}?" if near else "such as Europe/Berlin"
        raise Misused(f"format knows no zone {echo(name)}: {hint}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_size(size: int) -> None:
    if size > SIZE_LIMIT:
        raise Misused(f"it would make {size:,} characters, limit {SIZE_LIMIT:,}")


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "max": _most("max", max),
    "min": _most("min", min),
    "sum": _sum,
    "join": _join,
    "split": _split,
    "replace": _replace,
    "substring": _substring,
    "lower": _of_text("lower", str.lower),
    "upper": _of_text("upper", str.upper),
    "trim": _of_text("trim", str.strip),
    "format": _format,
}


class Calls:
    """The functions for one evaluation of an expression.

    No exception is raised through CEL, which would write it to stderr and raise another in its own words: the first problem
    is kept.
    """

    def __init__(self) -> None:
        self.problems: list[Exception] = []
        self._made = 0

    def bound(self, name: str, function: Callable[..., Any], instead: Any = None) -> Callable[..., Any]:
        """Return a function that CEL may call.

        Args:
            instead: what it returns if it cannot; an error that follows from it is not reported.
        """

        def called(*given: Any) -> Any:
            try:
                made = function(*given)
                self._made += len(made) if isinstance(made, str | Sequence) else 1
                _check_size(self._made)
            except Exception as problem:  # noqa: BLE001 - a fault of ours as well is better than CEL's words for it
                self.problems.append(problem if isinstance(problem, Misused) else _named(name, problem))
                return instead
            return made

        return called


def _named(name: str, problem: Exception) -> Exception:
    return problem if type(problem).__module__.startswith("runner.") else Misused(f"{name}: {problem}")
