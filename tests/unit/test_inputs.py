"""What an input accepts, and what it says of what it does not."""

import math
from typing import Any

import pytest

from runner import inputs
from runner.errors import InvalidInput
from runner.inputs import Input


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


def test_a_json_value_is_not_read_as_text() -> None:
    with pytest.raises(InvalidInput):
        Input(type="integer").accept("5", from_text=False)


@pytest.mark.parametrize("keys", [{"type": "integer"}, {"pattern": "^x"}, {"enum": ["x-s3cret"]}, {"max_length": 1}])
def test_a_secret_is_not_echoed(keys: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as raised:
        Input.model_validate({"secret": True, **keys}).accept("s3cret")
    assert "s3cret" not in str(raised.value)


def test_a_pattern_takes_linear_time() -> None:
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
def test_the_size_of_a_pattern_is_estimated(pattern: str, states: int) -> None:
    assert inputs._states(pattern) == states


def test_infinity_fits_no_number() -> None:
    with pytest.raises(InvalidInput):
        Input(type="number").accept(math.inf)
