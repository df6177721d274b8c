"""Many things to tuples of some of them."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Thing = TypeVar("Thing")


def in_parts(things: Iterable[Thing], number: int) -> Iterator[tuple[Thing, ...]]:
    """Yield ``number`` things at a time (``itertools.batched`` comes with Python 3.12)."""
    rest = iter(things)
    while some := tuple(islice(rest, number)):
        yield some
