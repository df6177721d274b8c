"""The faults of a file: places, codes, and the error that has them."""

import pytest

from runner.errors import RunnerError
from runner.language.faults import CODES, WARNINGS, Fault, InvalidWorkflow, Place


@pytest.mark.parametrize(
    ("place", "text"),
    [(Place("news.yaml"), "news.yaml"), (Place("news.yaml", 3, 5), "news.yaml:3:5")],
)
def test_a_place_is_written_as_editors_read_it(place: Place, text: str) -> None:
    assert str(place) == text


def test_places_are_in_the_order_of_their_lines_and_columns() -> None:
    places = [Place("a", 10, 1), Place("a", 9, 7), Place("a", 9, 2), Place("a")]
    assert [(each.line, each.column) for each in sorted(places)] == [(0, 0), (9, 2), (9, 7), (10, 1)]


def test_the_message_of_an_invalid_workflow_is_its_first_fault_and_it_has_all() -> None:
    faults = (
        Fault("E020", "unknown key", Place("a.yaml", 2, 1), "did you mean task?"),
        Fault("E021", "x", Place("a.yaml")),
    )
    error = InvalidWorkflow(faults)
    assert (str(error), error.hint) == ("a.yaml:2:1: error[E020]: unknown key", "did you mean task?")
    assert (error.faults, error.exit_code) == (faults, 3)


def test_an_error_without_a_message_says_what_its_class_is() -> None:
    assert str(RunnerError()) == "Something went wrong."


def test_no_code_is_both_a_fault_and_a_warning() -> None:
    assert not CODES.keys() & WARNINGS.keys()
    assert {code[0] for code in CODES} == {"E"}
    assert {code[0] for code in WARNINGS} == {"W"}
