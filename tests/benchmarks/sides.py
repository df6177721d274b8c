"""This project, plain Celery by hand, and the floor: each with a Valkey and a client of its own, and otherwise alike."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from tests import processes, servers
from tests.command_line import ROOT

# Of one worker with two processes, or 64 threads. Both log what goes wrong, as Celery's does by default.
PREFORK = ("--loglevel", "warning", "--concurrency", "2")
THREADS = ("--loglevel", "warning", "--pool", "threads", "--concurrency", "64")
_OURS = ("runner", "worker", "--include", "tests.benchmarks.tasks")
_BY_HAND = ("celery", "-A", "tests.benchmarks.by_hand", "worker")


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the comparison, ready to run something."""

    broker: servers.Server
    worker: Popen[str] | None
    client: Popen[str]

    def seconds(self, work: str, **asked: int | str) -> float:
        """How long a run takes; this process ends if its result is wrong."""
        assert self.client.stdin
        assert self.client.stdout
        self.client.stdin.write(json.dumps({"work": work, **asked}) + "\n")
        self.client.stdin.flush()
        answer = self.client.stdout.readline()
        if not answer:
            raise SystemExit(f"{work} {asked}: its client has ended, with the words above")
        return float(answer)

    def client_peak(self) -> float:
        """Megabytes of memory that the client has had at most."""
        return _peak(self.client.pid)

    def worker_peak(self) -> float:
        """The same of the worker, its processes added up; what they share is counted for each of them."""
        assert self.worker
        return sum(map(_peak, [self.worker.pid, *processes.children(self.worker.pid)]))

    def stored(self) -> float:
        """Megabytes of memory that the broker uses now."""
        memory: dict[str, Any] = self.broker.client().info("memory")
        return float(memory["used_memory"]) / 1e6


@contextmanager
def ours(folder: Path) -> Iterator[Side]:
    with _side(folder / "ours", "ours", [*_OURS, *PREFORK]) as side:
        yield side


@contextmanager
def by_hand(folder: Path, options: tuple[str, ...] = PREFORK) -> Iterator[Side]:
    with _side(folder / "-".join(["by-hand", *options]).replace("--", ""), "by_hand", [*_BY_HAND, *options]) as side:
        yield side


@contextmanager
def floor(folder: Path) -> Iterator[Side]:
    with _side(folder / "floor", "floor", []) as side:
        yield side


@contextmanager
def _side(folder: Path, client: str, worker: list[str]) -> Iterator[Side]:
    folder.mkdir(parents=True)
    broker = servers.start(folder, "--appendonly", "yes")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
    # Celery's pool makes a directory for its shared memory, which stays when the worker is killed.
    environment = inherited | {
        "RUNNER_BROKER_URL": broker.url,
        "BY_HAND_BROKER_URL": broker.url,
        "TMPDIR": str(folder),
    }
    with ExitStack() as started:
        started.callback(broker.stop)
        log = started.enter_context((folder / "worker.log").open("w"))
        working = started.enter_context(_process(worker, environment, stdout=log, stderr=log)) if worker else None
        piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        waiting = started.enter_context(_process([f"tests.benchmarks.{client}"], environment, **piped))
        side = Side(broker, working, waiting)
        for _ in range(3):  # the first waits for the worker; after the others, both of its processes have done it all
            side.seconds("numbers", count=20)
            if working:
                side.seconds("default")
        yield side


@contextmanager
def _process(module: list[str], environment: dict[str, str], **streams: Any) -> Iterator[Popen[str]]:
    command = [sys.executable, "-m", *module]
    with Popen(command, cwd=ROOT, env=environment, text=True, process_group=0, **streams) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000


@contextmanager
def pages() -> Iterator[str]:
    """The URL of the slow server (pages.py)."""
    with _process(["tests.benchmarks.pages"], dict(os.environ), stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
