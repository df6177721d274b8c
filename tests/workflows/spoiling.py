"""Tasks that change the state of their process, and tasks that return it."""

import asyncio
import decimal
import io
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from celery import shared_task

_tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


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
    "blocked signals": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGTERM}),
    "the decimals": lambda: setattr(decimal.getcontext(), "prec", 2),
    "a context variable": lambda: _tenant.set("somebody"),
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
        **_context(),
    }


def _context() -> dict[str, Any]:
    return {
        "a third": str(decimal.Decimal(1) / 3),
        "tenant": _tenant.get(),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }


@shared_task(name="spoiling.spoil_and_look")
def spoil_and_look(what: str) -> dict[str, Any]:
    """What it finds; and then it leaves it otherwise."""
    found = _context()
    _SPOILT[what]()
    return found


_LEAVING: dict[str, Callable[[], Any]] = {
    "returns": lambda: None,
    "exits": lambda: sys.exit(3),
    "raises": lambda: 1 / 0,
}


def _fork(how: str) -> int:
    """The exit code of a copy of this process, which leaves its task; -1 in the copy."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    _LEAVING[how]()
    return -1


@shared_task(name="spoiling.fork")
def fork(_value: Any = None, *, how: str) -> int:
    return _fork(how)


@shared_task(name="spoiling.fork_later")
async def fork_later(_value: Any = None, *, how: str) -> int:
    await asyncio.sleep(0)
    return _fork(how)


@shared_task(name="spoiling.look_later")
async def look_later(_value: Any = None) -> str:
    await asyncio.sleep(0)
    return _directory()


@shared_task(name="spoiling.where")
def where(_value: Any = None) -> str:
    return _directory()


def _directory() -> str:
    return str(Path.cwd())


@shared_task(name="spoiling.leak")
def leak(_value: Any = None) -> str:
    """Opens all files that it may, and closes none."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with suppress(OSError):
        for _ in range(256):
            os.open(os.devnull, os.O_RDONLY)
    return "leaked"
