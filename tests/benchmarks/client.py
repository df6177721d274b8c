"""Requests for runs on standard input to seconds on standard output: one process submits each run and waits for it.

Each side has one, so that neither pays for the other's imports, and the memory that submitting takes can be measured.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

# A work takes its count, and returns the seconds that it took.
Work = Callable[..., float]


class WrongResult(Exception):
    """A run has lost something, or counted it twice; how fast it was is of no interest then."""


def main(works: Mapping[str, Work]) -> None:
    """Print a number for each line, `{"work": "numbers", "count": 1000}`, until the input ends."""
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        seconds = works[asked.pop("work")](**asked)
        sys.stdout.write(f"{json.dumps(seconds)}\n")
        sys.stdout.flush()


class Watch:
    """Seconds from the beginning of a `with timed() as watch` to its end."""

    seconds = 0.0


@contextmanager
def timed() -> Iterator[Watch]:
    watch = Watch()
    began = perf_counter()
    yield watch
    watch.seconds = perf_counter() - began


def expect(found: object, expected: object) -> None:
    if found != expected:
        raise WrongResult(f"found {found!r}, expected {expected!r}")


def sum_below(count: int) -> int:
    """0 + 1 + … + count - 1: what the numbers and the pages add up to."""
    return count * (count - 1) // 2
