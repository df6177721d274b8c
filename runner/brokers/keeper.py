"""The lock of those who use a Valkey, and its command line, to a Valkey that runs until the last of them is gone.

A script, `python -I -S keeper.py USERS_LOCK SOCKET VALKEY OPTION…`. Each import adds to every cold start (typing: 5 ms), so there are few.
"""

import ctypes
import fcntl
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
QUICK_ENDS = 5  # in a row, each within a second; a Valkey that somebody kills is started again as often, and no more
STOP_WITHIN = 10  # seconds; a Valkey that has not flushed its file by then hangs


def main(users_lock: str, address: str, *command: str) -> None:
    if os.fork():
        os._exit(0)  # so that init reaps us, and not the one who happened to come first
    keeper = Keeper(command)
    # The kernel grants it the moment that nobody holds it shared, in whatever way they went: SIGKILL, too.
    fcntl.flock(os.open(users_lock, os.O_RDWR), fcntl.LOCK_EX)  # defence: KEEPER
    keeper.stop()
    # Still holding it: a newcomer waits until we are gone, and starts anew.
    try:  # noqa: SIM105  # contextlib and pathlib are imports
        os.rmdir(os.path.dirname(address))  # noqa: PTH106, PTH120
    except OSError:
        pass  # not empty: it is the state directory, and was not made for the socket alone


class Keeper:
    """The parent of a Valkey: starts it, starts it again when it crashes, stops it."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.command = command
        self.quick_ends = 0
        signal.signal(signal.SIGCHLD, self._ended)
        signal.signal(signal.SIGTERM, self._asked_to_stop)
        self._start()

    def stop(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(self.pid, signal.SIGKILL))
        signal.alarm(STOP_WITHIN)
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)

    def _start(self) -> None:
        self.started_at = time.monotonic()
        keeper = os.getpid()
        # Between fork and exec a SIGTERM would be taken by our handler, and forgotten: it waits until the default is back.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        if self.pid == 0:
            self._become_the_server(keeper)

    def _become_the_server(self, keeper: int) -> None:
        if sys.platform == "linux":
            # SIGKILL of the keeper would leave a server that nobody stops. (On macOS it does.)
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            if os.getppid() == keeper:
                os.execv(self.command[0], self.command)  # noqa: S606  # there is nothing for a shell to do
        except OSError as error:
            _say(f"cannot execute {self.command[0]}: {error.strerror}")
        os._exit(1)

    def _asked_to_stop(self, *_: object) -> None:
        self.stop()
        os._exit(0)

    def _ended(self, *_: object) -> None:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        code = os.waitstatus_to_exitcode(status)
        quick = time.monotonic() - self.started_at < 1
        self.quick_ends = self.quick_ends + 1 if quick else 0
        # An exit code is its own: it cannot run at all. A signal is somebody else's, and so is 0 (SIGTERM, SHUTDOWN): we
        # ourselves stop it when nobody uses it any more, and then do not come here.
        if (code > 0 and quick) or self.quick_ends > QUICK_ENDS:  # defence: STARTED_AGAIN
            os._exit(1)
        _say(f"Valkey ended with {code}; starting it again")
        self._start()


def _say(words: str) -> None:
    sys.stdout.write(f"keeper # {words}\n")  # into Valkey's log, and in its way: "#" is a warning
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
