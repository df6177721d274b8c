"""An attempt at a step to the call of its task, with the request that the task sees."""

import uuid
from collections.abc import Callable
from typing import Any

from runner.worker.attempt import Attempt
from runner.worker.endings import Failure
from runner.worker.retry import NoRetry
from runner.worker.step_task import StepTask


def execution(function: Callable[..., Any] | StepTask, attempt: Attempt, then: int = 0) -> Callable[..., Any]:
    """Return what to call: the function itself, or the execution of a ``StepTask`` with a request for this attempt.

    Args:
        then: the number of the call under ``then``, from 1; 0 for the step's own task.
    """
    if not isinstance(function, StepTask):
        return function

    def retries(failure: Failure) -> bool:
        return not isinstance(attempt.wait_after(failure), NoRetry)

    return function.execution(_request(attempt, then), retries)


def _request(attempt: Attempt, then: int) -> dict[str, Any]:
    """Return what ``self.request`` has. Its ids are UUIDs, as Celery's are; each attempt at a step has the same."""
    step, claim = attempt.step, attempt.claim
    priority = step.priority or 0
    return {
        "id": step_id(attempt.run.id, f"{step.id} then {then}" if then else step.id),
        "root_id": str(uuid.uuid5(_STEPS, attempt.run.id)),
        "parent_id": None,
        "task": step.then[then - 1].task if then else step.task,
        "retries": max(0, claim.attempt - claim.lost - 1),
        "hostname": attempt.worker,
        "headers": {"run_id": attempt.run.id, "step_id": step.id, "workflow": attempt.run.plan.name},
        "delivery_info": {
            "exchange": "",
            "routing_key": attempt.run.layout.queue_of(step),
            "priority": priority,
            "redelivered": claim.lost > 0,
        },
        "timelimit": [None, step.timeout],
        "is_eager": False,
        "called_directly": False,
    }


_STEPS = uuid.UUID("6d1f0ea4-6a1c-4b0e-8a55-1d8f1a1d6c0b")


def step_id(run_id: str, step: str) -> str:
    """Return the id of a step as a Celery task's."""
    return str(uuid.uuid5(_STEPS, f"{run_id} {step}"))
