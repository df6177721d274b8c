"""The tasks of the translated workflows: what a container, an operator or a shell does in the originals."""

import time
from pathlib import Path
from typing import Any

from celery import shared_task


def _append(journal: str, word: str) -> None:
    with Path(journal).open("ab", buffering=0) as file:
        file.write(f"{word}\n".encode())


@shared_task(name="translated.note")
def note(value: Any = None, *, journal: str, word: str) -> str:
    """Write a word down, and return it after those before."""
    _append(journal, word)
    before = "".join(value) if isinstance(value, list) else value or ""
    return before + word


@shared_task(name="translated.flaky")
def flaky(journal: str, fails: int) -> list[int]:
    """Fail this often, then return the number of the attempt."""
    _append(journal, "attempt")
    attempt = len(Path(journal).read_text(encoding="utf-8").split())
    if attempt <= fails:
        raise RuntimeError("exit code 1")
    return [attempt]


@shared_task(name="translated.slowly")
def slowly(journal: str, word: str) -> str:
    """Write down when it starts and when it ends."""
    _append(journal, f"+{word}")
    time.sleep(0.05)
    _append(journal, f"-{word}")
    return word


@shared_task(name="translated.add")
def add(a: int, b: int) -> int:
    """A sum."""
    return a + b


@shared_task(name="translated.times")
def times(a: int, b: int) -> int:
    """A product."""
    return a * b


@shared_task(name="translated.total")
def total(values: list[int]) -> int:
    """The sum of all."""
    return sum(values)


@shared_task(name="translated.numbers")
def numbers(count: int) -> list[int]:
    """As many numbers."""
    return list(range(count))


@shared_task(name="translated.refuse")
def refuse(value: Any, bad: list[Any]) -> Any:
    """The value, unless it is a bad one."""
    if value in bad:
        raise ValueError(f"{value} is refused")
    return value


@shared_task(name="translated.pairs")
def pairs(outcomes: list[dict[str, Any]]) -> list[list[Any]]:
    """Each item with how it ended."""
    return [[each["item"], each["status"]] for each in outcomes]
