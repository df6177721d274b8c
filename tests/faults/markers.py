"""A marker in the source, and what stands at its place without that defence, to the changed source.

A marker is a comment at the end of a line, or alone on the line above: ``# defence: LEASES``, in Lua ``-- defence: DONE``.
What it marks is the smallest whole that the code of that line belongs to: a statement, the head of a compound one, an item of
a dict, a parameter or an argument. In a script within a string it is the line.
"""

import ast
import io
import re
import tokenize
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.command_line import ROOT

_MARKER = re.compile(r"(?:^|  )(?:#|--) defence: ([A-Z_0-9]+)$")
_Place = tuple[int, int]  # a line, from 1, and a column in bytes


@dataclass(frozen=True, slots=True)
class Marked:
    """What a marker marks: a part of a line, or some lines, of a file of the project.

    Args:
        begin: the offset, in characters, of where it begins.
        end: the offset of the character behind it.
        is_python: it is no line of a script within a string.
    """

    name: str
    file: Path
    begin: int
    end: int
    is_python: bool

    @property
    def code(self) -> str:
        return self.file.read_text(encoding="utf-8")[self.begin : self.end]

    def replaced(self, code: str) -> str:
        """The whole file with other code at its place; empty for none."""
        text = self.file.read_text(encoding="utf-8")
        indent = " " * (self.begin - text.rfind("\n", 0, self.begin) - 1)
        code = code or ("pass" if self.is_python else "")
        return text[: self.begin] + code.replace("\n", f"\n{indent}") + text[self.end :]


def markers(root: Path = ROOT) -> list[Marked]:
    """The markers in the modules of the project, or of a copy of it."""
    files = sorted(file for folder in ("runner", "tests") for file in (root / folder).rglob("*.py"))
    return [marked for file in files for marked in _Module(file).markers()]


class _Module:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.text = file.read_text(encoding="utf-8")
        self.lines = self.text.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def markers(self) -> Iterator[Marked]:
        for number, line in enumerate(self.lines, 1):
            if found := _MARKER.search(line.rstrip("\n")):
                in_python = number in self._comments
                above = not line[: found.start()].strip()
                begin, end = self._code(number + 1 if above else number)
                if in_python:
                    begin, end = min(
                        (whole for whole in self._wholes if whole[0] <= begin and end <= whole[1]),
                        key=lambda whole: whole[1] - whole[0],
                    )
                yield Marked(name=found[1], file=self.file, begin=begin, end=end, is_python=in_python)

    def _code(self, number: int) -> tuple[int, int]:
        """Where the code of a line begins and ends, without its comment and the comma of a list."""
        line = self.lines[number - 1]
        code = line.rstrip("\n")
        if number in self._comments:
            code = code[: self._comments[number]]
        elif found := _MARKER.search(code):
            code = code[: found.start()]
        code = code.rstrip().removesuffix(",")
        begin = self.starts[number - 1]
        return begin + len(line) - len(line.lstrip()), begin + len(code)

    @cached_property
    def _tokens(self) -> list[tokenize.TokenInfo]:
        return list(tokenize.generate_tokens(io.StringIO(self.text).readline))

    @cached_property
    def _comments(self) -> dict[int, int]:
        """The lines with a comment, and the column at which it begins."""
        return {token.start[0]: token.start[1] for token in self._tokens if token.type == tokenize.COMMENT}

    @cached_property
    def _wholes(self) -> list[tuple[int, int]]:
        """Where statements, the heads of compound ones, items, parameters and arguments begin and end."""
        return [(self._offset(begin), self._offset(end)) for begin, end in self._spans()]

    def _spans(self) -> Iterator[tuple[_Place, _Place]]:
        for node in ast.walk(ast.parse(self.text)):
            match node:
                case ast.stmt(body=[first, *_]) | ast.ExceptHandler(body=[first, *_]):  # type: ignore[misc]
                    yield (node.lineno, node.col_offset), self._colon_before((first.lineno, first.col_offset))
                case ast.stmt() | ast.keyword():
                    yield _span(node)
                case ast.Dict(keys=keys, values=values):
                    yield from (
                        (_span(key)[0], _span(value)[1]) for key, value in zip(keys, values, strict=True) if key
                    )
                case ast.Call(args=args) | ast.List(elts=args) | ast.Tuple(elts=args) | ast.Set(elts=args):
                    yield from map(_span, args)
                case ast.arguments():
                    positional = [*node.posonlyargs, *node.args]
                    defaults = [*[None] * (len(positional) - len(node.defaults)), *node.defaults, *node.kw_defaults]
                    for argument, default in zip([*positional, *node.kwonlyargs], defaults, strict=True):
                        yield _span(argument)[0], _span(default or argument)[1]

    def _colon_before(self, place: _Place) -> _Place:
        """Behind the last colon before the body of a compound statement."""
        return self._colons[bisect_left(self._colons, place) - 1]

    @cached_property
    def _colons(self) -> list[_Place]:
        """Behind each colon that is no part of a string or a comment."""
        ends = [token.end for token in self._tokens if token.type == tokenize.OP and token.string == ":"]
        return [(line, len(self.lines[line - 1][:column].encode())) for line, column in ends]

    def _offset(self, place: _Place) -> int:
        line, column = place
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())


def _span(node: ast.stmt | ast.expr | ast.keyword | ast.arg) -> tuple[_Place, _Place]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
