"""The Celery tasks that execute steps on a worker: claim, call, settle.

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
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis
from celery import Celery, Task, shared_task
from celery.exceptions import Reject, Retry
from celery.signals import celeryd_after_setup, worker_init
from celery.utils.log import get_task_logger

from runner import text
from runner.errors import RunnerError, UnknownRun
from runner.language import plan as plans
from runner.language.plan import Plan, Step
from runner.ledger import exceptions as raised
from runner.ledger import values
from runner.ledger.damage import MissingData, NewerPlan, UnreadableRun
from runner.ledger.entries import Follows
from runner.ledger.ledger import Ledger
from runner.messages.canvas import COLLECT, GATHER, STAGE
from runner.messages.send import next_of
from runner.settings import Settings
from runner.system.crashpoints import Crashpoint, crashpoint
from runner.worker import application, batch, endings, fan_in, log_records, notes, surroundings
from runner.worker import process as here
from runner.worker.backend import RETURNED, FanIn
from runner.worker.batch import Batch
from runner.worker.call import call
from runner.worker.endings import Failure, Success, Unread
from runner.worker.executions import Limits, execution, limits
from runner.worker.leases import renewed
from runner.worker.record import Attempt, fail, judge, settle
from runner.worker.step_task import function_of, is_async

logger = get_task_logger(__name__)

AWAY = 1.0  # seconds until a message is given back for which the ledger is away, as it will be for the next one
TOGETHER = 0.05  # seconds for which a retry waits for others of its batch, as each message costs some milliseconds


class TaskNotRegistered(RunnerError):
    """The worker has no task of this name."""


class StepTask(Task):  # type: ignore[misc]
    """A task of ours, which keeps its promises in any application, whatever that has configured for its own tasks.

    What happens to its process is recorded by the worker's main process (requests.py).
    """

    Request = "runner.worker.step_request:StepRequest"  # defence: REQUESTS
    # A message is given back when its worker dies, and the ledger keeps it from counting twice.
    acks_late = True
    reject_on_worker_lost = True
    acks_on_failure = acks_on_timeout = True
    # Workers and clients of any configuration read it.
    serializer = "json"
    max_retries = None
    ignore_result = True
    # The application's `task_time_limit` and `task_soft_time_limit` are those of a step (executions.py), and a message may
    # carry hundreds. None would mean them.
    time_limit = 0
    soft_time_limit = 0

    @property
    def backend(self) -> FanIn:
        return _fan_in(self.app)


@celeryd_after_setup.connect
def _limit_steps_alone(instance: Any, conf: Any, **_: Any) -> None:
    """Have the pool itself apply them to no message either; Celery's own tasks have them from their class."""
    options = instance.pool.options
    for name, limit in (("timeout", conf.task_time_limit), ("soft_timeout", conf.task_soft_time_limit)):
        if options.get(name) == limit:
            options[name] = None


@celeryd_after_setup.connect
def _clean_the_log(**_: Any) -> None:
    log_records.clean_all()


@worker_init.connect
def _refuse_an_unfit_application(sender: Any, **_: Any) -> None:
    """End a worker whose application would lose steps, or send them again for ever; `doctor` says why it did."""
    try:
        application.check(sender.app, here.settings())
    except application.ApplicationUnfit as error:
        with suppress(redis.RedisError, ValueError):
            here.ledger().refuse(sender.hostname, str(error))
        sys.exit(f"error: {error}\nhint: {error.hint}")  # Celery would log another exception of a signal's, and go on
    with suppress(redis.RedisError):
        here.ledger().admit(sender.hostname)


@functools.cache
def _fan_in(app: Celery) -> FanIn:
    return FanIn(app)


@shared_task(name=COLLECT, base=StepTask, bind=True)
def collect(self: Task, run_id: str, refs: list[str]) -> None:
    """Execute collectors of a run; those that must wait, for a retry say, come back in the same message, later."""
    waiting: dict[str, float] = {}
    follows = Follows(chord=self.request.group or "", message=self.request.id)
    with _ledger(self, run_id, refs) as ledger:
        plan = here.plan(run_id)
        together = _together(self, ledger, plan, run_id, refs)
        if together is not None:
            refs = [ref for ref in refs if ref not in {step.id for step in together.steps}]
            together.follows = None if refs else follows
            waiting = batch.execute(together)
        for ref in refs:
            are_last = ref == refs[-1] and not waiting
            seconds = _collect(self, ledger, plan, run_id, ref, follows=follows if are_last else None)
            if seconds is not None:
                waiting[ref] = seconds
    if waiting:
        _again(self, min(waiting.values()), args=(run_id, list(waiting)))
    if follows.done:
        setattr(self.request, RETURNED, follows.last)


@shared_task(name=GATHER, base=StepTask, bind=True)
def gather(self: Task, run_id: str, step_id: str) -> None:
    """Hand the collectors' values to the gather, or end the run if one is missing that may not be."""
    _follow(self, run_id, step_id)


@shared_task(name=STAGE, base=StepTask, bind=True)
def stage(self: Task, run_id: str, step_id: str) -> None:
    """Hand the value of the step before to a stage."""
    _follow(self, run_id, step_id)


def _follow(message: Task, run_id: str, step_id: str) -> None:
    """Execute a step that follows the collectors."""
    seconds = None
    with _ledger(message, run_id, [step_id]) as ledger:
        plan = here.plan(run_id)
        step = plan.by_id.get(step_id)
        if step is None or step.kind == "collector":
            raise UnknownRun(f"run {run_id} has no step {step_id} after its collectors")
        seconds = _execute(message, ledger, plan, run_id, step)
    if seconds is not None:
        _again(message, seconds)


def _again(message: Task, seconds: float, **what: Any) -> None:
    """To the chord a message that is retried has not returned yet, and no slot of the pool waits with it."""
    crashpoint(Crashpoint.RETRY_BEFORE_SEND)
    raise message.retry(countdown=seconds, **what)


@contextmanager
def _ledger(message: Task, run_id: str, names: Sequence[str]) -> Iterator[Ledger]:
    """The ledger; what cannot be done with it, or with a run's plan, is no failure of a step, and none of the chord.

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
            yield here.ledger()
        except MissingData as error:  # defence: MISSED_ITEMS
            logger.error("%s", error)  # noqa: TRY400 - the traceback says nothing more
            fail(run_id, here.ledger(), error.reason)
        except NewerPlan as error:
            if (seconds := _left_to_a_newer_worker(run_id, names, error)) is not None:
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
        raise Reject(f"{raised.class_name(error)}: {raised.message(error)}", requeue=False) from error
    finally:
        _end_a_spent_process()


def _end_a_spent_process() -> None:
    """End this child of a pool if its steps have left it no descriptors (celery #887, billiard #282); it is replaced.

    It can send no message any more. What follows the step would fail, be sent again and fail, and log 700 lines a second (measured).
    The message is given back, and finds its steps done.
    """
    if batch.is_child() and not surroundings.can_open():
        logger.error("this process cannot open any more files, as its steps have left too many open, and ends")
        os.kill(os.getpid(), signal.SIGKILL)


def _together(message: Task, ledger: Ledger, plan: Plan, run_id: str, refs: list[str]) -> Batch | None:
    """Those collectors of a message that only wait, to be executed together; None if there are not several."""
    ids, worker, ours = set(refs), _worker(message), here.app().tasks
    steps = [step for step in plan.collectors if step.foreach is None and step.id in ids and step.task in ours]
    tasks = {step.task or "": _registered(step, worker) for step in steps}
    steps = [step for step in steps if is_async(tasks[step.task or ""])]
    if len(steps) < 2:
        return None
    tasks = {name: task for name, task in tasks.items() if is_async(task)}
    return Batch(ledger, plan, run_id, steps, tasks, worker, here.settings())


def _collect(
    message: Task, ledger: Ledger, plan: Plan, run_id: str, ref: str, *, follows: Follows | None
) -> float | None:
    """Execute the collectors of one ref; answers the seconds until the first of those that must wait may be."""
    steps = ledger.steps(run_id, plan, ref)
    if (seconds := _left_to_another(ledger, run_id, steps[0], ref)) is not None:
        return seconds
    task: Callable[..., Any] | RunnerError
    try:
        task = _registered(steps[0], _worker(message))
    except RunnerError as error:
        task = error
    tasks = {steps[0].task or "": task}
    waiting = batch.execute(Batch(ledger, plan, run_id, steps, tasks, _worker(message), here.settings(), follows))
    return _moment(waiting.values()) if waiting else None


def _moment(seconds: Collection[float]) -> float:
    """When to come back for steps that wait so long: for the first, and for those soon after it in the same message."""
    first = min(seconds)
    return max(each for each in seconds if each <= first + max(TOGETHER, first / 4))


def _execute(message: Task, ledger: Ledger, plan: Plan, run_id: str, step: Step) -> float | None:
    """Execute the gather or a stage, if it is ours to execute; answers the seconds to wait if it must."""
    if (seconds := _left_to_another(ledger, run_id, step, step.id)) is not None:
        return seconds
    settings, worker, token = here.settings(), _worker(message), uuid.uuid4().hex
    crashpoint(Crashpoint.CLAIM_BEFORE)
    [claim] = ledger.claim(run_id, [step], plan, token=token, worker=worker, lease=settings.lease)
    crashpoint(Crashpoint.CLAIM_AFTER)
    logger.info("run %s: %s: %s", run_id, claim.step, claim.answer)
    if claim.answer == "busy":
        return claim.wait
    if claim.answer != "yours":
        return None
    within = limits(step, here.app().tasks.get(step.task))
    ends = within.hard and step.timeout is None and batch.is_child()  # with a timeout, the message ends its process

    def overdue(_: str) -> None:
        batch.end_the_process(ledger, plan, run_id, step, within=within, worker=worker)

    with renewed(ledger, run_id, token=token, lease=settings.lease, overdue=overdue if ends else None) as held:
        held.steps.add(step.id)
        with batch.limited(held, step, within):
            next_ = _Next(message, ledger)
            seconds = _carry_out(
                ledger,
                Attempt(plan=plan, run_id=run_id, step=step, claim=claim, worker=worker),
                settings,
                within,
                next_,
            )
    if next_.follows.done:
        message.request.chain = None  # it is sent, and Celery would send it when this one has returned
    return seconds


class _Next:
    """The next message of a chain, written when it is known that it is to be sent."""

    def __init__(self, message: Task, ledger: Ledger) -> None:
        self._message = message
        self._ledger = ledger
        self.follows = Follows()

    def __call__(self) -> Follows:
        if self._message.request.chain:
            self.follows.commands = next_of(self._message.request, here.app(), self._ledger) or ()
        return self.follows


def _carry_out(
    ledger: Ledger, attempt: Attempt, settings: Settings, within: Limits, follows: Callable[[], Follows]
) -> float | None:
    """Execute a step and record what came of it; answers the seconds to wait if it is to be tried again."""
    absent = judge(ledger, attempt.plan, attempt.run_id, attempt.claim) if attempt.step.kind == "gather" else []
    if absent is None:
        return None
    before = attempt.plan.before(attempt.step)
    if before and not attempt.claim.before:  # defence: MISSED_BEFORE
        raise MissingData(attempt.run_id, f"the value of {before.id} is missing")
    if gone := endings.lost_too_often(attempt.claim):
        return settle(ledger, attempt, gone)
    try:
        result = _call(ledger, attempt, absent, settings, within)
    except Unread as unread:
        if not isinstance(unread.__cause__, RunnerError):
            raise
        result = endings.refused(unread.__cause__)
    except RunnerError as error:
        result = endings.refused(error)
    except Exception as error:
        if endings.is_away(error):
            raise
        result = endings.exception(error)  # of ours, or of what a gather's signature or its values are
    return settle(ledger, attempt, result, follows)


def _call(ledger: Ledger, attempt: Attempt, absent: list[str], settings: Settings, within: Limits) -> Success | Failure:
    plan, step = attempt.plan, attempt.step
    task = _registered(step, attempt.worker)
    kwargs = plans.arguments(plan, step, batch.names(attempt))
    if step.kind == "stage":
        value = values.decode(attempt.claim.before)
    else:
        streamed = fan_in.streams(task)
        limit, fan_out = math.inf if streamed else settings.fan_in_limit, plan.fan_out_of(step)
        handed = attempt.claim.handed
        value = ledger.collected(
            attempt.run_id, fan_out.collectors, absent=absent, limit=limit, read=values.decode, handed=handed
        )
        value = fan_in.stream(value) if streamed else list(value)
        if fan_in.wants_outcomes(task):
            kwargs["outcomes"] = fan_in.outcomes(ledger, fan_out, attempt.run_id)
    limit = settings.value_limit if step.task else settings.fan_in_limit
    function = execution(function_of(task), attempt)
    with notes.kept() as noted:
        result = call(function, (value,), kwargs, timeout=within.soft, value_limit=limit, may_catch=within.may_catch)
        return endings.noted(result, noted)


def _worker(message: Task) -> str:
    return message.request.hostname or "unknown"


def _left_to_another(ledger: Ledger, run_id: str, step: Step, name: str) -> float | None:
    """The seconds that a step waits whose task this worker lacks, and another may have.

    A run's own worker is the only one, and what has waited too long has waited for nothing: there, it is an error.

    Args:
        name: the step's id, or the ref of its batch.
    """
    if step.task is None or step.task in here.app().tasks or here.app().conf.get("runner_alone"):  # defence: LEFT
        return None
    seconds = _seconds_to_another()
    waits = _waits(ledger, run_id, name, f"waits for a worker that has {step.task}", seconds, offered=step.task)
    return seconds if waits else None  # defence: WAIT_FOR_TASK


def _left_to_a_newer_worker(run_id: str, names: Sequence[str], error: NewerPlan) -> float | None:
    """The seconds that steps wait whose plan this worker cannot read, and another may; the run fails once they have waited too long.

    Args:
        names: refs of collectors, or the id of another step.
    """
    ledger, seconds = here.ledger(), _seconds_to_another()
    if here.app().conf.get("runner_alone"):
        fail(run_id, ledger, error.reason)
        return None
    waits = {_waits(ledger, run_id, name, error.waits_for, seconds, offered=error.needs) for name in names}
    if True not in waits and False in waits:
        waited = text.duration(here.settings().wait_for_task)
        cause = f"no worker has read {error.needs} for {waited}: start one of a newer version, then resume the run"
        fail(run_id, ledger, cause)
    return seconds if True in waits else None


def _seconds_to_another() -> float:
    return 1 + random.random()  # noqa: S311 - so that another worker gets it


def _waits(ledger: Ledger, run_id: str, name: str, reason: str, seconds: float, *, offered: str) -> bool | None:
    """Whether a step goes on waiting for a worker that offers something; None if it has ended."""
    limit = here.settings().wait_for_task
    waits = ledger.waits(run_id, name, reason, seconds=seconds, limit=limit)
    if waits is False and ledger.is_offered(offered):  # whoever has it is busy  # defence: OFFERED
        waits = ledger.waits(run_id, name, reason, seconds=seconds, limit=limit, anew=True)
    return waits


def _registered(step: Step, worker: str) -> Callable[..., Any]:
    if step.task is None:
        return _itself
    app = here.app()
    if step.task not in app.tasks:
        if app.conf.get("runner_alone"):
            raise TaskNotRegistered(f'"{step.task}" is not registered on {worker}: name its module in `include`')
        waited = text.duration(here.settings().wait_for_task)
        raise TaskNotRegistered(
            f'no worker has offered "{step.task}" for {waited}: start one with --include and its module, then resume the run'
        )
    task: Callable[..., Any] = _as_written(app.tasks[step.task])
    return task


@functools.cache
def _as_written(task: Task) -> Task:
    """The task without what was put around its call since: an error tracker, which reports each attempt (Sentry).

    Only what `retry` does not try again is a failure, and that is logged (settle.py).
    """
    # Celery makes the class of a decorated task, without a `__call__`: what has one since has another's.
    around = getattr(task, "_decorated", False) and "__call__" in vars(type(task))
    return _without_call(task) if around else task


@functools.cache
def _without_call(task: Task) -> Task:
    kind = type(task)
    bare: Task = object.__new__(type(kind.__name__, (kind,), {"__call__": kind.__mro__[1].__call__}))
    bare.__dict__ = task.__dict__  # what it remembers stays its own
    return bare


def _itself(values: list[Any]) -> list[Any]:
    """The gather of a workflow that names none."""
    return values
