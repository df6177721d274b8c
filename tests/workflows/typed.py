"""Tasks that return values that plain JSON lacks, and tasks that return what they received."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from celery import shared_task

RECORD = {
    "at": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    "day": date(2024, 1, 2),
    "price": Decimal("1.10"),
    "id": UUID(int=7),
    "raw": b"\xff",
    "page": {"__type__": "datetime", "__value__": "what a page may say"},
}


@shared_task(name="typed.record")
def record(n: int = 0) -> dict[str, Any]:
    return {"n": n, **RECORD}


@shared_task(name="typed.record_later")
async def record_later(n: int = 0) -> dict[str, Any]:
    return {"n": n, **RECORD}


@shared_task(name="typed.colliding")
def colliding(n: int = 0) -> dict[Any, str]:
    return {1: "a", "1": "b", "n": str(n)}


@shared_task(name="typed.pick")
def pick(values: list[dict[str, Any]], outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The values, if `outcomes` has the same."""
    return values if values == [outcome["value"] for outcome in outcomes] else []


@shared_task(name="typed.stream")
def stream(values: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(values)


@shared_task(name="typed.names")
def names(records: list[dict[str, Any]]) -> list[list[str]]:
    """Of what type each part was handed on."""
    return [[type(record[key]).__name__ for key in RECORD] for record in records]
