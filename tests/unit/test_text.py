"""Any text to the text that a terminal shows."""

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.text import block, cut, cut_middle, duration, printable, rate, to_json, width, wrap


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x9b2J", r"\x9b2J"),
        ("abc\u202edef", r"abc\u202edef"),
        ("\ud800", r"\ud800"),
        ("na\u00a0me\u200b", r"na\xa0me\u200b"),
        ("naïve 集 🎉 👩\u200d🚀", "naïve 集 🎉 👩\u200d🚀"),
    ],
)
def test_only_characters_that_mislead_are_escaped(written: str, shown: str) -> None:
    assert printable(written) == shown


def test_prose_that_is_made_safe_keeps_its_no_break_spaces() -> None:
    assert block("oui\u00a0!\n\x1b[31m") == "oui\u00a0!\n\\x1b[31m"


@given(st.text())
def test_printable_text_never_moves_the_cursor(written: str) -> None:
    shown = printable(written)
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_printable_json_reads_back_and_moves_no_cursor(value: object) -> None:
    shown = to_json(value)
    assert json.loads(shown) == value
    assert block(shown) == shown
    shown.encode()


@given(st.text().map(printable), st.integers(0, 50))
def test_a_text_that_is_cut_fits(written: str, columns: int) -> None:
    assert width(cut(written, columns)) <= columns
    assert width(cut_middle(written, columns)) <= columns


@given(st.text().map(printable), st.integers(2, 50))
@example("000\u0300", 2)  # was one line of three columns: the accent was cut off in place of a letter
def test_a_text_that_is_wrapped_fits_and_loses_nothing(written: str, columns: int) -> None:
    wrapped = wrap(written, columns)
    assert all(width(line) <= columns for line in wrapped)
    assert "".join("".join(wrapped).split()) == "".join(written.split())


def test_a_text_that_fits_is_not_cut() -> None:
    assert cut("集集", 4) == "集集"
    assert cut("集集", 3) == "集…"
    assert cut_middle("collector_17", 12) == "collector_17"
    assert cut_middle("collector_17", 9) == "colle…_17"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (0.004, "0s"),
        (0.28, "0.28s"),
        (0.999, "1s"),
        (12.34, "12.3s"),
        (59.96, "1m"),
        (90, "1m30s"),
        (3600, "1h"),
        (5400, "1h30m"),
        (7199.9, "2h"),
        (100_000, "1d3h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("each_second", "shown"),
    [(12_345.6, "12,346/s"), (10, "10/s"), (2.5, "2.5/s"), (1, "1/s"), (0.2, "12/min"), (0.01, "36/h")],
)
def test_a_rate_is_in_the_unit_in_which_it_is_more_than_one(each_second: float, shown: str) -> None:
    assert rate(each_second) == shown
