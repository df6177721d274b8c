"""The status of a run to an exit code."""

import pytest

from runner.ledger.entries import RunStatus
from runner.runs.exit_codes import exit_code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("succeeded", 0),
        ("partial", 0),
        ("failed", 1),
        ("cancelled", 6),
        ("running", 5),
        ("pending", 5),
        ("unreadable", 7),
    ],
)
def test_a_command_that_waited_for_a_run_exits_with_the_code_of_its_status(status: RunStatus, code: int) -> None:
    assert exit_code(status) == code


def test_with_strict_a_partial_run_is_a_failure() -> None:
    assert exit_code("partial", strict=True) == 1
