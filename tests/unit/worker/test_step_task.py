"""Tasks that are called as plain functions, and tasks that are not."""

from collections.abc import Iterator

import pytest
from celery import Celery, Task
from celery.app.trace import reset_worker_optimizations, setup_worker_optimizations

from runner.worker.step_task import StepTask, function_of


@pytest.fixture(params=["elsewhere", "in a worker"])
def app(request: pytest.FixtureRequest) -> Iterator[Celery]:
    """An application; a worker replaces `Task.__call__` in its process."""
    app = Celery("plain", set_as_current=False)
    app.finalize()
    if request.param == "in a worker":
        setup_worker_optimizations(app, "worker@here")
    yield app
    if request.param == "in a worker":
        reset_worker_optimizations(app)


def double(number: int) -> int:
    return 2 * number


def test_a_plain_task_is_called_as_its_function(app: Celery) -> None:
    """In a worker every task once went through a request and hooks of its own: 20,000 collectors took three times the CPU."""
    app.task(name="plain", shared=False)(double)

    assert function_of(app.tasks["plain"]) is double


def test_a_task_with_a_hook_is_called_with_it(app: Celery) -> None:
    class Noted(Task):  # type: ignore[misc]
        def on_success(self, *_: object) -> None:
            """Note it."""

    app.task(name="noted", base=Noted, shared=False)(double)

    assert isinstance(function_of(app.tasks["noted"]), StepTask)
