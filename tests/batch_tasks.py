"""Celery tasks for wide fan-outs: some of their collectors fail, and their gather reads a stream."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery import shared_task


@shared_task(name="batch.fussy")
def fussy(value: Any, dislikes: list[Any]) -> Any:
    """The value itself, unless it is disliked."""
    if value in dislikes:
        raise ValueError(f"I do not like {value!r}")
    return [value]


@shared_task(name="batch.fussy_async")
async def fussy_async(value: Any, dislikes: list[Any]) -> Any:
    """The same from a coroutine, which lets others go first."""
    await asyncio.sleep(0.001 * (value % 3))
    return fussy(value, dislikes)


@shared_task(name="batch.meet")
async def meet(folder: str, name: str, number: int) -> str:
    """Return once this many have begun: never, if they are not executed at the same time."""
    Path(folder, name).touch()  # noqa: ASYNC240 - of no time
    while len(os.listdir(folder)) < number:  # noqa: ASYNC110, PTH208 - they are in several processes
        await asyncio.sleep(0.01)
    return name


@shared_task(name="batch.gather_stream")
def gather_stream(values: Iterator[Any], outcomes: list[dict[str, Any]]) -> list[Any]:
    """The values, read one after the other, and how each collector ended."""
    return [list(values), [[each["id"], each["status"]] for each in outcomes]]
