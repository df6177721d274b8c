"""The ways in which a step may end, and what follows each."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest
import redis
from kombu.exceptions import OperationalError

from runner.errors import RunnerError
from runner.language.plan import Retry
from runner.ledger.entries import Granted
from runner.worker import endings
from runner.worker.call import call, call_async, in_loop
from runner.worker.endings import RULES, Ending, Failure, Rule
from runner.worker.retry import NoRetry, wait_before_retry
from tests.command_line import ROOT
from tests.plans import make_gather, make_plan, make_stage

TWICE = Retry(max_retries=2, jitter="none")
NEVER = Retry()
ONLY = Retry(max_retries=2, jitter="none", on=("ConnectionError",))

SAMPLES = [
    # what happened, how it ended, the status, and whether the first and the second attempt are followed by another
    (endings.exception(ValueError("no")), Ending.EXCEPTION, "failed", {"never": "", "twice": "12", "only": ""}),
    (endings.exception(ConnectionError("no")), Ending.EXCEPTION, "failed", {"never": "", "twice": "12", "only": "12"}),
    (endings.exception(SystemExit(1)), Ending.EXIT, "failed", {"never": "", "twice": "12", "only": ""}),
    (endings.exception(asyncio.CancelledError()), Ending.EXIT, "failed", {"never": "", "twice": "12", "only": ""}),
    (endings.timed_out(1), Ending.TIMEOUT, "timed_out", {"never": "", "twice": "12", "only": ""}),
    (endings.past_the_hard_limit(1), Ending.TIMEOUT, "timed_out", {"never": "", "twice": "12", "only": ""}),
    (endings.process_died(OSError("9")), Ending.DIED, "failed", {"never": "1", "twice": "12", "only": "12"}),
    (endings.refused(RunnerError("no")), Ending.REFUSED, "failed", {"never": "", "twice": "", "only": ""}),
    (endings.revoked("terminated"), Ending.REVOKED, "cancelled", {"never": "", "twice": "", "only": ""}),
    (endings.unrecorded(OSError("no")), Ending.UNRECORDED, "failed", {"never": "", "twice": "", "only": ""}),
    (
        endings.lost_too_often(Granted(step="a", lost=4)),
        Ending.LOST,
        "failed",
        {"never": "", "twice": "", "only": ""},
    ),
]


@pytest.mark.parametrize(("failure", "ending", "status", "again"), SAMPLES)
def test_an_ending_is_followed_by_what_the_table_says(
    failure: Failure, ending: Ending, status: str, again: dict[str, str]
) -> None:
    assert (failure.ending, RULES[failure.ending].status) == (ending, status)
    policies = {"never": NEVER, "twice": TWICE, "only": ONLY}
    assert {name: followed(policy, failure) for name, policy in policies.items()} == again


def test_a_step_whose_workers_are_lost_has_failed_with_the_fourth() -> None:
    """The guide said that it has failed after three."""
    failures = [endings.lost_too_often(Granted(step="a", lost=lost)) for lost in range(6)]
    assert [failure is not None for failure in failures] == [False, False, False, False, True, True]


def followed(policy: Retry, failure: Failure) -> str:
    """The attempts, of the first three, after which there is another."""
    return "".join(
        str(attempt)
        for attempt in (1, 2, 3)
        if not isinstance(wait_before_retry(policy, failure, attempt=attempt, elapsed=0, chance=0), NoRetry)
    )


def test_every_ending_has_its_rule_and_every_failure_its_sample() -> None:
    assert set(RULES) == set(Ending)
    recorded = {ending for ending, rule in RULES.items() if rule.status not in {None, "succeeded"}}
    assert {ending for _, ending, _, _ in SAMPLES} == recorded


def test_a_step_that_is_given_back_has_no_outcome_and_uses_no_retry_up() -> None:
    free = {ending for ending, rule in RULES.items() if rule == Rule(None, "free")}
    assert free == {Ending.STOPPED, Ending.AWAY}


def test_a_copy_of_a_step_stands_where_the_step_does() -> None:
    """Celery #2911: a default retry was given to a copy, of which the plan then knew no place."""
    plan = make_plan("p", collectors="a", gather="g", stages="s")
    assert plan.after(make_gather("g", retry=TWICE)) == plan.tail[1:]
    assert plan.before(make_stage("s", retry=TWICE)) == plan.fan_outs[0].gather
    assert plan.before(plan.collectors[0]) is None


class Stop(BaseException):
    pass


ENDS: list[Callable[[], BaseException]] = [
    lambda: SystemExit("no licence"),
    KeyboardInterrupt,
    GeneratorExit,
    lambda: asyncio.CancelledError("upstream"),
    lambda: Stop("enough"),
]


@pytest.mark.parametrize("make", ENDS)
def test_a_function_that_raises_a_base_exception_has_failed(make: Callable[[], BaseException]) -> None:
    """Distributed #5958, mars #2963, arq #213: it passed by `except Exception`, and the step was executed five times."""

    def end() -> NoReturn:
        raise make()

    found = call(end, (), {}, timeout=None, value_limit=100)
    assert isinstance(found, Failure)
    assert (found.ending, found.error.type) == (Ending.EXIT, type(make()).__name__)
    assert "in end" in found.error.traceback


@pytest.mark.parametrize("timeout", [None, 30.0])
@pytest.mark.parametrize("make", ENDS)
def test_a_coroutine_that_raises_a_base_exception_has_failed_and_the_loop_continues(
    make: Callable[[], BaseException], timeout: float | None
) -> None:
    """Two of them stop asyncio's loop as well: the next step in it would have got what this one raised."""

    async def end() -> NoReturn:
        await asyncio.sleep(0)
        raise make()

    async def go_on() -> int:
        await asyncio.sleep(0)
        return 1

    found = call(end, (), {}, timeout=timeout, value_limit=100)
    assert isinstance(found, Failure)
    assert (found.ending, found.error.type) == (Ending.EXIT, type(make()).__name__)
    assert "in end" in found.error.traceback
    assert call(go_on, (), {}, timeout=timeout, value_limit=100).ending is Ending.VALUE


@pytest.mark.parametrize("make", ENDS)
def test_of_many_coroutines_in_a_loop_the_one_that_raises_fails_alone(make: Callable[[], BaseException]) -> None:
    async def each(item: int) -> int:
        await asyncio.sleep(0.01 * (item % 2))
        if item == 3:
            raise make()
        return item

    async def all_of_them() -> list[Ending]:
        calls = [call_async(each, (), {"item": item}, timeout=None, value_limit=100) for item in range(6)]
        return [result.ending for result in await asyncio.gather(*calls)]

    value = Ending.VALUE
    assert in_loop(all_of_them()) == [value, value, value, Ending.EXIT, value, value]


@pytest.mark.parametrize("make", [lambda: SystemExit("child"), KeyboardInterrupt])
def test_what_a_task_started_by_the_step_raises_reaches_its_awaiter(make: Callable[[], BaseException]) -> None:
    async def child() -> NoReturn:
        await asyncio.sleep(0)
        raise make()

    async def parent() -> None:
        await asyncio.create_task(child())

    found = call(parent, (), {}, timeout=30, value_limit=100)
    assert isinstance(found, Failure)
    assert found.error.type == type(make()).__name__
    assert "in child" in found.error.traceback


def test_a_coroutine_that_awaits_what_was_cancelled_fails_with_it() -> None:
    async def await_it() -> None:
        child = asyncio.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        child.cancel()
        await child

    found = call(await_it, (), {}, timeout=30, value_limit=100)
    assert isinstance(found, Failure)
    assert found.error.type == "CancelledError"


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_a_coroutine_that_cancels_itself_and_returns_has_returned(timeout: float | None) -> None:
    async def cancel_all() -> int:
        for task in asyncio.all_tasks():
            task.cancel()
        return 5

    assert call(cancel_all, (), {}, timeout=timeout, value_limit=100).ending is Ending.VALUE
    assert call(cancel_all, (), {}, timeout=timeout, value_limit=100).ending is Ending.VALUE


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (redis.ConnectionError("refused"), True),
        (redis.TimeoutError("late"), True),
        (redis.BusyLoadingError("loading"), True),
        (redis.ReadOnlyError("a replica"), True),
        (redis.exceptions.OutOfMemoryError("command not allowed"), True),
        (redis.exceptions.NoPermissionError("eval"), True),
        (redis.exceptions.ClusterDownError("down"), True),
        (redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), True),
        (redis.ResponseError("BUSY a script"), True),
        (OperationalError("no broker"), True),
        (endings.Unread("gone"), True),
        (redis.ResponseError("user_script:12: bad argument #1 to 'decode'"), False),
        (redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), False),
        (redis.DataError("no such type"), False),
        (UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates not allowed"), False),
        (ValueError("tuple.index(x): x not in tuple"), False),
    ],
)
def test_a_ledger_that_is_away_is_distinguished_from_one_that_refuses(error: BaseException, away: bool) -> None:  # noqa: FBT001
    assert endings.is_away(error) is away


def test_a_process_that_is_stopped_records_nothing_of_its_step() -> None:
    """A cancel of ours stays a cancel, whatever the step makes of it: its cleaning up may raise as well."""
    program = """
import os, signal, time
from billiard.common import reset_signals
from runner.worker.call import call

def step():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    finally:
        raise OSError("nothing to roll back")

reset_signals(full=True)
try:
    print(call(step, (), {}, timeout=None, value_limit=100))
except SystemExit as end:
    print("ends by", repr(end.__cause__))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60
    )
    assert done.stdout == "ends by OSError('nothing to roll back')\n"
