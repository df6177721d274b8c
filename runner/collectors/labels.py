"""Records and the labels of their source to records that have both."""

from collections.abc import Iterable
from typing import Any


def add_labels(records: Iterable[dict[str, Any]], labels: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records with the labels first; a label replaces a field of the same name.

    >>> add_labels([{"n": 1, "from": "?"}], {"from": "a"})
    [{'from': 'a', 'n': 1}]
    """
    return [{**labels, **record, **labels} for record in records]
