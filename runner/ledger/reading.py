"""The ledger to a snapshot of a run, or of one of its steps."""

from itertools import islice

from runner.language.plan import Plan, Step
from runner.ledger.damage import MissingData
from runner.ledger.entries import Run
from runner.ledger.ledger import Ledger
from runner.ledger.run_reader import RunReader
from runner.ledger.snapshot import ITEMS, Snapshot, StepSnapshot, snapshot_of, step_snapshot


def read_snapshot(ledger: Ledger, run: Run, plan: Plan, *, complete: bool = True) -> Snapshot:
    """Read a run.

    Args:
        run: as it was read; it may have a note that the ledger does not know.
        complete: also read the result, and the items that an ended run never executed.

    Raises:
        MissingData: the run has succeeded, and its result is gone.
    """
    record = ledger.open(run.id, plan)
    layout = record.layout if any(step.foreach for step in plan.collectors) else None
    return snapshot_of(
        run,
        plan,
        record.notable_outcomes(plan),
        layout=layout,
        counts=record.tally() if layout else {},
        running={} if run.ended and not run.hooks else record.underway(),
        unended=_unended(record) if complete and run.ended else (),
        result=record.value(plan.steps[-1].id) if complete else None,
    )


def read_step(ledger: Ledger, run: Run, plan: Plan, step: Step) -> StepSnapshot:
    """Read a step or an item, with its value and all attempts."""
    record = ledger.open(run.id, plan)
    return step_snapshot(
        run,
        plan,
        step,
        record.outcome(step.id),
        running=None if run.ended and not run.hooks else record.underway().get(step.id),
        failures=record.failures([step.id]).get(step.id, ()),
    )


def _unended(record: RunReader) -> list[str]:
    try:
        return list(islice(record.unended(), ITEMS))
    except MissingData:  # the ledger has lost the items; the cause of the run says so
        return []
