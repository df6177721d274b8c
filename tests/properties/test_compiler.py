"""What holds for the compiler, whatever the workflow: nothing is lost, nothing is doubled, and the result is the plan's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, current_app, signature
from celery.canvas import _chord
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from runner.brokers import connect
from runner.celery_app import configuration
from runner.language import plan as plans
from runner.language.plan import Plan, Step
from runner.language.source import parse_source
from runner.language.task_index import read_tasks
from runner.language.workflow_file import check
from runner.ledger.ledger import Ledger
from runner.messages import batching as sizes
from runner.messages.canvas import COLLECT, compose, messages_of
from runner.messages.destination import Destination
from runner.runs.start import start
from runner.settings import Settings, read_settings
from runner.views.drawings import FORMATS
from runner.views.screen import PLAIN
from runner.worker.backend import Backend
from tests import pure_tasks
from tests.command_line import ROOT
from tests.interpreter import interpret
from tests.servers import Server
from tests.strategies import as_yaml, workflows
from tests.workers import working

TASKS = {task.name: task.run for task in vars(pure_tasks).values() if hasattr(task, "delay")}
INDEX = read_tasks(["pure_tasks"], [ROOT / "tests"])


def planned(data: dict[str, Any]) -> Plan:
    """A workflow of the strategies to its plan; it declares no input that has no default."""
    return sizes.sized(check(parse_source(as_yaml(data), "generated.yaml"), INDEX).bind({}), slots=2)


PLANS = workflows().map(planned)
NARROW_PLANS = workflows(foreach=False).map(planned)


@st.composite
def plans_partly_done(draw: st.DrawFn) -> tuple[Plan, set[str]]:
    plan = draw(PLANS)
    return plan, draw(st.sets(st.sampled_from(parts(plan))))


def parts(plan: Plan) -> list[str]:
    """What is sent of a plan: the collectors, alone or in their batches, and the steps after them. Some share a message."""
    return [*plan.fan_outs[0].refs, *(step.id for step in plan.tail)]


def sent(composed: Any) -> list[str]:
    return [
        part
        for name, task, args, _ in messages_of(composed)
        for part in (args[1] if task == COLLECT else [name.partition(".")[2]])
    ]


@given(PLANS)
def test_every_step_is_in_the_canvas_exactly_once(plan: Plan) -> None:
    assert sorted(sent(compose(plan, "r"))) == sorted(parts(plan))


@given(PLANS)
def test_the_header_of_a_canvas_has_one_entry_per_message_also_for_one(plan: Plan) -> None:
    assume(plan.fan_outs[0].refs)  # with no items there is nothing to wait for
    composed = compose(plan, "r")
    assert isinstance(composed, _chord)
    shared = [step for step in plan.collectors if step.message is not None]
    assert composed.__length_hint__() == len(plan.fan_outs[0].refs) - len(shared) + len(
        {step.message for step in shared}
    )


@given(PLANS)
def test_collectors_that_share_a_message_are_async_and_have_its_queue_and_priority(plan: Plan) -> None:
    messages: dict[int, list[Step]] = {}
    for step in plan.collectors:
        if step.message is not None:
            messages.setdefault(step.message, []).append(step)
    assert all(len(steps) > 1 for steps in messages.values())
    assert all(len({(step.queue, step.priority) for step in steps}) == 1 for steps in messages.values())
    assert all(INDEX[step.task or ""].is_async and not step.foreach for steps in messages.values() for step in steps)


@given(PLANS)
def test_a_canvas_survives_json(plan: Plan) -> None:
    composed = compose(plan, "r")
    assert sent(signature(json.loads(json.dumps(composed)))) == sent(composed)


@given(PLANS)
def test_a_canvas_composed_twice_is_equal(plan: Plan) -> None:
    assert compose(plan, "r") == compose(plan, "r")


@given(plans_partly_done())
def test_a_canvas_has_exactly_the_steps_that_are_not_done(case: tuple[Plan, set[str]]) -> None:
    plan, done = case
    composed = sent(compose(plan, "r", done))
    assert sorted(composed) == sorted(part for part in parts(plan) if part not in done)


@given(PLANS)
def test_a_plan_survives_the_ledger(plan: Plan) -> None:
    assert plans.load(plans.dump(plan)) == plan


@given(PLANS)
def test_every_drawing_of_a_workflow_names_every_step(plan: Plan) -> None:
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
    def agree(plan: Plan) -> None:
        run_id = f"oracle-{next(numbers)}"
        start(plan, run_id, client, Destination(queue="celery"))
        for _ in client.follow(run_id):
            pass
        ended = client.run(run_id)
        last = client.outcome(run_id, plan.steps[-1].id)
        assert ended.status == "succeeded", client.outcomes(run_id)
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
    start(planned(workflow), "quiet", client, Destination(queue="celery"))
    assert client.client.pubsub_channels() == []
