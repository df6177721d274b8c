"""The ids of runs."""

import pytest

from runner.errors import MalformedRunId
from runner.ledger.run_ids import check_run_id, new_run_id
from tests.plans import make_gather, make_plan

PLAN = make_plan(collectors="", gather=make_gather(task=None))


@pytest.mark.parametrize("run_id", ["", "../../x", "a b", "a\n", "a\0", "-a", "x" * 65, "ä"])
def test_a_malformed_run_id_is_refused(run_id: str) -> None:
    with pytest.raises(MalformedRunId):
        check_run_id(run_id)


def test_a_new_run_id_is_well_formed_and_another_each_time() -> None:
    first, second = new_run_id(PLAN), new_run_id(PLAN)
    assert check_run_id(first).startswith("news-")
    assert first != second
