"""How many collectors share a message."""

import pytest

from runner.language.layout import Layout
from runner.language.plan import Foreach
from runner.language.steps import BATCH_LIMIT
from runner.messages.batching import lay_out
from runner.messages.destination import Destination
from tests.plans import make_collector, make_plan

DESTINATION = Destination(queue="celery")


def batch_of(count: int, slots: int, batch: int | None = None) -> int:
    plan = make_plan(collectors=[make_collector("page", foreach=Foreach(items="…"), batch=batch)])
    return lay_out(plan.fan_outs[0], Layout(counts={"page": count}), slots, DESTINATION).sizes["page"]


def test_the_batch_that_the_file_says_is_kept() -> None:
    assert batch_of(100, slots=2, batch=7) == 7


@pytest.mark.parametrize("count", [1, 20, 1_000, 1_000_000])
@pytest.mark.parametrize("slots", [0, 1, 64])
def test_a_batch_is_within_its_limit_and_there_is_none_without_a_collector(count: int, slots: int) -> None:
    batch = batch_of(count, slots)
    assert 1 <= batch <= min(count, BATCH_LIMIT)


def test_a_fan_out_has_several_messages_for_each_slot_so_that_the_last_is_not_waited_for_long() -> None:
    assert -(-1_000 // batch_of(1_000, slots=8)) >= 4 * 8


def test_a_foreach_without_items_has_a_batch() -> None:
    assert batch_of(0, slots=2) == 1


def test_async_collectors_share_a_message_with_those_of_their_queue_and_priority_alone() -> None:
    waits = [make_collector(f"w{number}", together=64, priority=number % 2) for number in range(40)]
    plan = make_plan(collectors=[*waits, make_collector("alone")])
    messages: dict[int, set[int | None]] = {}
    for step_id, number in lay_out(plan.fan_outs[0], Layout(), slots=1, destination=DESTINATION).shared.items():
        messages.setdefault(number, set()).add(plan.by_id[step_id].priority)
    assert "alone" not in lay_out(plan.fan_outs[0], Layout(), slots=1, destination=DESTINATION).shared
    assert [len(priorities) for priorities in messages.values()] == [1] * len(messages)
    assert 2 <= len(messages) < 40
