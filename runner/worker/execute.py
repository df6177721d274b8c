"""The Celery tasks of the messages: each has its steps executed, and says when those that wait come back.

A collector never raises into the chord: what happened to it is an outcome in the ledger, and the gather decides what
is tolerable. Delivered twice, a message finds its steps done and does nothing.
"""

import functools
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis
from celery import Celery, Task, shared_task
from celery.exceptions import Reject, Retry
from celery.signals import celeryd_after_setup, worker_init
from celery.utils.log import get_task_logger

from runner.errors import UnknownRun
from runner.language.ids import of_ref
from runner.language.plan import FanOut, Step
from runner.language.tolerance import Verdict
from runner.ledger.damage import MissingData, NewerPlan, UnreadableRun
from runner.ledger.entries import Follows, Parked
from runner.ledger.exceptions import class_name, message_of
from runner.ledger.ledger import Ledger
from runner.ledger.run_record import RunRecord
from runner.messages.canvas import BEGIN, COLLECT, GATHER, HOOK, STAGE
from runner.messages.send import next_of
from runner.system.crashpoints import Crashpoint, crashpoint
from runner.text import duration
from runner.worker import application, endings, log_records, process, surroundings
from runner.worker.backend import RETURNED, FanIn
from runner.worker.batch import Batch, Paces
from runner.worker.begin import begin as begin_fan_out
from runner.worker.conclude import conclude
from runner.worker.endings import Unread
from runner.worker.hooks import send_hook
from runner.worker.process import own

logger = get_task_logger(__name__)

AWAY = 1.0  # seconds until a message is given back for which the ledger is away, as it will be for the next one
TURN = 5.0  # seconds after which a worker takes on no further message's collectors with the slot that it has
QUICK = 0.02  # seconds that a stage takes at most that is executed in the message of the step before
TOGETHER = 0.05  # seconds for which a retry waits for others of its batch, as each message costs some milliseconds


class StepTask(Task):  # type: ignore[misc]
    """A task of ours, whose delivery guarantee holds in any application, whatever that has configured for its own tasks.

    The end of its process is recorded by the worker's main process (step_request.py).
    """

    Request = "runner.worker.step_request:StepRequest"  # defence: REQUESTS
    # A message is given back when its worker dies, and the ledger keeps it from counting twice.
    acks_late = True  # defence: LATE_ACK
    reject_on_worker_lost = True
    acks_on_failure = acks_on_timeout = True
    # Workers and clients of any configuration can read it.
    serializer = "json"
    max_retries = None
    ignore_result = True
    # The application's `task_time_limit` and `task_soft_time_limit` apply to a step (callee.py), and a message may carry
    # hundreds. None would mean them.
    time_limit = 0
    soft_time_limit = 0

    @property
    def backend(self) -> FanIn:
        return _fan_in(self.app)


@celeryd_after_setup.connect
def _limit_steps_alone(instance: Any, conf: Any, **_: Any) -> None:
    """Keep the pool from applying these limits to messages; Celery's own tasks have them from their class."""
    options = instance.pool.options
    for name, limit in (("timeout", conf.task_time_limit), ("soft_timeout", conf.task_soft_time_limit)):
        if options.get(name) == limit:
            options[name] = None


@celeryd_after_setup.connect
def _clean_the_log(**_: Any) -> None:
    log_records.clean_all()


@worker_init.connect
def _refuse_an_unfit_application(sender: Any, **_: Any) -> None:
    """Exit if the application would lose steps, or send them again for ever; `doctor` shows why."""
    try:
        application.check(sender.app, process.settings())
    except application.ApplicationUnfit as error:
        with suppress(redis.RedisError, ValueError):
            process.ledger().refuse(sender.hostname, str(error))
        sys.exit(f"error: {error}\nhint: {error.hint}")  # Celery would log another exception of a signal's, and go on
    with suppress(redis.RedisError):
        process.ledger().admit(sender.hostname)


@functools.cache
def _fan_in(app: Celery) -> FanIn:
    return FanIn(app)


@shared_task(name=COLLECT, base=StepTask, bind=True)
def collect(self: Task, run_id: str, refs: list[str]) -> None:
    """Execute collectors of a run; those that must wait, for a retry for example, come back later in the same message."""
    waiting: dict[str, float] = {}
    follows = Follows(chord=self.request.group or "", message=self.request.id)
    with _ledger(self, run_id, refs):
        run = process.run(run_id)
        hasty = _hasty(run, refs)
        for batch in _shared(self, run, refs):
            ids = {step.id for step in batch.steps}
            refs = [ref for ref in refs if ref not in ids]
            batch.follows = None if refs or waiting or hasty else lambda: follows
            waiting |= batch.execute()
        for ref in refs:
            are_last = ref == refs[-1] and not waiting
            steps = run.steps(ref)
            batch = _batch(self, run, steps=steps, follows=(lambda: follows) if are_last and not hasty else None)
            if (seconds := _execute(batch, ref)) is not None:
                waiting[ref] = seconds
            elif steps[0].max_concurrency:  # the collector of a `foreach`, which is alone in its message
                _execute_others(self, run, ref)
        if hasty and run.is_stopped(hasty):
            waiting.clear()
        if hasty and not waiting:
            follows.last = run.returned(follows.chord, follows.message, fan_out=hasty.id)
            follows.done = True
    if waiting:
        _again(self, min(waiting.values()), args=(run_id, list(waiting)))
    if follows.done:
        setattr(self.request, RETURNED, follows.last)


@shared_task(name=GATHER, base=StepTask, bind=True)
def gather(self: Task, run_id: str, step_id: str) -> None:
    """Hand the collectors' values to the gather, or end the run if a required one is missing."""
    _execute_next(self, run_id, step_id)


@shared_task(name=STAGE, base=StepTask, bind=True)
def stage(self: Task, run_id: str, step_id: str) -> None:
    """Hand the value of the step before to a stage."""
    _execute_next(self, run_id, step_id)


@shared_task(name=BEGIN, base=StepTask, bind=True)
def begin(self: Task, run_id: str, fan_out_id: str) -> None:
    """Begin a later fan-out: store its items, and send its messages."""
    seconds = None
    with _ledger(self, run_id, [fan_out_id]):
        run = process.run(run_id)
        fan_out = next((each for each in run.plan.fan_outs if each.id == fan_out_id), None)
        if fan_out is None or not run.plan.begins_later(fan_out):
            raise UnknownRun(f"run {run_id} has no later fan-out {fan_out_id}")
        seconds = begin_fan_out(run, fan_out, worker=self.request.hostname or "unknown")
    if seconds is not None:
        _again(self, seconds)


@shared_task(name=HOOK, base=StepTask, bind=True)
def hook(self: Task, run_id: str, step_id: str) -> None:
    """Execute a hook of a run that has ended, and send the next one."""
    seconds = None
    with _ledger(self, run_id, [step_id]):
        run = process.run(run_id)
        step = run.plan.by_id.get(step_id)
        if step is None or step.kind != "hook":
            raise UnknownRun(f"run {run_id} has no hook {step_id}")
        run.forget_layout()
        seconds = _execute(_batch(self, run, steps=[step]), step_id)
        if seconds is None:
            send_hook(run, after=step_id)
    if seconds is not None:
        _again(self, seconds)


def _execute_next(message: Task, run_id: str, step_id: str) -> None:
    """Execute a step after the collectors, and in the same message the stages after it that take next to no time.

    A message costs a worker 3 to 4 ms, as much as a small step: 300 runs of the default workflow at once take a fifth less of
    its processor so. Flower lists messages, and `celery inspect` what a message is called: where somebody receives the events
    of tasks, and of a stage that has been slow here or was never executed, each has a message of its own.
    """
    seconds, follows = None, Follows()
    with _ledger(message, run_id, [step_id]) as ledger:
        run = process.run(run_id)
        step = run.plan.by_id.get(step_id)
        if step is None or step.kind in {"collector", "hook"}:
            raise UnknownRun(f"run {run_id} has no step {step_id} after its collectors")
        run.forget_layout()

        def next_() -> Follows:
            """Write the next message of the chain only when it is sent."""
            if message.request.chain:
                follows.commands = next_of(message.request, process.app(), ledger) or ()
            return follows

        while True:
            following = _in_this_message(message, run, step)
            seconds = _execute(_batch(message, run, steps=[step], follows=None if following else next_), step.id)
            if seconds is not None or following is None:
                break
            # The message that comes back after a failure has it still: the ledger knows what has ended.
            step, message.request.chain = following, message.request.chain[:-1] or None
    if seconds is not None:
        _again(message, seconds, args=(run_id, step.id))
    if follows.done:
        message.request.chain = None  # it is sent, and Celery would send it when this one has returned


def _in_this_message(message: Task, run: RunRecord, step: Step) -> Step | None:
    """Return the stage after a step, if it may be executed in the message of that step; None if it has its own.

    It has where it would be limited by the timeout of the other, goes to other workers, is not found here, or may be slow.
    """
    chain = message.request.chain
    if not chain or chain[-1]["task"] != STAGE or process.is_watched():
        return None
    following = run.plan.by_id.get(chain[-1]["args"][1])
    if following is None or step.timeout is not None or following.timeout is not None:
        return None
    queues = {(run.layout.queue_of(each), each.priority) for each in (step, following)}
    there = all(task in process.app().tasks for task in following.tasks)
    is_quick = own(Paces).get(following.task or "", math.inf) < QUICK
    return following if there and is_quick and len(queues) == 1 else None


def _again(message: Task, seconds: float, **what: Any) -> None:
    """Retry the message: to the chord it has not returned yet, and no slot of the pool waits with it."""
    crashpoint(Crashpoint.RETRY_BEFORE_SEND)
    raise message.retry(countdown=seconds, **what)


@contextmanager
def _ledger(message: Task, run_id: str, names: Sequence[str]) -> Iterator[Ledger]:
    """Yield the ledger. An error of the ledger, or of a run's plan, fails neither a step nor the chord.

    A run of which the ledger lacks a part ends here; the message has then done what it can. A plan that this worker cannot
    read is left to another.

    Args:
        names: the refs or the step that the message is for.

    Raises:
        Retry: the message comes back later.
        Reject: the message goes back to its queue while the ledger is away. It goes to the dead letters where it means
            nothing, or would fail again; what of the run is left is then sent again by the reconciler, ever more seldom.
    """
    try:
        try:
            yield process.ledger()
        except MissingData as error:  # defence: MISSED_ITEMS
            logger.error("%s", error)  # noqa: TRY400 - the traceback says nothing more
            conclude(process.ledger().open(run_id), Verdict("failed", error.reason))
        except NewerPlan as error:
            if (seconds := _leave_to_newer_worker(run_id, names, error)) is not None:
                _again(message, seconds)
    except Retry:
        raise
    except (UnknownRun, UnreadableRun) as error:
        raise Reject(str(error), requeue=False) from error  # defence: NO_SUCH_RUN
    except (Exception, Unread) as error:
        if endings.is_away(error):
            logger.warning("the ledger cannot be reached: %s", error)
            time.sleep(AWAY)
            raise Reject(str(error), requeue=True) from error  # defence: GIVEN_BACK
        logger.exception("run %s: a message cannot be dealt with", run_id)
        raise Reject(f"{class_name(error)}: {message_of(error)}", requeue=False) from error
    finally:
        _end_a_spent_process()


def _end_a_spent_process() -> None:
    """Exit from this child of a pool if its steps have left it no descriptors (celery #887, billiard #282); it is replaced.

    It can send no message any more: each would fail, be sent again and fail, and log 700 lines a second (measured). The
    message is given back, and finds its steps done.
    """
    if process.is_child() and not surroundings.can_open():
        logger.error("this process cannot open any more files, as its steps have left too many open, and ends")
        os.kill(os.getpid(), signal.SIGKILL)


def _shared(message: Task, run: RunRecord, refs: list[str]) -> list[Batch]:
    """Return the batches of the message's collectors without ``foreach``: those that wait are executed together, others in turn.

    One that is alone, and what this worker cannot execute, is in none.
    """
    if len(refs) < 2:
        return []
    tasks = process.app().tasks
    named = (run.plan.by_id.get(ref) for ref in refs)
    steps = [
        step
        for step in named
        if step and step.kind == "collector" and step.foreach is None and all(task in tasks for task in step.tasks)
    ]
    callees = _batch(message, run, steps=steps)
    kinds = ([step for step in steps if callees.callee(step).is_async is is_async] for is_async in (True, False))
    return [_batch(message, run, steps=some) for some in kinds if len(some) > 1]


def _hasty(run: RunRecord, refs: Sequence[str]) -> FanOut | None:
    """Return the fan-out of a message if it may be over before all of its messages have returned; they may wait for minutes.

    The message that records the last outcome which is needed then sends the gather.
    """
    step = run.plan.by_id.get(of_ref(refs[0])[0])
    if step is None or step.kind != "collector":
        return None
    fan_out = run.plan.fan_out_of(step)
    return fan_out if fan_out.stop or any(each.max_concurrency for each in fan_out.collectors) else None


def _execute_others(message: Task, run: RunRecord, own: str) -> None:
    """Execute what is left in other messages of a collector with ``max_concurrency``, of which this worker has a slot.

    They wait, and come back once a second or more seldom: between short collectors the slot would be unused for most of the
    time. After a while, this message ends all the same, as those of other runs are in the queue.
    """
    collector, ends, tried = of_ref(own)[0], time.monotonic() + TURN, {own}
    while time.monotonic() < ends:
        others = [ref for ref in run.left() if of_ref(ref)[0] == collector and ref not in tried]
        if not others:
            return
        ref = random.choice(others)  # noqa: S311 - so that two slots seldom take the same
        tried.add(ref)
        _batch(message, run, steps=run.steps(ref)).execute()  # what must wait there comes back in its own message


def _batch(
    message: Task,
    run: RunRecord,
    *,
    steps: Sequence[Step],
    follows: Callable[[], Follows] | None = None,
) -> Batch:
    return Batch(
        run=run,
        steps=steps,
        worker=message.request.hostname or "unknown",
        settings=process.settings(),
        follows=follows,
    )


def _execute(batch: Batch, name: str) -> float | None:
    """Execute a batch here, or leave it to another worker; return the seconds until the first step that must wait is due.

    Args:
        name: the ref of its steps, or the id of the only one.
    """
    if (seconds := _leave_to_another(batch.run, batch.steps[0], name)) is not None:
        return seconds
    waiting = batch.execute()
    return _first_due(waiting.values()) if waiting else None


def _first_due(seconds: Collection[float]) -> float:
    """Return when to execute the first step that is due, together with those due shortly after."""
    first = min(seconds)
    return max(each for each in seconds if each <= first + max(TOGETHER, first / 4))


def _leave_to_another(run: RunRecord, step: Step, name: str) -> float | None:
    """Return the seconds that a step waits whose task this worker lacks, and another may have; None if it is executed here.

    A run's own worker is the only one, and what has waited too long has waited for nothing: there, it is an error.

    Args:
        name: the step's id, or the ref of its batch.
    """
    app = process.app()
    lacking = next((task for task in step.tasks if task not in app.tasks), None)
    if lacking is None or app.conf.get("runner_alone"):  # defence: LEFT
        return None
    seconds = _seconds_to_another()
    parked = _park(run, name, f"waits for a worker that has {lacking}", seconds, offered=lacking)
    return seconds if parked == "parked" else None  # defence: WAIT_FOR_TASK


def _leave_to_newer_worker(run_id: str, names: Sequence[str], error: NewerPlan) -> float | None:
    """Return the seconds that steps wait whose plan this worker cannot read; the run fails once they have waited too long.

    Args:
        names: refs of collectors, or the id of another step.
    """
    run, seconds = process.ledger().open(run_id), _seconds_to_another()
    if process.app().conf.get("runner_alone"):
        conclude(run, Verdict("failed", error.reason))
        return None
    parked = {_park(run, name, error.waits_for, seconds, offered=error.needs) for name in names}
    if "parked" not in parked and "expired" in parked:
        waited = duration(process.settings().wait_for_task)
        cause = f"no worker has read {error.needs} for {waited}: start one of a newer version, then resume the run"
        conclude(run, Verdict("failed", cause))
    return seconds if "parked" in parked else None


def _seconds_to_another() -> float:
    return 1 + random.random()  # noqa: S311 - so that another worker gets it


def _park(run: RunRecord, name: str, reason: str, seconds: float, *, offered: str) -> Parked:
    """Return whether a step may wait longer for a worker that offers something."""
    limit = process.settings().wait_for_task
    parked: Parked = run.park(name, reason, seconds=seconds, limit=limit)
    if parked == "expired" and process.ledger().is_offered(
        offered
    ):  # the worker that has it is busy  # defence: OFFERED
        parked = run.park(name, reason, seconds=seconds, limit=limit, restart=True)
    return parked
