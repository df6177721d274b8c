"""Tasks that leave their process another than they found it, and tasks that tell how they found it."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import shared_task


def _close_the_loop() -> None:
    loop = asyncio.get_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def _forget_the_loop() -> None:
    asyncio.run(asyncio.sleep(0))


def _leave_an_alarm() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process
    signal.setitimer(signal.ITIMER_REAL, 0.2)


def _lose_the_directory() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)


_SPOILT: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "the directory": lambda: os.chdir("/"),
    "a lost directory": _lose_the_directory,
    "the umask": lambda: os.umask(0o777),
    "a closed loop": _close_the_loop,
    "no loop": _forget_the_loop,
    "an alarm": _leave_an_alarm,
    "ignored children": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "ignored SIGTERM": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "the output": lambda: setattr(sys, "stdout", io.StringIO()),
}


@shared_task(name="spoiling.spoil")
def spoil(what: str) -> str:
    _SPOILT[what]()
    return what


@shared_task(name="spoiling.stop_the_loop")
async def stop_the_loop() -> str:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.05)
    return "stopped"


@shared_task(name="spoiling.look")
def look(_value: Any = None) -> dict[str, Any]:
    """What a step finds."""
    umask = os.umask(0)
    os.umask(umask)
    code = subprocess.run(["sh", "-c", "sleep 0.3; exit 3"], check=False).returncode
    return {
        "directory": _directory(),
        "umask": umask,
        "loop": asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, "runs")),
        "exit code": code,
        "SIGTERM is ignored": signal.getsignal(signal.SIGTERM) is signal.SIG_IGN,
        "output": type(sys.stdout).__name__,
    }


@shared_task(name="spoiling.look_later")
async def look_later(_value: Any = None) -> str:
    await asyncio.sleep(0)
    return _directory()


@shared_task(name="spoiling.where")
def where(_value: Any = None) -> str:
    return _directory()


def _directory() -> str:
    return str(Path.cwd())
