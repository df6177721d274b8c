"""The endings of a call of a user's task."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from celery import Celery, Task

from runner.worker.call import call
from runner.worker.endings import Ending, Failure, Success


def outcome(
    function: Any, *args: Any, timeout: float | None = None, limit: int = 1000, **options: Any
) -> Success | Failure:
    app = Celery("test_call", set_as_current=False)
    return call(app.task(shared=False, **options)(function), args, {}, timeout=timeout, value_limit=limit)


def failure(function: Any, *args: Any, timeout: float | None = None, **options: Any) -> Failure:
    found = outcome(function, *args, timeout=timeout, **options)
    assert isinstance(found, Failure)
    return found


def test_the_value_of_a_function_is_its_success() -> None:
    def double(number: int) -> int:
        return 2 * number

    assert outcome(double, 4) == Success(8)


def test_a_coroutine_is_awaited() -> None:
    async def double_later(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    assert outcome(double_later, 4) == Success(8)


def test_a_bound_task_gets_itself() -> None:
    def who(self: Task) -> str:
        return str(self.name)

    assert outcome(who, bind=True, name="tests.who") == Success("tests.who")


def test_an_exception_is_shown_with_the_frames_of_the_task_alone() -> None:
    def divide() -> float:
        return 1 / 0

    error = failure(divide).error
    assert (error.type, error.message) == ("ZeroDivisionError", "division by zero")
    assert "in divide" in error.traceback
    assert "runner/worker/call.py" not in error.traceback


def test_an_exception_may_be_named_by_any_of_its_classes() -> None:
    def refuse() -> None:
        raise ConnectionRefusedError("no")

    assert {"ConnectionRefusedError", "OSError", "builtins.OSError"} <= failure(refuse).names


def test_an_exception_with_a_status_code_is_named_by_it() -> None:
    class TooMany(Exception):
        status_code = 429
        retry_after = 3

    def hurry() -> None:
        raise TooMany

    found = failure(hurry)
    assert {"http_429", "http_4xx"} <= found.names
    assert found.retry_after == 3


def test_an_exception_may_say_its_own_names() -> None:
    class Closed(Exception):
        names = ("closed", "closed_today")

    def ask() -> None:
        raise Closed

    assert {"closed", "closed_today", "Closed"} <= failure(ask).names


@pytest.mark.parametrize("names", ["closed", 5, [1, None], {"closed": 1}])
def test_an_attribute_names_that_is_no_list_of_texts_is_passed_over(names: Any) -> None:
    class Closed(Exception):
        pass

    def ask() -> None:
        error = Closed()
        error.names = names  # type: ignore[attr-defined]
        raise error

    assert {name.rpartition(".")[2] for name in failure(ask).names} <= {
        "Closed",
        "Exception",
        "BaseException",
        "object",
    }


def test_a_task_may_say_that_trying_again_cannot_help() -> None:
    class Hopeless(Exception):
        retryable = False

    def give_up() -> None:
        raise Hopeless

    assert not failure(give_up).retryable


def test_a_tasks_own_retry_is_the_exception_it_retries_for() -> None:
    def fetch(self: Task) -> None:
        raise self.retry(exc=ConnectionError("refused"))

    assert failure(fetch, bind=True, name="tests.fetch").error.message == "refused"


def test_a_function_is_interrupted_after_its_timeout() -> None:
    def sleep() -> None:
        time.sleep(30)

    found = failure(sleep, timeout=0.05)
    assert found.ending is Ending.TIMEOUT
    assert found.error.message == "took longer than 0.05 s"


def test_a_function_that_cannot_be_interrupted_is_left_behind_a_second_after_its_timeout() -> None:
    """Only a main thread can be; the threads pool has none to spare."""
    ended = threading.Event()
    with ThreadPoolExecutor() as pool:
        found = pool.submit(failure, ended.wait, 10, timeout=0.05).result(5)
    assert found.ending is Ending.TIMEOUT
    ended.set()


def test_a_coroutine_is_cancelled_after_its_timeout() -> None:
    async def sleep_later() -> None:
        await asyncio.sleep(30)

    assert failure(sleep_later, timeout=0.05).ending is Ending.TIMEOUT


def test_a_timeout_of_the_tasks_own_is_its_own_failure() -> None:
    def fail_early() -> None:
        raise TimeoutError("the server")

    found = failure(fail_early, timeout=10)
    assert (found.ending, found.error.type) == (Ending.EXCEPTION, "TimeoutError")


def test_a_function_that_swallows_the_interruption_has_timed_out_all_the_same() -> None:
    def stubborn() -> str:
        with suppress(Exception):
            time.sleep(30)
        return "done"

    assert failure(stubborn, timeout=0.05).ending is Ending.TIMEOUT


@pytest.mark.parametrize("value", [object(), {1, 2}, {1: "a"}, float("nan"), {"deep": [object()]}])
def test_a_value_that_is_no_json_is_a_failure(value: Any) -> None:
    def give(what: Any) -> Any:
        return what

    found = failure(give, value)
    assert (found.error.type, found.retryable) == ("NotJSON", False)


def test_a_value_over_the_limit_is_a_failure_that_says_both() -> None:
    def much() -> str:
        return "x" * 2000

    assert "returned 2,002 bytes of JSON, limit 1,000" in failure(much).error.message
