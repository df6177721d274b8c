"""YAML text to plain data, with the place of every key and value."""

import json
import math
import os
import re
import stat
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from itertools import chain
from typing import Any

import yaml

from runner.language.faults import CODES, Fault, InvalidWorkflow, Place
from runner.text import echo, printable

FILE_LIMIT = 1024 * 1024
DEPTH_LIMIT = 32
ALIAS_LIMIT = 50
EVENT_LIMIT = 200_000
STRING_LIMIT = 64 * 1024
_OF_EVENTS = {"E002", "E003", "E011", "E016", "E019"}  # codes of faults that stop the parser
INTEGER_LIMIT = 2**53  # the first integer that a double, and many a JSON reader, confuses with its neighbour

Loc = tuple[str | int, ...]

# libyaml where PyYAML was built with it (every wheel is): twenty times faster than the Python scanner.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = yaml.resolver.Resolver()
_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile("\r\n|\r|\n")  # what editors count; YAML 1.1 also breaks at U+0085, U+2028 and U+2029
SURROGATE = re.compile("[\ud800-\udfff]")
_PROPERTY = re.compile(r"[&!][^\s,\[\]{}]*\s*")
_SECRET_KEY = re.compile(rb"""\bsecret["']?\s*:""")
_NUMBER_LIMIT = 100  # characters: no number within the limits is longer
_INTEGER = re.compile(r"-?(0|[1-9]\d*)", re.ASCII)
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_TRAILING_ZERO = re.compile(r"\.\d+0(?![\d])", re.ASCII)
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def read_source(path: str, *, of: str = "workflow", secret: bool = False) -> "Source":
    """Read a workflow file, or another file of YAML or JSON.

    Args:
        path: of the file; ``-`` is standard input, which faults call ``<stdin>``. With the suffix ``.json``, numbers are JSON's.
        of: the file's content in a word, for the fault of an empty one.
        secret: see ``parse_source``.

    Raises:
        InvalidWorkflow: the file cannot be read (E100), or is not YAML within the limits.
    """
    name = "<stdin>" if path == "-" else path
    try:
        content, size = _content(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InvalidWorkflow((Fault("E100", _why(error), Place(name)),)) from error
    if len(content) > FILE_LIMIT:
        raise InvalidWorkflow((_too_large(name, size),))
    return parse_source(content, name, of=of, secret=secret)


def _content(path: str) -> tuple[bytes, int]:
    """Return the content of a file, up to the limit, and its size as far as it is known."""
    if path == "-":
        if sys.stdin is None or sys.stdin.closed:
            return b"", 0
        content = sys.stdin.buffer.read(FILE_LIMIT + 1)
        return content, len(content)
    # Opening a named pipe blocks until its other end is opened, except with O_NONBLOCK, and reading one may never end.
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if stat.S_ISFIFO(status.st_mode) and not path.startswith(_OPEN_ALREADY):
            raise _NamedPipe
        os.set_blocking(file.fileno(), True)
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        content = file.read(FILE_LIMIT + 1)
        return content, max(size, len(content))


class _NamedPipe(OSError):
    """A pipe with a name in a directory: its other end may never be opened."""


# Pipes of the shell, whose other end is open: `validate <(…)`, for example.
_OPEN_ALREADY = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _why(error: OSError | ValueError) -> str:
    match error:
        case _NamedPipe():
            return "is a named pipe, not a file: give - and let it be standard input"
        case FileNotFoundError() | NotADirectoryError():
            return "no such file"
        case IsADirectoryError():
            return "is a directory, not a file"
        case OSError():
            return f"cannot be read: {(error.strerror or str(error)).lower()}"
        case _:
            return "no such file: the path has a NUL character"


def _too_large(name: str, size: int) -> Fault:
    if size <= FILE_LIMIT + 1:
        return Fault("E001", "file is over 1 MiB, limit 1 MiB", Place(name, 1, 1))
    # Rounded up, so that a file one byte too large is not "1.0 MiB, limit 1 MiB".
    return Fault("E001", f"file is {math.ceil(size / FILE_LIMIT * 10) / 10:.1f} MiB, limit 1 MiB", Place(name, 1, 1))


def parse_source(text: str | bytes, name: str, *, of: str = "workflow", secret: bool = False) -> "Source":
    """Parse YAML text.

    Args:
        text: the whole file.
        name: of the file, as faults show it.
        of: its content in a word.
        secret: whether an exception must quote nothing of the text, because values in it are secret (for the faults that
            are kept, see ``Source.hide``).

    Raises:
        InvalidWorkflow: not YAML within the limits. Faults that leave the rest readable (a duplicate key, a tag) are
            not raised but kept in ``Source.faults``, so that they are reported together with those of the language.
    """
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(content) > FILE_LIMIT:
        raise InvalidWorkflow((_too_large(name, len(content)),))
    try:
        return _parsed(text, name, of)
    except InvalidWorkflow as error:
        # A text that cannot be parsed does not say which of its values are secret: none is shown.
        if secret or _SECRET_KEY.search(content):  # defence: UNQUOTED
            raise InvalidWorkflow(tuple(map(_unquoted, error.faults))) from error.__cause__
        raise


def _unquoted(fault: Fault) -> Fault:
    """Return the fault with its place and its kind, and without the text at that place."""
    return replace(fault, message=CODES[fault.code], place=replace(fault.place, text=""))


def _parsed(text: str | bytes, name: str, of: str) -> "Source":
    lines = _Lines(name, _decoded(text, name).removeprefix("\ufeff"))
    if unprintable := _UNPRINTABLE.search(lines.text):
        where = lines.place(*unprintable.span())
        raise InvalidWorkflow((Fault("E015", f"character U+{ord(unprintable[0]):04X} is not allowed in YAML", where),))
    builder = _Builder(lines, is_json=name.endswith(".json"))
    root = builder.build(of)
    return Source(name=name, draft=root.value, faults=tuple(builder.faults), _root=root, _lines=lines)


def _decoded(text: str | bytes, name: str) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        if b"\0" in text:  # an image, an archive, UTF-16: a place in it would not help
            raise InvalidWorkflow((Fault("E015", "binary data, not UTF-8 text", Place(name, 1, 1)),)) from error
        good = text[: error.start].decode()
        lines = _Lines(name, good.removeprefix("\ufeff") + "\ufffd")
        where = lines.place(len(lines.text) - 1, len(lines.text))
        raise InvalidWorkflow((Fault("E015", f"byte 0x{text[error.start]:02x} is not UTF-8", where),)) from error


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file as plain data, with the place of each piece.

    Args:
        name: of the file, as the user wrote it.
        draft: its data as far as it could be read: JSON types only; keys are strings as written, so ``on:`` is the key
            ``"on"``. For checks that report the faults of the text together with their own; other code takes ``data``.
        faults: those of a text that could be read all the same.
    """

    name: str
    draft: dict[str, Any]
    faults: tuple[Fault, ...]
    _root: "_Node"
    _lines: "_Lines"

    @property
    def data(self) -> dict[str, Any]:
        """The data of a text without faults.

        Raises:
            InvalidWorkflow: the text has faults, so the data is not what was written.
        """
        if self.faults:
            raise InvalidWorkflow(self.faults)
        return self.draft

    def place(self, loc: Loc, *, key: bool = False) -> Place:
        """Return the place of the value at ``loc``, or of its key; if there is none, of the nearest value around it."""
        node, rest = self._find(loc[:-1] if key else loc)
        if key and not rest and loc and loc[-1] in node.keys:
            return self._lines.place(*node.keys[str(loc[-1])])
        return self._lines.place(node.start, node.end)

    def first_key(self, loc: Loc) -> Place:
        """Return the place of the first key of the mapping at ``loc``: that of a key that is missing from it."""
        node, _ = self._find(loc)
        return self._lines.place(*next(iter(node.keys.values()), (node.start, node.end)))

    def written_at(self, loc: Loc) -> bool:
        """Whether there is a value at ``loc``."""
        return not self._find(loc)[1]

    def written(self, loc: Loc) -> str | None:
        """Return the text of a plain scalar as it stands in the file; None for a quoted one and for a collection."""
        node, rest = self._find(loc)
        return None if rest else node.written

    def lines_of(self, loc: Loc) -> range:
        """Return the numbers of the lines that the value at ``loc`` takes."""
        node, rest = self._find(loc)
        return range(0) if rest else self._lines_of(node)

    def hide(self, faults: Iterable[Fault], secret: Iterable[Loc]) -> list[Fault]:
        """Return the faults without the lines and the words that would show the secret values at these places."""
        nodes = [inner for loc in secret for node in self._all_at(loc) for inner in node.within()]
        lines = {line for node in nodes for line in self._lines_of(node)}
        values = {self._lines.at(node.start) for node in nodes}
        return [
            replace(_unquoted(fault), hint="")
            if (fault.place.line, fault.place.column) in values
            else (replace(fault, place=replace(fault.place, text="")) if fault.place.line in lines else fault)
            for fault in faults
        ]

    def _all_at(self, loc: Loc) -> Iterator["_Node"]:
        """Yield the values at ``loc``: for a key that is written twice, both."""
        node = self._root
        for step in loc:
            yield from node.repeated.get(step, ())
            if step not in node.children:
                return
            node = node.children[step]
        yield node

    def _lines_of(self, node: "_Node") -> range:
        return range(self._lines.number(node.start), self._lines.number(max(node.start, node.end - 1)) + 1)

    def _find(self, loc: Loc) -> tuple["_Node", Loc]:
        """Return the node at ``loc``, or else the deepest one on the way, with the rest of the way."""
        node = self._root
        for depth, step in enumerate(loc):
            if step not in node.children:
                return node, loc[depth:]
            node = node.children[step]
        return node, ()


@dataclass(frozen=True)
class _Lines:
    """Offsets of a text to lines and columns."""

    name: str
    text: str
    _shown: dict[int, str] = field(default_factory=dict)  # one copy of a line, however many faults point to it

    @cached_property
    def starts(self) -> list[int]:
        return [0, *(found.end() for found in _LINE_BREAK.finditer(self.text))]

    def number(self, offset: int) -> int:
        return bisect_right(self.starts, offset)

    def at(self, offset: int) -> tuple[int, int]:
        """Return the line and the column of an offset."""
        place = self.place(offset, offset)
        return place.line, place.column

    def place(self, start: int, end: int) -> Place:
        start = max(0, min(start, len(self.text)))
        line = self.number(start)
        if line not in self._shown:
            stop = self.starts[line] if line < len(self.starts) else len(self.text)
            self._shown[line] = self.text[self.starts[line - 1] : stop].rstrip("\r\n")
        shown = self._shown[line]
        column = min(start - self.starts[line - 1], len(shown))
        length = max(1, min(end, self.starts[line - 1] + len(shown)) - start)
        return Place(self.name, line, column + 1, length, shown)


@dataclass(slots=True)
class _Node:
    """A value with its start and end offsets, and the values in it."""

    start: int
    end: int
    value: Any
    written: str | None = None
    keys: dict[str | int, tuple[int, int]] = field(default_factory=dict)
    children: "dict[str | int, _Node]" = field(default_factory=dict)
    repeated: "dict[str | int, list[_Node]]" = field(default_factory=dict)  # values of keys that occurred before
    size: int = 1  # how many values, with aliases expanded
    height: int = 0  # how many collections deep

    def within(self) -> "Iterator[_Node]":
        """Yield the value, and every value in it."""
        yield self
        for child in (*self.children.values(), *chain.from_iterable(self.repeated.values())):
            yield from child.within()


@dataclass(slots=True)
class _Open:
    """A collection that has not ended yet, with the key that waits for its value."""

    node: _Node
    mapping: bool
    block: bool
    anchor: str | None
    key: str | None = None
    wanted: bool = False  # a key has been read, and its value has not
    repeats: bool = False  # the key occurred before
    key_span: tuple[int, int] = (0, 0)


class _Builder:
    """Parser events to nodes, in one pass that counts as it goes: nothing is expanded before it is allowed.

    PyYAML's own composer and constructor are not used: 429 bytes of merge keys keep them busy for 3.5 s, and libyaml's
    composer overflows the C stack at a depth of 100,000 (PyYAML 6.0.3). The event parser does neither.
    """

    def __init__(self, lines: _Lines, *, end: int | None = None, is_json: bool = False) -> None:
        self.lines = lines
        self._end_of_text = end
        self._is_json = is_json
        self.faults: list[Fault] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, _Node | None] = {}  # None while the anchor's own value is being read
        self._root: _Node | None = None
        self._aliases = 0
        self._size = 0
        self._overgrown: Place | None = None

    def build(self, of: str) -> _Node:
        documents = 0
        for count, event in enumerate(self._events(), start=1):
            if count > EVENT_LIMIT:
                raise self._fatal("E016", f"more than {EVENT_LIMIT:,} YAML events", event)
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise self._fatal("E011", "more than one document", event)
                case yaml.AliasEvent():
                    self._alias(event)
                case yaml.ScalarEvent():
                    self._scalar(event)
                case yaml.CollectionStartEvent():
                    self._start(event)
                case yaml.CollectionEndEvent():
                    self._end(event)
        if self._overgrown:
            message = f"aliases expand to more than {EVENT_LIMIT:,} values"
            raise InvalidWorkflow((Fault("E003", message, self._overgrown),))
        root = self._root
        if root is None or (root.value is None and root.written == ""):
            raise InvalidWorkflow((Fault("E012", f"empty {of}", self.lines.place(0, 0)),))
        if not isinstance(root.value, dict):
            where = self.lines.place(root.start, root.end)
            hint = "a workflow is a mapping: name, inputs, collectors, gather, stages" if of == "workflow" else ""
            fault = Fault("E013", f"expected a mapping, found {kind(root.value)}", where, hint)
            raise InvalidWorkflow((*self.faults, fault))
        return root

    def _events(self) -> Iterator[yaml.Event]:
        loader = _Loader(self.lines.text[: self._end_of_text])
        last = 0
        try:
            while loader.check_event():
                event: yaml.Event = loader.get_event()  # type: ignore[no-untyped-call]
                last = _offsets(event)[1]
                yield event
        except yaml.MarkedYAMLError as error:
            raise self._fault_before(error) or InvalidWorkflow((_syntax_fault(error, self.lines),)) from error
        except (yaml.YAMLError, ValueError, OverflowError) as error:  # the Python scanner's chr() of "\UFFFFFFFF"
            message = f"not YAML: {printable(str(error).splitlines()[0])}"
            raise InvalidWorkflow((Fault("E014", message, self.lines.place(last, last)),)) from error
        finally:
            loader.dispose()

    def _fault_before(self, error: yaml.MarkedYAMLError) -> InvalidWorkflow | None:
        """Return the fault that stops the reading before a syntax error does: one of our limits, for example.

        A scanner reads ahead of the events that it returns, and libyaml has limits of its own there: that of PyYAML 6.0.4
        refuses 1,001 brackets in a line before the first of them is an event.
        """
        if self._end_of_text is not None or error.problem_mark is None:
            return None
        try:
            _Builder(self.lines, end=error.problem_mark.index).build("")
        except InvalidWorkflow as earlier:
            return earlier if earlier.faults[0].code in _OF_EVENTS else None
        return None

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor
        self._aliases += 1
        if self._aliases > ALIAS_LIMIT:
            raise self._fatal("E003", f"more than {ALIAS_LIMIT} aliases", event)
        if name not in self._anchors and self.faults and self.faults[-1].code == "E004":
            raise InvalidWorkflow(tuple(self.faults))  # `<<: *base`: an anchor would not help
        if name not in self._anchors:
            raise self._fatal("E014", f"alias {echo(name)} has no anchor before it", event)
        target = self._anchors[name]
        if target is None:
            raise self._fatal("E003", "recursive alias", event)
        levels = target.height + 1 if isinstance(target.value, dict | list) else 0
        if len(self._open) + levels > DEPTH_LIMIT:
            raise self._fatal("E002", f"nesting deeper than {DEPTH_LIMIT}", event)
        if self._awaits_key():
            raise self._fatal("E019", "a key must be written out: expected a string, found an alias", event)
        self._size += target.size
        if self._size > EVENT_LIMIT and self._overgrown is None:
            self._overgrown = self._place(event)
        self._add(target)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        start, end = self._span(event)
        text, plain = event.value, event.implicit[0]
        if len(text) > STRING_LIMIT // 4 and (size := len(text.encode("utf-8", "surrogatepass"))) > STRING_LIMIT:
            self._fault("E017", f"string of {size:,} bytes, limit {STRING_LIMIT:,}", start, start + 1)
            text, plain = text[:80], False
        if not text.isascii() and SURROGATE.search(text):  # "\ud800", which the Python scanner lets through
            self._fault("E015", "half of a surrogate pair is no character", start, end)
            text = ""
        if self._awaits_key():
            frame = self._open[-1]
            frame.key, frame.wanted, frame.key_span = text, True, (start, end)
            if plain and text == "<<":
                self._fault("E004", "merge keys are not supported", start, end, "write the keys out, or use defaults")
                frame.key = None
            elif text in frame.node.keys:
                first = self.lines.place(*frame.node.keys[text])
                message = f"duplicate key {echo(text)} (first at {first.line}:{first.column})"
                self._fault("E006", message, start, end)
                frame.repeats = True
            return
        value, written = (self._resolve(text, start, end), text) if plain else (text, None)
        node = _Node(start, end, value, written)
        self._size += 1
        if event.anchor:
            self._anchors[event.anchor] = node
        self._add(node)

    def _resolve(self, text: str, start: int, end: int) -> Any:
        """Return the value that YAML 1.1 reads, and note a fault if the scalar looks different; a date stays text.

        The value, written out, must equal the text: ``NO`` as false, ``0755`` as 493 and ``1.10`` as 1.1 do not.
        """
        if self._is_json and _JSON_NUMBER.fullmatch(text):
            return self._number(text, "int" if _INTEGER.fullmatch(text) else "float", start, end)
        tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        match tag.rpartition(":")[2]:
            case "null":
                return None
            case "bool":
                value = _BOOLEANS[text.lower()]
                if text.lower() not in {"true", "false"}:
                    self._misread(value, text, start, end)
                return value
            case "int" | "float" as name:
                before = len(self.faults)
                number = self._number(text, name, start, end)
                if len(self.faults) == before and not isinstance(number, str) and not _is_written_so(number, text):
                    self._misread(number, text, start, end)
                return number
            case _:
                return text

    def _misread(self, value: Any, text: str, start: int, end: int) -> None:
        hint = f"or, if that is meant, write {json.dumps(value)}"
        self._fault("E007", misread(value, text), start, end, hint)

    def _number(self, text: str, name: str, start: int, end: int) -> Any:
        node = yaml.ScalarNode(f"tag:yaml.org,2002:{name}", text)
        try:
            # No number within the limits is longer, and int() raises at 5,000 digits and is slow for fewer.
            if name == "int":
                number: float = INTEGER_LIMIT if len(text) > _NUMBER_LIMIT else _CONSTRUCTOR.construct_yaml_int(node)
            else:
                number = (
                    math.inf if len(text) > _NUMBER_LIMIT and ":" in text else _CONSTRUCTOR.construct_yaml_float(node)
                )
        except ValueError:  # PyYAML's pattern allows "0x_", its constructor does not
            return text
        if not math.isfinite(number):
            self._fault("E018", f"{echo(text)[1:-1]} is not a number that JSON has", start, end)
        elif name == "int" and abs(number) >= INTEGER_LIMIT:
            message = f"integer out of range: expected -(2^53 - 1) to 2^53 - 1, found {echo(text)[1:-1]}"
            self._fault("E018", message, start, end, "quote it, if it is text")
            number = INTEGER_LIMIT if number > 0 and not text.startswith("-") else -INTEGER_LIMIT
        elif ":" in text:
            hint = f"quote it, if it is text; a duration is written {_duration(number)}"
            self._fault("E007", f"{text} is read as the number {number}, in base 60", start, end, hint)
        return number

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        if len(self._open) >= DEPTH_LIMIT:
            raise self._fatal("E002", f"nesting deeper than {DEPTH_LIMIT}", event)
        if self._awaits_key():
            raise self._fatal(
                "E019", "expected a string as key, found a list or a mapping", event, self._brace_hint(event)
            )
        start, _ = self._span(event)
        mapping = isinstance(event, yaml.MappingStartEvent)
        node = _Node(start, start + 1, {} if mapping else [])
        self._size += 1
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Open(node, mapping, not event.flow_style, event.anchor))

    def _end(self, event: yaml.CollectionEndEvent) -> None:
        ended = self._open.pop()
        node = ended.node
        _, node.end = _offsets(event)
        if ended.block:  # a block's end mark stands before the next token, past blank lines and comments
            inner = [*node.keys.values(), *((child.start, child.end) for child in node.children.values())]
            node.end = max((end for _, end in inner), default=node.end)
        if ended.anchor:
            self._anchors[ended.anchor] = node
        self._add(node)

    def _awaits_key(self) -> bool:
        return bool(self._open) and self._open[-1].mapping and not self._open[-1].wanted

    def _add(self, node: _Node) -> None:
        """Add a complete value to the collection that is open."""
        if not self._open:
            self._root = node
            return
        frame = self._open[-1]
        parent = frame.node
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1 if isinstance(node.value, dict | list) else 0)
        if not frame.mapping:
            parent.children[len(parent.value)] = node
            parent.value.append(node.value)
            return
        if frame.key is not None and frame.repeats:
            parent.repeated.setdefault(frame.key, []).append(node)
        elif frame.key is not None:
            parent.keys[frame.key] = frame.key_span
            parent.children[frame.key] = node
            parent.value[frame.key] = node.value
        frame.key, frame.wanted, frame.repeats = None, False, False

    def _span(self, event: yaml.NodeEvent) -> tuple[int, int]:
        """Return the start and the end of a value, after its anchor and its tag; a tag is a fault."""
        start, end = _offsets(event)
        tag = getattr(event, "tag", None)
        while (event.anchor or tag) and (found := _PROPERTY.match(self.lines.text, start)):
            if found[0].startswith("!"):
                self._fault("E005", "tag not allowed", start, start + len(found[0].rstrip()))
            start = found.end()
        return start, max(start, end)

    def _place(self, event: yaml.Event) -> Place:
        start, end = _offsets(event)
        return self.lines.place(start, max(start + 1, end))

    def _fault(self, code: str, message: str, start: int, end: int, hint: str = "") -> None:
        self.faults.append(Fault(code, message, self.lines.place(start, end), hint))

    def _brace_hint(self, event: yaml.Event) -> str:
        """Return the hint for ``{{ inputs.topic }}``, which YAML reads as a mapping whose key is a mapping."""
        start, _ = _offsets(event)
        return "an expression is written ${{ … }}" if self.lines.text[start - 1 : start + 1] == "{{" else ""

    def _fatal(self, code: str, message: str, event: yaml.Event, hint: str = "") -> InvalidWorkflow:
        return InvalidWorkflow((Fault(code, message, self._place(event), hint),))


def _offsets(event: yaml.Event) -> tuple[int, int]:
    start, end = event.start_mark, event.end_mark
    return (start.index, end.index) if start and end else (0, 0)


def kind(value: Any) -> str:
    """Name the kind of a value in the words of YAML: ``a list``, ``a boolean``, ``nothing``."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case Mapping():
            return "a mapping"
        case _:
            return f"a {type(value).__name__}"


def found(value: Any) -> str:
    """Name the kind of a value, with the value itself if that is short: ``the string "5"``, ``a list``."""
    match value:
        case None | list() | dict():
            return kind(value)
        case str():
            return f"the string {echo(value)}"
        case _:
            return echo(value)


def is_json(value: Any, depth: int = 0) -> bool:
    """Whether a value survives JSON: no NaN, no integer that a double cannot hold, no half of a surrogate pair."""
    match value:
        case None | bool():
            return True
        case int():
            return abs(value) < INTEGER_LIMIT
        case float():
            return math.isfinite(value)
        case str():
            return value.isascii() or not SURROGATE.search(value)
        case list():
            return depth < 100 and all(is_json(each, depth + 1) for each in value)
        case dict():
            return depth < 100 and all(
                isinstance(key, str) and is_json(key) and is_json(each, depth + 1) for key, each in value.items()
            )
        case _:
            return False


def misread(value: Any, written: str | None) -> str:
    """Say why a plain scalar is not the string it looks like: ``NO is read as a boolean; quote it``."""
    shown = echo(value if written is None else written).strip('"')
    match value:
        case bool():
            return f"{shown} is read as a boolean; quote it"
        case int() if shown != str(value):
            return f"{shown} is read as the integer {value}; quote it"
        case float() if written is not None and not _is_written_so(value, written):
            return f"{shown} is read as the number {value}; quote it"
        case _:
            return f"{shown} is read as {kind(value)}; quote it"


def _is_written_so(number: float, text: str) -> bool:
    """Whether a number, written out, equals the text: not for ``+5``, ``1.10``, ``0x1F``, ``.5`` or excess digits."""
    if not _JSON_NUMBER.fullmatch(text) or _TRAILING_ZERO.search(text) or text == "-0":
        return False
    return Decimal(text) == Decimal(repr(number))


def _duration(seconds: float) -> str:
    """Return both ways to write a number of seconds: ``90s or 1m30s``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = "".join(f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if number)
    return f"{int(seconds)}s or {parts}" if hours or minutes else f"{int(seconds)}s"


_DEEPER = "the keys of one mapping begin in one column; a text of several lines is quoted, or stands below `key: |`"
_INDENTATION = "check the indentation: the keys of one mapping begin in one column"
_SYNTAX_HINTS = {
    "found unexpected end of stream": "a quote that is opened here is closed nowhere",
    "did not find expected '-' indicator": "the keys of a step stand below its first key: indent this one as far",
    "did not find expected key": _INDENTATION,
    "expected <block end>": _INDENTATION,
    "mapping values are not allowed": 'quote a value that has ": " in it',
    "could not find expected ':'": "a key needs a colon and a space after it",
    "cannot start any token": "quote a value that starts with %, @ or `",
}

# A quote in the middle of a word has ended the string that it was meant to be part of.
_QUOTE_WITHIN = re.compile(r"['\"]\w")
_QUOTE_HINTS = {
    "'": "an apostrophe within single quotes is written twice: 'it''s'",
    '"': r"a quotation mark within double quotes is written \"",
}


def _is_first_key_of_deeper_line(colon: Place, lines: _Lines) -> bool:
    """Whether a colon ends the first key of its line, and that begins right of what the line before it begins with."""
    key = colon.text[: colon.column - 1]
    number = colon.line - 2
    while number >= 0 and not (before := lines.place(lines.starts[number], lines.starts[number]).text).strip():
        number -= 1
    return number >= 0 and ": " not in key and _column(key) > _column(before)


def _column(line: str) -> int:
    """Where a line begins after its spaces and the dashes of lists."""
    return len(line) - len(line.lstrip(" -"))


def _syntax_fault(error: yaml.MarkedYAMLError, lines: _Lines) -> Fault:
    problem = error.problem or "unreadable"
    # A quote that is never closed is reported where it opens, not at the end of the file.
    marks = (error.problem_mark, error.context_mark)
    opened, found = error.context_mark, error.problem_mark
    # A list or a mapping between brackets that is still open in a later line was most likely meant to end in its own.
    unclosed = bool(opened and found and "flow" in (error.context or "") and found.line > opened.line)
    mark = next(filter(None, reversed(marks) if "end of stream" in problem or unclosed else marks), None)
    offset = mark.index if mark else 0
    where = lines.place(offset, offset + 1)
    start = lines.starts[where.line - 1]
    indent = where.text[: len(where.text) - len(where.text.lstrip(" \t"))]
    if "\t" in indent:
        at = start + indent.index("\t")
        return Fault("E010", "tab used for indentation", lines.place(at, at + 1), "indent with spaces")
    hint = next((hint for words, hint in _SYNTAX_HINTS.items() if words in problem), "")
    hint = "what is opened here is closed nowhere, or a comma is missing in it" if unclosed else hint
    before, expression, _ = where.text.partition("${{")
    if expression and ("[" in before or "{" in before):
        hint = "quote ${{ … }} between [ ] or { }"
    if "expected" in problem and (within := _QUOTE_WITHIN.match(where.text, max(0, where.column - 2))):
        hint = _QUOTE_HINTS[within[0][0]]
    if "mapping values are not allowed" in problem and _is_first_key_of_deeper_line(where, lines):
        key = lines.place(start + len(indent), offset)
        return Fault("E014", "not YAML: this line is indented more than the one before", key, _DEEPER)
    context = f", {error.context}" if error.context else ""
    return Fault("E014", f"not YAML: {printable(problem + context)}", where, hint)
