"""The same by hand: chords of plain Celery, and the app for their worker. `python -m tests.benchmarks.by_hand` (client.py).

The settings are Celery's own defaults: JSON, early acknowledgement, four messages fetched ahead for each process, warnings
in the log. They lose what a dying worker had (`poe compare` shows it), and cost less than the settings that do not.
"""

import os

from celery import Celery, chord
from celery.canvas import Signature
from celery.utils import uuid

from runner.tasks import cleanup, collector_1, collector_2, collector_3, collector_gathering, process
from tests.benchmarks.client import expect, main, sum_below, timed
from tests.benchmarks.tasks import number, page, total, total_of_lists, total_of_pages
from tests.benchmarks.tasks import numbers as numbers_found

URL = os.environ.get("BY_HAND_BROKER_URL", "redis://")

app = Celery("by_hand", broker=URL, backend=URL, include=["runner.tasks", "tests.benchmarks.tasks"])

ENDED_WITHIN = 600  # seconds


def documented() -> Signature:
    """The default workflow: three collectors, a gather and two stages."""
    header = [collector_1.s("tea"), collector_2.s("tea"), collector_3.s("tea")]
    return chord(header, collector_gathering.s("request") | cleanup.s("request") | process.s("request"))


def default() -> float:
    with timed() as watch:
        value = _value(documented())
    expect(value, {"request_id": "request", "item_count": 12})
    return watch.seconds


def many(count: int) -> float:
    """As many of them at once."""
    with timed() as watch:
        results = [documented().apply_async() for _ in range(count)]
        values = [result.get(timeout=ENDED_WITHIN, follow_parents=False) for result in results]
    expect([value["item_count"] for value in values], [12] * count)
    return watch.seconds


@app.task(name="by_hand.fetch")
def fetch(found: list[int], *, last: list[str]) -> None:
    """Send a chord for what was found; its body is the last task, or sends the next chord."""
    *more, result = last
    body = fetch.s(last=[result]) if more else total.s().set(task_id=result)
    chord((number.s(n) for n in found), body).apply_async()


def discover(count: int) -> float:
    """A task that finds numbers, a chord over them, whose body sends the next chord."""
    with timed() as watch:
        result = uuid()
        (numbers_found.s(count) | fetch.s(last=["", result])).apply_async()
        value = app.AsyncResult(result).get(timeout=ENDED_WITHIN)
    expect(value, sum_below(count))
    return watch.seconds


def numbers(count: int) -> float:
    with timed() as watch:
        value = _value(chord((number.s(n) for n in range(count)), total.s()))
    expect(value, sum_below(count))
    return watch.seconds


def chunks(count: int, size: int) -> float:
    """Celery's own batches: a chunk is one task, which fails as a whole, and is executed again as a whole."""
    with timed() as watch:
        header = number.chunks(((n,) for n in range(count)), size).group()
        value = _value(chord(header, total_of_lists.s()))
    expect(value, sum_below(count))
    return watch.seconds


def pages(count: int, server: str) -> float:
    with timed() as watch:
        value = _value(chord((page.s(f"{server}/{n}") for n in range(count)), total_of_pages.s()))
    expect(value, sum_below(count))
    return watch.seconds


def _value(canvas: Signature) -> object:
    # Otherwise it looks at the whole header after each message that arrives: 318 s for 10,000, if the worker is behind.
    return canvas.apply_async().get(timeout=ENDED_WITHIN, follow_parents=False)


if __name__ == "__main__":
    main({"default": default, "many": many, "discover": discover, "numbers": numbers, "chunks": chunks, "pages": pages})
