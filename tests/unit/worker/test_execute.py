"""Messages that a worker cannot execute."""

import time
from collections.abc import Callable

import pytest
import redis
from celery.exceptions import Reject

from runner.errors import UnknownRun
from runner.worker import execute, process
from runner.worker.endings import Unread


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(process, "ledger", lambda: None)
    return slept


@pytest.mark.parametrize(
    ("error", "requeued"),
    [
        (lambda: redis.ConnectionError("refused"), True),
        (lambda: redis.exceptions.OutOfMemoryError("command not allowed"), True),
        (lambda: Unread("gone in the middle of a stream"), True),
        (lambda: redis.ResponseError("user_script:1: bad argument"), False),
        (lambda: UnknownRun("no such run"), False),
        (lambda: KeyError("a plan of another version"), False),
    ],
)
def test_a_message_that_cannot_be_executed_goes_back_after_a_while_or_to_the_dead_letters(
    error: Callable[[], BaseException],
    requeued: bool,  # noqa: FBT001
    slept: list[float],
) -> None:
    """At once it went, and came again: 20 MB of log in 35 s. A script that fails was taken for a ledger that is away."""
    with pytest.raises(Reject) as rejected, execute._ledger(execute.collect, "run-1", ["a"]):
        raise error()
    assert rejected.value.requeue is requeued
    assert slept == ([execute.AWAY] if requeued else [])
