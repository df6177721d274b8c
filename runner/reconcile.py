"""What keeps every accepted run moving to an end: it sends again what is lost, and fires deadlines.

The ledger says what is due; Celery's messages are only the fast way there. What is sent twice does no harm.
"""

import logging
import math
import threading
from typing import Any

import redis
from celery import current_app
from celery.signals import worker_ready, worker_shutdown
from kombu.exceptions import OperationalError

from runner import canvas, here
from runner.crashpoints import Crashpoint, crashpoint
from runner.errors import UnknownRun
from runner.plan import Plan, Step
from runner.store import Event, Outcome, Store, Sweep

logger = logging.getLogger(__name__)


def reconcile(run_id: str, ledger: Store, *, grace: float) -> float:
    """Send again what of a run is ready and has been lost, and end its fan-out if its deadline has passed.

    Args:
        grace: seconds of silence after which what nobody has started counts as lost; doubled each time.

    Returns:
        Seconds until its deadline; infinity without one.
    """
    sweep = ledger.sweep(run_id, grace=grace)
    if sweep is None:
        ledger.retire(run_id)
        return math.inf
    plan = ledger.plan(run_id)
    left = math.inf if plan.deadline is None or not sweep.collectors_left else plan.deadline - sweep.elapsed
    if left <= 0:
        _end_the_fan_out(plan, run_id, ledger)
        _send(plan, run_id, [plan.gather], ledger)
        return math.inf
    due = _due(plan, run_id, ledger, sweep)
    # What nobody has taken yet, because nobody is free, is not lost: sending it again would only make the queue longer.
    known = {step.id for step in due}.intersection((*sweep.lost, *sweep.overdue))
    if due and (known or not _waiting_messages(due)):
        _send(plan, run_id, due, ledger)
    return left


def _due(plan: Plan, run_id: str, ledger: Store, sweep: Sweep) -> list[Step]:
    """The steps that could be executed now, have not ended, and are in nobody's hands."""
    if not (sweep.silent or sweep.lost or sweep.overdue):
        return []
    done = ledger.outcomes(run_id)
    known = {*sweep.lost, *sweep.overdue}
    ready = list(plan.collectors) if sweep.collectors_left else [_next(plan, done)]
    return [
        step
        for step in ready
        if step.id not in done and step.id not in sweep.held and (sweep.silent or step.id in known)
    ]


def _next(plan: Plan, done: dict[str, Outcome]) -> Step:
    return next((step for step in plan.tail if step.id not in done), plan.tail[-1])


def _end_the_fan_out(plan: Plan, run_id: str, ledger: Store) -> None:
    done = ledger.outcomes(run_id)
    begun = {event.step: event for event in ledger.events(run_id) if event.event == "started"}
    late = [_late(step.id, begun.get(step.id)) for step in plan.collectors if step.id not in done]
    ledger.finish(run_id, late, plan)


def _late(step_id: str, begun: Event | None) -> Outcome:
    if begun is None:
        return Outcome(step_id, "late")
    return Outcome(step_id, "late", attempts=begun.attempt, started_at=begun.at, worker=begun.worker)


def _send(plan: Plan, run_id: str, due: list[Step], ledger: Store) -> None:
    """Compose these steps and what follows them, and send it."""
    ids = [step.id for step in due]
    crashpoint(Crashpoint.RECONCILE_BEFORE_SEND)
    times = ledger.sent_again(run_id)
    logger.info("run %s: sending again (%d): %s", run_id, times, ", ".join(ids[:20]))
    after = {step.id for step in (plan.tail if due[0].kind == "collector" else (due[0], *plan.after(due[0])))}
    done = {step.id for step in plan.steps} - {*ids} - after
    rest = canvas.compose(plan, run_id, done)
    if rest is not None:
        rest.apply_async()
    crashpoint(Crashpoint.RECONCILE_AFTER_SEND)


def _waiting_messages(steps: list[Step]) -> bool:
    with current_app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        return any(channel._size(queue) for queue in {step.queue for step in steps})  # noqa: SLF001 - kombu's virtual channels have no public name for it


class Reconciler:
    """A thread of a worker that reconciles every active run, as long as no other worker does."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        every = wait = here.settings().reconcile_every
        while not self._ended.wait(wait):
            wait = every
            try:
                if here.ledger().lead(self._who, 3 * every):
                    wait = min(every, self._look())
            except (redis.RedisError, OperationalError, OSError) as error:
                logger.warning("cannot reconcile: %s", error)

    def _look(self) -> float:
        """Reconcile every run; answers the seconds until the next deadline."""
        left = math.inf
        for run_id in here.ledger().active():
            try:
                left = min(left, reconcile(run_id, here.ledger(), grace=here.settings().grace))
            except UnknownRun:
                here.ledger().retire(run_id)
        return left


_running: list[Reconciler] = []


@worker_ready.connect
def _start(sender: Any, **_: Any) -> None:
    _running.append(Reconciler(sender.hostname))
    _running[-1].start()


@worker_shutdown.connect
def _stop(**_: Any) -> None:
    while _running:
        _running.pop().stop()
