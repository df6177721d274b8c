"""Tasks that record when they start and end, in one file that many processes append to."""

import os
import time
from pathlib import Path
from typing import Any

from celery import shared_task


def note(journal: str, word: str, step: str) -> None:
    """One line with a single write, so that lines of several processes do not mix."""
    with Path(journal).open("ab", buffering=0) as file:
        file.write(f"{time.monotonic():.6f} {os.getpid()} {word} {step}\n".encode())


@shared_task(name="observed.collect")
def collect(journal: str, step: str, seconds: float = 0) -> list[str]:
    """Take some time, then return the step's name in a list."""
    note(journal, "START", step)
    time.sleep(seconds)
    note(journal, "END", step)
    return [step]


@shared_task(name="observed.give")
def give(journal: str, step: str, value: Any) -> Any:
    """Return the value."""
    note(journal, "START", step)
    return value


@shared_task(name="observed.wait")
def wait(journal: str, step: str, file: str) -> list[str]:
    """Wait until there is such a file, then return the step's name in a list."""
    note(journal, "START", step)
    while not Path(file).exists():
        time.sleep(0.02)
    return [step]


@shared_task(name="observed.fail")
def fail(journal: str, step: str, times: int = 1000) -> str:
    """Fail this many times, then succeed."""
    note(journal, "START", step)
    starts = sum(line.split()[2:] == ["START", step] for line in Path(journal).read_text(encoding="utf-8").splitlines())
    if starts <= times:
        raise ConnectionError(f"failure {starts} of {step}")
    return step


@shared_task(name="observed.gather")
def gather(values: list[Any], journal: str) -> list[Any]:
    """The values, concatenated."""
    note(journal, "START", "gather")
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


@shared_task(name="observed.stage")
def stage(value: Any, journal: str, step: str) -> dict[str, Any]:
    """The value, under the step's name."""
    note(journal, "START", step)
    return {step: value}
