"""The values that an input accepts, and the messages for others."""

import math
import os
from pathlib import Path
from typing import Any

import pytest

from runner.language import inputs
from runner.language.faults import InvalidInput, InvalidWorkflow
from runner.language.inputs import Input
from runner.views.faults import describe_faults
from tests.command_line import DEFAULT, runner


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ({}, "NO", "NO"),
        ({}, "", ""),
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, "-5", -5),
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, "2.5e1", 25.0),
        ({"type": "boolean"}, "yes", True),
        ({"type": "boolean"}, "0", False),
        ({"type": "boolean"}, "FALSE", False),
        ({"type": "array"}, '[1, "a"]', [1, "a"]),
        ({"type": "array"}, ["a", "b"], ["a", "b"]),
        ({"type": "object"}, '{"a": {"b": null}}', {"a": {"b": None}}),
        ({"enum": ["a", "b"]}, "b", "b"),
        ({"pattern": "b"}, "abc", "abc"),
        ({"required": False}, None, None),
        ({"type": "integer"}, 5.0, 5),
    ],
)
def test_an_input_accepts_what_fits(declared: dict[str, Any], text: Any, value: Any) -> None:
    accepted = Input.model_validate(declared).accept(text)
    assert (accepted, type(accepted)) == (value, type(value))


@pytest.mark.parametrize(
    ("declared", "value", "told"),
    [
        ({"type": "integer"}, "five", 'expected an integer, found the string "five"'),
        ({"type": "integer"}, "5.5", 'expected an integer, found the string "5.5"'),
        ({"type": "integer"}, True, "expected an integer, found true"),
        ({"type": "integer"}, "9007199254740992", "expected a value that JSON can carry"),
        ({"type": "number"}, "nan", "expected a number"),
        ({"type": "number"}, "1e999", "expected a value that JSON can carry"),
        ({"type": "number", "maximum": 5}, "6", "expected at most 5, found 6"),
        ({"type": "boolean"}, "maybe", "expected true or false"),
        ({"type": "array"}, "[1,", "expected a list"),
        ({"type": "array"}, "[" * 100_000, "expected a list"),
        ({"type": "array"}, "[NaN]", "expected a value that JSON can carry"),
        ({"type": "array", "max_length": 1}, "[1, 2]", "expected at most 1 items, found a list"),
        ({"type": "object"}, "[]", "expected a mapping"),
        ({"enum": ["a", "b"]}, "c", 'expected one of "a", "b", found the string "c"'),
        ({"pattern": "^b"}, "abc", 'expected a match of "^b"'),
        ({"min_length": 3}, "ab", "expected at least 3 characters"),
        ({}, None, "expected a string, found nothing"),
        ({}, "\udcff", "expected a value that JSON can carry"),
    ],
)
def test_an_input_refuses_what_does_not_fit(declared: dict[str, Any], value: Any, told: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Input.model_validate(declared).accept(value)
    assert str(raised.value).startswith(told)


def test_an_input_given_as_json_is_not_read_as_text() -> None:
    with pytest.raises(InvalidInput):
        Input(type="integer").accept("5", from_text=False)


@pytest.mark.parametrize("keys", [{"type": "integer"}, {"pattern": "^x"}, {"enum": ["x-s3cret"]}, {"max_length": 1}])
def test_the_value_of_a_secret_input_is_not_echoed(keys: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as raised:
        Input.model_validate({"secret": True, **keys}).accept("s3cret")
    assert "s3cret" not in str(raised.value)


def test_matching_the_pattern_of_an_input_takes_linear_time() -> None:
    """Python's re would need longer than the universe for this one; Pydantic's regular expressions are Rust's."""
    with pytest.raises(InvalidInput):
        Input(pattern="^(a+)+$").accept("a" * 5_000 + "b")


@pytest.mark.parametrize(
    ("pattern", "states"),
    [
        ("^a{3}$", 5),
        ("(a{10}){10}", 100),
        (r"\{5}\w{2,4}", 7),
        ("[{9}]{2,}", 2),
        ("", 0),
        ("(((", 0),
        (")))", 3),
        ("(ab|c){3}d", 13),
    ],
)
def test_the_size_of_the_pattern_of_an_input_is_estimated(pattern: str, states: int) -> None:
    assert inputs._states(pattern) == states


def refused(path: Path, text: str, **declared: Input) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidWorkflow) as raised:
        inputs.read(str(path), declared)
    return describe_faults(raised.value.faults).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"a: {'x' * 70_000}", "i.yaml:1:4: error[E017]: string of 70,000 bytes, limit 65,536"),
        ("a: 1\na: 2", 'i.yaml:2:1: error[E006]: duplicate key "a" (first at 1:1)'),
        ("a: 1:30", "i.yaml:1:4: error[E007]: 1:30 is read as the number 90, in base 60"),
        ("a: {<<: {b: 1}}", "i.yaml:1:5: error[E004]: merge keys are not supported"),
        ("a: !!str 5", "i.yaml:1:4: error[E005]: tag not allowed"),
        ("a: 9007199254740992", "i.yaml:1:4: error[E018]: integer out of range"),
        ("a: NO", "i.yaml:1:4: error[E007]: NO is read as a boolean; quote it"),
        ("# none", "i.yaml:1:1: error[E012]: empty file of inputs"),
    ],
)
def test_the_faults_of_a_file_of_inputs_are_reported(text: str, told: str, tmp_path: Path) -> None:
    """Found by an adversary: a text of 70,000 bytes arrived as its first 80 characters, and `1:30` as 90; exit 0."""
    assert refused(tmp_path / "i.yaml", text, a=Input()).startswith(told)


@pytest.mark.parametrize(
    "text", ["t: 0755\nb: [NO]", "t: [1, {x: 0755}]\n", "t: *0755\n", "t: 0755: 0755", "b: {\nt: 0755", "t: 1\nt: 0755"]
)
def test_a_secret_of_a_file_of_inputs_is_not_shown_with_its_faults(text: str, tmp_path: Path) -> None:
    assert "0755" not in refused(tmp_path / "i.yaml", text, t=Input(secret=True), b=Input())


def test_a_json_file_of_inputs_has_the_numbers_of_json(tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text('{"a": 1.10, "b": 1e3, "c": "\\u00e9\\/"}', encoding="utf-8")
    assert inputs.read(str(tmp_path / "i.json"), {}) == {"a": 1.1, "b": 1000.0, "c": "é/"}


def test_run_ends_with_the_faults_of_its_file_of_inputs(tmp_path: Path) -> None:
    (tmp_path / "i.yaml").write_text("topic: a\ntopic: b\n", encoding="utf-8")
    answer = runner("run", DEFAULT, "--dry-run", "--inputs-file", str(tmp_path / "i.yaml"))
    assert (answer.code, answer.stdout) == (3, "")
    assert answer.first_line == f'{tmp_path}/i.yaml:2:1: error[E006]: duplicate key "topic" (first at 1:1)'


def test_a_named_pipe_of_inputs_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    answer = runner("run", DEFAULT, "--dry-run", "--inputs-file", str(tmp_path / "pipe"))
    assert (answer.code, answer.stdout) == (3, "")
    assert answer.first_line.startswith(f"{tmp_path}/pipe: error[E100]: is a named pipe")


def test_infinity_is_no_value_of_an_input() -> None:
    with pytest.raises(InvalidInput):
        Input(type="number").accept(math.inf)
