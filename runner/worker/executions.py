"""An attempt at a step to how its task is called: with which request, and within which limits."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import Task

from runner.language.plan import HARD_LIMIT_AFTER, Step
from runner.worker.endings import Failure
from runner.worker.record import Attempt, wait
from runner.worker.retry import NoRetry
from runner.worker.step_task import StepTask


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an attempt may take: as its step says, or else its task, or the application.

    Celery's own limits are a message's, and a message may carry many steps.

    Args:
        soft: seconds until it is interrupted; None for no limit.
        hard: seconds until its process is ended.
        may_catch: what catches its interruption, and returns a value, has succeeded: so it is with Celery's limits.
    """

    soft: float | None = None
    hard: float | None = None
    may_catch: bool = False


def limits(step: Step, task: object) -> Limits:
    if step.timeout is not None:
        return Limits(step.timeout, step.timeout + HARD_LIMIT_AFTER)
    if not isinstance(task, Task):
        return Limits()
    soft, hard = task.soft_time_limit or None, task.time_limit or None
    if hard is None:
        return Limits(soft, None, may_catch=soft is not None)
    # With a hard limit alone it is interrupted then, and its process ended a second later, so that others of its batch
    # need not be executed again.
    return Limits(soft or hard, hard if soft and soft < hard else hard + HARD_LIMIT_AFTER, may_catch=soft is not None)


def execution(function: Callable[..., Any] | StepTask, attempt: Attempt) -> Callable[..., Any]:
    """What to call: the function itself, or a ``StepTask`` with a request for this attempt."""
    if not isinstance(function, StepTask):
        return function

    def retries(failure: Failure) -> bool:
        return not isinstance(wait(attempt, failure), NoRetry)

    return function.execution(_request(attempt), retries)


def _request(attempt: Attempt) -> dict[str, Any]:
    """What ``self.request`` has. Its ids are UUIDs, as Celery's are, and those of an attempt those of its step's first."""
    step, claim = attempt.step, attempt.claim
    priority = step.priority or 0
    return {
        "id": step_id(attempt.run_id, step.id),
        "root_id": str(uuid.uuid5(_STEPS, attempt.run_id)),
        "parent_id": None,
        "task": step.task,
        "retries": max(0, claim.attempt - claim.lost - 1),
        "hostname": attempt.worker,
        "headers": {"run_id": attempt.run_id, "step_id": step.id, "workflow": attempt.plan.name},
        "delivery_info": {
            "exchange": "",
            "routing_key": step.queue,
            "priority": priority,
            "redelivered": claim.lost > 0,
        },
        "timelimit": [None, step.timeout],
        "is_eager": False,
        "called_directly": False,
    }


_STEPS = uuid.UUID("6d1f0ea4-6a1c-4b0e-8a55-1d8f1a1d6c0b")


def step_id(run_id: str, step: str) -> str:
    """The id of a step as a Celery task's."""
    return str(uuid.uuid5(_STEPS, f"{run_id} {step}"))
