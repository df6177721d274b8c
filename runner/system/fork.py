"""A function or a `runner` command to a child process that exits with this one: a fork, or a new interpreter."""

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
    """A forked child in its own session that calls ``work`` and exits, with `subprocess.Popen`'s `pid`, `poll` and `wait`.

    The child has this process's imports. Its standard input is empty, as the programs that its steps start may read it.

    Fork only while this process has one thread: the child has no other, and a lock that another thread holds stays locked.

    Args:
        work: called with the descriptor of the tether, a pipe that closes when this process exits, for whatever reason. The
            child exits when ``work`` returns or raises.
        log: the file that the child's output is appended to.
    """

    def __init__(self, work: Callable[[int], object], log: Path) -> None:
        tether, self._held = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that arrives during the fork is for the parent: the child would handle it with the parent's handlers.
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
        """Return the exit code, or None while the child runs; 0 where it is no child of this process, which was forked itself."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for the child to exit, and return its exit code."""
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
    """A new interpreter, in its own session, that executes a `runner` command with ``--tether``.

    Args:
        words: the command line, without the program's name.
        output: the file for standard output and standard error; by default, those of this process.
        environment: variables added to those of this process.
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
            start_new_session=True,  # Ctrl-C is for the parent, which then stops its children
        )
        os.close(tether)


def kill_group(pid: int) -> None:
    """Kill a child and everything in its process group; the child alone while it has no group of its own yet."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # on a busy machine a forked child may not have run yet, and so has made no session
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end_copies(pid: int) -> None:
    """Exit if this process is a copy that a task has forked and let return: the copy would go on as a worker.

    A copy of a pool's child would record an outcome of its own, and take messages from the pool (mediacloud/backend #671).
    It exits as a script does, with the exception that is being handled.

    Args:
        pid: of the process that called the task.
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


def _exit_code(exit_: SystemExit) -> int:
    return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)


def _become(work: Callable[[int], object], tether: int, log: Path, mask: set[int | signal.Signals]) -> None:
    code = 1
    try:
        os.setsid()  # Ctrl-C is for the parent, which then stops its children
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
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            sys.stderr.write(f"{exit_.code}\n")  # as the interpreter does
        code = _exit_code(exit_)
    except BaseException:  # noqa: BLE001 - the child exits here: the frames above are the parent's
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # without the parent's atexit handlers
