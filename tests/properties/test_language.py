"""Properties of any text and of any workflow, from the file to the checked workflow."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.language import expressions, spec
from runner.language.faults import InvalidExpression, InvalidWorkflow
from runner.language.source import Loc, parse_source
from runner.language.spec import read_workflow
from runner.language.task_index import read_tasks
from runner.views.faults import describe_faults
from tests import strategies

PURE = read_tasks(["pure_tasks"], [Path(__file__).parents[1]])

# Pieces that YAML and the language give a meaning to, so that random texts get past the first line.
_PIECES = [
    "name: a",
    "collectors:",
    "- id: a",
    "  task: pure.echo",
    "  with: {value: 1}",
    "gather:",
    "stages: []",
    "inputs:",
]
_PIECES += [
    "\n",
    "\r\n",
    "\r",
    "  ",
    "\t",
    ": ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "!!str ",
    "!t ",
    "<<: ",
    "#",
    "---",
    "...",
]
_PIECES += [
    "'",
    '"',
    "|",
    ">-",
    "%YAML 1.1",
    "\x85",
    "\u2028",
    "\ufeff",
    "\0",
    "é",
    "😀",
    "NO",
    "1:30",
    "9" * 30,
    ".nan",
    "0x_",
    "~",
]
_PIECES += [
    "${{ inputs.a }}",
    "${{ 1 + }}",
    "${{",
    "}}",
    '"\\ud800"',
    "\\U00110000",
    "timeout: 1s",
    "retry: 3",
    "x" * 200,
]


def read(text: str | bytes) -> spec.Workflow:
    return read_workflow(parse_source(text, "bad.yaml"), PURE)


def faults(text: str | bytes) -> list[tuple[int, int]]:
    """The positions of what is wrong with a text; none if it is a workflow."""
    try:
        read(text)
    except InvalidWorkflow as error:
        describe_faults(error.faults)
        return [(fault.place.line, fault.place.column) for fault in error.faults]
    return []


def outside(text: str, positions: list[tuple[int, int]]) -> list[tuple[int, int]]:
    lines = re.split("\r\n|\r|\n", text)
    return [
        (line, column)
        for line, column in positions
        if not (1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1)
    ]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf\xff")
@example(b"a: \xed\xa0\x80")
def test_any_bytes_are_a_workflow_or_faults_within_them(content: bytes) -> None:
    assert not outside(content.decode(errors="replace"), faults(content))


@settings(max_examples=600, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(_PIECES), max_size=30).map("".join)))
@example("\ud800")
@example('name: "\\ud800"')
@example("name: \u2028a: b: c")
@example("? ")
@example(": a")
@example("- [a: b]: c")
def test_any_text_is_a_workflow_or_faults_within_it(text: str) -> None:
    assert not outside(text, faults(text))


@settings(max_examples=300, deadline=None)
@given(strategies.workflows().map(strategies.as_yaml), st.data())
def test_a_workflow_with_a_piece_put_anywhere_is_a_workflow_or_faults_within_it(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 5))
    spoilt = text[:at] + data.draw(st.sampled_from(_PIECES)) + text[at + cut :]
    assert not outside(spoilt, faults(spoilt))


@settings(max_examples=100, deadline=None)
@given(strategies.workflows())
def test_a_valid_workflow_has_no_faults(data: strategies.Data) -> None:
    assert read(strategies.as_yaml(data))


@settings(max_examples=100, deadline=None)
@given(strategies.workflows())
def test_a_file_reads_as_the_data_it_was_written_from(data: strategies.Data) -> None:
    assert parse_source(strategies.as_yaml(data), "good.yaml").data == data


@settings(max_examples=100, deadline=None)
@given(strategies.workflows())
def test_a_workflow_written_and_read_again_is_the_same(data: strategies.Data) -> None:
    workflow = read(strategies.as_yaml(data))
    assert read(strategies.as_yaml(workflow.model_dump(by_alias=True, exclude_unset=True))) == workflow


@settings(max_examples=100, deadline=None)
@given(strategies.workflows(), st.data())
def test_a_misspelt_key_is_a_fault_on_its_line(data: strategies.Data, choice: st.DataObject) -> None:
    text = strategies.as_yaml(data)
    loc = choice.draw(st.sampled_from(list(keys(data))))
    place = parse_source(text, "good.yaml").place(loc, key=True)
    assert place.line in {line for line, _ in faults(spoilt(text, place.line, place.column, 0, "zq"))}


@settings(max_examples=100, deadline=None)
@given(strategies.workflows(), st.data())
def test_a_value_of_the_wrong_type_is_a_fault_on_its_line(data: strategies.Data, choice: st.DataObject) -> None:
    text = strategies.as_yaml(data)
    loc = choice.draw(st.sampled_from([loc for loc, value in keys(data).items() if value == ""]))
    place = parse_source(text, "good.yaml").place(loc)
    assert place.line in {line for line, _ in faults(spoilt(text, place.line, place.column, place.length, "[[]]"))}


_WORDS = [
    "inputs",
    "run",
    ".",
    "a",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    "+",
    "-",
    "1",
    "'",
    '"',
    "r'",
    "b'",
    "\\",
    "'''",
]
_WORDS += [
    " ",
    "\n",
    "//",
    "map",
    "all",
    "has",
    "in",
    "null",
    "9223372036854775808",
    "1.5e999",
    "é",
    "\ud800",
    "\0",
    "&&",
    "!",
    "int",
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=25).map("".join))
def test_any_expression_comes_to_a_json_value_or_to_one_of_our_errors(text: str) -> None:
    template = f"${{{{ {text} }}}}"
    expressions.check(template, {"inputs": ["a"], "run": ["id"]})
    expressions.references(template)
    assert isinstance(outcome(template), str | int | float | bool | list | dict | None)


def outcome(template: str) -> Any:
    try:
        return expressions.expand(template, {"inputs": {"a": [1, "b"]}, "run": {"id": "r"}})
    except InvalidExpression as error:
        return str(error)


def keys(data: strategies.Data) -> dict[Loc, str]:
    """The places of the keys that the language defines; to each ``""`` if its value is a scalar on one line."""
    return {
        loc: "" if isinstance(value, str | int | float) and "\n" not in str(value) and loc[-1] not in _LISTS else "more"
        for loc, value in _keys(data, ())
    }


_LISTS = {"foreach", "items"}  # of values of the user's own, or an expression for one


def _keys(value: Any, loc: Loc) -> Iterator[tuple[Loc, Any]]:
    if isinstance(value, dict) and loc[-1:] not in {("with",), ("default",), ("items",)}:
        for key, each in value.items():
            if loc != ("inputs",):
                yield (*loc, key), each
            yield from _keys(each, (*loc, key))
    elif isinstance(value, list) and loc[-1] not in _LISTS:
        for index, each in enumerate(value):
            yield from _keys(each, (*loc, index))


def spoilt(text: str, line: int, column: int, length: int, piece: str) -> str:
    lines = re.split("(?<=\n)", text)
    spoilt = lines[line - 1]
    lines[line - 1] = spoilt[: column - 1] + piece + spoilt[column - 1 + length :]
    return "".join(lines)
