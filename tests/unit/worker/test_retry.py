"""How long a failed attempt waits for the next, if there is one."""

import math
import re

import pytest

from runner.language.plan import Retry
from runner.ledger.entries import Error
from runner.worker.endings import Failure
from runner.worker.retry import NoRetry, wait_before_retry

ERROR = Error("ConnectionError", "refused")
REFUSED = Failure(error=ERROR, names=frozenset({"ConnectionError", "OSError", "Exception"}))


def wait(
    policy: Retry, failure: Failure = REFUSED, *, attempt: int = 1, elapsed: float = 0, chance: float = 0
) -> float | NoRetry:
    return wait_before_retry(policy, failure, attempt=attempt, elapsed=elapsed, chance=chance)


def test_without_retries_the_first_attempt_is_the_last() -> None:
    assert wait(Retry()) == NoRetry()


def test_max_retries_does_not_count_the_first_try() -> None:
    policy = Retry(max_retries=2, jitter="none")
    assert [wait(policy, attempt=attempt) for attempt in (1, 2, 3)] == [1.0, 2.0, NoRetry()]


def test_the_delay_grows_by_the_backoff_up_to_max_delay() -> None:
    policy = Retry(max_retries=9, delay=2, backoff=3, max_delay=10, jitter="none")
    assert [wait(policy, attempt=attempt) for attempt in (1, 2, 3, 4)] == [2, 6, 10, 10]


def test_the_delay_of_the_hundredth_retry_does_not_overflow() -> None:
    assert wait(Retry(max_retries=100, backoff=1e300, jitter="none"), attempt=100) == 300


@pytest.mark.parametrize(("jitter", "shortest"), [("full", 0.0), ("none", 8.0), (0.25, 6.0)])
def test_jitter_takes_a_share_off_the_delay_of_a_retry(jitter: float, shortest: float) -> None:
    policy = Retry(max_retries=1, delay=8, jitter=jitter)
    assert (wait(policy, chance=0.0), wait(policy, chance=1.0)) == (8.0, shortest)


def test_retry_after_is_waited_for() -> None:
    assert wait(Retry(max_retries=1), Failure(error=ERROR, retry_after=7)) == 7


@pytest.mark.parametrize(("seconds", "told"), [(3600, "1h"), (math.inf, "for ever"), (1e300, "for ever")])
def test_a_retry_after_past_max_delay_is_no_retry_with_the_reason(seconds: float, told: str) -> None:
    """`Retry-After: 3600` was cut to the five minutes of `max_delay`: the server was asked twelve times in that hour."""
    refused = wait(Retry(max_retries=3, max_delay=300), Failure(error=ERROR, retry_after=seconds))
    assert isinstance(refused, NoRetry)
    assert re.fullmatch(rf"it asks to wait \d*{told}, and retry.max_delay is 5m", refused.reason)


def test_a_retry_after_as_long_as_max_delay_is_waited_for() -> None:
    assert wait(Retry(max_retries=1, max_delay=3600), Failure(error=ERROR, retry_after=3600)) == 3600


def test_a_failure_that_the_task_calls_final_is_not_tried_again() -> None:
    assert wait(Retry(max_retries=5), Failure(error=ERROR, retryable=False)) == NoRetry()


def test_only_a_failure_that_retry_on_names_is_tried_again() -> None:
    assert wait(Retry(max_retries=1, on=("http_429",))) == NoRetry()


def test_retry_on_may_name_a_base_class_of_the_exception() -> None:
    assert wait(Retry(max_retries=1, on=("OSError",))) == 1


def test_a_failure_that_retry_not_on_names_is_not_tried_again() -> None:
    assert wait(Retry(max_retries=1, not_on=("OSError",))) == NoRetry()


def test_no_failure_is_tried_again_past_max_duration() -> None:
    policy = Retry(max_retries=5, delay=10, max_duration=60, jitter="none")
    assert (wait(policy, elapsed=49), wait(policy, elapsed=51)) == (
        10,
        NoRetry("the next attempt would be later than retry.max_duration, 1m"),
    )
