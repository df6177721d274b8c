"""The surroundings of a run change: its file, its workers, its terminal, or somebody cancels it."""

import os
import signal
from pathlib import Path

import pytest

from runner.brokers import embedded
from runner.ledger.ledger import Ledger
from tests import processes
from tests.command_line import runner
from tests.faults import flow, invariants
from tests.faults.conftest import StartWorker
from tests.waiting import wait_until
from tests.workflow import write_workflow, yaml_step


def test_a_run_follows_the_plan_it_was_submitted_with(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F23. Proves that the plan is in the ledger from the moment it is accepted."""
    file = tmp_path / "small.yaml"
    file.write_text(Path(flow.SMALL).read_text())
    run = flow.begin(tmp_path, file=str(file), run_id="pinned")
    wait_until(lambda: ledger.client.exists("runner:{pinned}:plan"), "the run is accepted")
    submitted = flow.show("pinned")["hash"]
    file.write_text(file.read_text().replace("id: only", "id: edited").replace("step: only", "step: edited"))
    start_worker()

    told = run.end(within=20)

    assert told.code == 0, told.stderr
    assert list(flow.statuses(told.json)) == ["only", "gather", "stage"]
    assert told.json["hash"] == submitted
    assert submitted in runner("show", "pinned").stdout
    invariants.check("pinned", ledger, run.journal, told=told)


def test_a_step_waits_for_a_worker_that_has_its_task(tmp_path: Path, ledger: Ledger, start_worker: StartWorker) -> None:
    """F24. Proves the look before the claim: Celery's own worker drops what it does not know, and the chord hangs."""
    incapable = start_worker(RUNNER_INCLUDE="")
    run = flow.begin(tmp_path, file=flow.SMALL, run_id="waiting")
    wait_until(lambda: "faulty.collect" in runner("show", "waiting").stdout, "`show` names the missing task")
    assert flow.show("waiting")["status"] in {"pending", "running"}
    assert incapable.poll() is None
    start_worker()

    told = run.end(within=40)

    assert told.code == 0, told.stderr
    assert "worker-1@here" not in {step["worker"] for step in told.json["steps"]}
    invariants.check("waiting", ledger, run.journal, told=told)


def test_a_run_repeats_which_task_its_workers_lack(tmp_path: Path, ledger: Ledger, start_worker: StartWorker) -> None:
    """It said "waits for a worker that is free" while the only worker was idle, and lacked the task."""
    start_worker(RUNNER_INCLUDE="")
    wait_until(ledger.is_led, "the worker looks after runs")
    run = flow.begin(tmp_path, file=flow.SMALL, run_id="waiting")
    said = [next(line for line in run.command.stderr or () if "waits" in line) for _ in range(3)]
    cancelled = runner("cancel", "waiting").code

    lacks = "run waiting waits for a worker that has faulty.collect"
    cure = "`python -m runner worker --include MODULE` starts one with the module of the task"
    assert said[0].partition(" ")[2] == f"{lacks}\n"
    assert said[1:] == [f"{lacks}: {cure}\n"] * 2
    assert cancelled == 0
    assert run.end(within=60).code == 6


def test_a_run_says_that_there_is_no_worker_or_that_none_is_free(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    first = flow.begin(tmp_path, "--seconds", "60", file=flow.SMALL, run_id="first")
    said = next(line for line in first.command.stderr or () if "waits" in line)
    shown = runner("show", "first").stdout
    start_worker("--concurrency", "1")
    first.journal.await_start("only")
    wait_until(ledger.is_led, "the worker looks after runs")
    second = flow.begin(tmp_path, file=flow.SMALL, run_id="second")
    said_then = next(line for line in second.command.stderr or () if "waits" in line)
    cancelled = [runner("cancel", run.id).code for run in (second, first)]

    nobody = "waits for a worker, and there is none: start `python -m runner worker`"
    assert said == f"run first {nobody}\n"
    assert nobody in shown
    assert said_then == "run second waits for a worker that is free\n"
    assert cancelled == [0, 0]
    assert (first.end(within=60).code, second.end(within=60).code) == (6, 6)


TWO_KINDS = """
name: two
include: [faulty]
inputs: {journal: {type: string}}
collectors:
  - {id: known, task: collector_1, with: {topic: x}}
  - id: unknown
    task: faulty.collect
    with: {journal: "${{ inputs.journal }}", step: unknown}
    required: false
    retry: 3
"""


def test_a_step_whose_task_nobody_offers_fails_at_last_and_says_why(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F24, without the capable worker: what the workflow tolerates, it tolerates here too."""
    start_worker(RUNNER_INCLUDE="", RUNNER_WAIT_FOR_TASK="3")
    run = flow.begin(tmp_path, file=two_kinds(tmp_path), run_id="two")

    told = run.end(within=20)

    assert (told.code, told.json["status"]) == (0, "partial")
    unknown = next(step for step in told.json["steps"] if step["id"] == "unknown")
    assert (unknown["status"], unknown["attempts"]) == ("failed", 1)
    assert (
        'no worker has offered "faulty.collect" for 3s: start one that has it (ours: --include MODULE)'
        in unknown["error"]["message"]
    )
    invariants.check_told("two", ledger, told=told)
    invariants.check_nothing_left(ledger)


@pytest.mark.soak
@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_step_does_not_fail_while_the_worker_that_has_its_task_is_busy(
    pool: str, tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """A worker of a single process replies to no command meanwhile, but its reconciler still announces its tasks to the ledger."""
    start_worker("--concurrency", "1", "--pool", pool)
    busy = flow.begin(tmp_path, "--seconds", "8", file=flow.SMALL, run_id="busy")
    busy.journal.await_start("only")
    start_worker(RUNNER_INCLUDE="", RUNNER_WAIT_FOR_TASK="1")
    run = flow.begin(tmp_path, file=two_kinds(tmp_path), run_id="two")

    told = run.end(within=40)

    assert (told.code, told.json["status"]) == (0, "succeeded")
    assert busy.end(within=40).code == 0
    invariants.check_told("two", ledger, told=told)
    invariants.check_nothing_left(ledger)


def test_a_cancelled_run_waits_for_no_task(tmp_path: Path, ledger: Ledger, start_worker: StartWorker) -> None:
    """Its messages went round among workers without the task for ever."""
    start_worker(RUNNER_INCLUDE="")
    run = flow.begin(tmp_path, file=two_kinds(tmp_path), run_id="two")
    wait_until(lambda: ledger.client.hexists("runner:{two}:run", "waits_for"), "the run waits")
    runner("cancel", "two")

    told = run.end(within=15)

    assert (told.code, told.json["status"]) == (6, "cancelled")
    invariants.check_told("two", ledger, told=told)
    invariants.check_nothing_left(ledger)


def two_kinds(folder: Path) -> str:
    file = folder / "two.yaml"
    file.write_text(TWO_KINDS)
    return str(file)


def test_a_shared_worker_ends_the_fan_out_of_a_detached_run_at_its_deadline(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """Not before it; that it is not long after it either is shown by a reconciler's next look (test_reconcile.py)."""
    arguments = {"journal": f"{tmp_path}/j", "step": "slow", "seconds": 60}
    file = write_workflow(
        tmp_path / "late.yaml",
        include=["faulty"],
        collectors=[yaml_step("slow", "faulty.collect", arguments)],
        gather={"task": "gather.concat", "deadline": "5s"},
    )
    start_worker(RUNNER_RECONCILE_EVERY="4")
    assert runner("run", str(file), "--run-id", "late", "--detach").code == 0

    wait_until(lambda: ledger.open("late").info().ended, "the run has ended")

    at = {event.event: event.at for event in ledger.open("late").events() if event.step == "slow"}
    assert at["finished"] - at["started"] >= 5
    assert ledger.open("late").outcomes()["slow"].status == "late"


def test_no_step_starts_after_a_run_under_way_is_cancelled(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F26 a. Proves that every claim asks the ledger first: with one process, most collectors are still to come."""
    start_worker("--concurrency", "1")
    run = flow.begin(tmp_path)
    run.journal.await_start("one")
    answer = runner("cancel", "flow")
    started = [line.step for line in run.journal.lines() if line.word == "START"]

    told = run.end(within=15)

    assert answer.code == 0, answer.stderr
    assert (told.code, told.json["status"]) == (6, "cancelled")
    invariants.check("flow", ledger, run.journal, told=told)
    assert [line.step for line in run.journal.lines() if line.word == "START"] == started


def test_a_queued_run_that_is_cancelled_never_starts(tmp_path: Path, ledger: Ledger, start_worker: StartWorker) -> None:
    """F26 b. Proves the same of what had not started."""
    run = flow.begin(tmp_path)
    wait_until(lambda: ledger.client.llen("celery") == 4, "its messages are queued")
    assert runner("cancel", "flow").code == 0
    start_worker()

    told = run.end(within=15)

    assert (told.code, told.json["status"]) == (6, "cancelled")
    invariants.check("flow", ledger, run.journal, told=told)
    assert run.journal.lines() == []


def test_a_cancelled_run_stays_so_when_its_worker_is_killed_and_started_again(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F26 c. Celery keeps what was revoked in the memory of its workers, and forgets it with them."""
    worker = start_worker()
    busy = flow.begin(tmp_path, "--slow", "60", run_id="busy")
    busy.journal.await_start("one")
    run = flow.begin(tmp_path, run_id="queued")
    wait_until(lambda: ledger.client.exists("runner:{queued}:plan"), "the run is accepted")
    cancelled = [runner("cancel", run_id).code for run_id in ("queued", "busy")]
    os.killpg(worker.pid, signal.SIGKILL)
    start_worker()

    told = run.end(within=15)

    assert cancelled == [0, 0]
    assert (told.code, busy.end(within=15).code) == (6, 6)
    invariants.check("queued", ledger, run.journal, told=told)
    assert run.journal.lines() == []


@pytest.mark.usefixtures("workers")
def test_cancelling_during_the_gather_is_all_or_nothing(tmp_path: Path, ledger: Ledger) -> None:
    """F26 d. Proves that nothing is recorded after the end: the gather continues, and its value is dropped."""
    run = flow.begin(
        tmp_path, "--slow", "1", "--gather-seconds", "8"
    )  # to cancel took 2 s where both processors were busy
    run.journal.await_start("gather")
    answer = runner("cancel", "flow")

    told = run.end(within=15)
    run.journal.await_end("gather")
    invariants.check("flow", ledger, run.journal, told=told)

    assert answer.code == 0, answer.stderr
    assert told.json["status"] == "cancelled"
    assert {status for step, status in flow.statuses(told.json).items() if step in {"gather", "stage"}} == {"cancelled"}
    assert ledger.open("flow").outcome("gather").value is None  # type: ignore[union-attr]
    assert run.journal.starts("stage") == []


@pytest.mark.usefixtures("workers")
def test_cancelling_twice_returns_the_same(tmp_path: Path, ledger: Ledger) -> None:
    """F26 e. Proves that a run ends once."""
    run = flow.begin(tmp_path)
    run.journal.await_start("one")
    first, second = runner("cancel", "flow"), runner("cancel", "flow")
    told = run.end(within=15)
    assert first.code == second.code == 0
    assert "cancelled" in first.stderr
    assert "cancelled" in second.stderr
    invariants.check("flow", ledger, run.journal, told=told)


@pytest.mark.usefixtures("workers")
def test_cancelling_what_has_ended_changes_nothing(tmp_path: Path, ledger: Ledger) -> None:
    """F26 f. Proves that what has ended ends only once."""
    run = flow.begin(tmp_path, file=flow.SMALL, run_id="small")
    told = run.end(within=20)
    answer = runner("cancel", "small")
    assert answer.code == 0
    assert "already" in answer.stderr
    assert "succeeded" in answer.stderr
    invariants.check("small", ledger, run.journal, told=told)


@pytest.mark.usefixtures("state_dir")
def test_a_killed_run_leaves_nothing_and_is_resumed(tmp_path: Path, own_directory: Path, state_dir: Path) -> None:
    """F27. Proves the tether of a run's own worker and the keeper of its Valkey."""
    run = flow.begin(tmp_path, "--held", "true", "--slow", "1")
    run.journal.await_end("one")
    run.journal.await_end("two")
    wait_until(lambda: list(flow.statuses(flow.show("flow")).values()).count("succeeded") == 2, "both are recorded")
    run.command.send_signal(signal.SIGKILL)
    run.command.communicate()
    wait_until(lambda: not processes.carrying(own_directory.name), "no process of it is left")
    Path(f"{run.journal.path}.go").touch()

    answer = runner("resume", "flow", "--json")

    assert answer.code == 0, answer.stderr
    assert len(run.journal.starts("one")) == len(run.journal.starts("two")) == 1
    with embedded.embedded_valkey(state_dir) as url:
        touched = dict.fromkeys(("three", "four"), 1)
        invariants.check_told("flow", flow.ledger(url), told=answer)
        invariants.check_recorded("flow", flow.ledger(url), run.journal, faults=touched)


@pytest.mark.usefixtures("state_dir")
def test_a_killed_run_that_was_resumed_leaves_no_message(tmp_path: Path, own_directory: Path, state_dir: Path) -> None:
    """F27, I7: the queue is the run's own, and nobody would ever look into it again."""
    run = flow.begin(tmp_path, "--slow", "1")
    run.journal.await_start("three")
    run.command.send_signal(signal.SIGKILL)
    run.command.communicate()
    wait_until(lambda: not processes.carrying(own_directory.name), "no process of it is left")

    assert runner("resume", "flow", "--json").code == 0

    with embedded.embedded_valkey(state_dir) as url:
        invariants.check_nothing_left(flow.ledger(url))
