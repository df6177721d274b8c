"""A plan to its canvas."""

from dataclasses import replace

from celery.canvas import _chain, _chord

from runner.language.layout import Layout
from runner.language.plan import HARD_LIMIT_AFTER, Foreach, Plan, Retry
from runner.messages.canvas import GATHER, STAGE, compose_open, messages_of
from tests.plans import change_plan, make_collector, make_gather, make_plan, make_stage


def plan(collectors: int = 3, stages: int = 2) -> Plan:
    return make_plan(
        collectors=tuple(make_collector(f"c{at}", queue="celery") for at in range(collectors)),
        gather=make_gather("fan_in", queue="celery"),
        stages=tuple(make_stage(f"s{at}", queue="heavy", priority=3) for at in range(stages)),
    )


def test_a_plan_is_a_chord_of_collectors_with_the_rest_as_its_body() -> None:
    composed = compose_open(plan(), "run-1", Layout())
    assert isinstance(composed, _chord)
    assert [each.args for each in composed.tasks] == [("run-1", ["c0"]), ("run-1", ["c1"]), ("run-1", ["c2"])]
    assert [each.task for each in composed.body.tasks] == [GATHER, STAGE, STAGE]


def test_a_message_of_several_collectors_has_a_time_limit_with_room_for_all() -> None:
    news = plan(collectors=4)
    retry = Retry(max_retries=1)
    shared = tuple(replace(step, timeout=at, retry=retry, together=64) for at, step in enumerate(news.collectors, 1))
    composed = compose_open(
        change_plan(news, collectors=shared), "run-1", Layout(shared={step.id: 0 for step in shared}), done={"c1"}
    )
    assert isinstance(composed, _chord)
    [message] = composed.tasks
    assert message.args == ("run-1", ["c0", "c2", "c3"])
    assert message.options["shadow"] == "news.c0"
    assert message.options["time_limit"] == (4 + HARD_LIMIT_AFTER) * 3


def test_collectors_that_are_written_out_are_sent_before_the_items_of_a_foreach() -> None:
    """A single required collector below a `foreach` of 10,000 items began when they had ended."""
    wide = make_collector("page", foreach=Foreach(items=list(range(4)), name="item", key=None))
    news = change_plan(plan(collectors=2), collectors=(make_collector("a"), wide, make_collector("b")))
    composed = compose_open(news, "run-1", Layout(counts={"page": 4}, sizes={"page": 2}))
    assert isinstance(composed, _chord)
    assert [refs for each in composed.tasks for refs in each.args[1]] == ["a", "b", "page/0", "page/1"]


def test_the_canvas_of_one_collector_is_a_chord_too() -> None:
    composed = compose_open(plan(collectors=1, stages=0), "run-1", Layout())
    assert isinstance(composed, _chord)
    assert composed.__length_hint__() == 1


def test_the_body_of_a_chord_without_stages_is_the_gather() -> None:
    composed = compose_open(plan(stages=0), "run-1", Layout())
    assert composed is not None
    assert composed.body.task == GATHER


def test_steps_that_are_done_are_not_composed() -> None:
    composed = compose_open(plan(), "run-1", Layout(), done={"c0", "c2"})
    assert [name for name, *_ in messages_of(composed)] == ["news.c1", "news.fan_in", "news.s0", "news.s1"]


def test_the_canvas_after_all_collectors_is_a_chain() -> None:
    composed = compose_open(plan(), "run-1", Layout(), done={"c0", "c1", "c2"})
    assert isinstance(composed, _chain)


def test_the_canvas_of_a_run_that_is_done_is_nothing() -> None:
    everything = plan()
    assert compose_open(everything, "run-1", Layout(), done={step.id for step in everything.steps}) is None


def test_the_queue_and_the_priority_of_a_signature_are_those_of_its_step() -> None:
    composed = compose_open(plan(stages=1), "run-1", Layout())
    assert composed is not None
    last = composed.body.tasks[-1]
    assert (last.options["queue"], last.options["priority"]) == ("heavy", 3)


def test_every_signature_is_immutable() -> None:
    composed = compose_open(plan(), "run-1", Layout())
    assert composed is not None
    assert all(each.immutable for each in (*composed.tasks, *composed.body.tasks))
