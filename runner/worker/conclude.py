"""A run and a verdict to the end of the run: every run that ends is ended here, and its hooks begin."""

from runner.language.plan import Plan, Step
from runner.language.tolerance import Verdict
from runner.ledger.damage import UnreadableRun
from runner.ledger.entries import Error, Outcome
from runner.ledger.run_record import RunRecord
from runner.worker import hooks


def conclude(run: RunRecord, verdict: Verdict, *, last: Outcome | None = None) -> None:
    """End a run: set its status, and give each step that nobody will execute any more an outcome that says why.

    A step that has an outcome keeps it, and a run that has ended stays as it is.

    Args:
        last: the outcome of the gather or stage that the run ends with: every step before it has one.

    Raises:
        UnknownRun: it is not there: it has expired, or the broker has lost its data.
    """
    try:
        plan = run.plan
        follow = hooks.hooks_of(run, plan, verdict.status) if plan.hooks else ()
    except UnreadableRun:  # nothing can be said of its steps
        if verdict.status == "cancelled":
            run.cancel(verdict.cause)
        else:
            run.end(verdict.status, verdict.cause)
        return
    if verdict.status == "cancelled":
        run.cancel(verdict.cause, follow)
    else:
        outcomes = [last] if last else []
        outcomes += [_not_run(step, verdict.cause) for step in _rest(plan, last)]
        run.finish(outcomes, ends=verdict.status, cause=verdict.cause, hooks=follow)
    if plan.hooks:
        hooks.send_hook(run)


def _rest(plan: Plan, last: Outcome | None) -> list[Step]:
    """Return the steps that may have no outcome yet.

    A collector with ``foreach`` may be a million, which need no outcome each to say that the run has ended.
    """
    rest = plan.steps if last is None else plan.after(plan.by_id[last.step])
    return [step for step in rest if step.foreach is None]


def _not_run(step: Step, cause: str) -> Outcome:
    return Outcome(step=step.id, ref=step.ref, status="not_run", error=Error("NotRun", cause))
