"""A worker process of a run's own: started beside it, and ended with it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from runner.errors import RunnerError


class ModuleNotImported(RunnerError):
    """A module that a workflow includes cannot be imported."""

    exit_code = 3


@contextmanager
def private(
    *, queue: str, include: Sequence[str], directory: str, log: Path, concurrency: int | None
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that serves one queue, until the block ends or this process does.

    It is idle by then or its run has ended, and all it did is in the ledger: so it is killed at once, where a warm stop
    takes Celery 1 to 2.4 s.

    Args:
        directory: of the YAML; the modules it includes are looked for there first.
        log: the file its output goes to.
    """
    command = [sys.executable, "-m", "runner", "worker", "--tethered", "--bare", "--queues", queue]
    command += [word for module in include for word in ("--include", module)]
    command += ["--concurrency", str(concurrency)] if concurrency else []
    with log.open("ab") as output:
        worker = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # its end tells the worker that we are gone, however we went
            stdout=output,
            stderr=output,
            env=_environment(directory),
            start_new_session=True,  # Ctrl-C is ours to answer
        )
    try:
        yield worker
    finally:
        if not has_ended(worker):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def has_ended(worker: subprocess.Popen[bytes]) -> bool:
    """Whether there is no such process any more, also where we were forked from the process that started it.

    Popen takes a process that is not its child for one that has ended (`wait` answers ECHILD).
    """
    if worker.poll() is None:
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    return False


def _environment(directory: str) -> Mapping[str, str]:
    path = os.pathsep.join([directory, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


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
