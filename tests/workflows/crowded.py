"""Tasks that write down when they begin and end, for tests of how many are executed at once."""

import asyncio
import os
import time
from pathlib import Path

from celery import shared_task


def log(word: str, name: str) -> None:
    with Path(os.environ["CROWDED_JOURNAL"]).open("ab", buffering=0) as journal:
        journal.write(f"{time.monotonic():.6f} {word} {name} {os.getpid()}\n".encode())


@shared_task(name="crowded.work")
def work(name: str, seconds: float) -> str:
    log("begin", name)
    time.sleep(seconds)
    log("end", name)
    return name


@shared_task(name="crowded.work_later")
async def work_later(name: str, seconds: float) -> str:
    log("begin", name)
    await asyncio.sleep(seconds)
    log("end", name)
    return name


@shared_task(name="crowded.die_once")
def die_once(name: str, seconds: float, marker: str) -> str:
    """End its process the first time that any is called, while it has a slot."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.abort()
    return str(work.run(name, seconds))


@shared_task(name="crowded.fail_once")
def fail_once(name: str, folder: str) -> str:
    """Fail the first time for the name 0."""
    marker = Path(folder, f"failed-{name}")
    if name == "0" and not marker.exists():
        marker.touch()
        raise ConnectionError("not yet")
    return name


@shared_task(name="crowded.gather_once")
def gather_once(values: list[str], folder: str) -> list[str]:
    """Fail the first time."""
    marker = Path(folder, "gathered")
    if not marker.exists():
        marker.touch()
        raise ConnectionError("not yet")
    return values
