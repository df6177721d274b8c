"""Tasks that end in every way in which a step may."""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from celery import shared_task


class Stop(BaseException):
    """One that is no Exception, as libraries have for what nobody is to catch."""


class TextRaises(Exception):
    def __str__(self) -> str:
        raise KeyError("no such placeholder")


class StatusRaises(Exception):
    response: Any = None

    @property
    def status_code(self) -> int:
        code: int = self.response.status_code
        return code


class SlowDown(Exception):
    retry_after = float("nan")


def fail(error: BaseException) -> NoReturn:
    raise error


def recurse() -> None:
    recurse()


# What a task does to end in this way; its value, if any.
WAYS: dict[str, Callable[[], object]] = {
    "value": lambda: "well",
    "exception": lambda: fail(ValueError("no")),
    "exit": lambda: sys.exit("no licence"),
    "exit_0": lambda: sys.exit(0),
    "interrupt": lambda: fail(KeyboardInterrupt()),
    "generator_exit": lambda: fail(GeneratorExit("left")),
    "cancelled": lambda: fail(asyncio.CancelledError("upstream")),
    "own": lambda: fail(Stop("enough")),
    "text_raises": lambda: fail(TextRaises("x")),
    "status_raises": lambda: fail(StatusRaises("x")),
    "not_a_number": lambda: fail(SlowDown("x")),
    "half_a_pair": lambda: fail(ValueError("half \ud83d of a pair")),
    "huge": lambda: fail(ValueError("x" * 20_000_000)),
    "too_deep": recurse,
    "memory": lambda: fail(MemoryError("too much")),
    "no_json": object,
    "timeout": lambda: time.sleep(60),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crashed": lambda: ctypes.string_at(0),
    "left": lambda: os._exit(1),
}


@shared_task(name="ends.collect")
def collect(how: str) -> object:
    """End so."""
    return WAYS[how]()


@shared_task(name="ends.collect_async")
async def collect_async(how: str) -> object:
    """The same from a coroutine, while others are executed."""
    await asyncio.sleep(60 if how == "timeout" else 0.01)
    return WAYS[how]()


@shared_task(name="ends.gather")
def gather(values: list[Any], how: str) -> object:  # noqa: ARG001 - what it is handed
    """End so, whatever the values are."""
    return WAYS[how]()


@shared_task(name="ends.stage")
def stage(value: Any, how: str) -> object:  # noqa: ARG001 - what it is handed
    """End so, whatever the value is."""
    return WAYS[how]()
