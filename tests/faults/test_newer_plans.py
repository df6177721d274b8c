"""A run whose plan is of a newer version than its workers: its steps wait for one that reads it, as for one that has their task."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.ledger.ledger import Ledger
from tests.command_line import runner
from tests.faults import flow, invariants
from tests.faults.conftest import StartWorker
from tests.faults.journal import Journal
from tests.waiting import wait_until

PLAN = "runner:{newer}:plan"


def of_version_2(text: str) -> str:
    return json.dumps(json.loads(text) | {"version": 2})


def with_another_key(text: str) -> str:
    stored = json.loads(text)
    stored["parts"][0]["collectors"][0]["hedge"] = 1
    return json.dumps(stored)


NEWER: dict[str, tuple[Callable[[str], str], str, str]] = {
    "version": (
        of_version_2,
        "waits for a worker that reads plans of version 2",
        "its plan is of version 2, and this program reads version 1",
    ),
    "key of a step": (
        with_another_key,
        "waits for a worker that reads plans that have 'hedge'",
        "its plan has 'hedge', which this program does not know",
    ),
}


def submit(folder: Path, ledger: Ledger, newer: Callable[[str], str]) -> tuple[Journal, str]:
    """Submit a run as a program of a newer version does; its journal, and its plan as this version has written it."""
    journal = Journal(folder / "journal")
    detached = runner("run", flow.SMALL, "--journal", str(journal.path), "--run-id", "newer", "--detach")
    assert detached.code == 0, detached.stderr
    text = str(ledger.client.get(PLAN))
    ledger.client.set(PLAN, newer(text), keepttl=True)
    return journal, text


@pytest.mark.parametrize("kind", NEWER)
def test_the_steps_of_a_plan_that_no_worker_reads_wait_for_one_that_does(
    kind: str, tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """A key that it did not know was a TypeError on the worker, which a collector raised into the chord."""
    newer, waits, reason = NEWER[kind]
    journal, text = submit(tmp_path, ledger, newer)
    worker = start_worker()
    wait_until(lambda: ledger.open("newer").info().waits_for == waits, "its first step waits")
    wait_until(ledger.is_led, "the worker looks after runs")

    shown, listed, looked = runner("show", "newer"), runner("runs"), runner("doctor")

    assert shown.code == 7
    assert f"run newer {waits}\n" in shown.stderr
    assert f"run newer cannot be read: {reason}" in shown.stderr
    assert f"run newer: {waits}\n" in listed.stderr
    assert "newer  small" in listed.stdout
    assert f"run newer {waits}" in looked.stdout
    assert ledger.unreadable() == {}
    assert worker.poll() is None

    ledger.client.set(PLAN, text, keepttl=True)  # as if there were a worker now that reads it
    wait_until(lambda: ledger.open("newer").info().ended, "the run has ended", timeout=30)
    assert ledger.open("newer").info().status == "succeeded"
    assert ledger.open("newer").value("stage") == {"stage": [["only"]]}
    invariants.check_recorded("newer", ledger, journal, faults={})


def test_a_run_whose_plan_no_worker_reads_for_too_long_fails_and_can_be_resumed(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """What is left of it is executed once there is a worker that reads the plan."""
    _, text = submit(tmp_path, ledger, of_version_2)
    start_worker(RUNNER_WAIT_FOR_TASK="2")

    wait_until(lambda: ledger.open("newer").info().ended, "the run has ended", timeout=30)

    cause = "no worker has read plans of version 2 for 2s: start one of a newer version, then resume the run"
    assert (ledger.open("newer").info().status, ledger.open("newer").info().cause) == ("failed", cause)

    ledger.client.set(PLAN, text, keepttl=True)
    answer = runner("resume", "newer", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["result"] == {"stage": [["only"]]}


def test_a_run_whose_plan_is_of_a_newer_version_is_cancelled_and_stays_readable(tmp_path: Path, ledger: Ledger) -> None:
    """A damaged run loses its inputs then, as no part of it can be relied on."""
    _, text = submit(tmp_path, ledger, of_version_2)

    answer = runner("cancel", "newer")

    assert answer.code == 0, answer.stderr
    ledger.client.set(PLAN, text, keepttl=True)
    told = flow.show("newer")
    assert told["status"] == "cancelled"
    assert told["inputs"]["seconds"] == 0
    assert set(flow.statuses(told).values()) == {"cancelled"}
