"""A worker process of a run's own: started beside it, and ended with it."""

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Container, Iterable, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from runner.errors import RunnerError
from runner.system import fork
from runner.system.fork import Fork, Spawned
from runner.system.interrupts import Interrupted

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
        directory: of the YAML; the modules it includes are looked for there first (`find_modules`).
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
        """The first time as a copy of this process, which has imported most of what a worker needs (0.4 s, measured).

        Not on macOS, whose frameworks do not bear it. Nor a second time: there are threads by then.
        """
        self._starts += 1
        self._started_at = time.monotonic()
        first = self._starts == 1 and threading.active_count() == 1 and sys.platform != "darwin"
        self._process = Fork(self._serve, self._log) if first else self._spawned()

    def _serve(self, tether: int) -> None:
        words = [*self._words, "--tether", str(tether)]
        sys.argv[1:] = words
        # By name, as the command line stands above us. Not by runpy: the installed `runner` has imported __main__
        # already, and a warning of that would be the first line of the log.
        import_module("runner.cli").main(words)

    def _spawned(self) -> Spawned:
        with self._log.open("ab") as output:
            return Spawned(*self._words, output=output)

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
        reason = _last_words(self._log.read_text(encoding="utf-8", errors="replace"))
        raise WorkerEnded(f"the worker has ended: {reason}", hint=f"its log is {self._log}")

    def end(self) -> None:
        """At once: it is idle by now or its run has ended, and all it did is in the ledger. A warm stop takes 1 to 2.4 s."""
        if not self._has_ended():
            fork.kill(self._process.pid)
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


def _last_words(log: str) -> str:
    """Why a worker has ended: its error, without the warnings before it, or else its last lines; cut at 500 characters."""
    lines = log.splitlines()[-5:]
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return " / ".join(lines[errors[0] if errors else 0 :]).strip()[:500] or "its log is empty"


def import_tasks(modules: Iterable[str]) -> None:
    """Import modules that define tasks.

    Raises:
        ModuleNotImported: with the place in it that does not work.
    """
    for module in modules:
        try:
            import_module(module)
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException as error:  # a user's module may raise anything, and call sys.exit
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f" ({frame.filename}:{frame.lineno})" if not frame.filename.startswith("<frozen") else ""
            if isinstance(error, SystemExit):
                reason = f"it calls sys.exit({'' if error.code is None else repr(error.code)})"
            else:
                reason = f"{type(error).__name__}: {error}"
            raise ModuleNotImported(f'module "{module}"{where}: {reason}') from error


def find_modules(modules: Iterable[str], beside: str | None) -> None:
    """Have modules found that are not installed: beside a YAML, or in the current directory, as Celery finds them there.

    Both come last on the path: a ``queue.py`` or an ``httpx.py`` there is no module of anybody else's. But the modules
    that were asked for are looked for beside the YAML first.

    Args:
        modules: that will be imported, in dotted names.
        beside: the directory of the YAML, if it may have some of them.
    """
    names = frozenset(module.partition(".")[0] for module in modules)
    if beside is not None and any((Path(beside) / each).exists() for name in names for each in (name, f"{name}.py")):
        sys.meta_path.insert(0, _Beside(names, beside))
        sys.path.append(beside)  # for what they import  # defence: BEHIND
    if names and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # defence: CURRENT_BEHIND


class _Beside(MetaPathFinder):
    """Some modules and packages, found in a directory."""

    def __init__(self, names: Container[str], directory: str) -> None:
        self._names = names
        self._directory = directory

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002 - the finder's signature
    ) -> ModuleSpec | None:
        if path is not None or fullname not in self._names:
            return None
        spec = PathFinder.find_spec(fullname, [self._directory])
        return spec if spec and spec.loader else None  # any directory of that name would do for a namespace package


def end_with_parent(tether: int) -> None:
    """End this process and its pool as soon as the other end of this pipe is closed: only our parent has that one."""
    os.set_inheritable(tether, False)  # what our steps start has no use for it

    def wait() -> None:
        while os.read(tether, 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="tether", daemon=True).start()


def name() -> str:
    """A Celery node name that no other worker has."""
    return f"worker-{os.getpid()}@{socket.gethostname()}"
