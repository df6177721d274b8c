"""Plain Celery, or this project: a broker, workers and runs of the base flow, each of its own way and otherwise alike."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import yaml

from tests import servers
from tests.command_line import ROOT
from tests.faults import flow
from tests.faults.journal import Journal
from tests.servers import Server
from tests.workers import working

# The fourth collector where it is to go wrong; `min_success: 3` says that the run may do without it.
FOURTH: dict[str, dict[str, Any]] = {
    "faulty.stubborn": {"timeout": "2s", "retry": 0},
    "faulty.die": {"retry": {"max_retries": 2, "delay": "100ms"}},
    "faulty.flaky": {"retry": 0, "with": {"times": 99}},
}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    Args:
        worker: the command of a worker, from the module to what precedes its name.
        task: the name of a task that its workers have, for messages that are made up.
        run: a folder for files, the journal, and the task of the fourth collector, to the command that runs the flow.
        environment: a broker's URL and the visibility timeout in seconds (None: everything as it is by default) to
            what is in the environment.
    """

    name: str
    worker: tuple[str, ...]
    task: str
    run: Callable[[Path, Path, str | None], tuple[str, ...]]
    environment: Callable[[str, int | None], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended.

    Args:
        status: None if it had no end within the time that was given.
        seconds: from its start to its end.
        executed: how often each step was started.
        gathered: how many values the gather was handed, each time.
        worker_ends: how many workers ended by themselves.
    """

    status: str | None
    seconds: float
    executed: Mapping[str, int]
    gathered: tuple[int, ...]
    worker_ends: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A run under way; its command waits for the end, and prints it."""

    command: Popen[bytes]
    journal: Journal
    began: float = field(default_factory=time.monotonic)

    def end(self, within: float) -> Ending:
        try:
            told = self.command.communicate(timeout=max(0.1, self.began + within - time.monotonic()))[0]
        except subprocess.TimeoutExpired:
            told = b""
        seconds = time.monotonic() - self.began
        gathered = tuple(len(handed) for handed in self.journal.gathered())
        return Ending(json.loads(told)["status"] if told else None, seconds, self.executed(), gathered)

    def executed(self) -> Mapping[str, int]:
        """How often each step was started."""
        return dict(Counter(line.step for line in self.journal.lines() if line.word == "START"))


@dataclass
class Stage:
    """What a fault happens on: a side with a broker of its own."""

    side: Side
    folder: Path
    broker: Server
    visibility: int | None
    _started: ExitStack
    _workers: int = 0

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
        # Celery's pool makes a directory for its shared memory, which stays when the worker is killed.
        ours = {"PYTHONPATH": str(flow.FOLDER), "TMPDIR": str(self.folder)}
        return inherited | ours | self.side.environment(self.broker.url, self.visibility)

    def worker(self) -> "Popen[bytes]":
        """Start a worker with two processes, in a group of its own."""
        self._workers += 1
        log = self.folder / f"worker-{self._workers}.log"
        command = (*self.side.worker, f"worker-{self._workers}@here", "--concurrency", "2")
        return self._started.enter_context(working(log, *command, **self.environment))

    def begin(self, *options: str, fourth: str | None = None) -> Run:
        """Start a run of the base flow: `begin("--slow", "5")`."""
        journal = Journal(self.folder / "flow.journal")
        command = self.side.run(self.folder, journal.path, fourth)
        return Run(self._started.enter_context(self._running(*command, *options)), journal)

    @contextmanager
    def _running(self, *command: str) -> "Iterator[Popen[bytes]]":
        with (self.folder / "run.log").open("ab") as log:
            process = Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=self.environment,
            )
        with process:
            try:
                yield process
            finally:
                process.kill()


@contextmanager
def stage(side: Side, folder: Path, visibility: int | None) -> Iterator[Stage]:
    """A broker with an append-only file; it, the workers and the runs end with the block."""
    broker = servers.start(folder / "valkey", "--appendonly", "yes")
    try:
        with ExitStack() as started:
            yield Stage(side, folder, broker, visibility, started)
    finally:
        broker.stop()


def _our_run(folder: Path, journal: Path, fourth: str | None) -> tuple[str, ...]:
    written = yaml.safe_load(Path(flow.FLOW).read_text(encoding="utf-8"))
    if fourth:
        changed = FOURTH[fourth]
        written["collectors"][3] = {"id": "four", "task": fourth, **changed}
        written["collectors"][3]["with"] = {"step": "four", **changed.get("with", {})}
        written["gather"]["min_success"] = 3
    file = folder / "flow.yaml"
    file.write_text(yaml.safe_dump(written), encoding="utf-8")
    return ("runner", "run", str(file), "--journal", str(journal), "--json")


def _our_environment(url: str, visibility: int | None) -> dict[str, str]:
    settings = {} if visibility is None else {**flow.SETTINGS, "RUNNER_VISIBILITY": str(visibility)}
    return {"RUNNER_BROKER_URL": url, "RUNNER_INCLUDE": "faulty", **settings}


def _run_by_hand(_: Path, journal: Path, fourth: str | None) -> tuple[str, ...]:
    return ("tests.faults.by_hand", str(journal), *(("--fourth", fourth) if fourth else ()))


def _environment_by_hand(url: str, visibility: int | None) -> dict[str, str]:
    return {"BY_HAND_BROKER_URL": url} | ({} if visibility is None else {"BY_HAND_VISIBILITY": str(visibility)})


SIDES = (
    Side(
        "plain Celery",
        ("celery", "-A", "tests.faults.by_hand", "worker", "--loglevel", "info", "--hostname"),
        "faulty.collect",
        _run_by_hand,
        _environment_by_hand,
    ),
    Side("this project", ("runner", "worker", "--name"), "runner.collect", _our_run, _our_environment),
)
