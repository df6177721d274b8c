"""A list of records to the same records without duplicates, sorted, or counted."""

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from celery import shared_task

from runner import note
from runner.collectors.keys import named
from runner.language.source import kind
from runner.ledger.values import text_of

Keys = str | list[str]


class NotRecords(ValueError):
    """The value is not a list of objects."""

    retryable = False  # the value will be the same the next time


@shared_task(name="records.dedupe")
def dedupe(records: list[Any], by: Keys | None = None) -> list[Any]:
    """Keep the first of the records that are the same.

    Records that have none of the keys, or null there, say nothing about being the same: all of them are kept. The step's
    notes have their number, and that of the records that were dropped.

    Args:
        records: objects; without `by`, anything.
        by: the key or keys to compare, where a missing one is as null; by default, the whole record. A key that no
            record has is a failure, unless it is written with a `?`.

    Raises:
        NotRecords: a record is not an object, with `by`, or none has the key.
    """
    _check(records, by, "records.dedupe")
    keys = _had(records, _keys(by), "records.dedupe") if by else []
    first: dict[str, Any] = {}
    without = 0
    for record in records:
        values = [record.get(key) for key in keys] if keys else [record]
        if keys and all(value is None for value in values):
            without += 1
            first[f"without {without}"] = record  # never equal to the JSON of a list
        else:
            first.setdefault(_text(values), record)
    if without:
        note(without_key=without)
    if dropped := len(records) - len(first):
        note(dropped=dropped)
    return list(first.values())


@shared_task(name="records.sort")
def sort(records: list[dict[str, Any]], by: Keys, *, reverse: bool = False) -> list[dict[str, Any]]:
    """Sort the records; equal ones stay in their order.

    Args:
        records: objects.
        by: the key or keys to sort by, the most important first. Records without it, or with null, come last, also in
            reverse. Values of different kinds sort as booleans, numbers, texts, then lists and objects by their JSON. A
            key that no record has is a failure, unless it is written with a `?`.
        reverse: from the largest to the smallest.

    Raises:
        NotRecords: a record is not an object, or none has the key.
    """
    _check(records, by, "records.sort")
    for key in reversed(
        _had(records, _keys(by), "records.sort")
    ):  # the sort is stable, so the most important key goes last
        present = [record for record in records if record.get(key) is not None]
        missing = [record for record in records if record.get(key) is None]
        records = sorted(present, key=lambda record: _rank(record[key]), reverse=reverse) + missing
    return records


@shared_task(name="records.count")
def count(records: list[Any], by: str | None = None) -> dict[str, Any]:
    """Count the records: `{count}`, and with a key also `{by: {value: count}}`, the most common value first.

    Args:
        records: objects; without `by`, anything.
        by: the key whose values to count. Values that are not text count as their JSON; a missing one as null. A key
            that no record has is a failure, unless it is written with a `?`.

    Raises:
        NotRecords: a record is not an object, with `by`, or none has the key.
    """
    _check(records, by, "records.count")
    if by is None:
        return {"count": len(records)}
    [key] = _had(records, [by], "records.count")
    values = [record.get(key) for record in records]
    counted = Counter(value if isinstance(value, str) else _text(value) for value in values)
    return {"count": len(records), "by": dict(counted.most_common())}


def _check(records: object, by: object, task: str) -> None:
    if not isinstance(records, list):
        raise NotRecords(f"{task} takes a list of records, not {kind(records)}")
    if by is None:
        return
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict):
            message = f"record {number} of {len(records)} is {kind(record)}, and has no keys for {task}"
            raise NotRecords(f"{message} to look at (by: {_text(by)})")


def _keys(by: Keys | None) -> Sequence[str]:
    return [by] if isinstance(by, str) else by or []


def _had(records: list[dict[str, Any]], keys: Sequence[str], task: str) -> list[str]:
    """Return the keys without their `?`; raise NotRecords for one that no record has, as it is most likely misspelt."""
    there = dict.fromkeys(name for record in records for name in record)
    found = [named(key, there) for key in keys]
    for key, optional in found:
        if records and not optional and key not in there:
            message = (
                f'no record has "{key}" (by of {task}); they have {", ".join(list(there)[:20]) or "no keys at all"}'
            )
            raise NotRecords(f'{message}. Write "{key}?" if all may lack it')
    return [key for key, _ in found]


def _rank(value: Any) -> tuple[int, Any]:
    match value:
        case bool():
            return 0, value
        case int() | float() | Decimal():
            return 1, value
        case str():
            return 2, value
    return 3, _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=text_of)
