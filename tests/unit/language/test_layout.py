"""The numbers of collectors and their batches, which a plan does not have."""

import pytest

from runner.language.layout import Layout, as_written, dump_layout, load_layout
from runner.language.plan import Foreach, NewerVersion
from tests.plans import make_collector, make_plan

PAGE = make_collector("page", foreach=Foreach(items="${{ inputs.pages }}"))
PLAN = make_plan(collectors=(make_collector("home"), PAGE), min_success="60%")
LAYOUT = Layout(counts={"page": 5}, sizes={"page": 2})


def test_the_last_batch_of_a_collector_has_the_items_that_are_left() -> None:
    assert LAYOUT.batches(PAGE) == {"page/0": 2, "page/1": 2, "page/2": 1}


def test_a_collector_without_items_has_no_batch() -> None:
    assert Layout(counts={"page": 0}, sizes={"page": 1}).refs(PAGE) == ()


def test_a_fan_out_has_every_item_and_a_share_of_them_must_succeed() -> None:
    [fan_out] = PLAN.fan_outs
    assert LAYOUT.refs_of(fan_out) == ("home", "page/0", "page/1", "page/2")
    assert (LAYOUT.total(fan_out), LAYOUT.least(fan_out)) == (6, 4)


def test_items_that_were_not_counted_are_no_number() -> None:
    """The number was 0, which was also that of a list of nothing: a drawing had to guess which it was."""
    assert not Layout().is_counted(PAGE)
    with pytest.raises(KeyError):
        Layout().count(PAGE)


def test_a_list_in_the_file_is_counted_as_it_is_written() -> None:
    empty = make_collector("empty", foreach=Foreach(items=[]))
    assert as_written(make_plan(collectors=(PAGE, empty))) == Layout(counts={"empty": 0})


def test_a_layout_survives_the_ledger() -> None:
    layout = Layout(counts={"page": 5}, sizes={"page": 2}, shared={"a": 0, "b": 0})
    assert load_layout(dump_layout(layout)) == layout


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"counts": {"page": "5"}}', '{"counts": {"page": 5}, "sizes": {"page": 0}}']
)
def test_a_damaged_layout_is_an_error(text: str) -> None:
    with pytest.raises((AttributeError, TypeError, ValueError)):
        load_layout(text)


def test_a_layout_with_a_key_of_a_newer_version_is_left_to_that() -> None:
    with pytest.raises(NewerVersion):
        load_layout('{"of_tomorrow": {}}')


def test_a_step_goes_to_the_queue_that_it_names_or_to_the_runs_and_in_a_run_with_its_own_worker_to_that_alone() -> None:
    steps = make_plan(collectors=[make_collector("a"), make_collector("b", queue="heavy")]).collectors
    shared, own = Layout(queue="celery"), Layout(queue="celery.run-1", own=True)
    assert [shared.queue_of(step) for step in steps] == ["celery", "heavy"]
    assert [own.queue_of(step) for step in steps] == ["celery.run-1", "celery.run-1"]
    assert [Layout().queue_of(step) for step in steps] == [None, "heavy"]
