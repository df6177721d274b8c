"""A task notes facts about its step, however it is called."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runner.worker.call import call, call_async
from runner.worker.notes import LIMIT, kept, note


def count_rows(number: int) -> int:
    note(rows=number)
    return number


async def count_rows_later(number: int) -> int:
    await asyncio.sleep(0)
    return count_rows(number)


def test_a_note_outside_of_a_run_does_nothing() -> None:
    note(rows=1)


def test_the_last_value_of_a_note_is_kept() -> None:
    with kept() as notes:
        note(rows=1, path="a")
        note(rows=2)
    assert notes == {"rows": 2, "path": "a"}


@pytest.mark.parametrize("task", [count_rows, count_rows_later])
@pytest.mark.parametrize("timeout", [None, 10])
def test_a_task_notes_of_its_own_step(task: Any, timeout: float | None) -> None:
    with kept() as notes:
        call(task, (5,), {}, timeout=timeout, value_limit=100)
    assert notes == {"rows": 5}


def test_a_task_in_a_thread_that_may_be_left_behind_notes_of_its_own_step() -> None:
    def in_thread() -> dict[str, Any]:
        with kept() as notes:
            call(count_rows, (5,), {}, timeout=10, value_limit=100)
        return notes

    with ThreadPoolExecutor() as pool:
        assert pool.submit(in_thread).result() == {"rows": 5}


def test_tasks_that_are_executed_at_once_note_each_of_its_own_step() -> None:
    async def one(number: int) -> dict[str, Any]:
        with kept() as notes:
            await call_async(count_rows_later, (), {"number": number}, timeout=None, value_limit=100)
        return notes

    async def both() -> list[Any]:
        return list(await asyncio.gather(one(1), one(2)))

    assert asyncio.run(both()) == [{"rows": 1}, {"rows": 2}]


@pytest.mark.parametrize(
    ("fact", "error"), [(threading.Lock(), TypeError), (float("nan"), ValueError), ("x" * LIMIT, ValueError)]
)
def test_a_note_that_is_no_json_or_too_long_is_refused(fact: Any, error: type[Exception]) -> None:
    with kept() as notes, pytest.raises(error):
        note(fact=fact)
    assert notes == {}
