"""How many collectors share a message."""

import pytest

from runner.language.plan import Foreach, Plan
from runner.language.steps import BATCH_LIMIT
from runner.messages.batching import sized
from tests.plans import make_collector, make_plan


def batch_of(plan: Plan, slots: int) -> int:
    [page] = sized(plan, slots).collectors
    assert page.foreach is not None
    return page.foreach.batch


def paged(count: int, batch: int | None = None, max_concurrency: int | None = None) -> Plan:
    foreach = Foreach(items="…", count=count)
    return make_plan(collectors=[make_collector("page", foreach=foreach, batch=batch, max_concurrency=max_concurrency)])


def test_the_batch_that_the_file_says_is_kept() -> None:
    assert batch_of(paged(100, batch=7), slots=2) == 7


@pytest.mark.parametrize("count", [1, 20, 1_000, 1_000_000])
@pytest.mark.parametrize("slots", [0, 1, 64])
def test_a_batch_is_within_its_limit_and_there_is_none_without_a_collector(count: int, slots: int) -> None:
    batch = batch_of(paged(count), slots)
    assert 1 <= batch <= min(count, BATCH_LIMIT)


def test_a_fan_out_has_several_messages_for_each_slot_so_that_the_last_is_not_waited_for_long() -> None:
    assert -(-1_000 // batch_of(paged(1_000), slots=8)) >= 4 * 8


def test_a_foreach_without_items_has_a_batch() -> None:
    assert batch_of(paged(0), slots=2) == 1


def test_async_collectors_share_a_message_with_those_of_their_queue_and_priority_alone() -> None:
    waits = [make_collector(f"w{number}", max_concurrency=64, priority=number % 2) for number in range(40)]
    plan = sized(make_plan(collectors=[*waits, make_collector("alone")]), slots=1)
    messages: dict[int | None, set[int | None]] = {}
    for step in plan.collectors:
        messages.setdefault(step.message, set()).add(step.priority)
    assert messages.pop(None) == {None}
    assert [len(priorities) for priorities in messages.values()] == [1] * len(messages)
    assert 2 <= len(messages) < 40
