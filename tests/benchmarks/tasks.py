"""The tasks that are measured: ordinary Celery tasks, the same ones for this project and by hand."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from celery import shared_task


@shared_task(name="benchmark.number")
def number(n: int) -> int:
    """Nothing but a value to be gathered."""
    return n


@shared_task(name="benchmark.numbers")
def numbers(count: int) -> list[int]:
    """As many numbers, each for a collector of its own."""
    return list(range(count))


@shared_task(name="benchmark.total")
def total(values: Iterable[int]) -> int:
    """A sum, which shows that no value is missing and none counts twice."""
    return sum(values)


@shared_task(name="benchmark.total_of_lists")
def total_of_lists(values: Iterable[list[int]]) -> int:
    """The sum of what Celery's chunks return."""
    return sum(map(sum, values))


@shared_task(name="benchmark.flaky")
def flaky(n: int, every: int, folder: str) -> int:
    """A number; some fail the first time, and leave an empty file to know it by."""
    if every and n % every == 0:
        noted = Path(folder, str(n))
        if not noted.exists():
            noted.touch()
            raise ConnectionError(f"{n} fails once")
    return n


@shared_task(name="benchmark.page")
def page(url: str) -> Any:
    """What by hand stands for `http.get`: a blocking request, over a connection that is used again."""
    return _client().get(url).raise_for_status().json()


@shared_task(name="benchmark.total_of_pages")
def total_of_pages(pages: Iterable[dict[str, int]]) -> int:
    """The sum of what the pages say."""
    return sum(each["page"] for each in pages)


@cache
def _client() -> httpx.Client:
    return httpx.Client(timeout=30, limits=httpx.Limits(max_connections=None))
