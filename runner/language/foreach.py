"""A collector with ``foreach`` to its items, one after the other as they are written; none of a file is kept."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from runner.language import expressions
from runner.language.conditions import holds
from runner.language.expressions import ITEM_LIMIT
from runner.language.faults import Fault, InvalidExpression, InvalidItems, InvalidWorkflow
from runner.language.layout import Layout
from runner.language.plan import NO_NAMES, Foreach, Item, Plan, Step, change_steps
from runner.language.source import Source, found, is_json, kind
from runner.language.steps import WrittenStep, walk
from runner.system.home import at_home
from runner.text import count, cut_middle, echo, parse_json, printable

if TYPE_CHECKING:
    from runner.language.source import Loc

WHEN: Loc = ("when",)  # the place of a problem that is not below `foreach`
SIZE_LIMIT = 64 * 1024  # bytes of an item's JSON, or of its line
KEY_LIMIT = 200

_FIRST_END = re.compile(rb"\n|\r\n|\r(?=[^\n])")
_NEWLINE = re.compile(rb"(?<=\n)")
_ANY_END = re.compile(rb"(?<=\n)|(?<=\r)(?!\n)")

_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}

# An item with the number by which messages name it: in a file that of its line, elsewhere its index.
_Placed = Iterable[tuple[int, Any]]


def items(plan: Plan, step: Step, names: Mapping[str, Any] = NO_NAMES) -> Iterator[Item]:
    """Yield the items of a collector with ``foreach``, in order; a file is read only as far as needed.

    Args:
        names: what expressions may name besides ``inputs``: the ``value`` of the part before, of a later fan-out.

    Raises:
        InvalidExpression: the expression under ``items`` cannot be evaluated.
        InvalidItems: one cannot be used, or its file cannot be read.
    """
    foreach = step.foreach
    if foreach is None:
        return
    names = {"inputs": plan.inputs, **names}
    name, placed = _placed(foreach, names)
    for index, (place, value) in enumerate(placed):
        if not _is_wanted(step, names, value, index, _called(name, place)):
            continue
        key = str(index) if foreach.key is None else _key(foreach, names, value, index, _called(name, place))
        yield Item(value, key, index)


class Counted(NamedTuple):
    """The collectors that one of the file stands for.

    Args:
        executed: those that are not skipped.
        skipped: those whose ``when`` is false.
    """

    executed: int
    skipped: int = 0


def count_of(plan: Plan, step: Step, names: Mapping[str, Any] = NO_NAMES) -> Counted:
    """Return the number of items of a collector with ``foreach``; one without it is one, or skipped.

    Args:
        names: as `items` takes them.

    Raises:
        InvalidExpression: the expression under ``items`` or ``when`` cannot be evaluated.
        InvalidItems: there are too many, two have one key, or one cannot be used.
    """
    names = {"inputs": plan.inputs, **names}
    if step.foreach is not None:
        return _count(step, step.foreach, names)
    try:
        return Counted(1) if step.when is None or holds(step.when, names) else Counted(0, 1)
    except InvalidExpression as problem:
        raise InvalidItems(str(problem), "E038", WHEN, problem.hint) from problem


def names_value(step: Step) -> bool:
    """Whether the items of a collector, their keys, or which of them are skipped, depend on the value of the part before."""
    foreach = [step.foreach.items, step.foreach.key] if step.foreach else []
    return names_root([*foreach, step.when], "value")


def names_root(value: Any, root: str) -> bool:
    """Whether an expression in a JSON value refers to a name, or to a member of it."""
    return any(name.partition(".")[0] == root for name in expressions.references(value))


def count_items(plan: Plan, source: Source) -> Layout:
    """Return the number of items of every collector with ``foreach`` in a plan whose inputs are bound, and what is skipped.

    What depends on the ``value`` of the part before is known only once the run is there.

    Raises:
        InvalidWorkflow: there are too many, two have one key, or one cannot be used.
    """
    written = {each.id: each for each in walk(source.data)}
    faults: list[Fault] = []
    counted: dict[str, Counted] = {}
    for step in plan.collectors:
        if names_value(step):
            continue
        try:
            counted[step.id] = count_of(plan, step)
        except InvalidItems as problem:
            place = source.place(_loc(written[step.id], problem))
            faults.append(Fault(problem.code, str(problem), place, problem.hint))
        except InvalidExpression as problem:
            faults.append(Fault("E038", str(problem), source.place(_loc(written[step.id])), problem.hint))
    if faults:
        raise InvalidWorkflow(tuple(faults))
    return laid_out(plan.collectors, counted)


def laid_out(collectors: Iterable[Step], counted: Mapping[str, Counted]) -> Layout:
    """Return the layout that says how many collectors each stands for, and nothing of their messages."""
    return Layout(
        counts={step.id: counted[step.id].executed for step in collectors if step.foreach and step.id in counted},
        skipped={step_id: each.skipped for step_id, each in counted.items() if each.skipped},
    )


def check(plan: Plan, source: Source) -> None:
    """Report the faults of items that do not depend on the inputs.

    Raises:
        InvalidWorkflow: as `count_items`.
    """
    count_items(change_steps(plan, _without_unknown), source)


def _without_unknown(step: Step) -> Step:
    """Return the step without a ``foreach`` or ``when`` that depends on an input, or on a file that may not exist yet."""
    foreach = step.foreach
    if _is_unknown(step.when):
        step = replace(step, when=None)
    if foreach is None or isinstance(foreach.items, dict):
        return replace(step, foreach=None, when=None if foreach else step.when)
    return replace(step, foreach=None, when=None) if _is_unknown([foreach.items, foreach.key]) else step


def _is_unknown(written: Any) -> bool:
    return any(name.partition(".")[0] in {"inputs", "value"} for name in expressions.references(written))


def _loc(step: WrittenStep, problem: InvalidItems | None = None) -> Loc:
    """Return the place of a problem: the items may be written in the defaults, or without the key ``items``."""
    if problem and problem.loc == WHEN:
        return step.value("when")[1]
    written, loc = step.value("foreach")
    within = problem.loc if problem else ("items",)
    return (*loc, *(within if isinstance(written, dict) else within[1:]))


def _count(step: Step, foreach: Foreach, names: Mapping[str, Any]) -> Counted:
    name, placed = _placed(foreach, names)
    limit = foreach.max_items or ITEM_LIMIT
    count, skipped, places = 0, 0, dict[str, int]()
    for count, (place, value) in enumerate(placed, start=1):
        if count > limit:
            raise InvalidItems(f"over {limit:,} items, limit {limit:,}", "E040")
        if not _is_wanted(step, names, value, count - 1, _called(name, place)):
            skipped += 1
            continue
        if foreach.key is None:
            continue
        key = _key(foreach, names, value, count - 1, _called(name, place))
        first = places.setdefault(key, place)
        if first != place:
            message = f"duplicate key {echo(key)}: {_called(name, first)} has it, and {_called(name, place)}"
            raise InvalidItems(message, "E041", _key_loc(foreach, count - 1))
    return Counted(count - skipped, skipped)


def _is_wanted(step: Step, names: Mapping[str, Any], value: Any, index: int, called: str) -> bool:
    """Whether the collector of an item is executed."""
    if step.when is None or step.foreach is None:
        return True
    try:
        return holds(step.when, {**names, step.foreach.name: value, "item_index": index})
    except InvalidExpression as problem:
        raise InvalidItems(f"{called}: {problem}", "E038", WHEN, problem.hint) from problem


def _called(name: str, place: int) -> str:
    """Name an item: ``urls.txt:3`` if it is from a file."""
    return f"{name}:{place}" if name else f"item {place:,} (counted from 0)"


def _key(foreach: Foreach, names: Mapping[str, Any], value: Any, index: int, called: str) -> str:
    try:
        key = expressions.expand(foreach.key, {**names, foreach.name: value, "item_index": index})
    except InvalidExpression as problem:
        raise InvalidItems(f"{called}: {problem}", "E038", _key_loc(foreach, index), problem.hint) from problem
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    if isinstance(key, str) and 0 < len(key) <= KEY_LIMIT and key.isprintable():
        return key
    message = f"{called}: expected a key of 1 to {KEY_LIMIT} printable characters, or an integer, found {found(key)}"
    raise InvalidItems(message, "E041", _key_loc(foreach, index))


def _key_loc(foreach: Foreach, index: int) -> Loc:
    """Return the place of a wrong key: that of its item, if that is in the YAML."""
    return ("items", index) if isinstance(foreach.items, list) else ("key",)


def _placed(foreach: Foreach, names: Mapping[str, Any]) -> tuple[str, _Placed]:
    """Return the name of the file with the items, empty if there is none, and the items."""
    if isinstance(foreach.items, dict):
        path = expressions.expand(foreach.items["file"], names)
        if not isinstance(path, str):
            raise InvalidItems(f"expected the path of a file, found {found(path)}", "E007", ("items", "file"))
        format_ = foreach.items["format"] or _FORMATS.get(Path(path).suffix.lower(), "lines")
        return _shown(path), _READERS[format_](at_home(path))
    listed = expressions.expand(foreach.items, names)
    if not isinstance(listed, list):
        raise InvalidItems(f"expected a list of items, found {kind(listed)}", "E007")
    if len(listed) > ITEM_LIMIT:
        raise InvalidItems(f"{len(listed):,} items, limit {ITEM_LIMIT:,}", "E040")
    return "", _of_list(listed)


def _of_list(listed: list[Any]) -> _Placed:
    for index, value in enumerate(listed):
        _check_size(value, _called("", index), ("items", index))
        yield index, value


def _check_size(value: Any, called: str, loc: Loc) -> None:
    # A character takes at most six bytes of JSON, and a number 24: few values need encoding to be measured.
    if isinstance(value, int | float | None) or (isinstance(value, str) and len(value) < SIZE_LIMIT // 6):
        return
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > SIZE_LIMIT:
        raise InvalidItems(f"{called} has {size:,} bytes of JSON, limit {SIZE_LIMIT:,}", "E040", loc)


# Files. None is read as a whole, and no line that is too long.


def _of_lines(path: str) -> _Placed:
    for number, line in _lines(path):
        text = line.rstrip("\r\n")
        if text and not text.isspace():
            yield number, text


def _of_json_lines(path: str) -> _Placed:
    for number, line in _lines(path):
        if line.isspace():
            continue
        try:
            value = parse_json(line)
        except (ValueError, RecursionError) as error:
            raise InvalidItems(f"{_called(_shown(path), number)}: not JSON: {error}", "E039") from error
        if not is_json(value):
            message = "a number or a text that JSON cannot carry exactly"
            raise InvalidItems(f"{_called(_shown(path), number)}: {message}", "E039")
        yield number, value


def _of_csv(path: str) -> _Placed:
    name = _shown(path)
    rows = csv.reader((line for _, line in _lines(path)), strict=True)
    try:
        header = next(rows, [])
        if len(set(header)) != len(header):
            raise InvalidItems(f"{name}:1: two columns have one name", "E039")
        # A row of so few characters is within the limit (see _check_size).
        room = SIZE_LIMIT // 6 - sum(len(column) + 3 for column in header)
        for row in rows:
            if row and len(row) != len(header):  # an empty line is none
                message = f"{name}:{rows.line_num}: {count(len(row), 'cell')}, and the header has {len(header)}"
                raise InvalidItems(message, "E039")
            if row:
                value = dict(zip(header, row, strict=True))
                if sum(map(len, row)) > room:
                    _check_size(value, _called(name, rows.line_num), ("items",))
                yield rows.line_num, value
    except csv.Error as error:
        raise InvalidItems(f"{name}:{rows.line_num}: not CSV: {error}", "E039") from error


_READERS = {"lines": _of_lines, "jsonl": _of_json_lines, "csv": _of_csv}


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file, with their ends, and their numbers."""
    name = _shown(path)
    try:
        if Path(path).exists() and not Path(path).is_file():  # a pipe could be read once only, and may never end
            raise _unreadable(path, "not a regular file")
        with Path(path).open("rb") as file:
            for number, line in enumerate(_cut(file), start=1):
                if len(line) > SIZE_LIMIT + 2:
                    raise InvalidItems(f"{name}:{number}: a line of over {SIZE_LIMIT:,} bytes, the limit", "E040")
                # A byte order mark is no part of the text; spreadsheets write one.
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidItems(f"{name}:{number}: not UTF-8 text", "E039") from error
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        raise _unreadable(path, "no such file" if missing else str(error.strerror).lower()) from error
    except ValueError as error:
        raise _unreadable(path, "no such file: the path has a NUL character") from error


def _cut(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file with their ends: a newline, or what its first line ends in, a carriage return (old spreadsheets).

    A line that is too long is cut where that is certain.
    """
    rest, end = b"", None
    while chunk := file.read(SIZE_LIMIT + 3):
        rest += chunk
        if end is None and (first := _FIRST_END.search(rest)):
            end = _ANY_END if first[0] == b"\r" else _NEWLINE
        if end is not None:
            *lines, rest = end.split(rest)
            # The carriage return at the end of what has been read may be half of an end.
            if not rest and lines[-1:] and lines[-1].endswith(b"\r"):
                rest = lines.pop()
            yield from lines
        if len(rest) > SIZE_LIMIT + 2:
            yield rest
            rest = b""
    if rest:
        yield rest


def _unreadable(path: str, why: str) -> InvalidItems:
    hint = "" if Path(path).is_absolute() else f"it was looked for in {Path.cwd()}"
    return InvalidItems(f"{_shown(path)} cannot be read: {why}", "E039", ("items", "file"), hint)


def _shown(path: str) -> str:
    return cut_middle(printable(path), 80)
