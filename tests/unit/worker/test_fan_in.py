"""The arguments of a gather, by its signature."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import redis

from runner.worker import endings, fan_in
from runner.worker.call import call


def of_a_list(values: list[int]) -> int:
    return sum(values)


def of_a_stream(values: Iterator[int]) -> int:
    return sum(values)


def of_words(values: "Iterable[int]", outcomes: list[Any]) -> int:
    return sum(values) + len(outcomes)


def forgiving(values: Iterator[int]) -> int:
    try:
        return sum(values)
    except Exception:  # noqa: BLE001 - as a user may write
        return -1


async def awaited(values: Iterator[int]) -> int:
    return sum(values)


@pytest.mark.parametrize(("task", "streams"), [(of_a_list, False), (of_a_stream, True), (of_words, True)])
def test_the_annotation_of_the_first_parameter_asks_for_a_stream(task: Any, *, streams: bool) -> None:
    assert fan_in.streams(task) is streams


def test_a_parameter_asks_for_the_outcomes() -> None:
    assert fan_in.wants_outcomes(of_words)
    assert not fan_in.wants_outcomes(of_a_stream)


@pytest.mark.parametrize("task", [of_a_stream, forgiving, awaited])
def test_a_ledger_that_is_gone_in_the_middle_of_a_stream_is_no_failure_of_the_gather(task: Any) -> None:
    """The gather would be `failed` for good, or go on with a part of the values."""

    def values() -> Iterator[int]:
        yield 1
        raise redis.ConnectionError("away")

    with pytest.raises(endings.Unread):
        call(task, (fan_in.stream(values()),), {}, timeout=5, value_limit=100)
