"""Celery tasks for wide fan-outs: some of their collectors fail, and their gather reads a stream."""

import asyncio
from collections.abc import Iterator
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


@shared_task(name="batch.gather_stream")
def gather_stream(values: Iterator[Any], outcomes: list[dict[str, Any]]) -> list[Any]:
    """The values, read one after the other, and how each collector ended."""
    return [list(values), [[each["id"], each["status"]] for each in outcomes]]
