"""Patterns of file names to the records, documents or matching lines of the files."""

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NoReturn

import yaml
from celery import shared_task

from runner import note
from runner.collectors.charsets import text_codec
from runner.collectors.labels import add_labels
from runner.system.home import at_home
from runner.text import count, parse_json

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
_MAX_YAML_DEPTH = 100  # PyYAML 6.0.4 takes half a minute for a line of 10,000 brackets, and it grows with their square
LINE_SHOWN = 1000  # characters: a minified file is one line


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
    *,
    paths: Patterns,
    root: str = ".",
    exclude: Patterns = "",
    hidden: bool = False,
    format: Format | None = None,  # noqa: A002 - the word a user of the YAML expects
    encoding: str = "utf-8",
    labels: dict[str, Any] | None = None,
    allow_none: bool = False,
    max_files: int = 1000,
    max_bytes: int = 5 * 1024 * 1024,
) -> list[Any]:
    """Read files: text, JSON, JSON Lines, CSV or YAML, in the order of their paths.

    A text file is a record `{path, text}`, and a JSON file `{path, data}`, as is each document of a YAML file. JSON
    Lines and CSV files are records already: one a line, as they are; a CSV's cells are text, keyed by its header. A row
    with more or fewer cells than the header is a failure.

    YAML is read as version 1.2 (its core schema): `on`, `no` and dates are text, `0755` is the number 755, and `3.10` is
    3.1. Keys are text as written. Merge keys (`<<`) are merged.

    Args:
        paths: patterns below `root`, with `/`: `*`, `?`, `[a-z]` within a name, and `**` for any directories. A path
            without any of these must exist; a pattern that is also the name of a file means that file alone. `**` does
            not follow symbolic links to directories.
        root: the directory to look in, relative to the worker's; a leading `~` is the worker's home directory.
        exclude: patterns of files and whole directories that `paths` with patterns leave out.
        hidden: `*`, `?` and `**` also find files and directories whose names begin with a dot. Without it a pattern finds
            them where it begins with a dot itself (`.github/*.yaml`), and `.git` only where it is written.
        format: text, json, jsonl, csv or yaml; by default what the suffix says, else text.
        encoding: of all the files.
        labels: added to each record, to say where it comes from.
        allow_none: do not fail if no file matches.
        max_files: the most files to read.
        max_bytes: of all the files together.

    Raises:
        FilesFailure: naming the file, and the line where there is one.
    """
    root = at_home(root)
    found = _find(root, _listed(paths), _listed(exclude), hidden=hidden, allow_none=allow_none)
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
    *,
    pattern: str,
    paths: Patterns = "**/*",
    root: str = ".",
    exclude: Patterns = "",
    hidden: bool = False,
    regex: bool = False,
    ignore_case: bool = False,
    labels: dict[str, Any] | None = None,
    allow_none: bool = False,
    max_matches: int = 10_000,
) -> list[dict[str, Any]]:
    """Find the lines of files that contain a text: records `{path, line, text}`, in the order of path and line.

    Binary files (a NUL in the first 8 KiB, as git and grep tell them) are passed over. Text is read as UTF-8; what is
    not, is replaced. A line of more than 1,000 characters is cut.

    Args:
        pattern: the text to find.
        paths: patterns below `root`, with `/`: `*`, `?`, `[a-z]` within a name, and `**` for any directories. A path
            without any of these must exist; a pattern that is also the name of a file means that file alone. `**` does
            not follow symbolic links to directories.
        root: the directory to look in, relative to the worker's; a leading `~` is the worker's home directory.
        exclude: patterns of files and whole directories that `paths` with patterns leave out.
        hidden: `*`, `?` and `**` also find files and directories whose names begin with a dot. Without it a pattern finds
            them where it begins with a dot itself (`.github/*.yaml`), and `.git` only where it is written.
        regex: `pattern` is a Python regular expression.
        ignore_case: upper and lower case are the same.
        labels: added to each record, to say where it comes from.
        allow_none: do not fail if no file matches. (That no line matches is never a failure.)
        max_matches: the most lines to return.

    Raises:
        FilesFailure: naming the file or the argument.
    """
    root = at_home(root)
    wanted = _compiled(pattern, regex=regex, ignore_case=ignore_case)
    records: list[dict[str, Any]] = []
    for path in _find(root, _listed(paths), _listed(exclude), hidden=hidden, allow_none=allow_none):
        for number, line in _lines(Path(root, path)):
            if not wanted.search(line):
                continue
            if len(records) == max_matches:
                message = (
                    f"more than {max_matches:,} lines match {pattern!r} (max_matches); narrow the pattern or paths"
                )
                raise FilesFailure(message, retryable=False)
            text = line if len(line) <= LINE_SHOWN else line[:LINE_SHOWN] + "…"
            records.append({"path": _shown(path), "line": number, "text": text})
    return _labelled(records, labels) if labels else records


def _listed(patterns: Patterns) -> list[str]:
    if not patterns:
        return []
    return [patterns] if isinstance(patterns, str) else patterns


def _find(root: str, patterns: list[str], exclude: list[str], *, hidden: bool, allow_none: bool) -> list[str]:
    """Return the paths of the regular files below `root` that match, sorted by their parts."""
    wanted, unwanted = [_parts(pattern) for pattern in patterns], [_parts(pattern) for pattern in exclude]
    if not wanted:
        raise FilesFailure("paths names no file and no pattern", retryable=False)
    if not Path(root).is_dir():
        raise FilesFailure(f"root {root} is not a directory", retryable=False)
    # A file may be called `part[1].txt`: a name that is there goes first.
    found = {parts for parts in wanted if Path(root, *parts).is_file()}
    wild = [parts for parts in wanted if parts not in found and any(sign in part for part in parts for sign in "*?[")]
    for parts in wanted:
        if parts not in found and parts not in wild and not allow_none:
            raise FilesFailure(f"there is no file {'/'.join(parts)} in {root}")
    if wild:
        # is_file comes last because it asks the disk; opening a named pipe would wait without end.
        walk = _walk(root, wild, unwanted, hidden=hidden)
        found |= {parts for parts in walk if _matches_any(parts, wild, hidden=hidden) and Path(root, *parts).is_file()}
    if not found and not allow_none:
        message = f"no file in {root} matches {', '.join(patterns)}"
        raise FilesFailure(f"{message}; with allow_none: true that is no failure")
    if empty := [pattern for pattern, parts in zip(patterns, wanted, strict=True) if not _any_matches(found, parts)]:
        note(matched_nothing=empty[:20])
    return ["/".join(parts) for parts in sorted(found)]


def _any_matches(found: Iterable[tuple[str, ...]], pattern: tuple[str, ...]) -> bool:
    return any(parts == pattern or _matches(parts, pattern) for parts in found)


def _walk(
    root: str, wanted: list[tuple[str, ...]], unwanted: list[tuple[str, ...]], *, hidden: bool
) -> Iterator[tuple[str, ...]]:
    dotted = {part for pattern in wanted for part in pattern if part.startswith(".")}

    def kept(parts: tuple[str, ...]) -> bool:
        name = parts[-1]
        if name == ".git":
            return name in dotted
        is_named = hidden or not name.startswith(".") or any(fnmatchcase(name, part) for part in dotted)
        return is_named and not _matches_any(parts, unwanted)

    for directory, directories, names in os.walk(root, onerror=_refuse_directory):
        above = Path(directory).relative_to(root).parts
        directories[:] = [name for name in directories if kept((*above, name))]
        yield from ((*above, name) for name in names if kept((*above, name)))


def _refuse_directory(error: OSError) -> NoReturn:
    raise FilesFailure(
        f"{error.filename} cannot be listed: {error.strerror}; exclude it to continue without"
    ) from error


def _parts(pattern: str) -> tuple[str, ...]:
    parts = tuple(part for part in pattern.split("/") if part not in {"", "."})
    if not parts or pattern.startswith(("/", "~/")) or ".." in parts:
        raise FilesFailure(f"{pattern!r} is not a pattern below root; set root to look elsewhere", retryable=False)
    return parts


def _matches_any(parts: tuple[str, ...], patterns: Iterable[tuple[str, ...]], *, hidden: bool = True) -> bool:
    return any(_matches(parts, pattern, hidden=hidden) for pattern in patterns)


def _matches(parts: Sequence[str], pattern: Sequence[str], *, hidden: bool = True) -> bool:
    """Match as `Path.full_match` of Python 3.13 does; this package supports 3.11.

    Args:
        hidden: whether `*`, `?` and `**` also stand for a name that begins with a dot. A dot that is written always does.
    """
    if not pattern:
        return not parts
    first, *rest = pattern
    is_open = bool(parts) and (hidden or first.startswith(".") or not parts[0].startswith("."))
    if first == "**":
        return _matches(parts, rest, hidden=hidden) or (is_open and _matches(parts[1:], pattern, hidden=hidden))
    return is_open and fnmatchcase(parts[0], first) and _matches(parts[1:], rest, hidden=hidden)


def _shown(path: str) -> str:
    """Return a path as text: JSON cannot hold a name that is not UTF-8."""
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
    try:
        name = text_codec(encoding)
        text = raw.decode("utf-8-sig" if name == "utf-8" else name)
    except LookupError as error:
        raise FilesFailure(str(error), retryable=False) from error
    except ValueError as error:
        raise FilesFailure(f"{path} is not {encoding} text: set encoding, or exclude it", retryable=False) from error
    if "\0" in text:
        raise FilesFailure(f"{path} is a binary file: exclude it", retryable=False)
    return text


def _json(text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        raise FilesFailure(f"{where}: not JSON: {error}", retryable=False) from error


def _rows(path: str, text: str) -> Iterator[dict[str, str]]:
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    # Python refuses a cell of 131,073 characters, for every reader of the process; here max_bytes is the limit.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    try:
        header = next(rows, [])
        if len(set(header)) != len(header):
            raise FilesFailure(f"{path}:1: two columns have one name", retryable=False)
        for row in rows:
            if row and len(row) != len(header):  # an empty line is none
                message = f"{path}:{rows.line_num}: {count(len(row), 'cell')}, and the header has {len(header)}"
                raise FilesFailure(message, retryable=False)
            if row:
                yield dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise FilesFailure(f"{path}:{rows.line_num}: not CSV: {error}", retryable=False) from error


_TAG = "tag:yaml.org,2002:"
# What a plain scalar is in YAML 1.2's core schema (10.3.2 of its specification), besides text; and a merge key, which is not
# in it, but in many files.
_PLAIN = {
    "null": ("~nN", r"~|null|Null|NULL|"),
    "bool": ("tTfF", r"true|True|TRUE|false|False|FALSE"),
    "int": ("-+0123456789", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": (
        "-+.0123456789",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    ),
    "merge": ("<", r"<<"),
}


class _Loader(yaml.SafeLoader):
    """PyYAML's loader, with the tags of YAML 1.2, and limits on depth and size."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as PyYAML declares it
    depth = nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # Nodes are composed as they are read, so that nothing is read of what is too deep.
        self.depth += 1
        self.nodes += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.depth > _MAX_YAML_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {_MAX_YAML_DEPTH}", mark)
        if self.nodes > _MAX_YAML_VALUES:
            raise yaml.composer.ComposerError(None, None, f"more than {_MAX_YAML_VALUES:,} values", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _name, (_first, _expression) in _PLAIN.items():
    _Loader.add_implicit_resolver(
        _TAG + _name, re.compile(f"^(?:{_expression})$"), [*_first, *([""] * (_name == "null"))]
    )


def _yaml(path: str, text: str) -> list[Any]:
    values = _Values()
    try:
        return [values.of(node) for node in yaml.compose_all(text, _Loader)]
    except (yaml.YAMLError, ValueError) as error:
        message = " ".join(str(error).split())
        raise FilesFailure(f"{path}: not YAML that JSON can hold: {message}", retryable=False) from error


class _Values:
    """Nodes to values, up to a limit: aliases and merge keys multiply the values of a file."""

    def __init__(self) -> None:
        self._left = _MAX_YAML_VALUES
        self._inside: set[int] = set()  # nodes that are being made: an alias may stand inside its own anchor

    def of(self, node: yaml.Node) -> Any:
        self._spend(1, node)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if id(node) in self._inside:
            raise _wrong(node, "an alias inside its own anchor")
        self._inside.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return self._mapping(node)
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self.of(item) for item in node.value]
        finally:
            self._inside.discard(id(node))
        raise _wrong(node, f"no type of JSON has the tag {node.tag:.80}")

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                for name, value in self._merged(value_node):
                    merged.setdefault(name, value)
                continue
            key = _key(key_node)
            if key in own:
                raise _wrong(key_node, f"the key {key!r:.80} is there twice")
            own[key] = self.of(value_node)
        return {**merged, **own}

    def _merged(self, node: yaml.Node) -> Iterator[tuple[str, Any]]:
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise _wrong(source, "a merge key needs a mapping, or a list of them")
            values = self.of(source)
            self._spend(len(values), source)
            yield from values.items()

    def _spend(self, count: int, node: yaml.Node) -> None:
        self._left -= count
        if self._left < 0:
            raise _wrong(node, f"more than {_MAX_YAML_VALUES:,} values, as aliases and merge keys repeat them")


def _key(node: yaml.Node) -> str:
    """Return a key as written: JSON's keys are text."""
    if not isinstance(node, yaml.ScalarNode):
        raise _wrong(node, "a key that is a list or a mapping")
    return str(node.value)


def _scalar(node: yaml.ScalarNode) -> Any:
    text = str(node.value)
    kind = node.tag.removeprefix(_TAG)
    if kind == "str":
        return text
    if kind not in {"null", "bool", "int", "float"}:
        raise _wrong(node, f"no type of JSON has the tag {node.tag:.80}")
    if not re.fullmatch(_PLAIN[kind][1], text):  # one that has its tag written out
        raise _wrong(node, f"{text!r:.80} is no {kind}")
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    number = float("inf") if "n" in text.lower() else float(text)  # .inf, .nan
    if abs(number) == float("inf"):
        raise _wrong(node, f"{text:.80} is not JSON")
    return number


def _wrong(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


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
        with path.open(encoding="utf-8-sig", errors="replace") as text:
            for number, line in enumerate(text, start=1):
                yield number, line.rstrip("\n")
    except OSError as error:
        raise FilesFailure(f"{_shown(str(path))} cannot be read: {error.strerror}") from error


def _labelled(records: list[Any], labels: dict[str, Any]) -> list[Any]:
    if not all(isinstance(record, dict) for record in records):
        raise FilesFailure("labels need objects, and a JSON Lines file has others", retryable=False)
    return add_labels(records, labels)
