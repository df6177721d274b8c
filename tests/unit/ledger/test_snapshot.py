"""The fields of a snapshot."""

from dataclasses import replace

from runner.ledger.snapshot import count_items
from tests.snapshots import BUSY, PAGE, RUN


def test_details_count_what_is_executed_while_the_run_has_not_ended() -> None:
    going_on = replace(RUN, status="running", finished_at=None)
    told = count_items(going_on, PAGE, 1000, {"succeeded": 7}, BUSY)
    assert told == {"succeeded": 7, "running": 2, "retrying": 1, "pending": 990}


def test_details_do_not_count_what_has_ended_meanwhile_twice() -> None:
    going_on = replace(RUN, status="running", finished_at=None)
    assert count_items(going_on, PAGE, 1000, {"succeeded": 999}, BUSY) == {"succeeded": 999, "running": 1}
