"""A plan to a run: submitted, cancelled, resumed.

Messages are sent by the current Celery app, whose broker the ledger is on.
"""

from collections.abc import Mapping

from kombu.exceptions import OperationalError

from runner import canvas
from runner import plan as plans
from runner.crashpoints import Crashpoint, crashpoint
from runner.errors import BrokerUnavailable, RunnerError, listed
from runner.plan import Plan, Step
from runner.store import Error, Outcome, RunStatus, Store, check_run_id


def submit(plan: Plan, run_id: str, ledger: Store, *, queue: str, own_queue: bool = False) -> bool:
    """Record a run in the ledger and send it on its way.

    Args:
        queue: where steps go that name none.
        own_queue: every step goes there, because only a worker of ours listens.

    Returns:
        False if there is a run of this id already: then nothing is changed and nothing started.

    Raises:
        MalformedRunId: the id could not have come from us.
        BrokerUnavailable: the run is recorded but could not be sent; `resume` sends it.
    """
    routed = plans.route(plan, queue, everything=own_queue)
    crashpoint(Crashpoint.SUBMIT_BEFORE_ACCEPT)
    if not ledger.accept(check_run_id(run_id), routed):
        return False
    crashpoint(Crashpoint.SUBMIT_BEFORE_SEND)
    _send(routed, run_id, frozenset())
    crashpoint(Crashpoint.SUBMIT_AFTER_SEND)
    return True


def resume(run_id: str, ledger: Store) -> None:
    """Execute what of a run has no successful outcome, also if it has failed or was cancelled.

    Steps that are being executed are leased, and not executed twice. A run that has succeeded stays as it is.
    """
    run, plan = ledger.run(check_run_id(run_id)), ledger.plan(run_id)
    if run.status in {"succeeded", "partial"}:
        return
    if run.ended:
        kept = _succeeded(plan, ledger.outcomes(run_id))
        ledger.reopen(run_id, [step for step in plan.steps if step.id not in kept])
    _send(plan, run_id, frozenset(ledger.outcomes(run_id)))


def rerun(
    run_id: str,
    new_id: str,
    ledger: Store,
    *,
    start: str | None,
    plan: Plan | None,
    queue: str,
    own_queue: bool = False,
) -> None:
    """Start a new run that takes from an earlier one the outcomes of the steps before ``start``.

    Args:
        start: the step from which on everything is executed again; None for what did not succeed or has changed.
        plan: of the new run, if the workflow has changed since.

    Raises:
        CannotKeep: there is no such step, or one before it did not succeed or is another now.
    """
    old = ledger.plan(check_run_id(run_id))
    new = plans.route(plan or old, queue, everything=own_queue)
    kept = _succeeded(old, ledger.outcomes(run_id))
    kept = {step_id for step_id in kept if old.same(old.step(step_id), new)}
    if start is not None:
        wanted = _before(new, start)
        if lacking := [step.id for step in wanted if step.id not in kept]:
            raise CannotKeep(
                f"{listed(lacking)} of run {run_id} did not succeed, or is another step now", hint=_EARLIER
            )
        kept = {step.id for step in wanted}
    kept = _unbroken(new, kept)
    outcomes = [outcome for step_id in kept if (outcome := ledger.outcome(run_id, step_id))]
    if ledger.accept(check_run_id(new_id), new, kept=outcomes):
        _send(new, new_id, frozenset(kept))


_EARLIER = "start from an earlier step, or leave `--from` out"


class CannotKeep(RunnerError):
    """What the new run is to take from the earlier one is not there."""

    exit_code = 3


def _succeeded(plan: Plan, outcomes: Mapping[str, Outcome]) -> set[str]:
    """The steps whose outcomes are kept: those that succeeded, and every collector that the gather has worked with."""
    done = {step.id for step in plan.steps if step.id in outcomes and outcomes[step.id].status == "succeeded"}
    if plan.gather.id in done:
        done |= {step.id for step in plan.collectors}
    return done


def _before(plan: Plan, start: str) -> list[Step]:
    """The steps that a step needs; of a collector, the other collectors."""
    if start not in {step.id for step in plan.steps}:
        raise CannotKeep(
            f'the workflow has no step "{start}"', hint=f"it has {listed([step.id for step in plan.steps])}"
        )
    step = plan.step(start)
    if step.kind == "collector":
        return [each for each in plan.collectors if each.id != start]
    return [*plan.collectors, *plan.tail[: plan.tail.index(step)]]


def _unbroken(plan: Plan, kept: set[str]) -> set[str]:
    """Without what comes after a step that is executed again."""
    unbroken = {step.id for step in plan.collectors if step.id in kept}
    if len(unbroken) == len(plan.collectors):
        for step in plan.tail:
            if step.id not in kept:
                break
            unbroken.add(step.id)
    return unbroken


def cancel(run_id: str, ledger: Store, cause: str) -> RunStatus:
    """End the run now: no step of it starts any more. Answers its status, another if it had ended before."""
    return ledger.cancel(check_run_id(run_id), cause)


def fail(run_id: str, ledger: Store, cause: str) -> None:
    """End the run as failed, because nobody is left to execute the rest of it."""
    plan, done = ledger.plan(run_id), ledger.outcomes(run_id)
    rest = [Outcome(step.id, "skipped", error=Error("Skipped", cause)) for step in plan.steps if step.id not in done]
    ledger.finish(run_id, rest, plan, ends="failed", cause=cause)


def lose(run_id: str, plan: Plan, ledger: Store) -> None:
    """Record as failed a run that the broker has forgotten: `show` knows it again, and `resume` executes it anew."""
    if ledger.accept(run_id, plan):
        fail(run_id, ledger, "the broker lost its data")


def _send(plan: Plan, run_id: str, done: frozenset[str]) -> None:
    rest = canvas.compose(plan, run_id, done)
    if rest is None:
        return
    try:
        rest.apply_async()
    except OperationalError as error:
        raise BrokerUnavailable(
            f"run {run_id} is recorded, but could not be sent: {error}",
            hint=f"`python -m runner resume {run_id}` sends it",
        ) from error
