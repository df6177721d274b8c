"""Whatever is done already, and whatever messages are lost or doubled: the run ends, and with the oracle's result."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from celery import current_app
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.language.bind import Bound
from runner.language.foreach import count_of, laid_out
from runner.language.layout import Layout
from runner.language.plan import FanOut, Plan, end_of, segments
from runner.ledger.ledger import Ledger
from runner.messages.batching import lay_out
from runner.messages.canvas import compose_open
from runner.messages.destination import Destination
from runner.messages.send import send
from runner.runs.start import first_batches, prepare
from runner.worker.begin import batches
from tests.command_line import ROOT
from tests.following import follow_to_the_end
from tests.interpreter import interpret, is_skipped, values
from tests.plans import make_outcome
from tests.properties.test_compiler import NARROW_PLANS, TASKS, bound, client
from tests.strategies import workflows
from tests.workers import working

__all__ = ["client"]  # a fixture

DESTINATION = Destination(queue="celery")
QUICK = {
    "RUNNER_RECONCILE_EVERY": "0.1",
    "RUNNER_GRACE": "0.2",
    "RUNNER_LEASE": "1",
    "RUNNER_INCLUDE": "pure_tasks",
    "PYTHONPATH": str(ROOT / "tests"),
}


@st.composite
def accidents(draw: st.DrawFn) -> tuple[Plan, Layout, set[str], set[str], int]:
    """A plan, the steps that were done before, the collectors whose messages are lost, and how often the rest is sent."""
    plan, layout = draw(NARROW_PLANS)
    first = segments(plan)[0]
    executed = [*layout.executed(first.fan_out.collectors)] if first.fan_out else [first.stages[0]]
    collectors = [step.id for step in executed]
    some = st.sets(st.sampled_from(collectors)) if collectors else st.just(set[str]())
    # The last step of a run is recorded with its end: no run waits that has an outcome of each.
    done = draw(some) if first.fan_out or len(plan.parts) > 1 else set[str]()
    if first.fan_out and len(done) == len(collectors):
        tail = [first.fan_out.gather, *first.stages]
        done |= {step.id for step in tail[: draw(st.integers(0, len(tail) - 1))]}
    return plan, layout, done, draw(some), draw(st.integers(0, 2))


def test_a_run_that_is_reconciled_ends_with_the_oracles_result(client: Ledger, tmp_path: Path) -> None:
    """Without the reconciler the first run whose messages are lost never ends."""
    numbers = iter(range(10_000))

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(accidents())
    def holds(accident: tuple[Plan, Layout, set[str], set[str], int]) -> None:
        plan, layout, done, lost, times = accident
        run_id = f"accident-{next(numbers)}"
        run = {"id": run_id, "name": plan.name}
        known: dict[str, Any] = values(plan, TASKS, run)
        assert client.open(run_id, plan).accept(layout=layout)
        client.open(run_id).finish(
            [make_outcome(step_id, "succeeded", known[step_id], ref=plan.by_id[step_id].ref) for step_id in done]
        )
        for _ in range(times):
            if sent := compose_open(plan, run_id, layout, done | lost):
                send(sent, current_app, client)

        follow_to_the_end(client.open(run_id))

        last = client.open(run_id).outcome(plan.steps[-1].id)
        assert client.open(run_id).info().status == "succeeded", client.open(run_id).outcomes()
        assert last is not None
        assert last.value == interpret(plan, TASKS, run)

    with working(tmp_path / "log", "runner", "worker", "--concurrency", "2", **QUICK):
        holds()


@st.composite
def later_accidents(draw: st.DrawFn) -> tuple[Bound, int, float]:
    """A workflow, the number of its parts that have ended, and the share of the next one's collectors that have."""
    made = draw(workflows().map(bound).filter(lambda made: len(made.plan.parts) > 1))
    return made, draw(st.integers(0, len(made.plan.parts) - 1)), draw(st.sampled_from([0.0, 0.5, 1.0]))


def test_what_is_lost_of_any_part_is_sent_again(client: Ledger, tmp_path: Path) -> None:
    """Of a later fan-out the gather of the first one was sent, which had ended: nothing came of it."""
    numbers = iter(range(10_000))

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(later_accidents())
    def holds(accident: tuple[Bound, int, float]) -> None:
        made, ended, share = accident
        run_id, plan = f"later-{next(numbers)}", made.plan
        run = {"id": run_id, "name": plan.name}
        known, names = values(plan, TASKS, run), dict[str, Any]()
        layout = prepare(made, client, DESTINATION)
        record = client.open(run_id, plan, layout)
        assert record.accept(layout=layout, items=first_batches(plan, layout))
        for at, part in enumerate(plan.parts[: ended + 1]):
            skipped = is_skipped(plan, part, run, names)
            if isinstance(part, FanOut) and not skipped:
                if plan.begins_later(part):
                    counted = {step.id: count_of(plan, step, names) for step in part.collectors}
                    later = lay_out(part, laid_out(part.collectors, counted), 2, DESTINATION)
                    assert record.begin(part, later, batches(plan, part, later, names))
                collectors = [step for ref in record.layout.refs_of(part) for step in record.steps(ref)]
                done = collectors if at < ended else collectors[: int(share * len(collectors))]
                record.finish([make_outcome(each.id, "succeeded", known[each.id], ref=each.ref) for each in done])
            if at < ended:
                end = end_of(part)
                last = make_outcome(end.id, "skipped" if skipped else "succeeded", known[end.id])
                record.finish([replace(last, handed_on=skipped)])
                names = {"value": known[end.id], "coverage": 1.0}

        follow_to_the_end(client.open(run_id))

        assert client.open(run_id).info().status == "succeeded", client.open(run_id).outcomes()
        assert client.open(run_id).value(plan.steps[-1].id) == interpret(plan, TASKS, run)

    with working(tmp_path / "log", "runner", "worker", "--concurrency", "2", **QUICK):
        holds()
