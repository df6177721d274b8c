"""The users' lock and a command line to a Valkey that runs until its last user exits.

A script, `python -I -S keeper.py USERS_LOCK SOCKET VALKEY OPTION…`, with few imports: each adds to every cold start (typing: 5 ms).
"""

import ctypes
import fcntl
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
QUICK_ENDS = 5  # in a row, each within a second: a Valkey that is killed is restarted that often, and no more
STOP_WITHIN = 10  # seconds; a Valkey that has not flushed its file by then is stuck


def main(users_lock: str, address: str, *command: str) -> None:
    if os.fork():
        os._exit(0)  # so that init reaps the keeper, and not the first command
    keeper = Keeper(command)
    # The kernel grants it when no process holds it shared any more, however they exited: also by SIGKILL.
    fcntl.flock(os.open(users_lock, os.O_RDWR), fcntl.LOCK_EX)  # defence: KEEPER
    keeper.stop()
    # The lock is still held: a new user waits until the keeper has exited, and starts another.
    try:  # noqa: SIM105  # contextlib and pathlib are imports
        os.rmdir(os.path.dirname(address))  # noqa: PTH106, PTH120
    except OSError:
        pass  # not empty: it is the state directory, and not one created for the socket


class Keeper:
    """The parent of a Valkey: starts it, restarts it after a crash, stops it."""

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
        # Between fork and exec this process's handler would take a SIGTERM, and lose it: it is blocked until the default is back.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        if self.pid == 0:
            self._become_the_server(keeper)

    def _become_the_server(self, keeper: int) -> None:
        if sys.platform == "linux":
            # Else SIGKILL of the keeper leaves a server that nothing stops, as it does on macOS.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            if os.getppid() == keeper:
                os.execv(self.command[0], self.command)  # noqa: S606  # no shell is needed
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
        # With an exit code it has failed by itself: it cannot run at all. A signal, or 0 (SIGTERM, SHUTDOWN), comes from
        # outside: when the keeper itself stops the server, this handler is off.
        if (code > 0 and quick) or self.quick_ends > QUICK_ENDS:  # defence: STARTED_AGAIN
            os._exit(1)
        _say(f"Valkey exited with {code}; restarting it")
        self._start()


def _say(words: str) -> None:
    sys.stdout.write(f"keeper # {words}\n")  # into Valkey's log, in its format: "#" is a warning
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
