"""Many collectors, counted."""

import pytest

from runner.ledger.statuses import Status, together
from runner.views.item_counts import ItemCounts


def tally(*, total: int = 100, started: int = 0) -> ItemCounts:
    counted = ItemCounts("page", total)
    if started:
        counted.start(started, 0)
    return counted


def counts(counted: ItemCounts) -> dict[str, int]:
    return {status: count for status, count in counted.counts.items() if count}


def test_an_item_that_is_tried_again_was_not_waiting_for_its_first_attempt() -> None:
    counted = tally(started=10)
    counted.postpone(4, 1, 5, "page[1]: E: x")
    counted.start(4, 6)
    assert counts(counted) == {"running": 10, "pending": 90}


def test_an_item_that_starts_before_a_retry_is_due_was_waiting() -> None:
    counted = tally(started=10)
    counted.postpone(4, 1, 5, "page[1]: E: x")
    counted.start(20, 2)
    assert counts(counted) == {"running": 26, "retrying": 4, "pending": 70}


def test_an_item_whose_retry_is_due_counts_once() -> None:
    counted = tally(started=10)
    counted.postpone(4, 1, 5, "page[1]: E: x")
    counted.start(3, 6)
    counted.start(3, 6)
    assert counts(counted) == {"running": 12, "pending": 88}


@pytest.mark.parametrize("started", [1, 100, 1000])
def test_items_counted_never_exceed_the_total(started: int) -> None:
    """An item whose worker is lost starts again, and its events come again, too."""
    counted = tally(started=started)
    counted.start(started, 1)
    counted.finish(started, 2, "succeeded")
    assert counted.counts.total() == 100
    assert min(counted.counts.values()) >= 0


def test_the_rate_of_items_is_that_of_the_last_ten_seconds() -> None:
    counted = tally(total=1000, started=1000)
    for at in range(1, 41):
        counted.finish(1 if at <= 20 else 5, at, "succeeded")
    assert counted.rate(40) == pytest.approx(5)
    assert counted.remaining_seconds(40) == pytest.approx((1000 - 120) / 5)


def test_the_rate_of_items_falls_while_none_ends() -> None:
    counted = tally(started=100)
    counted.finish(50, 5, "succeeded")
    assert counted.rate(5) == pytest.approx(10)
    assert counted.rate(14) < 10
    assert counted.rate(40) == 0
    assert counted.remaining_seconds(40) is None


def test_items_of_an_earlier_attempt_at_the_run_are_not_in_the_rate() -> None:
    counted = tally()
    counted.finish(90, 0, "succeeded")
    counted.start(10, 1)
    counted.finish(5, 2, "succeeded")
    assert counted.rate(2) == pytest.approx(5)


def test_the_rate_of_items_that_have_all_ended_is_that_of_the_whole() -> None:
    counted = tally(started=100)
    counted.finish(10, 1, "succeeded")
    counted.finish(90, 20, "failed", "page[7]: E: x")
    assert counted.rate(99) == pytest.approx(5)
    assert counted.seconds(99) == 20
    assert counted.remaining_seconds(99) is None


def test_of_many_failures_of_items_the_first_three_are_kept() -> None:
    counted = tally(started=100)
    for at in range(10):
        counted.finish(2, at, "failed", f"page[{at}]: E: x")
    assert counted.failed == 20
    assert counted.failures == ["page[0]: E: x", "page[1]: E: x", "page[2]: E: x"]


def test_the_end_of_a_run_ends_the_items_that_had_not_ended() -> None:
    counted = tally(started=30)
    counted.finish(10, 1, "succeeded")
    counted.close("cancelled")
    assert counts(counted) == {"succeeded": 10, "cancelled": 90}


def test_items_that_were_cancelled_have_not_ended_and_are_not_waited_for() -> None:
    counted = tally(started=30)
    counted.finish(10, 1, "succeeded")
    counted.close("cancelled")
    assert (counted.ended, counted.is_over, counted.remaining_seconds(2)) == (10, True, None)


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({}, "succeeded"),
        ({"pending": 3}, "pending"),
        ({"pending": 3, "succeeded": 1}, "running"),
        ({"retrying": 3}, "running"),
        ({"succeeded": 3, "failed": 0}, "succeeded"),
        ({"succeeded": 3, "late": 1}, "partial"),
        ({"succeeded": 3, "not_run": 1}, "partial"),
        ({"timed_out": 3, "not_run": 1}, "failed"),
        ({"not_run": 1}, "not_run"),
        ({"succeeded": 3, "cancelled": 1, "failed": 1}, "cancelled"),
    ],
)
def test_items_of_many_statuses_have_one_status_together(counts: dict[Status, int], status: Status) -> None:
    assert together(counts) == status
