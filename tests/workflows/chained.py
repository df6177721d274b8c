"""Tasks that are handed the value before them, plain and async, for tests of `then`."""

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

from celery import Task, shared_task

from runner import note


class Page:
    """What no JSON has, and a call under ``then`` may be handed all the same."""

    def __init__(self, number: int) -> None:
        self.number = number


class Hooked(Task):  # type: ignore[misc]
    """Writes down which call of the chain it was."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        log(f"on_success {task_id} {args} {kwargs} {retval}")

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:  # noqa: ARG002 - the same
        log(f"on_failure {task_id} {args} {type(exc).__name__}")


def log(line: str) -> None:
    with Path(os.environ["CHAINED_JOURNAL"]).open("a", encoding="utf-8") as journal:
        journal.write(line + "\n")


@shared_task(name="chained.page")
def page(number: int) -> Page:
    note(page=number)
    return Page(number)


@shared_task(name="chained.page_later")
async def page_later(number: int) -> Page:
    await asyncio.sleep(0.01)
    note(page=number)
    return Page(number)


@shared_task(name="chained.number")
def number(page: Page, add: int = 0) -> int:
    note(added=add)
    return page.number + add


@shared_task(name="chained.number_later")
async def number_later(page: Page, add: int = 0) -> int:
    await asyncio.sleep(0.01)
    note(added=add)
    return page.number + add


@shared_task(name="chained.hooked", base=Hooked)
def hooked(number: int) -> int:
    return number * 2


@shared_task(name="chained.fussy")
def fussy(number: int, dislikes: int) -> int:
    log(f"fussy {number}")
    if number == dislikes:
        raise ValueError(f"I do not like {number}")
    return number


@shared_task(name="chained.slow")
def slow(number: int, seconds: float = 0.4) -> int:
    time.sleep(seconds)
    return number


@shared_task(name="chained.slow_later")
async def slow_later(number: int, seconds: float = 0.4) -> int:
    await asyncio.sleep(seconds)
    return number


@shared_task(name="chained.meet")
def meet(number: int, folder: str, others: int) -> int:
    """Return once this many are called at the same time: never, if a plain function keeps the others from going on."""
    Path(folder, str(number)).touch()
    while len(os.listdir(folder)) < others:  # noqa: PTH208
        time.sleep(0.01)
    return threading.active_count()


@shared_task(name="chained.die_once")
def die_once(number: int, marker: str) -> int:
    """End its process the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.abort()
    return number
