"""A worker process of a run's own: started beside it, and ended with it."""

import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from runner.errors import RunnerError
from runner.fork import Fork

RESTARTS = 5  # of a run's own worker, which its steps may take down with them
SOON = 1.5  # seconds: a worker that ends within them could not start, and would not the next time


class ModuleNotImported(RunnerError):
    """A module that a workflow includes cannot be imported."""

    exit_code = 3


class WorkerEnded(RunnerError):
    """The worker of this run has ended before the run did."""

    exit_code = 1


class PrivateWorker:
    """A worker that serves one queue, until `end` or the end of this process, however that comes about.

    Args:
        directory: of the YAML; the modules it includes are looked for there first.
        log: the file its output goes to.
        concurrency: steps at once; None for the worker's own default.
    """

    def __init__(
        self, *, queue: str, include: Sequence[str], directory: str, log: Path, concurrency: int | None
    ) -> None:
        self._words = ["worker", "--tethered", "--bare", "--queues", queue]
        self._words += [word for module in include for word in ("--include", module)]
        self._words += ["--concurrency", str(concurrency)] if concurrency else []
        self._directory = directory
        self._log = log
        self._starts = 0
        self.start()

    def start(self) -> None:
        """The first time as a copy of this process, which has imported most of what a worker needs (0.4 s, measured).

        Not on macOS, whose frameworks do not bear it. Nor a second time: there are threads by then.
        """
        self._starts += 1
        self._started_at = time.monotonic()
        first = self._starts == 1 and threading.active_count() == 1 and sys.platform != "darwin"
        self._process = Fork(self._serve, self._log) if first else self._spawned()

    def _serve(self) -> None:
        os.environ["PYTHONPATH"] = _path(self._directory)  # for what its steps start
        sys.path.insert(0, self._directory)
        sys.argv[1:] = self._words
        runpy.run_module("runner", run_name="__main__")

    def _spawned(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "runner", *self._words],
                stdin=subprocess.PIPE,  # its end tells the worker that we are gone, however we went
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": _path(self._directory)},
                start_new_session=True,  # Ctrl-C is ours to answer
            )

    def keep(self) -> None:
        """Start another if it has ended.

        Raises:
            WorkerEnded: it ended as soon as it was started, or one time too many; with the end of its log.
        """
        if not self._has_ended():
            return
        if time.monotonic() - self._started_at > SOON and self._starts <= RESTARTS:
            self.start()
            return
        last = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        raise WorkerEnded("the worker has ended: " + " / ".join(last).strip()[:500], hint=f"its log is {self._log}")

    def end(self) -> None:
        """At once: it is idle by now or its run has ended, and all it did is in the ledger. A warm stop takes 1 to 2.4 s."""
        if not self._has_ended():
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _has_ended(self) -> bool:
        """Whether there is no such process any more, also where we were forked from the process that started it.

        Popen takes a process that is not its child for one that has ended (`wait` answers ECHILD).
        """
        if self._process.poll() is None:
            return False
        try:
            os.kill(self._process.pid, 0)
        except ProcessLookupError:
            return True
        return False


def _path(directory: str) -> str:
    return os.pathsep.join([directory, *filter(None, [os.environ.get("PYTHONPATH")])])


def import_tasks(modules: Sequence[str]) -> None:
    """Import modules that define tasks.

    Raises:
        ModuleNotImported: with the place in it that does not work.
    """
    for module in modules:
        try:
            import_module(module)
        except Exception as error:  # a user's module may raise anything
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f" ({frame.filename}:{frame.lineno})" if not frame.filename.startswith("<frozen") else ""
            raise ModuleNotImported(f'module "{module}": {type(error).__name__}: {error}{where}') from error


def end_with_parent() -> None:
    """End this process and its pool as soon as standard input is closed: whoever started us holds its other end."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="tether", daemon=True).start()


def name() -> str:
    """A Celery node name that no other worker has."""
    return f"worker-{os.getpid()}@{socket.gethostname()}"
