from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.language import functions
from runner.language.expressions import check, expand
from runner.language.faults import InvalidExpression

NAMES: Mapping[str, Any] = {
    "inputs": {"tags": ["a", "B"], "numbers": [3, 1.5], "text": " A,b ", "big": "a" * 3_000_000},
    "run": {"started_at": "2026-01-31T23:20:30+00:00"},
}
NUMBERS = st.lists(st.one_of(st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9)), max_size=6)


def value(expression: str, names: Mapping[str, Any] = NAMES) -> Any:
    return expand(f"${{{{ {expression} }}}}", names)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('inputs.tags.join(", ")', "a, B"),
        ("join([1, true, null, 'x'])", "1truex"),
        ("max(inputs.numbers)", 3),
        ("min(2, 1)", 1),
        ('max(["2026-03-01", "2026-01-02"])', "2026-03-01"),
        ("sum([])", 0),
        ("[1, 2].map(n, n * 2).sum()", 6),
        ('inputs.text.trim().lower().split(",")', ["a", "b"]),
        ('"a,b,c".split(",", 2)', ["a", "b,c"]),
        ("upper('ä')", "Ä"),
        ('"abcd".substring(1, 3)', "bc"),
        ('"abcd".substring(4)', ""),
        ('"aXbX".replace("X", "")', "ab"),
        ('run.started_at.format("%Y-%m-%d")', "2026-01-31"),
        ('run.started_at.format("%Y-%m-%d %H:%M", "Europe/Berlin")', "2026-02-01 00:20"),
        ('timestamp(run.started_at).format("%G-W%V")', "2026-W05"),
        ('"2026-07-01".format("%j %%")', "182 %"),
    ],
)
def test_a_function_is_what_the_guide_says(expression: str, expected: Any) -> None:
    assert value(expression) == expected
    assert check(f"${{{{ {expression} }}}}", {"inputs": None, "run": None}) is None


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("max([])", "max of an empty list: ask size(…) > 0 first"),
        ('max([1, "a"])', "max takes numbers, or texts, or timestamps"),
        ("max([true])", "max takes numbers"),
        ('sum(["a"])', "sum takes a list of numbers"),
        ("join([[1]], '')", "it has a list or a map"),
        ('"a".split("")', "split takes a text and what separates its parts"),
        ('"abc".substring(2, 1)', "a text of 3 characters does not have"),
        ("lower(5)", "lower takes a text"),
        ('run.started_at.format("%c")', "the same in every language"),
        ('run.started_at.format("%")', 'format knows no "%"'),
        ('run.started_at.format("%Y", "Europe/Berln")', "did you mean Europe/Berlin?"),
        ('"tomorrow".format("%Y")', "format takes a date as 2026-01-31"),
        ('inputs.big.replace("a", "bb")', "it would make 9,000,000 characters"),
        ('inputs.tags.map(t, inputs.big.replace("a", "b"))', "it would make 6,000,000 characters"),
        ('size(range("a"))', "range takes one integer or two"),
    ],
)
def test_a_function_says_what_it_takes(expression: str, reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidExpression) as raised:
        value(expression)
    assert reason in str(raised.value)
    assert capfd.readouterr().err == ""  # nothing of Python's or of CEL's


@given(NUMBERS)
def test_of_numbers_they_are_pythons(numbers: list[float]) -> None:
    assert functions.FUNCTIONS["sum"](numbers) == sum(numbers)
    if numbers:
        assert functions.FUNCTIONS["max"](numbers) == max(numbers)
        assert functions.FUNCTIONS["min"](*numbers) == min(numbers)


@given(st.text(max_size=20), st.text(min_size=1, max_size=2), st.text(max_size=3))
def test_of_texts_they_are_pythons(text: str, part: str, new: str) -> None:
    assert functions.FUNCTIONS["join"](functions.FUNCTIONS["split"](text, part), part) == text
    assert functions.FUNCTIONS["replace"](text, part, new) == text.replace(part, new)
    assert functions.FUNCTIONS["substring"](text, len(text) // 2) == text[len(text) // 2 :]
