"""The broker is killed, frozen, cut off, full or unsafe while runs are under way."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.ledger.ledger import Ledger
from tests.command_line import ROOT, runner, start
from tests.faults import flow, invariants
from tests.faults.conftest import StartWorker
from tests.servers import Server
from tests.waiting import wait_until

StartValkey = Callable[..., Server]


@pytest.mark.usefixtures("workers")
def test_a_killed_broker_that_keeps_a_file_loses_no_run(tmp_path: Path, broker: Server, ledger: Ledger) -> None:
    """F07: the run under way. Proves that writes to the ledger are repeated while the broker restarts.

    What still cannot be recorded is given back and executed again; the reconciler is the last resort.
    """
    run = flow.begin(tmp_path)
    run.journal.await_start("three")
    broker.stop()
    time.sleep(2)  # as the case says
    broker.start()

    told = run.end(within=45)

    assert told.code == 0, told.stderr
    invariants.check("flow", ledger, run.journal, told=told)


@pytest.mark.soak
def test_a_killed_broker_that_keeps_a_file_loses_none_of_200_queued_runs(
    tmp_path: Path, broker: Server, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F07: the runs that wait. The append-only file keeps them: all end without the reconciler, too."""
    submitted = submit(tmp_path, 200)
    time.sleep(1.1)  # "everysec": what is promised is what was accepted a second ago
    broker.stop()
    time.sleep(2)
    broker.start()
    start_worker()
    start_worker()

    wait_until(lambda: all(ledger.open(run_id).info().ended for run_id in submitted), "every run has ended", 90)

    assert {ledger.open(run_id).info().status for run_id in submitted} == {"succeeded"}
    invariants.check_nothing_left(ledger)


def test_a_broker_that_lost_its_data_is_reported_and_the_run_fails(
    tmp_path: Path, start_valkey: StartValkey, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F08. Proves that a waiting `run` reads the ledger: without it, `run` would wait for ever."""
    broker = start_valkey("--appendonly", "no")
    monkeypatch.setenv("RUNNER_BROKER_URL", broker.url)
    assert "append-only" in runner("doctor").stdout
    start_worker()
    start_worker()
    run = flow.begin(tmp_path)
    run.journal.await_start("three")
    broker.stop()
    time.sleep(2)  # as the case says
    broker.start()

    told = run.end(within=45)

    assert told.code == 1, told.stderr
    assert "the broker lost its data" in told.stderr
    assert (told.json["status"], told.json["cause"]) == ("failed", "the broker lost its data")
    invariants.check_told("flow", flow.ledger(broker.url), told=told)
    assert runner("resume", "flow", "--json").json["status"] == "succeeded"


def test_watch_reports_a_run_that_the_broker_lost(tmp_path: Path, ledger: Ledger) -> None:
    """F08, where nobody waits for the run: it would be watched for ever."""
    flow.begin(tmp_path, "--detach").end(within=10)
    watching = start("watch", "flow")
    assert watching.stderr
    assert "run flow accepted" in watching.stderr.readline()

    ledger.client.flushall()

    _, told = watching.communicate(timeout=60)
    assert watching.returncode == 7
    assert "a broker without persistence forgets them" in told


@pytest.mark.usefixtures("workers")
def test_a_frozen_broker_is_waited_for(tmp_path: Path, broker: Server, ledger: Ledger) -> None:
    """F10. Proves that a command which follows a run retries for long, and `show` for a shorter time."""
    run = flow.begin(tmp_path)
    run.journal.await_start("three")
    broker.freeze()
    frozen = time.monotonic()
    asked = runner("show", "flow")  # returns while the broker is frozen
    time.sleep(max(0.0, frozen + 15 - time.monotonic()))  # as the case says
    broker.thaw()

    told = run.end(within=45)

    assert asked.code == 4
    assert told.code == 0, told.stderr
    # A lease that could not be renewed for 15 s is another worker's to take: each slow collector may be tried again.
    invariants.check("flow", ledger, run.journal, told=told, faults=dict.fromkeys(("one", "two", "three", "four"), 1))


@pytest.mark.soak
def test_a_link_that_was_down_heals(
    tmp_path: Path, start_valkey: StartValkey, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F11: a worker in a network namespace of its own, and the link to it down for 20 s.

    Late acknowledgement is enough for it, and so is the reconciler; without both the run hangs.
    """
    with link() as wire:
        broker = start_valkey("--appendonly", "yes", "--bind", "127.0.0.1", wire.near, "--protected-mode", "no")
        monkeypatch.setenv("RUNNER_BROKER_URL", broker.url)
        ledger = flow.ledger(broker.url)
        start_worker(inside=wire.inside, RUNNER_BROKER_URL=f"redis://{wire.near}:{broker.port}/0")
        run = flow.begin(tmp_path)
        run.journal.await_start("one")
        wire.down()
        time.sleep(20)  # as the case says
        wire.up()
        healed = time.monotonic()

        told = run.end(within=healed - run.began + 45)

        assert told.code == 0, told.stderr
        touched = dict.fromkeys(("one", "two", "three", "four"), 1)
        invariants.check("flow", ledger, run.journal, told=told, faults=touched)


@dataclass(frozen=True, slots=True)
class Link:
    """A wire between us and a network namespace. Args: near: our address."""

    namespace: str
    near: str

    @property
    def inside(self) -> tuple[str, ...]:
        """What is put before a command that is to run at the other end."""
        return ("ip", "netns", "exec", self.namespace)

    def down(self) -> None:
        _ip("link", "set", f"{self.namespace}a", "down")

    def up(self) -> None:
        _ip("link", "set", f"{self.namespace}a", "up")


@contextmanager
def link() -> Iterator[Link]:
    """A namespace that lasts as long as the block."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("cutting a link takes a network namespace: root, and iproute2")
    name = f"rt{os.getpid()}"
    made = Link(name, "10.203.0.1")
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
    try:
        _ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        try:
            _ip("addr", "add", f"{made.near}/24", "dev", f"{name}a")
            _ip("-n", name, "addr", "add", "10.203.0.2/24", "dev", f"{name}b")
            _ip("-n", name, "link", "set", f"{name}b", "up")
            made.up()
            yield made
        finally:
            _ip("link", "del", f"{name}a")  # it would stay for as long as a process in the namespace does
    finally:
        _ip("netns", "del", name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def submit(folder: Path, count: int, name: str = "queued") -> list[str]:
    """Accept and send this many small runs, and return their ids."""
    command = [sys.executable, "-m", "tests.faults.submit", str(folder), str(count), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
