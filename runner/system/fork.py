"""A command of ours to a process that executes it and ends with us: a copy of this one, or a new interpreter."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from runner.system.interrupts import SIGNALS


class Fork:
    """A process in a session of its own that calls ``work`` and ends; with what `subprocess.Popen` says of one.

    What it needs is imported already. Its standard input is empty: the programs that its steps start may read that.

    Only to be made where this process has one thread: the copy has no other, and whatever lock one holds stays held.

    Args:
        work: called with the descriptor of its tether, a pipe that is closed when we are gone, however we went. Its end,
            in whatever way, is the copy's.
        log: the file that its output goes to.
    """

    def __init__(self, work: Callable[[int], object], log: Path) -> None:
        tether, self._held = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that comes between the two is for us: the copy would take it with our handlers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                os.close(self._held)
                _become(work, tether, log, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(tether)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code if it has ended; 0 also for one that is not our child, as where we were forked ourselves."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        return self._wait(0)

    def _wait(self, how: int) -> int | None:
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, how)
            except ChildProcessError:
                return 0
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


class Spawned(subprocess.Popen[bytes]):
    """A new interpreter, in a session of its own, that executes a command of ours with ``--tether``.

    Args:
        words: of the command line.
        output: where its standard output and standard error go; ours by default.
        environment: what it has beside ours.
    """

    def __init__(
        self, *words: str, output: IO[bytes] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        tether, self._held = os.pipe()
        super().__init__(
            # -P: `-m` would look in the current directory first, where a runner.py or a queue.py may stand.
            [sys.executable, "-P", "-m", "runner", *words, "--tether", str(tether)],  # defence: SAFE_PATH
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            pass_fds=[tether],
            start_new_session=True,  # Ctrl-C is ours to answer
        )
        os.close(tether)


def kill(pid: int) -> None:
    """Kill a process of ours and what it has started: its group, which it may not have made yet, or itself."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (
        ProcessLookupError
    ):  # a copy makes its session when it is given the processor: on a busy machine, later than this
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end_copies(pid: int) -> None:
    """End this process if it is a copy that code of others has forked, and then let return: it would go on as we do.

    A copy of a pool's child would record an outcome of its own, and take messages from the pool (mediacloud/backend #671).
    It ends as a script does, with the exception that is being handled.

    Args:
        pid: of the process that called that code.
    """
    if os.getpid() == pid:
        return
    error = sys.exception()
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = _exit_code(error)
    elif error is not None:
        with suppress(BaseException):
            sys.excepthook(type(error), error, error.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os._exit(code)


def _exit_code(end: SystemExit) -> int:
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def _become(work: Callable[[int], object], tether: int, log: Path, mask: set[int | signal.Signals]) -> None:
    code = 1
    try:
        os.setsid()  # Ctrl-C is our parent's to answer
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for stream, file in enumerate((nothing, output, output)):  # defence: NO_INPUT
            os.dup2(file, stream)
        os.close(nothing)
        os.close(output)
        work(tether)
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")  # as the interpreter does
        code = _exit_code(end)
    except BaseException:  # noqa: BLE001 - it ends here: what stands above in the stack is our parent's
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # not our parent's atexit handlers
