"""Properties of the compiler, whatever the workflow: nothing is lost, nothing is doubled, and the result is the plan's."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, current_app, signature
from celery.canvas import _chord
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from runner.brokers import connect
from runner.celery_app import configuration
from runner.language.bind import Bound
from runner.language.layout import Layout, dump_layout, load_layout
from runner.language.plan import Plan, Segment, Step, dump_plan, load_plan, segments
from runner.language.source import parse_source
from runner.language.task_index import read_tasks
from runner.language.workflow_file import check
from runner.ledger.ledger import Ledger
from runner.messages.batching import lay_out
from runner.messages.canvas import COLLECT, compose_open, messages_of
from runner.messages.destination import Destination
from runner.runs.start import start
from runner.settings import Settings, read_settings
from runner.views.drawings import FORMATS
from runner.views.screen import PLAIN
from runner.worker.backend import Backend
from tests import pure_tasks
from tests.command_line import ROOT
from tests.following import follow_to_the_end
from tests.interpreter import interpret
from tests.servers import Server
from tests.strategies import as_yaml, workflows
from tests.workers import working

TASKS = {task.name: task.run for task in vars(pure_tasks).values() if hasattr(task, "delay")}
INDEX = read_tasks(["pure_tasks"], [ROOT / "tests"])


def bound(data: dict[str, Any]) -> Bound:
    """A workflow of the strategies to its plan; it declares no input that has no default."""
    return check(parse_source(as_yaml(data), "generated.yaml"), INDEX).bind({})


@st.composite
def laid_out(draw: st.DrawFn, made: st.SearchStrategy[Bound]) -> tuple[Plan, Layout]:
    """A plan of which some fan-outs have begun, each with its layout; items that are not known before a run are three."""
    made_ = draw(made)
    plan, layout = made_.plan, replace(made_.layout, queue="celery")
    counts = dict.fromkeys((step.id for step in plan.collectors if step.foreach), 3) | {**layout.counts}
    counted = replace(layout, counts=counts)
    later = [each for each in plan.fan_outs if plan.begins_later(each)]
    if plan.fan_outs and not plan.begins_later(plan.fan_outs[0]):
        layout = lay_out(plan.fan_outs[0], counted, 2, Destination(queue="celery"))
    for fan_out in later[: draw(st.integers(0, len(later)))]:
        layout = layout.with_later(fan_out, lay_out(fan_out, counted, 2, Destination(queue="celery")))
    return plan, layout


PLANS = laid_out(workflows().map(bound))
NARROW_PLANS = workflows(foreach=False).map(bound).map(lambda made: (made.plan, replace(made.layout, queue="celery")))


@st.composite
def plans_partly_done(draw: st.DrawFn) -> tuple[Plan, Layout, set[str]]:
    plan, layout = draw(PLANS)
    there = parts(plan, layout)
    steps = [each for each in there if not each.endswith(".begin")]
    done = draw(st.sets(st.sampled_from(steps))) if steps else set()
    for fan_out in layout.fan_outs(plan):
        done |= {*layout.refs_of(fan_out)} & {*steps} if fan_out.id in done else set()  # it waited for them
    return plan, layout, done


def parts(plan: Plan, layout: Layout) -> list[str]:
    """What is sent of the open segment: collectors, alone or in their batches, then its other steps, then the next beginning."""
    return _parts(segments(plan)[len(layout.begun)], layout)


def ended(plan: Plan, layout: Layout) -> set[str]:
    """What has ended before the open segment."""
    return {each for segment in segments(plan)[: len(layout.begun)] for each in _parts(segment, layout)}


def _parts(segment: Segment, layout: Layout) -> list[str]:
    fan_out, following = segment.fan_out, segment.following
    collected = [*layout.refs_of(fan_out), fan_out.id] if fan_out else []
    return [*collected, *(step.id for step in segment.stages), *([f"{following.id}.begin"] if following else [])]


def sent(composed: Any) -> list[str]:
    return [
        part
        for name, task, args, _ in messages_of(composed)
        for part in (args[1] if task == COLLECT else [name.partition(".")[2]])
    ]


@given(PLANS)
def test_every_step_is_in_the_canvas_exactly_once(case: tuple[Plan, Layout]) -> None:
    plan, layout = case
    assert sorted(sent(compose_open(plan, "r", layout, ended(plan, layout)))) == sorted(parts(plan, layout))


@given(PLANS)
def test_the_header_of_a_canvas_has_one_entry_per_message_also_for_one(case: tuple[Plan, Layout]) -> None:
    plan, layout = case
    fan_out = segments(plan)[len(layout.begun)].fan_out
    assume(fan_out)
    assert fan_out
    refs, shared = layout.refs_of(fan_out), layout.only(fan_out).shared
    assume(refs)  # with no items there is nothing to wait for
    composed = compose_open(plan, "r", layout, ended(plan, layout))
    assert isinstance(composed, _chord)
    assert composed.__length_hint__() == len(refs) - len(shared) + len(set(shared.values()))


@given(PLANS)
def test_collectors_that_share_a_message_are_async_and_have_its_queue_and_priority(
    case: tuple[Plan, Layout],
) -> None:
    plan, layout = case
    messages: dict[tuple[str, int], list[Step]] = {}
    for step_id, number in layout.shared.items():
        step = plan.by_id[step_id]
        messages.setdefault((plan.fan_out_of(step).id, number), []).append(step)
    assert all(len(steps) > 1 for steps in messages.values())
    assert all(len({(step.queue, step.priority) for step in steps}) == 1 for steps in messages.values())
    assert all(INDEX[step.task or ""].is_async and not step.foreach for steps in messages.values() for step in steps)


@given(PLANS)
def test_a_canvas_survives_json(case: tuple[Plan, Layout]) -> None:
    plan, layout = case
    composed = compose_open(plan, "r", layout, ended(plan, layout))
    assert sent(signature(json.loads(json.dumps(composed)))) == sent(composed)


@given(PLANS)
def test_a_canvas_composed_twice_is_equal(case: tuple[Plan, Layout]) -> None:
    plan, layout = case
    assert compose_open(plan, "r", layout) == compose_open(plan, "r", layout)


@given(plans_partly_done())
def test_a_canvas_has_exactly_the_steps_that_are_not_done(case: tuple[Plan, Layout, set[str]]) -> None:
    plan, layout, done = case
    composed = sent(compose_open(plan, "r", layout, {*ended(plan, layout), *done}))
    rest = [part for part in parts(plan, layout) if part not in done]
    assert sorted(composed) == sorted(rest)


@given(PLANS)
def test_a_plan_and_its_layout_survive_the_ledger(case: tuple[Plan, Layout]) -> None:
    plan, layout = case
    assert load_plan(dump_plan(plan)) == plan
    assert load_layout(dump_layout(layout)) == replace(layout, begun=())


@given(PLANS)
def test_every_drawing_of_a_workflow_names_every_step(case: tuple[Plan, Layout]) -> None:
    plan, _ = case
    drawings = [draw(plan, PLAIN) for draw in FORMATS.values()]
    assert [step.id for drawing in drawings for step in plan.steps if step.id not in drawing] == []


@pytest.fixture
def client(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A client of that broker in this process: the current Celery app, and the ledger."""
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    before = current_app._get_current_object()
    app = Celery("oracle")
    app.config_from_object(configuration(read_settings()))
    app.set_current()
    connection = connect(valkey.url)
    yield Ledger.of(connection, Settings())
    connection.close()
    app.close()
    before.set_current()


def test_the_result_of_any_workflow_of_pure_tasks_is_the_interpreters(client: Ledger, tmp_path: Path) -> None:
    """The oracle: a real Valkey, a real worker, against ten lines of Python."""
    numbers = iter(range(10_000))

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(PLANS)
    def agree(case: tuple[Plan, Layout]) -> None:
        plan, layout = case
        run_id = f"oracle-{next(numbers)}"
        start(
            Bound(plan=plan, layout=Layout(counts=layout.counts, skipped=layout.skipped)),
            run_id,
            client,
            Destination(queue="celery"),
        )
        follow_to_the_end(client.open(run_id))
        ended = client.open(run_id).info()
        last = client.open(run_id).outcome(plan.steps[-1].id)
        assert ended.status == "succeeded", client.open(run_id).outcomes()
        assert last is not None
        assert last.value == interpret(plan, TASKS, {"id": run_id, "name": plan.name})

    include = {"RUNNER_INCLUDE": "pure_tasks", "PYTHONPATH": str(ROOT / "tests")}
    with working(tmp_path / "log", "runner", "worker", "--concurrency", "2", **include):
        agree()


def test_sending_a_canvas_subscribes_to_no_result(client: Ledger) -> None:
    """Celery subscribes to the result of each message of a chord; our backend does not (runner/worker/backend.py)."""
    assert isinstance(current_app.backend, Backend)
    workflow = {
        "name": "quiet",
        "collectors": [{"id": f"c{at}", "task": "pure.echo", "with": {"value": at}} for at in range(5)],
    }
    start(bound(workflow), "quiet", client, Destination(queue="celery"))
    assert client.client.pubsub_channels() == []
