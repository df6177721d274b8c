"""Whatever has an outcome, and whichever: what failed is executed again with all that follows, nothing else, to the oracle's result."""

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from runner.language.bind import Bound
from runner.ledger.entries import RunStatus, StepStatus
from runner.ledger.ledger import Ledger
from runner.messages.destination import Destination
from runner.runs.start import batches, prepare, resume
from tests.command_line import ROOT
from tests.interpreter import interpret, repeated, values
from tests.plans import make_outcome
from tests.properties.test_compiler import TASKS, bound, client
from tests.strategies import workflows
from tests.workers import working

__all__ = ["client"]  # a fixture

BEFORE = 77  # attempts: no step that is executed here has as many
FAILURES: list[StepStatus] = ["failed", "timed_out", "late", "cancelled"]


@st.composite
def ended_runs(draw: st.DrawFn) -> tuple[Bound, dict[str, StepStatus], int]:
    """A workflow, the collectors and items that failed, and how many of the steps after them have succeeded."""
    made = draw(workflows().map(bound))
    collectors = [each.id for step in made.plan.collectors for each in repeated(made.plan, step)]
    failed = draw(st.dictionaries(st.sampled_from(collectors), st.sampled_from(FAILURES))) if collectors else {}
    done = draw(st.integers(0, len(made.plan.tail)))
    assume(failed or done < len(made.plan.tail))
    return made, failed, done


def test_what_failed_is_executed_again_and_what_follows_it(client: Ledger, tmp_path: Path) -> None:
    numbers = iter(range(10_000))

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(ended_runs())
    def holds(case: tuple[Bound, dict[str, StepStatus], int]) -> None:
        made, failed, done = case
        run_id = f"resumed-{next(numbers)}"
        plan, layout = prepare(made, client, Destination(queue="celery"))
        run = {"id": run_id, "name": plan.name}
        known: dict[str, Any] = values(plan, TASKS, run)
        record = client.open(run_id, plan, layout)
        assert record.accept(layout=layout, items=batches(plan, layout))
        collectors = [
            each for fan_out in plan.fan_outs for ref in layout.refs_of(fan_out) for each in record.steps(ref)
        ]
        tail = [step.id for step in plan.tail]
        record.finish(
            [
                make_outcome(
                    each.id,
                    failed.get(each.id, "succeeded"),
                    None if each.id in failed else known[each.id],
                    ref=each.ref,
                    attempts=BEFORE,
                )
                for each in collectors
            ]
        )
        ends: RunStatus = "partial" if failed and done == len(tail) else "failed"
        record.finish(
            [make_outcome(step, "succeeded", known[step], attempts=BEFORE) for step in tail[:done]], ends=ends
        )

        resume(run_id, client, failed=True)
        for _ in record.follow():
            pass

        outcomes = record.outcomes()
        again = {*failed, *tail} if failed else {*tail[done:]}
        assert record.info().status == "succeeded", outcomes
        assert {step for step, outcome in outcomes.items() if outcome.attempts != BEFORE} == again
        assert record.value(plan.steps[-1].id) == interpret(plan, TASKS, run)

    include = {"RUNNER_INCLUDE": "pure_tasks", "PYTHONPATH": str(ROOT / "tests")}
    with working(tmp_path / "log", "runner", "worker", "--concurrency", "2", **include):
        holds()
