"""The Celery tasks that execute steps on a worker: claim, call, settle.

A collector never raises into the chord: what happened to it is an outcome in the ledger, and the gather decides what
is tolerable. Delivered twice, a message finds its steps done and does nothing.
"""

import inspect
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import redis
from celery import Task, current_app, shared_task
from celery.exceptions import Reject
from celery.utils.log import get_task_logger
from kombu.exceptions import OperationalError

from runner import here, text
from runner import plan as plans
from runner.call import Failure, Success, call
from runner.canvas import COLLECT, GATHER, STAGE
from runner.crashpoints import Crashpoint, crashpoint
from runner.errors import RunnerError, UnknownRun
from runner.leases import renewed
from runner.plan import Plan, Step
from runner.settings import Settings
from runner.settle import Attempt, judge, settle
from runner.store import Error, Store

logger = get_task_logger(__name__)

RECOVERIES = 3  # of a step whose worker is lost: one that takes its worker with it every time is not to take them all


class TaskNotRegistered(RunnerError):
    """The worker has no task of this name."""


class StepTask(Task):  # type: ignore[misc]
    """A task of ours: what happens to its process is recorded by the worker's main process (requests.py)."""

    Request = "runner.requests:StepRequest"


@shared_task(name=COLLECT, base=StepTask, bind=True, max_retries=None, ignore_result=True)
def collect(self: Task, run_id: str, step_ids: list[str]) -> None:
    """Execute collectors of a run; those that must wait, for a retry say, come back in the same message, later."""
    if waiting := _execute(self, run_id, step_ids):
        _again(self, min(waiting.values()), args=(run_id, list(waiting)))


@shared_task(name=GATHER, base=StepTask, bind=True, max_retries=None, ignore_result=True)
def gather(self: Task, run_id: str) -> None:
    """Hand the collectors' values to the gather, or end the run if one is missing that may not be."""
    if waiting := _execute(self, run_id, None):
        _again(self, min(waiting.values()))


@shared_task(name=STAGE, base=StepTask, bind=True, max_retries=None, ignore_result=True)
def stage(self: Task, run_id: str, step_id: str) -> None:
    """Hand the value of the step before to a stage."""
    if waiting := _execute(self, run_id, [step_id]):
        _again(self, min(waiting.values()))


def _again(message: Task, seconds: float, **what: Any) -> None:
    """To the chord a message that is retried has not returned yet, and no slot of the pool waits with it."""
    crashpoint(Crashpoint.RETRY_BEFORE_SEND)
    raise message.retry(countdown=seconds, **what)


def _execute(message: Task, run_id: str, step_ids: list[str] | None) -> dict[str, float]:
    """Execute those of the steps that are ours to execute; answers the others that must wait, with the seconds.

    Args:
        step_ids: None for the gather.
    """
    try:
        ledger = here.ledger()
        plan = here.plan(run_id)
        steps = _steps(plan, run_id, step_ids)
        waiting = {step.id: seconds for step in steps if (seconds := _left_to_another(ledger, run_id, step))}
        rest = [step for step in steps if step.id not in waiting]
        return waiting | (_claimed(ledger, plan, run_id, rest, message.request.hostname or "unknown") if rest else {})
    except (redis.RedisError, OperationalError) as error:
        # Not a failure of the step, and not to be one of the chord: whoever can reach the ledger again does it.
        logger.warning("the ledger cannot be reached: %s", error)
        raise Reject(error, requeue=True) from error
    except UnknownRun as error:
        raise Reject(str(error), requeue=False) from error  # to the dead letters: the message means nothing


def _steps(plan: Plan, run_id: str, step_ids: list[str] | None) -> list[Step]:
    if step_ids is None:
        return [plan.gather]
    try:
        return [plan.step(step_id) for step_id in step_ids]
    except StopIteration:
        raise UnknownRun(f"run {run_id} has no step {', '.join(step_ids)}") from None


def _claimed(ledger: Store, plan: Plan, run_id: str, steps: list[Step], worker: str) -> dict[str, float]:
    waiting = {}
    chosen = here.settings()
    token = uuid.uuid4().hex
    crashpoint(Crashpoint.CLAIM_BEFORE)
    claims = ledger.claim(run_id, steps, plan, token=token, worker=worker, lease=chosen.lease)
    crashpoint(Crashpoint.CLAIM_AFTER)
    for claim in claims:
        logger.info("run %s: %s: %s", run_id, claim.step, claim.answer)
        if claim.answer == "yours":
            attempt = Attempt(plan, run_id, plan.step(claim.step), claim, worker)
            with renewed(ledger, run_id, claim.step, token=token, lease=chosen.lease):
                seconds = _carry_out(ledger, attempt, chosen)
            if seconds is not None:
                waiting[claim.step] = seconds
        elif claim.answer == "busy":
            waiting[claim.step] = claim.wait
    return waiting


def _carry_out(ledger: Store, attempt: Attempt, chosen: Settings) -> float | None:
    """Execute a step and record what came of it; answers the seconds to wait if it is to be tried again."""
    step = attempt.step
    if step.kind == "gather" and not judge(ledger, attempt.plan, attempt.run_id).gather:
        return None
    if attempt.claim.lost > RECOVERIES:
        message = f"{attempt.claim.lost} workers were lost while they executed it"
        return settle(ledger, attempt, Failure(Error("WorkerLost", message), retryable=False))
    try:
        result = _call(ledger, attempt, chosen)
    except RunnerError as error:
        result = Failure(Error(type(error).__name__, str(error)), retryable=False)
    return settle(ledger, attempt, result)


def _call(ledger: Store, attempt: Attempt, chosen: Settings) -> Success | Failure:
    plan, step = attempt.plan, attempt.step
    task = _registered(step, attempt.worker)
    kwargs = plans.arguments(plan, step, names(attempt))
    if step.kind == "gather" and "outcomes" in inspect.signature(getattr(task, "run", task)).parameters:
        kwargs["outcomes"] = _outcomes(ledger, plan, attempt.run_id)
    limit = chosen.value_limit if step.task else chosen.fan_in_limit
    args = _value_before(ledger, attempt, chosen)
    return call(task, args, kwargs, timeout=step.timeout, value_limit=limit)


def _value_before(ledger: Store, attempt: Attempt, chosen: Settings) -> tuple[Any, ...]:
    """The positional arguments: none for a collector, the collectors' values for the gather, else a value."""
    plan, run_id = attempt.plan, attempt.run_id
    if attempt.step.kind == "collector":
        return ()
    if before := plan.before(attempt.step):
        return (ledger.values(run_id, [before.id])[before.id],)
    answered = [each.id for each in plan.collectors]
    if plan.tolerant:  # else all of them have succeeded, and nobody is late
        ended = ledger.outcomes(run_id)
        answered = [each for each in answered if ended[each].status == "succeeded"]
    return (list(ledger.values(run_id, answered, limit=chosen.fan_in_limit).values()),)


def _outcomes(ledger: Store, plan: Plan, run_id: str) -> list[dict[str, Any]]:
    """What a gather with a parameter ``outcomes`` is told: how each collector ended, in the order of the YAML."""
    ended = ledger.outcomes(run_id)
    values = ledger.values(run_id, [each.id for each in plan.collectors])
    return [
        {
            "id": each.id,
            "status": ended[each.id].status,
            "value": values.get(each.id) if ended[each.id].status == "succeeded" else None,
            "error": asdict(error) if (error := ended[each.id].error) else None,
        }
        for each in plan.collectors
    ]


def names(attempt: Attempt) -> Mapping[str, str]:
    """What ``run.*`` means in an expression of a step."""
    started = datetime.fromtimestamp(attempt.claim.run_started_at, UTC).isoformat(timespec="seconds")
    return {"id": attempt.run_id, "name": attempt.plan.name, "started_at": started}


def _left_to_another(ledger: Store, run_id: str, step: Step) -> float | None:
    """The seconds that a step waits whose task this worker lacks, and another may have.

    A run's own worker is the only one, and what has waited too long has waited for nothing: there, it is an error.
    """
    if step.task is None or step.task in current_app.tasks or current_app.conf.get("runner_alone"):
        return None
    reason = f"waits for a worker that has {step.task}"
    seconds = 1 + random.random()  # noqa: S311 - so that another worker gets it
    limit = here.settings().wait_for_task
    waits = ledger.waits(run_id, step.id, reason, seconds=seconds, limit=limit)
    if waits is False and _is_offered(step.task):  # whoever has it is busy
        waits = ledger.waits(run_id, step.id, reason, seconds=seconds, limit=limit, anew=True)
    return seconds if waits else None


def _is_offered(task: str) -> bool:
    registered = current_app.control.inspect(timeout=1).registered() or {}
    return any(task == each.split(" ")[0] for tasks in registered.values() for each in tasks)  # "task [rate_limit=1/s]"


def _registered(step: Step, worker: str) -> Callable[..., Any]:
    if step.task is None:
        return _itself
    if step.task not in current_app.tasks:
        if current_app.conf.get("runner_alone"):
            raise TaskNotRegistered(f'"{step.task}" is not registered on {worker}: name its module in `include`')
        waited = text.duration(here.settings().wait_for_task)
        raise TaskNotRegistered(
            f'no worker has offered "{step.task}" for {waited}: start one with --include and its module, then resume the run'
        )
    task: Callable[..., Any] = current_app.tasks[step.task]
    return task


def _itself(values: list[Any]) -> list[Any]:
    """The gather of a workflow that names none."""
    return values
