"""Patterns of file names to what the files say."""

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NoReturn

import yaml
from celery import shared_task

Format = Literal["text", "json", "jsonl", "csv", "yaml"]
Patterns = str | list[str]

_FORMATS: dict[str, Format] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".yaml": "yaml",
    ".yml": "yaml",
}

_MAX_YAML_VALUES = 1_000_000  # aliases can make many of a few bytes, and so can merge keys
_MAX_LINE_SHOWN = 1000  # characters: a minified file is one line


class FilesFailure(Exception):
    """Files that cannot be found or read, or hold more than asked for.

    Args:
        message: what is wrong, naming the file or the argument.
        retryable: false where nothing but another argument helps.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


@shared_task(name="files.read")
def read(
    paths: Patterns,
    *,
    root: str = ".",
    exclude: Patterns = "",
    hidden: bool = False,
    format: Format | None = None,  # noqa: A002 - the word a user of the YAML expects
    encoding: str = "utf-8",
    labels: dict[str, Any] | None = None,
    max_files: int = 1000,
    max_bytes: int = 5 * 1024 * 1024,
) -> list[Any]:
    """Read files: text, JSON, JSON Lines, CSV or YAML, in the order of their paths.

    A text file is a record `{path, text}`, and a JSON file `{path, data}`, as is each document of a YAML file. JSON
    Lines and CSV files are records already: one a line, as they are; a CSV's cells are text, keyed by its header.

    Args:
        paths: patterns below `root`, with `/`: `*`, `?`, `[a-z]` within a name, and `**` for any directories. One
            without any of these must be there. `**` does not follow symbolic links to directories.
        root: the directory to look in, relative to the worker's.
        exclude: patterns of files and whole directories that `paths` with patterns leave out, as they do `.git`.
        hidden: patterns also find files and directories whose names begin with a dot.
        format: text, json, jsonl, csv or yaml; by default what the suffix says, else text.
        encoding: of all the files.
        labels: added to each record, so that a reader can tell where it comes from.
        max_files: how many files at most.
        max_bytes: of all the files together.

    Raises:
        FilesFailure: naming the file, and the line where there is one.
    """
    found = _find(root, _listed(paths), _listed(exclude), hidden=hidden)
    if len(found) > max_files:
        raise FilesFailure(f"{len(found):,} files match {paths}, more than {max_files:,} (max_files)", retryable=False)
    records: list[Any] = []
    left = max_bytes
    for path in found:
        raw = _raw(Path(root, path), left + 1)
        left -= len(raw)
        if left < 0:
            raise FilesFailure(f"the files of {paths} are over {max_bytes:,} bytes (max_bytes)", retryable=False)
        records += _records(_shown(path), raw, format or _FORMATS.get(Path(path).suffix.lower(), "text"), encoding)
    return _labelled(records, labels) if labels else records


@shared_task(name="files.search")
def search(
    pattern: str,
    *,
    paths: Patterns = "**/*",
    root: str = ".",
    exclude: Patterns = "",
    hidden: bool = False,
    regex: bool = False,
    ignore_case: bool = False,
    labels: dict[str, Any] | None = None,
    max_matches: int = 10_000,
) -> list[dict[str, Any]]:
    """Find the lines of files that contain a text: records `{path, line, text}`, in the order of path and line.

    Binary files (a NUL in the first 8 KiB, as git and grep tell them) are passed over. Text is read as UTF-8; what is
    not, is replaced. A line of more than 1,000 characters is cut.

    Args:
        pattern: the text to find.
        paths: patterns below `root`, with `/`: `*`, `?`, `[a-z]` within a name, and `**` for any directories. One
            without any of these must be there. `**` does not follow symbolic links to directories.
        root: the directory to look in, relative to the worker's.
        exclude: patterns of files and whole directories that `paths` with patterns leave out, as they do `.git`.
        hidden: patterns also find files and directories whose names begin with a dot.
        regex: `pattern` is a regular expression of Python's.
        ignore_case: upper and lower case are the same.
        labels: added to each record, so that a reader can tell where it comes from.
        max_matches: how many lines at most.

    Raises:
        FilesFailure: naming the file or the argument.
    """
    wanted = _compiled(pattern, regex=regex, ignore_case=ignore_case)
    records: list[dict[str, Any]] = []
    for path in _find(root, _listed(paths), _listed(exclude), hidden=hidden):
        for number, line in _lines(Path(root, path)):
            if not wanted.search(line):
                continue
            if len(records) == max_matches:
                message = (
                    f"more than {max_matches:,} lines match {pattern!r} (max_matches); narrow the pattern or paths"
                )
                raise FilesFailure(message, retryable=False)
            text = line if len(line) <= _MAX_LINE_SHOWN else line[:_MAX_LINE_SHOWN] + "…"
            records.append({"path": _shown(path), "line": number, "text": text})
    return _labelled(records, labels) if labels else records


def _listed(patterns: Patterns) -> list[str]:
    if not patterns:
        return []
    return [patterns] if isinstance(patterns, str) else patterns


def _find(root: str, patterns: list[str], exclude: list[str], *, hidden: bool) -> list[str]:
    """Paths of the regular files below `root` that match, sorted by their parts."""
    wanted, unwanted = [_parts(pattern) for pattern in patterns], [_parts(pattern) for pattern in exclude]
    if not wanted:
        raise FilesFailure("paths names no file and no pattern", retryable=False)
    if not Path(root).is_dir():
        raise FilesFailure(f"root {root} is not a directory", retryable=False)
    wild = [pattern for pattern in wanted if any(sign in part for part in pattern for sign in "*?[")]
    found = {pattern for pattern in wanted if pattern not in wild}
    for parts in found:
        if not Path(root, *parts).is_file():
            raise FilesFailure(f"there is no file {'/'.join(parts)} in {root}")
    if wild:
        # is_file comes last because it asks the disk; opening a named pipe would wait without end.
        walk = _walk(root, unwanted, hidden=hidden)
        found |= {parts for parts in walk if _matches_any(parts, wild) and Path(root, *parts).is_file()}
    return ["/".join(parts) for parts in sorted(found)]


def _walk(root: str, unwanted: list[tuple[str, ...]], *, hidden: bool) -> Iterator[tuple[str, ...]]:
    def kept(parts: tuple[str, ...]) -> bool:
        name = parts[-1]
        return name != ".git" and (hidden or not name.startswith(".")) and not _matches_any(parts, unwanted)

    for directory, directories, names in os.walk(root, onerror=_refuse_directory):
        above = Path(directory).relative_to(root).parts
        directories[:] = [name for name in directories if kept((*above, name))]
        yield from ((*above, name) for name in names if kept((*above, name)))


def _refuse_directory(error: OSError) -> NoReturn:
    raise FilesFailure(f"{error.filename} cannot be listed: {error.strerror}; exclude it to go on without") from error


def _parts(pattern: str) -> tuple[str, ...]:
    parts = tuple(part for part in pattern.split("/") if part not in {"", "."})
    if not parts or pattern.startswith("/") or ".." in parts:
        raise FilesFailure(f"{pattern!r} is not a pattern below root; set root to look elsewhere", retryable=False)
    return parts


def _matches_any(parts: tuple[str, ...], patterns: Iterable[tuple[str, ...]]) -> bool:
    return any(_matches(parts, pattern) for pattern in patterns)


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """As `Path.full_match` of Python 3.13 does; here, 3.11 has to do."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or (bool(parts) and _matches(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _shown(path: str) -> str:
    """A name that is not UTF-8 has no JSON."""
    return os.fsencode(path).decode("utf-8", errors="replace")


def _raw(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise FilesFailure(f"{_shown(str(path))} cannot be read: {error.strerror}") from error


def _records(path: str, raw: bytes, wanted: Format, encoding: str) -> list[Any]:
    text = _text(path, raw, encoding)
    match wanted:
        case "text":
            return [{"path": path, "text": text}]
        case "json":
            return [{"path": path, "data": _json(text, path)}]
        case "jsonl":
            lines = enumerate(text.split("\n"), start=1)
            return [_json(line, f"{path}:{number}") for number, line in lines if line.strip()]
        case "csv":
            return list(_rows(path, text))
        case "yaml":
            return [{"path": path, "data": document} for document in _yaml(path, text)]
        case unknown:
            raise FilesFailure(f"format is text, json, jsonl, csv or yaml, not {unknown!r}", retryable=False)


def _text(path: str, raw: bytes, encoding: str) -> str:
    # A byte order mark is no part of the text; spreadsheets write one.
    name = "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding
    try:
        text = raw.decode(name)
    except LookupError as error:
        raise FilesFailure(f"there is no encoding {encoding!r}", retryable=False) from error
    except ValueError as error:
        raise FilesFailure(f"{path} is not {encoding} text: set encoding, or exclude it", retryable=False) from error
    if "\0" in text:
        raise FilesFailure(f"{path} is a binary file: exclude it", retryable=False)
    return text


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FilesFailure(f"{where}: not JSON: {error}", retryable=False) from error


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _rows(path: str, text: str) -> Iterator[dict[str, str | None]]:
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        if len(set(header)) != len(header):
            raise FilesFailure(f"{path}:1: two columns have one name", retryable=False)
        for row in rows:
            if len(row) > len(header):
                message = f"{path}:{rows.line_num}: {len(row)} cells, and the header has {len(header)}"
                raise FilesFailure(message, retryable=False)
            if row:  # an empty line is none
                yield dict(zip(header, [*row, *[None] * (len(header) - len(row))], strict=True))
    except csv.Error as error:
        raise FilesFailure(f"{path}:{rows.line_num}: not CSV: {error}", retryable=False) from error


class _Loader(yaml.SafeLoader):
    """YAML's safe types without dates, which stay the text that they are."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MAX_YAML_VALUES // 10:  # 429 bytes of nested merge keys can take minutes
            raise yaml.constructor.ConstructorError(None, None, "merge keys make too many values", node.start_mark)


def _yaml(path: str, text: str) -> list[Any]:
    budget = iter(range(_MAX_YAML_VALUES))
    try:
        return [_plain(document, budget) for document in yaml.load_all(text, _Loader)]
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        message = " ".join(str(error).split())
        raise FilesFailure(f"{path}: not YAML that JSON can hold: {message}", retryable=False) from error


def _plain(value: Any, budget: Iterator[int]) -> Any:
    """The value with text for keys; an error where it has no JSON, or aliases have multiplied it."""
    if next(budget, None) is None:
        raise ValueError(f"more than {_MAX_YAML_VALUES:,} values")
    match value:
        case dict():
            return {
                key if isinstance(key, str) else json.dumps(key): _plain(item, budget) for key, item in value.items()
            }
        case list():
            return [_plain(item, budget) for item in value]
        case float() if value != value or abs(value) == float("inf"):  # noqa: PLR0124 - what a NaN is
            raise ValueError(f"{value} is not JSON")
        case None | bool() | int() | float() | str():
            return value
    raise ValueError(f"a {type(value).__name__} is not JSON")


def _compiled(pattern: str, *, regex: bool, ignore_case: bool) -> re.Pattern[str]:
    if not pattern:
        raise FilesFailure("pattern is empty, and every line would match", retryable=False)
    try:
        return re.compile(pattern if regex else re.escape(pattern), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise FilesFailure(f"pattern {pattern!r} is not a regular expression: {error}", retryable=False) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as file:
            if b"\0" in file.read(8192):
                return
        with path.open(encoding="utf-8", errors="replace") as text:
            for number, line in enumerate(text, start=1):
                yield number, line.rstrip("\n")
    except OSError as error:
        raise FilesFailure(f"{_shown(str(path))} cannot be read: {error.strerror}") from error


def _labelled(records: list[Any], labels: dict[str, Any]) -> list[Any]:
    if not all(isinstance(record, dict) for record in records):
        raise FilesFailure("labels need objects, and a JSON Lines file has others", retryable=False)
    return [{**labels, **record, **labels} for record in records]
