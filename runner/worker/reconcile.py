"""The reconciler: it sends again what is lost and fires deadlines, so that every accepted run reaches an end.

The ledger says what is due; Celery's messages are only the fast way there. What is sent twice does no harm.
"""

import logging
import math
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import redis
from celery.signals import worker_ready, worker_shutdown
from kombu.exceptions import OperationalError

from runner.errors import UnknownRun
from runner.language.ids import of_ref
from runner.language.layout import Layout
from runner.language.plan import VERSION, FanOut, Part, Plan, end_of, plans_of
from runner.language.tolerance import Verdict
from runner.ledger.damage import MissingData, NewerPlan, UnreadableRun
from runner.ledger.entries import Outcome, Sweep
from runner.ledger.ledger import Ledger
from runner.ledger.run_record import RunRecord
from runner.messages.canvas import compose_open
from runner.messages.send import send
from runner.system.crashpoints import Crashpoint, crashpoint
from runner.text import duration
from runner.worker import process
from runner.worker.conclude import conclude
from runner.worker.hooks import send_hook

logger = logging.getLogger(__name__)

AGAIN = 2.0  # seconds until the next look after one that failed


def reconcile(run_id: str, ledger: Ledger, *, grace: float) -> None:
    """Send again the steps of a run that are ready and lost, and end its fan-out if the deadline has passed.

    Args:
        grace: seconds of silence after which a step that nobody has started counts as lost; doubled each time.

    Raises:
        UnknownRun: it is not there: it has expired, or the broker has lost its data.
    """
    run = ledger.open(run_id)
    sweep = run.sweep(grace=grace)
    if sweep is not None:
        _mend(run, ledger, sweep)


def _mend(run: RunRecord, ledger: Ledger, sweep: Sweep) -> None:
    """Act on the sweep of a run; a run of which the ledger lacks a part cannot continue, and fails."""
    try:
        _do(run, ledger, sweep)
    except MissingData as error:
        logger.warning("%s", error)
        conclude(run, Verdict("failed", error.reason))


def _do(run: RunRecord, ledger: Ledger, sweep: Sweep) -> None:
    if min(sweep.left, sweep.time_left) > 0 and not (sweep.silent or sweep.lost or sweep.overdue):
        return  # as nearly always: the plan, which may be large, is not even read
    if sweep.hook:
        if sweep.hook in sweep.lost | sweep.overdue or (sweep.silent and sweep.hook not in sweep.held):
            run.sent_again()
            send_hook(run)  # defence: HOOKS_AGAIN
        return
    if sweep.time_left <= 0:
        conclude(run, Verdict("failed", f"took longer than its timeout, {duration(run.plan.timeout or 0)}"))
        return
    part = _open_part(run)
    if part is None:
        return
    if isinstance(part, FanOut) and not run.has_begun(part):
        # Its gather's lease is that of the worker that begins it.
        if part.id in sweep.lost or (sweep.silent and part.id not in sweep.held):
            _send(run, [part.id], ledger)
        return
    if sweep.left <= 0 and isinstance(part, FanOut):
        _end_the_fan_out(run)
        _send(run, [part.id], ledger)
        return
    due = _due(part, run.layout, sweep)
    # What nobody has taken yet, because nobody is free, is not lost: sending it again would only make the queue longer.
    if due and (
        (sweep.lost | sweep.overdue).intersection(due) or not _waiting_messages(run.plan, run.layout)
    ):  # defence: RECONCILER
        _send(run, due, ledger)


def _open_part(run: RunRecord) -> Part | None:
    """Return the part of the plan that is being executed: the first without a value; None if all have one."""
    ended = run.ended([end_of(part).id for part in run.plan.parts])
    return next((part for part in run.plan.parts if end_of(part).id not in ended), None)


def _due(part: Part, layout: Layout, sweep: Sweep) -> list[str]:
    """Return what of a part is ready, and neither leased nor waiting: refs of its collectors, or the step that returns its value."""
    known = sweep.lost | sweep.overdue
    if isinstance(part, FanOut) and sweep.collectors_left:
        due = known | (sweep.idle - sweep.held)
        return [ref for ref in layout.refs_of(part) if ref in due]
    end = end_of(part).id
    return [end] if end in known or (sweep.silent and end not in sweep.held) else []


def _end_the_fan_out(run: RunRecord) -> None:
    begun = run.begun()
    for ref in run.left():
        steps = run.steps(ref)
        ended = run.ended([step.id for step in steps])
        late = [
            replace(begun.get(step.id) or Outcome(step=step.id, status="late"), ref=step.ref)
            for step in steps
            if step.id not in ended
        ]
        run.finish(late)


def _send(run: RunRecord, due: list[str], ledger: Ledger) -> None:
    """Compose the messages of these steps and of what follows them, and send them."""
    crashpoint(Crashpoint.RECONCILE_BEFORE_SEND)
    times, plan = run.sent_again(), run.plan
    logger.info("run %s: sending again (%d): %s", run.id, times, ", ".join(due[:20]))
    tail = [step.id for step in plan.tail]
    # Everything before the part of what is due has ended, also where that is a later fan-out.
    end = due[0] if due[0] in tail else plan.fan_out_of(plan.by_id[of_ref(due[0])[0]]).id
    ended = tail[: tail.index(end)]
    begun = run.layout.fan_outs(plan)
    done = {*ended, *(ref for fan_out in begun for ref in run.layout.refs_of(fan_out))} - {*due}
    rest = compose_open(plan, run.id, run.layout, done)
    if rest is not None:
        send(rest, process.app(), ledger)
    crashpoint(Crashpoint.RECONCILE_AFTER_SEND)


def _waiting_messages(plan: Plan, layout: Layout) -> bool:
    with process.app().connection_for_write() as connection:
        channel: Any = connection.default_channel
        return any(channel._size(queue) for queue in {*map(layout.queue_of, plan.steps)} - {None})  # noqa: SLF001 - kombu's virtual channels have no public name for it


class Reconciler:
    """A thread of a worker that reconciles every active run, unless another worker does."""

    def __init__(self, who: str, slots: int, consumer: Any = None) -> None:
        """Prepare the thread.

        Args:
            who: the name of the worker.
            slots: how many steps it executes at once.
            consumer: Celery's, which knows whether somebody receives the events of tasks.
        """
        self._who = who
        self._slots = slots
        self._consumer = consumer
        self._unreadable: set[str] = set()
        self._leads_from = 0.0  # by this process's monotonic clock
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        wait = 0.0
        while not self._ended.wait(wait):
            wait = AGAIN
            try:
                wait = self._once()
            except BaseException as error:  # every run of every workflow depends on this thread  # defence: THREAD
                with suppress(BaseException):
                    away = isinstance(error, redis.RedisError | OperationalError | OSError)
                    logger.warning("cannot reconcile: %s", error, exc_info=None if away else error)

    def _once(self) -> float:
        """Announce this worker, and reconcile if it leads; return the seconds until the next time."""
        every = process.settings().reconcile_every
        process.note_watched(watched=_sends_task_events(self._consumer))
        offers = (*process.app().tasks, *map(plans_of, range(1, VERSION + 1)))
        process.ledger().serve(self._who, self._slots, offers, 3 * every)
        if time.monotonic() < self._leads_from or not process.ledger().lead(self._who, 3 * every):
            return every
        return min(every, self._look())

    def _look(self) -> float:
        """Reconcile every run; return the seconds until the next deadline."""
        ledger = process.ledger()
        active = ledger.active()
        sweeps = ledger.sweeps(active, grace=process.settings().grace)
        ledger.retire({run_id: since for run_id, since in active.items() if run_id not in sweeps})
        bad: dict[str, str] = {}
        newer: set[str] = set()
        for run_id, sweep in sweeps.items():
            try:
                if isinstance(sweep, UnreadableRun):
                    raise sweep  # noqa: TRY301 - one place reports it
                _mend(ledger.open(run_id), ledger, sweep)
            except UnknownRun:  # it has expired since
                continue
            except NewerPlan as error:
                newer.add(error.needs)
            except UnreadableRun as error:  # defence: UNREADABLE_RUN
                bad[run_id] = error.reason
            except (redis.ConnectionError, redis.TimeoutError, OperationalError, OSError):
                raise  # the server is away: so are the other runs
            except Exception as error:  # defence: BROKEN_RUN
                bad[run_id] = f"{type(error).__name__}: {error}"
                if run_id not in self._unreadable:
                    logger.exception("run %s cannot be reconciled", run_id)
        self._note(ledger, bad)
        if any(map(ledger.is_offered, newer)):
            self._stand_down(ledger)
        times = [(sweep.left, sweep.time_left) for sweep in sweeps.values() if isinstance(sweep, Sweep)]
        lefts = [left for both in times for left in both if left > 0]
        return min(lefts, default=math.inf)

    def _stand_down(self, ledger: Ledger) -> None:
        """Let another worker lead, one that reads the plans that this one cannot read: no deadline of theirs fires here."""
        every = process.settings().reconcile_every
        ledger.lead(self._who, every)
        self._leads_from = time.monotonic() + 3 * every

    def _note(self, ledger: Ledger, bad: dict[str, str]) -> None:
        """Record which runs cannot be read, and log each once."""
        for run_id in bad.keys() - self._unreadable:
            logger.error("run %s cannot be read, and is left alone: %s", run_id, bad[run_id])
            ledger.note_unreadable(run_id, bad[run_id])
        ledger.forget_unreadable(self._unreadable - bad.keys())
        self._unreadable = set(bad)


def _sends_task_events(consumer: Any) -> bool:
    """Whether a worker does: with -E, or once Flower has asked for them. Its heartbeats are events as well."""
    dispatcher = getattr(consumer, "event_dispatcher", None)
    if dispatcher is None or not dispatcher.enabled:
        return False
    return not dispatcher.groups or "task" in dispatcher.groups


class _Reconcilers(list[Reconciler]):
    """Return the reconcilers of this process: an application, or a test, may start two workers in one."""


@worker_ready.connect
def _start(sender: Any, **_: Any) -> None:
    reconciler = Reconciler(sender.hostname, sender.controller.concurrency or 1, sender)
    process.own(_Reconcilers).append(reconciler)
    reconciler.start()


@worker_shutdown.connect
def _stop(**_: Any) -> None:
    reconcilers = process.own(_Reconcilers)
    while reconcilers:
        reconcilers.pop().stop()
