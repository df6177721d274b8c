"""Many things, some at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Thing = TypeVar("Thing")


def in_parts(things: Iterable[Thing], number: int) -> Iterator[tuple[Thing, ...]]:
    """So many of them at a time (``itertools.batched`` comes with Python 3.12)."""
    rest = iter(things)
    while some := tuple(islice(rest, number)):
        yield some
