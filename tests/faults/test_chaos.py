"""Many runs, and one fault after another for minutes, from a seed: what was accepted has ended, and as promised.

CHAOS_SECONDS=60 CHAOS_SEED=7 pytest -m soak tests/faults/test_chaos.py
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import cast

import pytest

from runner.ledger.ledger import Ledger
from tests import processes
from tests.command_line import ROOT
from tests.faults import invariants
from tests.faults.conftest import StartWorker
from tests.faults.journal import Journal
from tests.servers import Server
from tests.waiting import wait_until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "300"))
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))


@dataclass
class Chaos:
    """The broker and the workers, and what can happen to them."""

    chance: random.Random
    broker: Server
    start_worker: StartWorker
    workers: "list[Popen[bytes]]"
    happened: list[str] = field(default_factory=list)

    def strike(self) -> None:
        fault: Callable[[], None] = self.chance.choice(
            [self.kill_a_worker, self.kill_a_child, self.restart, self.freeze, self.double_the_queue, self.end_a_worker]
        )
        self.happened.append(fault.__name__)
        fault()

    def kill_a_worker(self) -> None:
        """F01."""
        worker = self._a_worker()
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        self._replace(worker)

    def kill_a_child(self) -> None:
        """F02."""
        children = processes.children(self._a_worker().pid)
        if children:
            processes.kill(self.chance.choice(children))

    def restart(self) -> None:
        """F07."""
        self.broker.stop()
        time.sleep(2)
        self.broker.start()

    def freeze(self) -> None:
        """F10."""
        self.broker.freeze()
        time.sleep(self.chance.uniform(1, 15))
        self.broker.thaw()

    def double_the_queue(self) -> None:
        """F13: what is queued, and what is being executed."""
        client = self.broker.client()
        taken = [json.dumps(json.loads(text)[0]) for text in cast("list[str]", client.hvals("unacked"))]
        messages = [*cast("list[str]", client.lrange("celery", 0, -1)), *taken]
        if messages:
            client.lpush("celery", *messages)

    def end_a_worker(self) -> None:
        """F25."""
        worker = self._a_worker()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0, "a worker that is terminated exits with 0"
        self._replace(worker)

    def _a_worker(self) -> "Popen[bytes]":
        worker = self.chance.choice(self.workers)
        assert worker.poll() is None, f"a worker ended by itself: {worker.args!r}, after {self.happened}"
        return worker

    def _replace(self, worker: "Popen[bytes]") -> None:
        self.workers[self.workers.index(worker)] = self.start_worker()


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
def test_every_accepted_run_ends_as_promised_whatever_happens(
    tmp_path: Path, broker: Server, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F28."""
    print(f"CHAOS_SECONDS={SECONDS:g} CHAOS_SEED={SEED}")  # noqa: T201 - pytest shows it if the test fails
    count = int(SECONDS)
    chaos = Chaos(random.Random(SEED), broker, start_worker, [start_worker(), start_worker()])
    with submitting(tmp_path, count, every=0.8 * SECONDS / count) as process:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            time.sleep(chaos.chance.uniform(3, 8))
            chaos.strike()
        submitted = process.communicate(timeout=120)[0].split()

    wait_until(
        lambda: all(info.ended and not info.hooks for info in (ledger.open(run_id).info() for run_id in submitted)),
        "every accepted run has ended, and its hooks",
        120,
    )

    ended = Counter(ledger.open(run_id).info().status for run_id in submitted)
    print(ended, Counter(chaos.happened))  # noqa: T201
    assert len(submitted) == count == ended.total()
    assert ended["succeeded"] == count  # no fault of these is one that a step may not recover from
    for run_id in submitted:
        journal = Journal(tmp_path / f"{run_id}.journal")
        most = dict.fromkeys((each.id for each in ledger.open(run_id).plan.by_id.values()), 3)
        invariants.check_recorded(run_id, ledger, journal, faults=most)
    invariants.check_nothing_left(ledger)
    assert [worker.poll() for worker in chaos.workers] == [None, None], "no worker ended by itself"


@contextmanager
def submitting(folder: Path, count: int, every: float) -> "Iterator[Popen[str]]":
    """A process that submits this many runs, one in `every` seconds; its standard output has their ids."""
    command = [sys.executable, "-m", "tests.faults.submit", str(folder), str(count), "chaos", str(every)]
    with Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()
