"""A gather's signature to its arguments: a list of values or a stream of them, and the outcomes."""

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import redis

from runner.errors import RunnerError
from runner.language.plan import FanOut
from runner.ledger.entries import Outcome
from runner.ledger.run_record import RunRecord
from runner.ledger.values import decode_value
from runner.worker.endings import Unread


def streams(task: Callable[..., Any]) -> bool:
    """Whether its first parameter is annotated as an ``Iterator`` or ``Iterable``.

    Such a gather gets values that are read from the ledger as it asks for them, not a list: a million need not be in
    memory at once.
    """
    parameters = list(_parameters(task).values())
    if not parameters:
        return False
    annotation = parameters[0].annotation
    if isinstance(annotation, str):  # from __future__ import annotations
        return re.match(r"(\w+\.)*Itera(tor|ble)\b", annotation) is not None
    return (typing.get_origin(annotation) or annotation) in (Iterator, Iterable)


def stream(values: Iterator[Any]) -> Iterator[Any]:
    """Yield the values.

    Raises:
        Unread: the ledger cannot be read any more, or lacks one of them.
    """
    try:
        yield from values
    except (redis.RedisError, RunnerError) as error:
        raise Unread(str(error)) from error


def wants_outcomes(task: Callable[..., Any]) -> bool:
    return "outcomes" in _parameters(task)


def outcomes(run: RunRecord, fan_out: FanOut) -> list[dict[str, Any]]:
    """Return the argument ``outcomes``: how each collector ended, in the order of the YAML and of the items.

    ``item`` is None of a collector without ``foreach``, ``seconds`` of one that never ended an attempt.
    """
    entries = []
    stopped = run.is_stopped(fan_out)
    for steps in run.expanded(fan_out.collectors):
        ends = run.outcomes_of([step.id for step in steps], values=True)
        for step in steps:
            ended = ends.get(step.id) or (Outcome(step=step.id, status="not_needed") if stopped else None)
            if ended is None:
                continue
            entries.append(
                {
                    "id": step.id,
                    "item": step.item.value if step.item else None,
                    "status": ended.status,
                    "attempts": ended.attempts,
                    "seconds": ended.seconds,
                    "value": decode_value(ended.json) if ended.passes else None,
                    "error": asdict(ended.error) if ended.error else None,
                }
            )
    return entries


def _parameters(task: Callable[..., Any]) -> typing.Mapping[str, inspect.Parameter]:
    return inspect.signature(getattr(task, "run", task)).parameters
