"""The state of the process that a step begins with: that of the worker, whatever the steps before have changed.

Restored is what would affect another step unseen: the directory that its relative paths are meant for, the umask of the
files that it writes, the handlers of signals (a process that ignores SIGCHLD gets 0 from every command) and those that
are blocked, a pending alarm, the standard streams, the precision of decimals, and a current event loop. Environment
variables, the locale, logging and the like are left as a task leaves them, as in any Celery worker: libraries set them for
good when they are imported.
"""

import asyncio
import decimal
import os
import signal
import sys
import threading
import warnings

# Those of `signal` make an enum of each answer, which takes five times as long.
from _signal import getsignal, pthread_sigmask  # type: ignore[import-not-found]
from dataclasses import dataclass
from typing import Any

from runner.errors import RunnerError
from runner.worker.process import own

# What the pool, a timeout and every child process rely on. Not SIGALRM: a timeout sets its handler itself (call.py).
_SIGNALS = (int(signal.SIGTERM), int(signal.SIGINT), int(signal.SIGCHLD))


class DirectoryLost(RunnerError):
    """The worker's directory is gone: a relative path would mean something else."""


@dataclass(slots=True)
class Surroundings:
    """The state of a process before its first step.

    Args:
        directory: None where it had been deleted.
        handlers: of signals; None for one that Python did not set, which cannot be set again either.
        mask: the signals that are blocked, of every thread and of the programs that it starts.
        loop: the current one of the main thread.
    """

    directory: str | None
    umask: int
    handlers: tuple[Any, ...]
    mask: frozenset[int]
    stdout: Any
    stderr: Any
    loop: asyncio.AbstractEventLoop | None = None

    def restore(self) -> None:
        """Restore the state before a step: 1 microsecond where nothing has changed (measured)."""
        if _directory() != self.directory and self.directory is not None:
            self._return_to(self.directory)
        os.umask(self.umask)
        pthread_sigmask(signal.SIG_SETMASK, self.mask)
        # A step has a copy of the context variables, but this one's value can be changed itself.
        decimal.setcontext(decimal.getcontext().copy())
        # A thread of many may have redirected the streams for the time of its own step, and can handle no signals.
        if _in_main_thread():
            self._restore_handlers()
            sys.stdout, sys.stderr = self.stdout, self.stderr
            self._set_the_loop()

    def tidy(self) -> None:
        """Restore, after a step, what would disturb the worker itself."""
        if _in_main_thread():
            signal.setitimer(signal.ITIMER_REAL, 0)  # defence: UNALARMED

    @staticmethod
    def _return_to(directory: str) -> None:
        try:
            os.chdir(directory)
        except OSError as error:
            message = f"the directory that the worker was started in cannot be entered: {error.strerror}: {directory}"
            raise DirectoryLost(message) from error

    def _restore_handlers(self) -> None:
        now = tuple(map(getsignal, _SIGNALS))
        if now != self.handlers:
            for number, handler in zip(_SIGNALS, self.handlers, strict=True):
                if handler is not None:
                    signal.signal(number, handler)

    def _set_the_loop(self) -> None:
        """The loop that code from before `asyncio.run` asks for; some of it closes it, and the next step gets another.

        Async steps are executed in a loop that nobody is given (call.py).
        """
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public one raises where there is none
            return
        if self.loop is None:
            self.loop = _current_loop()
        if self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)


def restored() -> Surroundings:
    """Restore this process's surroundings and return them; at the first call they are as the worker made them."""
    surroundings = own(_found)
    surroundings.restore()  # defence: PUT_BACK
    return surroundings


def can_open() -> bool:
    """Whether this process may open a few more files: a connection to the broker takes three (17 microseconds, measured)."""
    opened: list[int] = []
    try:
        for _ in range(4):
            opened += os.pipe()
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True


def _found() -> Surroundings:
    umask = os.umask(0o077)  # it can only be read by setting it
    os.umask(umask)
    handlers = tuple(map(getsignal, _SIGNALS))
    mask = frozenset(pthread_sigmask(signal.SIG_BLOCK, ()))
    return Surroundings(_directory(), umask, handlers, mask, sys.stdout, sys.stderr)


def _directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a tenth of the time of Path.cwd(), before each of many small steps
    except FileNotFoundError:
        return None


def _in_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


def _current_loop() -> asyncio.AbstractEventLoop:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns if it has to make one
        try:
            return asyncio.get_event_loop()
        except RuntimeError:  # Python 3.14 makes none
            return asyncio.new_event_loop()
