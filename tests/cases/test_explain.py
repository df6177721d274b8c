"""`explain`: the codes that `validate` shows."""

import pytest

from runner.language.faults import CODES, WARNINGS
from tests.command_line import runner


def test_explain_shows_the_meaning_of_a_code_and_both_examples() -> None:
    told = runner("explain", "E027").stdout
    assert told.startswith(f"E027: {CODES['E027']}\n\n")
    assert "\nwrong\n    collectors:\n" in told
    assert "\nright\n    collectors:\n" in told


def test_explain_takes_a_code_in_small_letters() -> None:
    assert runner("explain", "w001").stdout == runner("explain", "W001").stdout


def test_explain_without_a_code_lists_every_code() -> None:
    listed = dict(line.split("  ", 1) for line in runner("explain").stdout.splitlines())
    assert listed == CODES | WARNINGS


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("E27", "Did you mean E027?"),
        ("E0027", "Did you mean E027?"),
        ("999", "`python -m runner explain` lists all codes."),
    ],
)
def test_explain_says_that_there_is_no_such_code_and_which_is_near(code: str, hint: str) -> None:
    answer = runner("explain", code)
    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr.endswith(f"Error: There is no code {code}. {hint}\n")
