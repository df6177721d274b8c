"""A step's task to its ``Callee``: what this worker calls for the step, and for how long."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from celery import Task

from runner.errors import RunnerError
from runner.language.plan import HARD_LIMIT_AFTER, Step
from runner.text import duration
from runner.worker import process
from runner.worker.step_task import StepTask, function_of, is_async


class TaskNotRegistered(RunnerError):
    """The worker has no task of this name."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an attempt may take: as its step says, or else its task, or the application.

    Celery's own limits are a message's, and a message may carry many steps.

    Args:
        soft: seconds until it is interrupted; None for no limit.
        hard: seconds until its process is ended.
        may_catch: a task that catches its interruption and returns a value has succeeded, as with Celery's limits.
    """

    soft: float | None = None
    hard: float | None = None
    may_catch: bool = False


@dataclass(frozen=True, slots=True)
class Callee:
    """What is called for a step.

    Args:
        task: as it is registered, or why there is nothing to call.
        function: what calls it.
        then: what is called after it, in the same attempt.
    """

    task: Callable[..., Any] | RunnerError
    function: Callable[..., Any] | StepTask
    limits: Limits = Limits()
    then: tuple["Callee", ...] = ()

    @classmethod
    def of(cls, task: Callable[..., Any], step: Step, then: tuple["Callee", ...] = ()) -> "Callee":
        return cls(task, function_of(task), limits(step, task), then)

    @property
    def is_async(self) -> bool:
        """Whether calling it makes a coroutine."""
        return callable(self.task) and is_async(self.task)

    @property
    def may_end_its_process(self) -> bool:
        """Whether one of its calls has a limit past which its process is ended."""
        return any(each.limits.hard for each in (self, *self.then))


def find_callee(step: Step, worker: str) -> Callee:
    """Return what this worker calls for a step."""
    then = tuple(find_callee(replace(each, timeout=step.timeout), worker) for each in step.then)
    try:
        return Callee.of(_registered(step, worker), step, then)
    except RunnerError as error:
        return Callee(error, _not_called, limits(step, None))


def limits(step: Step, task: object) -> Limits:
    """Return how long an attempt at a step may take."""
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


def _registered(step: Step, worker: str) -> Callable[..., Any]:
    if step.task is None:
        return _unchanged
    app = process.app()
    if step.task not in app.tasks:
        if app.conf.get("runner_alone"):
            raise TaskNotRegistered(f'"{step.task}" is not registered on {worker}: name its module in `include`')
        waited = duration(process.settings().wait_for_task)
        raise TaskNotRegistered(
            f'no worker has offered "{step.task}" for {waited}: start one that has it (ours: --include MODULE), then resume the run'
        )
    task: Callable[..., Any] = _undecorated(app.tasks[step.task])
    return task


@functools.cache
def _undecorated(task: Task) -> Task:
    """Return the task without a `__call__` that an error tracker (Sentry) has put around it, which reports each attempt.

    Only what `retry` does not try again is a failure, and that is logged (record.py).
    """
    # Celery makes the class of a decorated task, without a `__call__`: what has one since has another's.
    wrapped = getattr(task, "_decorated", False) and "__call__" in vars(type(task))
    return _without_call(task) if wrapped else task


@functools.cache
def _without_call(task: Task) -> Task:
    kind = type(task)
    bare: Task = object.__new__(type(kind.__name__, (kind,), {"__call__": kind.__mro__[1].__call__}))
    bare.__dict__ = task.__dict__  # what it remembers stays its own
    return bare


def _unchanged(values: list[Any]) -> list[Any]:
    """The gather of a workflow that names none."""
    return values


def _not_called() -> None:
    """The function of a callee that has none."""
