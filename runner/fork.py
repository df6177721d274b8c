"""A copy of this process, which goes on with something else: what it needs is imported already."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from runner.interrupts import SIGNALS


class Fork:
    """A process in a session of its own that calls ``work`` and ends; with what `subprocess.Popen` says of one.

    Only to be made where this process has one thread: the copy has no other, and whatever lock one holds stays held.

    Args:
        work: its end, in whatever way, is the copy's.
        log: the file that its output goes to.
    """

    def __init__(self, work: Callable[[], object], log: Path) -> None:
        ours, self._held = os.pipe()  # its end tells the copy that we are gone, however we went
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that comes between the two is for us: the copy would take it with our handlers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                os.close(self._held)
                _become(work, ours, log, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(ours)
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


def _become(work: Callable[[], object], stdin: int, log: Path, mask: set[int | signal.Signals]) -> None:
    code = 1
    try:
        os.setsid()  # Ctrl-C is our parent's to answer
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for stream, file in enumerate((stdin, output, output)):
            os.dup2(file, stream)
        os.close(stdin)
        os.close(output)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - it ends here: what stands above in the stack is our parent's
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # not our parent's atexit handlers
