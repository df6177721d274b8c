"""A process ends, as by SIGKILL, before or after each transition of the ledger and each publish; the run ends all the same."""

from pathlib import Path

import pytest

from runner.ledger.ledger import Ledger
from runner.system.crashpoints import Crashpoint
from tests.command_line import runner
from tests.faults.conftest import StartWorker
from tests.waiting import wait_until

SUBMITTING = {Crashpoint.SUBMIT_BEFORE_SEND, Crashpoint.SUBMIT_AFTER_SEND}
RECONCILING = {Crashpoint.RECONCILE_BEFORE_SEND, Crashpoint.RECONCILE_AFTER_SEND}

FLAKY = """
name: flaky
include: [faulty]
inputs: {journal: {type: string}}
collectors:
  - {id: good, task: collector_1, with: {topic: x}}
  - id: flaky
    task: faulty.flaky
    with: {journal: "${{ inputs.journal }}", step: flaky}
    retry: {max_retries: 3, delay: 0.1, jitter: none}  # not so soon that it is waited for where it is
gather: {id: gather, task: faulty.gather, with: {journal: "${{ inputs.journal }}"}}
stages:
  - {id: stage, task: records.count}
  - id: again
    collectors:
      - {id: each, foreach: ["${{ value }}", 2], task: collector_1, with: {topic: "${{ item }}"}}
hooks:
  on_success: [{id: hook, task: collector_1, with: {topic: x}}]
  finally: [{id: clean, task: collector_1, with: {topic: x}}]
"""


@pytest.fixture(autouse=True)
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"LEASE": "1", "RECONCILE_EVERY": "0.3", "GRACE": "0.5"}.items():
        monkeypatch.setenv(f"RUNNER_{name}", seconds)


@pytest.mark.parametrize("point", [point for point in Crashpoint if point is not Crashpoint.SUBMIT_BEFORE_ACCEPT])
def test_a_run_ends_whichever_process_dies_and_where(
    point: Crashpoint, tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """Proves the reconciler, at a publish. Elsewhere one defence stands behind the other: late acknowledgement, requests, it."""
    workflow, once = tmp_path / "flaky.yaml", tmp_path / "once"
    workflow.write_text(FLAKY)
    once.touch()
    dies = f"{point}@{once}"
    for _ in range(2):
        start_worker(RUNNER_CRASHPOINT="" if point in SUBMITTING else dies)
    # A reconciler has something to send when the run was recorded and not sent.
    lost = str(Crashpoint.SUBMIT_BEFORE_SEND) if point in RECONCILING else ""
    words = ("run", str(workflow), "--journal", str(tmp_path / "journal"), "--run-id", "one", "--detach")
    runner(*words, RUNNER_CRASHPOINT=dies if point in SUBMITTING else lost)

    wait_until(lambda: _is_at_rest(ledger), "the run has ended, and its hooks", timeout=40)

    assert not once.exists(), "nobody came to that point"
    assert ledger.open("one").info().status == "succeeded"
    assert {step: each.status for step, each in ledger.open("one").outcomes().items()} == dict.fromkeys(
        ("good", "flaky", "gather", "stage", "each[0]", "each[1]", "again", "hook", "clean"), "succeeded"
    )


def _is_at_rest(ledger: Ledger) -> bool:
    info = ledger.open("one").info()
    return info.ended and not info.hooks


@pytest.mark.parametrize("point", [Crashpoint.FINISH_BEFORE, Crashpoint.FINISH_AFTER])
def test_a_fan_out_that_ends_early_is_gathered_though_the_process_that_ended_it_has_died(
    point: Crashpoint, tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    workflow, once = tmp_path / "early.yaml", tmp_path / "once"
    workflow.write_text(
        "name: early\ncollectors:\n  - id: each\n    foreach: ${{ range(40) }}\n    batch: 5\n    task: collector_1\n"
        "    with: {topic: '${{ string(item) }}'}\n    retry: 3\n"
        "gather: {id: gather, task: gather.outcomes, min_success: 1, stop: early}\n"
    )
    once.touch()
    for _ in range(2):
        start_worker(RUNNER_CRASHPOINT=f"{point}@{once}")

    runner("run", str(workflow), "--run-id", "one", "--detach")
    wait_until(lambda: ledger.open("one").info().ended, "the run has ended", timeout=40)

    assert not once.exists(), "nobody came to that point"
    run = ledger.open("one")
    assert (run.info().status, len(run.value("gather"))) == ("succeeded", 40)


def test_a_run_that_was_not_accepted_is_unknown(tmp_path: Path, ledger: Ledger) -> None:
    workflow = tmp_path / "flaky.yaml"
    workflow.write_text(FLAKY)
    words = ("run", str(workflow), "--journal", "j", "--run-id", "one", "--detach")
    answer = runner(*words, RUNNER_CRASHPOINT=str(Crashpoint.SUBMIT_BEFORE_ACCEPT))
    assert answer.code == -9
    assert runner("show", "one").code == 7
    assert ledger.runs() == []


def test_a_later_fan_out_that_every_worker_dies_of_fails_and_says_so(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """As with any step: what kills each process that begins it must not kill them for ever."""
    workflow = tmp_path / "flaky.yaml"
    workflow.write_text(FLAKY)
    start_worker(RUNNER_CRASHPOINT=str(Crashpoint.BEGIN_BEFORE))
    runner("run", str(workflow), "--journal", str(tmp_path / "journal"), "--run-id", "one", "--detach")

    wait_until(lambda: ledger.open("one").info().ended, "the run has ended", timeout=40)

    outcome = ledger.open("one").outcome("again")
    assert outcome is not None
    assert (ledger.open("one").info().status, outcome.status) == ("failed", "failed")
    assert outcome.error is not None
    assert outcome.error.type in {"ProcessDied", "WorkerLost"}
