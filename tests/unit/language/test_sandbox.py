"""A function in a process of its own, which is ended if it takes too much."""

import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from runner.language import sandbox
from runner.language.sandbox import Sandbox, TooMuch
from tests import processes
from tests.waiting import wait_until


def box(function: str, *, seconds: int = 1, size: int = 1_000) -> Sandbox:
    return Sandbox(f"tests.sandboxed:{function}", seconds=seconds, memory=1 << 30, size=size)


def test_the_sandbox_returns_what_the_function_returns() -> None:
    value = {"a": [1, 2.5, None, "é\n\u2028"], "b": {"c": True}}
    assert box("echo").call(value) == value


def test_one_process_of_the_sandbox_replies_again_and_again() -> None:
    asked = box("whoami")
    assert asked.call(None) == asked.call(None) != os.getpid()


@pytest.mark.parametrize(
    ("function", "argument", "told"),
    [
        ("spin", None, "takes more than 1 s of the processor"),
        ("hoard", None, "takes more than 1,024 MiB of memory"),
        ("abort", None, "takes more than 1,024 MiB of memory"),
        ("repeat", 5_000, "comes to 5,013 bytes of JSON, limit 1,000"),
    ],
)
def test_a_call_in_the_sandbox_that_needs_too_much_is_reported(function: str, argument: object, told: str) -> None:
    asked = box(function)
    with pytest.raises(TooMuch) as first:
        asked.call(argument)
    with pytest.raises(TooMuch) as again:
        asked.call(argument)
    assert (str(first.value), str(again.value)) == (told, told)


def test_each_call_in_the_sandbox_has_its_own_time() -> None:
    asked = box("echo", seconds=1)
    assert [asked.call(number) for number in range(3)] == [0, 1, 2]


def test_a_process_of_the_sandbox_that_was_idle_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sandbox, "_SERVE", sandbox._SERVE.replace("sandbox.serve(", "sandbox.IDLE = 0.1; sandbox.serve(")
    )
    asked = box("whoami")
    first = asked.call(None)
    wait_until(lambda: not processes.is_running(first), "it has ended")
    assert asked.call(None) != first


class _Alarm(Exception):
    """The time is over."""


@pytest.fixture
def _alarm() -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_alarm")
def test_a_call_in_the_sandbox_can_be_interrupted_and_leaves_no_process() -> None:
    """As the timeout of a step does, and Ctrl-C: CEL in our own process let neither in."""
    asked = box("spin", seconds=60)
    signal.setitimer(signal.ITIMER_REAL, 1)
    with pytest.raises(_Alarm):
        asked.call(None)
    assert asked._process is not None
    assert asked._process.returncode == -signal.SIGKILL
