"""The broker's disk or memory fills while a run is under way, or it would make room by itself."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.ledger.ledger import Ledger
from tests.command_line import DEFAULT, Answer, runner
from tests.faults import flow, invariants
from tests.faults.conftest import StartWorker, fill
from tests.servers import Server
from tests.waiting import SLACK, wait_until


def test_a_full_disk_of_the_broker_is_reported_and_outlived(
    tmp_path: Path,
    disk: Path,
    start_valkey: Callable[..., Server],
    start_worker: StartWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F19. Valkey then refuses every write (MISCONF), which is no broken connection: Celery by itself would exit."""
    broker = start_valkey("--appendonly", "yes", "--dir", str(disk))
    monkeypatch.setenv("RUNNER_BROKER_URL", broker.url)
    start_worker()
    start_worker()
    run = flow.begin(tmp_path)
    run.journal.await_start("three")
    run.journal.await_start("four")  # what has not started yet cannot, as long as nothing can be written
    filler = fill(disk)
    refused = refusal()
    run.journal.await_end("three")
    run.journal.await_end("four")
    filler.unlink()

    told = run.end(within=60)

    assert re.search("disk|No space left", refused.stderr)
    assert told.code == 0, told.stderr
    touched = dict.fromkeys(("one", "two", "three", "four", "gather", "stage"), 1)
    invariants.check("flow", flow.ledger(broker.url), run.journal, told=told, faults=touched)


@pytest.mark.usefixtures("workers")
def test_a_broker_that_has_reached_maxmemory_is_reported_and_outlived(
    tmp_path: Path, broker: Server, ledger: Ledger
) -> None:
    """F21 a. Proves that every writer retries a write that is refused."""
    run = flow.begin(tmp_path)
    run.journal.await_start("three")
    run.journal.await_start("four")  # what has not started yet cannot, as long as nothing can be written
    with broker.client() as client:
        client.config_set("maxmemory", "1mb")  # it uses more already
        refused = refusal()
        run.journal.await_end("three")
        run.journal.await_end("four")
        client.config_set("maxmemory", "0")
    accepted = runner("run", DEFAULT, "--topic", "x", "--detach")

    told = run.end(within=60)

    assert "maxmemory is reached" in refused.first_line
    assert accepted.code == 0, accepted.stderr
    assert told.code == 0, told.stderr
    touched = dict.fromkeys(("one", "two", "three", "four", "gather", "stage"), 1)
    invariants.check("flow", ledger, run.journal, told=told, faults=touched)


@pytest.mark.parametrize("command", [("run", DEFAULT, "--topic", "x"), ("worker",), ("doctor",)], ids=" ".join)
def test_a_broker_that_evicts_keys_is_refused(command: tuple[str, ...], start_valkey: Callable[..., Server]) -> None:
    """F21 b. It would throw away queued work, and nobody would know."""
    broker = start_valkey("--maxmemory-policy", "allkeys-lru")

    refused = runner(*command, "--broker", broker.url)

    assert refused.code == 4
    assert "its maxmemory-policy is allkeys-lru, and must be noeviction" in refused.first_line


def refusal() -> Answer:
    """What the first `run` says that is refused: Valkey sees that its disk is full when it next writes its file."""
    answers: list[Answer] = []

    def refused() -> bool:
        answers.append(runner("run", DEFAULT, "--topic", "x", "--detach", timeout=5 * SLACK))  # 5 s are promised
        return answers[-1].code == 4

    wait_until(refused, "a run is refused")
    return answers[-1]
