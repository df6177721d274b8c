"""Tasks that record what they do, and fail as their arguments say."""

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded


def note(journal: str, word: str, step: str, attempt: int) -> None:
    """One line with a single write, so that lines of several processes do not mix."""
    with Path(journal).open("ab", buffering=0) as file:
        file.write(f"{time.monotonic():.6f} {os.getpid()} {word} {step} {attempt}\n".encode())


def begin(journal: str, step: str) -> int:
    """Note the start of a step, and return its number."""
    lines = Path(journal).read_text(encoding="utf-8").splitlines() if Path(journal).exists() else []
    attempt = 1 + sum(line.split()[2:4] == ["START", step] for line in lines)
    note(journal, "START", step, attempt)
    return attempt


def wait_for_go(journal: str, *, held: bool) -> None:
    while held and not Path(f"{journal}.go").exists():
        time.sleep(0.02)


@shared_task(name="faulty.collect")
def collect(journal: str, step: str, seconds: float = 0, *, held: bool = False) -> list[str]:
    """Take some time, and wait for a file beside the journal if it is held; then return the step's name in a list."""
    attempt = begin(journal, step)
    wait_for_go(journal, held=held)
    time.sleep(seconds)
    note(journal, "END", step, attempt)
    return [step]


@shared_task(name="faulty.follow")
def follow(value: list[str], journal: str, step: str, seconds: float = 0) -> list[str]:
    """Take some time under a `then`, and hand the value on."""
    collect(journal, step, seconds)
    return value


@shared_task(name="faulty.poisoned")
def poisoned(
    journal: str,
    step: str,
    seconds: float = 0,
    *,
    poisoned: bool = False,
    whole_worker: bool = False,
    held: bool = False,
) -> list[str]:
    """As `faulty.collect`; or kill the process that executes this, or its whole worker; or wait for a file beside the journal."""
    attempt = begin(journal, step)
    wait_for_go(journal, held=held)
    if poisoned and whole_worker:
        os.killpg(0, signal.SIGKILL)
    if poisoned:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(seconds)
    note(journal, "END", step, attempt)
    return [step]


@shared_task(name="faulty.gather")
def gather(values: list[Any], journal: str, seconds: float = 0, dies: int = 0) -> list[Any]:
    """Write the values down, and return them as they are; kill the worker after the first `dies` times."""
    attempt = begin(journal, "gather")
    time.sleep(seconds)
    with Path(f"{journal}.gathered").open("ab", buffering=0) as file:
        file.write(json.dumps(values).encode() + b"\n")
    note(journal, "END", "gather", attempt)
    if attempt <= dies:
        os.killpg(0, signal.SIGKILL)
    return values


@shared_task(name="faulty.stage")
def stage(value: Any, journal: str, step: str) -> dict[str, Any]:
    """The value, under the step's name."""
    attempt = begin(journal, step)
    note(journal, "END", step, attempt)
    return {step: value}


@shared_task(name="faulty.large")
def large(size: int) -> str:
    """A text of that size."""
    return "x" * size


@shared_task(name="faulty.die")
def die(journal: str, step: str) -> None:
    """Kill the process that executes this, as the kernel does where memory is short."""
    begin(journal, step)
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name="faulty.take_down")
def take_down(journal: str, step: str) -> None:
    """Kill the whole worker."""
    begin(journal, step)
    os.killpg(0, signal.SIGKILL)


@shared_task(name="faulty.greedy")
def greedy(journal: str, step: str) -> int:
    """Allocate more than the process may."""
    begin(journal, step)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, before[1]))
    try:
        return len(bytearray(8 * 2**30))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@shared_task(name="faulty.stubborn")
def stubborn(journal: str, step: str) -> None:
    """Ignore SIGTERM and the soft limit."""
    begin(journal, step)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            time.sleep(60)
        except SoftTimeLimitExceeded:
            continue


@shared_task(name="faulty.sometimes_stubborn")
def sometimes_stubborn(journal: str, step: str, *, stubborn_one: bool) -> list[str]:
    """As `faulty.collect`, or as `faulty.stubborn`."""
    if stubborn_one:
        stubborn(journal, step)
    attempt = begin(journal, step)
    note(journal, "END", step, attempt)
    return [step]


@shared_task(name="faulty.in_c")
def in_c(journal: str, step: str) -> int:
    """Never come back from C, where no signal handler of Python runs and no other thread either."""
    begin(journal, step)
    return sum(range(10**15))


@shared_task(name="faulty.reads_input")
def reads_input(value: Any = None) -> str:  # noqa: ARG001 - so that it can be a stage
    """What a program reads from the standard input that it inherits."""
    return subprocess.run(["cat"], stdout=subprocess.PIPE, check=True).stdout.decode()


@shared_task(name="faulty.flaky")
def flaky(journal: str, step: str, times: int = 1, seconds: float = 0) -> str:
    """Take some time and fail, this many times, then succeed."""
    attempt = begin(journal, step)
    time.sleep(seconds)
    if attempt <= times:
        raise ConnectionError(f"failure {attempt}")
    note(journal, "END", step, attempt)
    return step
