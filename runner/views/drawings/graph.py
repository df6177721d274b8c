"""A plan to the graph that is drawn of it: rows of nodes, each row after the one before it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, product

from runner.language.plan import FanOut, Part, Plan, Step

_ENDS = 5  # collectors at each end of a wide fan-out that are drawn


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A step of the graph, or several that are not drawn.

    Args:
        name: ``n0``, ``n1``, … in the order of the drawing, whatever the steps are called.
        step: None if the node stands for several.
        hidden: how many it stands for then.
    """

    name: str
    step: Step | None
    hidden: int = 0


Row = tuple[Node, ...]


def rows(plan: Plan, collapse: int | None = None) -> list[Row]:
    """The nodes in the order of the plan. Each node of a row comes after every node of the row before it.

    Args:
        collapse: of a fan-out of more collectors than this, only the first and the last five are drawn; None draws all.
    """
    drawn = [row for part in plan.parts for row in _rows_of(part, collapse)]
    nodes = [
        Node(name=f"n{number}", step=None, hidden=each) if isinstance(each, int) else Node(name=f"n{number}", step=each)
        for number, each in enumerate(chain(*drawn))
    ]
    rest = iter(nodes)
    return [tuple(next(rest) for _ in row) for row in drawn]


def edges(rows: Sequence[Row]) -> Iterator[tuple[Node, Node]]:
    """Every edge, from a node to a node of the next row."""
    for before, after in pairwise(rows):
        yield from product(before, after)


def _rows_of(part: Part, collapse: int | None) -> list[list[Step | int]]:
    return [_ends(part.collectors, collapse), [part.gather]] if isinstance(part, FanOut) else [[part]]


def _ends(collectors: Sequence[Step], collapse: int | None) -> list[Step | int]:
    """The collectors that are drawn, with the number of the others in their place."""
    if collapse is None or len(collectors) <= max(collapse, 2 * _ENDS):
        return [*collectors]
    return [*collectors[:_ENDS], len(collectors) - 2 * _ENDS, *collectors[-_ENDS:]]
