"""The ledger to a snapshot of a run, or of one of its steps."""

from itertools import islice

from runner.language.plan import Plan, Step
from runner.ledger.damage import MissingData
from runner.ledger.entries import Run
from runner.ledger.ledger import Ledger
from runner.ledger.snapshot import ITEMS, Snapshot, StepSnapshot, snapshot_of, step_snapshot


def read_snapshot(ledger: Ledger, run: Run, plan: Plan, *, complete: bool = True) -> Snapshot:
    """What is known of a run.

    Args:
        run: as it was read; it may have a note that the ledger does not know.
        complete: also read the result, and the items that an ended run never executed.

    Raises:
        MissingData: the run has succeeded, and its result is gone.
    """
    layout = ledger.layout(run.id) if any(step.foreach for step in plan.collectors) else None
    return snapshot_of(
        run,
        plan,
        ledger.outcomes(run.id, plan),
        layout=layout,
        counts=ledger.tally(run.id) if layout else {},
        running={} if run.ended else ledger.underway(run.id),
        unended=_unended(ledger, run, plan) if complete and run.ended else (),
        result=ledger.value(run.id, plan.steps[-1].id) if complete else None,
    )


def read_step(ledger: Ledger, run: Run, plan: Plan, step: Step) -> StepSnapshot:
    """What is known of a step, or of an item, with its value and all attempts."""
    return step_snapshot(
        run,
        plan,
        step,
        ledger.outcome(run.id, step.id),
        running=None if run.ended else ledger.underway(run.id).get(step.id),
        failures=ledger.failures(run.id, [step.id]).get(step.id, ()),
    )


def _unended(ledger: Ledger, run: Run, plan: Plan) -> list[str]:
    try:
        return list(islice(ledger.unended(run.id, plan), ITEMS))
    except MissingData:  # which items there were is lost; the cause of the run says it
        return []
