"""Tasks that use what Celery gives a task: its request, hooks of its class, signals, limits."""

# ruff: noqa: ARG001, ARG002, PLR0917 - what a step hands on, and Celery to a hook, is not needed by each

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from celery import Task, current_task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.signals import task_failure, task_postrun, task_prerun, task_retry, task_success

JOURNAL = Path(os.environ.get("FEATURED_JOURNAL", os.devnull))


def note(*words: Any) -> None:
    with JOURNAL.open("a") as journal:
        journal.write(" ".join(map(str, words)) + "\n")


def _told(task: Task) -> dict[str, Any]:
    request = task.request
    return {
        "id": request.id,
        "root_id": request.root_id,
        "retries": request.retries,
        "hostname": request.hostname,
        "headers": request.headers,
        "args": request.args,
        "kwargs": request.kwargs,
        "queue": request.delivery_info["routing_key"],
        "is_eager": request.is_eager,
        "called_directly": request.called_directly,
    }


@shared_task(name="featured.request", bind=True)
def request(self: Task, value: Any = None, n: int = 0) -> dict[str, Any]:
    return {**_told(self), "current": current_task.request.id, "by its name": request.request.id, "n": n}


@shared_task(name="featured.request_later", bind=True)
async def request_later(self: Task, value: Any = None, n: int = 0) -> dict[str, Any]:
    before = self.request.id
    await asyncio.sleep(0.02 * (n % 3))
    return {**_told(self), "before": before, "n": n}


@shared_task(name="featured.progress", bind=True)
def progress(self: Task, value: Any = None) -> list[Any]:
    self.update_state(state="PROGRESS", meta={"done": 1})
    result = self.AsyncResult(self.request.id)
    return [result.state, result.info]


class Hooked(Task):  # type: ignore[misc]
    """A base class as libraries have it."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        note("before_start", self.request.headers["step_id"], task_id == self.request.id, *kwargs.values())

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        note("on_success", self.request.headers["step_id"], retval)
        raise ValueError("of the hook's own, and no matter of the step")

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_retry", self.request.headers["step_id"], type(exc).__name__, self.request.retries)

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("on_failure", self.request.headers["step_id"], type(exc).__name__, type(einfo).__name__)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note("after_return", self.request.headers["step_id"], status)


@shared_task(name="featured.hooked", base=Hooked)
def hooked(what: str) -> Any:
    return _come_to(what)


@shared_task(name="featured.hooked_later", base=Hooked)
async def hooked_later(what: str) -> Any:
    await asyncio.sleep(0)
    return _come_to(what)


def _come_to(what: str) -> Any:
    if what == "fail":
        raise ConnectionError("down")
    return {1} if what == "a set" else what


class InContext(Task):  # type: ignore[misc]
    """As in Flask's documentation."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return {"in context": self.run(*args, **kwargs), "id": self.request.id}


@shared_task(name="featured.in_context", base=InContext, bind=True)
def in_context(self: Task, value: Any = None) -> str:
    return str(self.request.id)


class Remembering(Task):  # type: ignore[misc]
    """With a connection that is made once a process."""

    made = 0

    @property
    def connection(self) -> list[int]:
        if not hasattr(self, "_connection"):
            Remembering.made += 1
            self._connection = [Remembering.made]
        return self._connection


@shared_task(name="featured.remembering", base=Remembering, bind=True)
def remembering(self: Any, n: int) -> int:
    return int(self.connection[0])


@shared_task(name="featured.retrying", bind=True, max_retries=5)
def retrying(self: Task) -> str:
    note("retrying", self.request.retries)
    if self.request.retries < 2:
        raise self.retry(exc=ConnectionError("down"), countdown=0)
    return "done"


@shared_task(
    name="featured.retrying_itself", bind=True, autoretry_for=(ConnectionError,), retry_kwargs={"max_retries": 5}
)
def retrying_itself(self: Task) -> str:
    note("retrying", self.request.retries)
    if self.request.retries < 2:
        raise ConnectionError("down")
    return "done"


@shared_task(name="featured.replaced", bind=True)
def replaced(self: Task) -> Any:
    return self.replace(request.s())


@shared_task(name="featured.sending")
def sending(*, wait: bool = True) -> Any:
    result = plain.delay(4)
    return result.get(timeout=5, disable_sync_subtasks=False) if wait else str(result.id)


@shared_task(name="featured.ignored", ignore_result=True)
def ignored() -> int:
    return 4


@shared_task(name="featured.asking")
def asking() -> Any:
    return ignored.delay().get(timeout=5, disable_sync_subtasks=False)


@shared_task(name="featured.slow")
def slow(value: Any = None, n: int = 0) -> int:
    note("slow", n)
    time.sleep(60)
    return n


@shared_task(name="featured.soft", soft_time_limit=0.3)
def soft(*, catch: bool = False) -> str:
    try:
        time.sleep(20)
    except SoftTimeLimitExceeded:
        if catch:
            return "what there is so far"
        raise
    return "never interrupted"


@shared_task(name="featured.hard", time_limit=1)
def hard(value: Any = None) -> str:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            time.sleep(20)
        except SoftTimeLimitExceeded:
            note("it goes on")
    return "never ended"


@shared_task(name="featured.brief")
def brief(n: int) -> int:
    time.sleep(0.3)
    return n


@shared_task(name="featured.forever")
def forever() -> str:
    time.sleep(60)
    return "never interrupted"


@shared_task(name="featured.plain")
def plain(n: int = 0) -> int:
    return n


@shared_task(name="featured.failing")
def failing(n: int = 0) -> int:
    raise ConnectionError(n)


if "FEATURED_SIGNALS" in os.environ:

    def _note(name: str) -> Any:
        def receive(sender: Any = None, **_: Any) -> None:
            if sender.name.startswith("featured."):
                note(name, sender.request.headers["step_id"])

        return receive

    for _signal in (task_prerun, task_postrun, task_success, task_failure, task_retry):
        _signal.connect(_note(_signal.name), weak=False)
