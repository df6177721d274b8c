"""The values of the collectors to one value."""

from collections.abc import Iterator
from typing import Any

from celery import shared_task

from runner.language.source import found, kind


class NotGatherable(ValueError):
    """The collectors' values are not of the kind that this gather puts together."""

    retryable = False  # the values will be the same the next time


@shared_task(name="gather.concat")
def concat(values: list[Any]) -> list[Any]:
    """Put the collectors' lists together into one list, in the order of the collectors.

    Args:
        values: a list adds its items, an object itself, and null nothing. Strings, numbers and booleans are items if
            all values are such; beside lists and objects, they are a failure.

    Raises:
        NotGatherable: a value is neither a list nor an object, and others are.
    """
    _require_list(values, "gather.concat")
    alone = [number for number, value in enumerate(values, start=1) if not isinstance(value, list | dict | None)]
    if alone and any(isinstance(value, list | dict) for value in values):
        value = values[alone[0] - 1]
        raise NotGatherable(
            f"value {alone[0]} of {len(values)} is {found(value)}, neither a list nor an object as others are: "
            "gather.concat would put it between their records"
        )
    items: list[Any] = []
    for value in values:
        if isinstance(value, list):
            items.extend(value)
        elif value is not None:
            items.append(value)
    return items


@shared_task(name="gather.merge")
def merge(values: list[dict[str, Any] | None]) -> dict[str, Any]:
    """Put the collectors' objects together into one object; where two have a key, the later collector's value stands.

    Args:
        values: objects. Null adds nothing.

    Raises:
        NotGatherable: a value is neither an object nor null.
    """
    _require_list(values, "gather.merge")
    merged: dict[str, Any] = {}
    for number, value in enumerate(values, start=1):
        if value is None:
            continue
        if not isinstance(value, dict):
            raise NotGatherable(
                f"value {number} of {len(values)} is {kind(value)}, and gather.merge puts objects together; "
                "gather.concat takes lists"
            )
        merged.update(value)
    return merged


_FIELDS = ("id", "item", "status", "attempts", "seconds")


@shared_task(name="gather.outcomes")
def records_of(values: Iterator[Any], outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Make a record of how each collector ended: `{id, item, status, attempts, seconds, error}`.

    Missing collectors have one, too, if the gather may run without them (`min_success`, `required: false`). The order is
    that of the collectors.

    Args:
        values: what the collectors returned, which is not in the records.
        outcomes: how each collector ended; filled by the runner.
    """
    del values
    return [{name: each[name] for name in _FIELDS} | {"error": _error(each["error"])} for each in outcomes]


def _error(error: dict[str, str] | None) -> str | None:
    return f"{error['type']}: {error['message']}" if error else None


def _require_list(values: object, task: str) -> None:
    if not isinstance(values, list):
        raise NotGatherable(f"{task} takes a list of values, not {kind(values)}")
