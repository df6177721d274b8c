"""A value to a file, written completely or not at all."""

import csv
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from celery import shared_task

from runner import note
from runner.collectors.keys import named
from runner.language.source import kind
from runner.ledger.values import text_of
from runner.system.home import at_home


class NotWritten(Exception):
    """A file that could not be written; what was there before still is."""


class NotWritable(NotWritten):
    """A value that a file of this kind cannot hold."""

    retryable = False  # the value will be the same the next time


@shared_task(name="write.json")
def to_json(value: Any, path: str, *, indent: int | None = 2, receipt: bool = False) -> Any:
    """Write any value to a JSON file, and hand it on.

    The file is written beside its place and moved there when it is complete. Directories are made as needed. The step's
    notes have the path and the count: of a list's items, and 1 of anything else.

    Args:
        value: the value.
        path: the file, relative to the worker's directory; a leading `~` is the worker's home directory.
        indent: spaces a level; null for one line.
        receipt: return `{path, count}`, and not the value.

    Raises:
        NotWritable: the path is that of something else than a file.
        NotWritten: the file cannot be written; naming the path and the cause.
    """
    with _replaced(path) as file:
        file.write(_dump(value, indent) + "\n")
    return _written(value, path, len(value) if isinstance(value, list) else 1, receipt=receipt)


@shared_task(name="write.jsonl")
def to_jsonl(records: list[Any], path: str, *, receipt: bool = False) -> Any:
    """Write a list to a JSON Lines file, an item a line, and hand it on.

    The file is written beside its place and moved there when it is complete. Directories are made as needed. The step's
    notes have the path and the count.

    Args:
        records: the list.
        path: the file, relative to the worker's directory; a leading `~` is the worker's home directory.
        receipt: return `{path, count}`, and not the list.

    Raises:
        NotWritable: the value is not a list, or the path is that of something else than a file.
        NotWritten: the file cannot be written; naming the path and the cause.
    """
    _require_list(records, "write.jsonl takes a list", path)
    with _replaced(path) as file:
        file.writelines(_dump(record) + "\n" for record in records)
    return _written(records, path, len(records), receipt=receipt)


@shared_task(name="write.csv")
def to_csv(records: list[dict[str, Any]], path: str, *, columns: list[str] | None = None, receipt: bool = False) -> Any:
    """Write records to a CSV file with a header, and hand them on.

    The file is written beside its place and moved there when it is complete. Directories are made as needed. The step's
    notes have the path and the count.

    Args:
        records: objects. Null is an empty cell; lists, objects and booleans are written as JSON.
        path: the file, relative to the worker's directory; a leading `~` is the worker's home directory.
        columns: the keys to write; by default all, in the order in which they first appear. A column that no record has
            is a failure, unless it is written with a `?`.
        receipt: return `{path, count}`, and not the records.

    Raises:
        NotWritable: a record is not an object, none has one of the columns, or the path is that of something else than a
            file.
        NotWritten: the file cannot be written; naming the path and the cause.
    """
    _require_list(records, "write.csv takes a list of objects", path)
    for number, record in enumerate(records, start=1):
        _require_object(record, f"record {number} of {len(records)}", path)
    there = dict.fromkeys(key for record in records for key in record)
    found = [named(column, there) for column in columns or []]
    for column, optional in found:
        if records and not optional and column not in there:
            message = (
                f'cannot write {path}: no record has "{column}" (columns); they have {", ".join(list(there)[:20])}'
            )
            raise NotWritable(f'{message}. Write "{column}?" if all may lack it')
    columns = [column for column, _ in found] if columns else list(there)
    with _replaced(path) as file:
        rows = csv.writer(_Lines(file), lineterminator="\r\n")
        rows.writerow(columns)
        rows.writerows([_cell(record.get(column)) for column in columns] for record in records)
    return _written(records, path, len(records), receipt=receipt)


def _written(value: Any, path: str, count: int, *, receipt: bool) -> Any:
    place = at_home(path)  # another program opens it: no `~` is expanded there
    note(path=place, count=count)
    return {"path": place, "count": count} if receipt else value


def _require_list(value: object, wanted: str, path: str) -> None:
    if not isinstance(value, list):
        raise NotWritable(f"cannot write {path}: {wanted}, and the value is {kind(value)}")


def _require_object(record: object, called: str, path: str) -> None:
    if not isinstance(record, dict):
        raise NotWritable(f"cannot write {path}: {called} is {kind(record)}, not an object")


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict | bool):
        return _dump(value)
    return value if value is None or isinstance(value, str | int | float) else text_of(value)


class _Lines:
    """A file for a CSV writer that ends rows with CR LF; the file gets LF only.

    A writer quotes the characters of its own line end only: one whose rows end with LF leaves a CR within a cell as it is
    (until Python 3.13), and every reader takes that for the end of the row.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")


def _dump(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=text_of)


@contextmanager
def _replaced(path: str) -> Iterator[TextIO]:
    """Yield a file to write to, which replaces the one at `path` if the block does not raise.

    A process that is killed meanwhile leaves a hidden `.….tmp` beside it, and never a part of a file under its name.
    """
    if path.startswith("~") and "/" in path and at_home(path) == path:
        raise NotWritable(
            f"cannot write {path}: there is no user {path[1:].partition('/')[0]}; write ./{path} if the directory is called so"
        )
    try:
        target = Path(at_home(path)).resolve()  # so that a symbolic link stays one
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            raise NotWritable(f"cannot write {path}: it exists and is not a regular file")
        temporary = target.parent / f".{secrets.token_hex(8)}.tmp"  # defence: BESIDE
        try:
            # A lone surrogate has no UTF-8; with a backslash it is at least JSON again.
            # defence: NEW_FILE
            with temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o777)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(target.parent)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise NotWritten(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def _sync(directory: Path) -> None:
    """Sync the directory, so that the new name survives a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
