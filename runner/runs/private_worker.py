"""A run's own worker process: started with the run, and ended with it."""

import os
import sys
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from runner.errors import RunnerError
from runner.system.fork import Fork, Spawned, kill_group

RESTARTS = 5  # of a run's own worker, which its steps may kill
SOON = 1.5  # seconds: a worker that exits within them could not start, and another would not either


class WorkerEnded(RunnerError):
    """The worker of this run has ended before the run did."""

    exit_code = 1


class PrivateWorker:
    """A worker that serves one queue until `end`, or until this process ends in any way.

    Args:
        directory: of the YAML; the modules it includes are searched there first (`find_modules`).
        log: the file its output goes to.
        concurrency: steps at once; None for the worker's own default.
    """

    def __init__(
        self, *, queue: str, include: Sequence[str], directory: str, log: Path, concurrency: int | None
    ) -> None:
        self._words = ["worker", "--bare", "--queues", queue]
        self._words += [word for module in include for word in ("--include", module)]
        self._words += ["--beside", directory] if include else []
        self._words += ["--concurrency", str(concurrency)] if concurrency else []
        self._log = log
        self._starts = 0
        self.start()

    def start(self) -> None:
        """Fork this process the first time: it has imported most of a worker's modules (0.4 s, measured).

        On macOS, whose frameworks do not survive a fork, and after the first time, when this process has threads, spawn one.
        """
        self._starts += 1
        self._started_at = time.monotonic()
        first = self._starts == 1 and threading.active_count() == 1 and sys.platform != "darwin"
        self._process = Fork(self._serve, self._log) if first else self._spawned()

    def _serve(self, tether: int) -> None:
        words = [*self._words, "--tether", str(tether)]
        sys.argv[1:] = words
        # By name, because the command line is a higher layer. Not by runpy: the installed `runner` has imported __main__
        # already, and a warning about that would be the first line of the log.
        import_module("runner.cli").main(words)

    def _spawned(self) -> Spawned:
        with self._log.open("ab") as output:
            return Spawned(*self._words, output=output)

    def keep(self) -> None:
        """Start another worker if it has ended.

        Raises:
            WorkerEnded: it ended right after its start, or once more than ``RESTARTS``; with the end of its log.
        """
        if not self._has_ended():
            return
        if time.monotonic() - self._started_at > SOON and self._starts <= RESTARTS:
            self.start()
            return
        reason = _last_words(self._log.read_text(encoding="utf-8", errors="replace"))
        raise WorkerEnded(f"the worker has ended: {reason}", hint=f"its log is {self._log}")

    def end(self) -> None:
        """Kill the worker: it is idle or its run has ended, and the ledger has its outcomes. A warm stop takes 1 to 2.4 s."""
        if not self._has_ended():
            kill_group(self._process.pid)
        self._process.wait()

    def _has_ended(self) -> bool:
        """Whether the process has ended, also if this process was forked from the one that started it.

        Popen treats a process that is not its child as ended (`wait` fails with ECHILD).
        """
        if self._process.poll() is None:
            return False
        try:
            os.kill(self._process.pid, 0)
        except ProcessLookupError:
            return True
        return False


def _last_words(log: str) -> str:
    """Return why a worker has ended: its error, without the warnings before it, or else its last lines; cut at 500 characters."""
    lines = log.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    # What its modules have printed may come after it: standard output is flushed when the process exits.
    words = errors[-1].removeprefix("error: ") if errors else " / ".join(lines[-5:]).strip()
    return words[:500] or "its log is empty"
