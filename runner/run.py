"""A plan to a run: submitted, watched, cancelled, resumed.

Messages are sent by the current Celery app, whose broker the ledger is on.
"""

from collections.abc import Iterator

from kombu.exceptions import OperationalError

from runner import canvas
from runner import plan as plans
from runner.errors import BrokerUnavailable
from runner.plan import Plan
from runner.store import Error, Event, Outcome, RunStatus, Store, check_run_id


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
    if not ledger.accept(check_run_id(run_id), routed):
        return False
    _send(routed, run_id, frozenset())
    return True


def resume(run_id: str, ledger: Store) -> None:
    """Send what has no outcome yet. Steps that are being executed are leased, and not executed twice."""
    if not ledger.run(check_run_id(run_id)).ended:
        _send(ledger.plan(run_id), run_id, frozenset(ledger.outcomes(run_id)))


def watch(run_id: str, ledger: Store) -> Iterator[Event | None]:
    """The run's events from its beginning to its end; None twice a second while nothing happens."""
    return ledger.follow(check_run_id(run_id))


def cancel(run_id: str, ledger: Store, cause: str) -> RunStatus:
    """End the run now: no step of it starts any more. Answers its status, another if it had ended before."""
    return ledger.cancel(check_run_id(run_id), cause)


def fail(run_id: str, ledger: Store, cause: str) -> None:
    """End the run as failed, because nobody is left to execute the rest of it."""
    plan, done = ledger.plan(run_id), ledger.outcomes(run_id)
    rest = [Outcome(step.id, "skipped", error=Error("Skipped", cause)) for step in plan.steps if step.id not in done]
    ledger.finish(run_id, rest, plan, ends="failed", cause=cause)


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
