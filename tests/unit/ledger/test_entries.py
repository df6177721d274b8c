"""The entries of the ledger."""

import pytest

from runner.ledger.entries import StepStatus
from runner.ledger.statuses import count_passing
from tests.plans import make_outcome


@pytest.mark.parametrize(
    ("status", "passes"),
    [
        ("succeeded", True),
        ("failed", False),
        ("timed_out", False),
        ("not_run", False),
        ("cancelled", False),
        ("late", False),
    ],
)
def test_only_a_step_that_succeeded_passes(status: StepStatus, passes: bool) -> None:  # noqa: FBT001
    assert make_outcome("a", status).passes is passes


def test_steps_that_pass_are_counted_whatever_the_others_are() -> None:
    assert count_passing({"succeeded": 3, "failed": 2, "late": 1}) == 3
    assert count_passing({"failed": 2}) == 0
