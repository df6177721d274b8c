"""Whatever has an outcome, and whichever: what failed is executed again with all that follows, nothing else, to the oracle's result."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from runner.language.bind import Bound
from runner.language.foreach import count_of, laid_out
from runner.language.ids import written
from runner.language.plan import FanOut, Part, Step, end_of, steps_of
from runner.ledger.entries import Outcome, RunStatus, StepStatus
from runner.ledger.ledger import Ledger
from runner.messages.batching import lay_out
from runner.messages.destination import Destination
from runner.runs.start import first_batches, prepare, resume
from runner.worker.begin import batches
from tests.command_line import ROOT
from tests.following import follow_to_the_end
from tests.interpreter import interpret, is_skipped, values
from tests.plans import make_outcome
from tests.properties.test_compiler import TASKS, bound, client
from tests.strategies import workflows
from tests.workers import working

__all__ = ["client"]  # a fixture

DESTINATION = Destination(queue="celery")
BEFORE = 77  # attempts: no step that is executed here has as many
FAILURES: list[StepStatus] = ["failed", "timed_out", "late", "cancelled"]


@st.composite
def ended_runs(draw: st.DrawFn) -> tuple[Bound, dict[str, StepStatus], int]:
    """A workflow, the collectors and items that failed, and how many of the steps after collectors have succeeded."""
    made = draw(workflows().map(bound))
    tail = {step.id for step in made.plan.tail}
    collectors = [step_id for step_id in values(made.plan, TASKS, {"name": made.plan.name}) if step_id not in tail]
    failed = draw(st.dictionaries(st.sampled_from(collectors), st.sampled_from(FAILURES))) if collectors else {}
    return made, failed, draw(st.integers(0, len(tail)))


def test_what_failed_is_executed_again_and_what_follows_it(client: Ledger, tmp_path: Path) -> None:
    """Of a partial or failed run, in whichever fan-out; a later one whose items are made of what is executed again begins anew."""
    numbers = iter(range(10_000))

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(ended_runs())
    def holds(case: tuple[Bound, dict[str, StepStatus], int]) -> None:
        made, failures, done = case
        run_id = f"resumed-{next(numbers)}"
        plan, layout = made.plan, prepare(made, client, DESTINATION)
        run = {"id": run_id, "name": plan.name}
        known: dict[str, Any] = values(plan, TASKS, run)
        everything = {*known}
        record = client.open(run_id, plan, layout)
        assert record.accept(layout=layout, items=first_batches(plan, layout))
        kept, failed, names = set[str](), set[str](), dict[str, Any]()
        for at, part in enumerate(plan.parts):
            skipped = is_skipped(plan, part, run, names)
            if isinstance(part, FanOut) and not skipped:
                if plan.begins_later(part):
                    # Not by the ledger of this process, which is that of an earlier test.
                    counted = {step.id: count_of(plan, step, names) for step in part.collectors}
                    later = lay_out(part, laid_out(part.collectors, counted), 2, DESTINATION)
                    assert record.begin(part, later, batches(plan, part, later, names))
                collectors = [step for ref in record.layout.refs_of(part) for step in record.steps(ref)]
                ended = [_ended(step, failures.get(step.id), known[step.id]) for step in collectors]
                record.finish(ended)
                failed |= {step.id for step in collectors if step.id in failures}
                kept |= set() if failed else {step.id for step in collectors}
                # The collectors of the first part that lacks some are not executed again, but for those.
                if failed and not any(each in failures for step in plan.parts[:at] for each in _ids(step, everything)):
                    kept |= {step.id for step in collectors if step.id not in failures}
            if at >= done:
                break
            end = end_of(part)
            last = _ended(end, None, known[end.id])
            if skipped:
                last = replace(last, status="skipped", handed_on=True)
            record.finish([last])
            kept |= set() if failed else {end.id}
            names = {"value": known[end.id], "coverage": 1.0}
        assume(failed or done < len(plan.parts))
        ends: RunStatus = "partial" if failed and done == len(plan.parts) else "failed"
        record.end(ends, "as the test has it")

        resume(run_id, client, failed=True)
        follow_to_the_end(record)

        outcomes = record.outcomes()
        assert record.info().status == "succeeded", outcomes
        assert {step for step, outcome in outcomes.items() if outcome.attempts == BEFORE} == kept
        assert record.value(plan.steps[-1].id) == interpret(plan, TASKS, run)

    include = {"RUNNER_INCLUDE": "pure_tasks", "PYTHONPATH": str(ROOT / "tests")}
    with working(tmp_path / "log", "runner", "worker", "--concurrency", "2", **include):
        holds()


def _ended(step: Step, failure: StepStatus | None, value: Any) -> Outcome:
    return make_outcome(step.id, failure or "succeeded", None if failure else value, ref=step.ref, attempts=BEFORE)


def _ids(part: Part, everything: Collection[str]) -> list[str]:
    """Return the ids of a part's collectors, and of their items."""
    own = {step.id for step in steps_of(part) if step.kind == "collector"}
    return [each for each in everything if written(each) in own]
