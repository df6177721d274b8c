"""Workers and their children are killed, frozen and stopped while a run is under way."""

import os
import signal
import time
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from subprocess import Popen

import pytest

from runner.language.layout import Layout
from runner.language.plan import Foreach, Item
from runner.ledger.codec import packed
from runner.ledger.entries import Refused
from runner.ledger.ledger import Ledger
from tests import processes
from tests.command_line import runner, start
from tests.faults import flow, invariants
from tests.faults.conftest import StartWorker
from tests.faults.journal import Journal
from tests.plans import make_collector, make_outcome, make_plan
from tests.waiting import SLACK, wait_until
from tests.workflow import write_workflow, yaml_step


def freeze_who_executes_three(run: flow.Flow, ledger: Ledger) -> tuple[int, dict[str, int]]:
    """Freeze a worker in the middle of a step; return its process group and what it holds, each to be executed once more.

    What it holds is looked up when it is frozen: until then it may take another step.
    """
    group = os.getpgid(run.journal.await_start("three").pid)
    os.killpg(group, signal.SIGSTOP)
    begun = ledger.open("flow").begun()
    return group, {step: 1 for step, each in begun.items() if each.worker == begun["three"].worker}


@pytest.mark.usefixtures("workers")
def test_a_worker_killed_in_a_collector_costs_seconds(tmp_path: Path, ledger: Ledger) -> None:
    """F01. Proves the leases and the reconciler."""
    run = flow.begin(tmp_path)
    group, held = freeze_who_executes_three(run, ledger)
    os.killpg(group, signal.SIGKILL)

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    invariants.check("flow", ledger, run.journal, told=told, faults=held)


@pytest.mark.usefixtures("workers")
def test_a_worker_killed_in_a_then_has_the_whole_chain_executed_again(tmp_path: Path, ledger: Ledger) -> None:
    """F01, in a call under ``then``."""
    run = flow.begin(tmp_path, file=flow.FLOW_THEN)
    group, held = freeze_who_executes_three(run, ledger)
    os.killpg(group, signal.SIGKILL)

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    invariants.check("flow", ledger, run.journal, told=told, faults=held)


@pytest.mark.usefixtures("workers")
def test_a_limit_of_collectors_holds_while_a_worker_that_has_a_slot_is_killed(tmp_path: Path) -> None:
    """F01, with `max_concurrency`: the slot is the lease of the step, and free again with it."""
    arguments = {"journal": "${{ inputs.journal }}", "step": "${{ item }}", "seconds": 0.4}
    keys = {"foreach": list("abcdef"), "batch": 1, "max_concurrency": 1}
    file = write_workflow(
        tmp_path / "slots.yaml",
        include=["faulty"],
        inputs={"journal": {"type": "string"}},
        collectors=[yaml_step("each", "faulty.collect", arguments, **keys)],
    )
    run = flow.begin(tmp_path, file=str(file), run_id="slots")
    wait_until(run.journal.lines, "one has begun")
    killed = run.journal.lines()[0]
    os.killpg(os.getpgid(killed.pid), signal.SIGKILL)

    told = run.end(within=40)

    assert told.json["result"] == [[each] for each in "abcdef"], told.stderr
    begun = [line for line in run.journal.lines() if line.pid != killed.pid]
    at_once = accumulate(1 if line.word == "START" else -1 for line in sorted(begun, key=lambda line: line.at))
    assert max(at_once) == 1


def test_a_collector_that_ends_after_an_early_stop_changes_nothing(ledger: Ledger) -> None:
    """F06, with `stop: early`: its worker was frozen, or slow, while others had enough."""
    page = make_collector("page", "http.get", foreach=Foreach(items=list(range(4))))
    plan = make_plan("early", collectors=(page,), gather="g", min_success=2)
    plan = replace(plan, parts=(replace(plan.fan_outs[0], stop="early"),))
    layout = Layout(counts={"page": 4}, sizes={"page": 4})
    run = ledger.open("early", plan)
    run.accept(layout=layout, items=[packed((Item(n, str(n), n) for n in range(4)), "page/0")])
    steps = run.steps("page/0")
    run.claim(steps[:1], token="frozen", worker="w1", lease=30)
    run.claim(steps[1:3], token="t", worker="w2", lease=30)
    run.finish([make_outcome(each.id, "succeeded", each.id, ref=each.ref) for each in steps[1:3]])

    late = run.finish([make_outcome(steps[0].id, "succeeded", "late", ref=steps[0].ref)])

    assert run.is_stopped(plan.fan_outs[0])
    assert (late, set(run.outcomes())) == ([], {"page[1]", "page[2]"})
    assert list(run.collected(plan.collectors, stopped=True)) == ["page[1]", "page[2]"]
    assert run.renew([steps[0].id], token="frozen", lease=30) == []
    assert [
        claim.why for claim in run.claim(steps, token="n", worker="w3", lease=30) if isinstance(claim, Refused)
    ] == ["done"] * 4
    assert run.tally() == {"page": {"succeeded": 2, "not_needed": 2}}


@pytest.mark.soak
@pytest.mark.parametrize("into", [0, 12])
def test_with_the_default_settings_a_killed_worker_costs_at_most_its_lease_and_five_seconds(
    into: int, tmp_path: Path, ledger: Ledger, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F01, when the lease is new, and when it has been renewed."""
    for name in flow.SETTINGS:
        monkeypatch.delenv(name)
    start_worker()
    start_worker()
    run = flow.begin(tmp_path, "--slow", "15")
    run.journal.await_start("three")
    time.sleep(into)
    group, held = freeze_who_executes_three(run, ledger)
    os.killpg(group, signal.SIGKILL)
    killed = time.monotonic()

    told = run.end(within=killed - run.began + 30 + 5 + 15)

    assert told.code == 0, told.stderr
    invariants.check_told("flow", ledger, told=told)
    invariants.check_recorded("flow", ledger, run.journal, faults=held)
    print(f"{time.monotonic() - killed:.1f} s from the kill to the end")  # noqa: T201 - pytest -s shows it


def test_a_killed_child_of_the_pool_costs_one_attempt(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F02 a. Proves the requests: Celery's late acknowledgement returns the message, and the requests release the lease.

    Without them the next worker with the message waits until the lease runs out.
    """
    for _ in range(2):
        start_worker(RUNNER_LEASE=f"{30 * SLACK:g}")  # longer than the run may take
    run = flow.begin(tmp_path)
    os.kill(run.journal.await_start("three").pid, signal.SIGKILL)

    told = run.end(within=20)

    assert told.code == 0, told.stderr
    assert len(run.journal.starts("three")) == 2
    invariants.check("flow", ledger, run.journal, told=told, faults={"three": 1})


@pytest.mark.soak
@pytest.mark.usefixtures("workers")
def test_a_command_ends_with_the_child_that_ran_it(tmp_path: Path) -> None:
    """F02 b. Proves the watchdog of `command.run`."""
    script = f"echo $$ $PPID >> {tmp_path}/pids; sleep 6; touch {tmp_path}/mark.$$"
    workflow = write_workflow(
        tmp_path / "command.yaml", collectors=[yaml_step("slow", "command.run", {"argv": ["sh", "-c", script]})]
    )
    pids = tmp_path / "pids"
    run = flow.Flow("command", Journal(tmp_path / "j"), start("run", str(workflow), "--run-id", "command"))
    wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"), "the command has started")
    shell, child = map(int, pids.read_text().split())
    os.kill(child, signal.SIGKILL)

    wait_until(lambda: not processes.in_session(shell), "nothing of the step is alive")

    assert run.end(within=20).code == 0
    assert not (tmp_path / f"mark.{shell}").exists()


@pytest.mark.usefixtures("workers")
def test_a_gather_whose_worker_died_after_its_effect_is_recorded_once(tmp_path: Path, ledger: Ledger) -> None:
    """F04. Proves the reconciler: the gather is executed again, and its outcome is recorded once."""
    run = flow.begin(tmp_path, "--gather-dies", "1", "--slow", "1")

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    assert len(run.journal.ends("gather")) == 2
    invariants.check("flow", ledger, run.journal, told=told, faults={"gather": 1})


@pytest.mark.parametrize("time_", [1, *(pytest.param(number, marks=pytest.mark.soak) for number in range(2, 7))])
def test_what_a_frozen_and_killed_worker_had_taken_is_sent_again(
    time_: int, tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F06. Proves the reconciler.

    kombu pops a message before it records it (BRPOP), and Celery by itself loses 6 of 6.
    """
    idle = start_worker(**flow.WAITS_FOR_A_MINUTE)
    run = flow.begin_with_a_frozen_worker(
        idle,
        ledger,
        messages=1,
        begin=lambda number: flow.begin(
            tmp_path, file=flow.SMALL, run_id=f"small-{time_}-{number}", **flow.STOPS_BEFORE_IT_SENDS
        ),
    )
    os.killpg(idle.pid, signal.SIGKILL)
    start_worker()

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    invariants.check(run.id, ledger, run.journal, told=told)


@pytest.mark.usefixtures("workers")
def test_a_worker_that_thaws_after_its_leases_records_nothing_twice(tmp_path: Path, ledger: Ledger) -> None:
    """F06, but thawed instead of killed. Proves that the first outcome of a step is kept."""
    run = flow.begin(tmp_path)
    group, held = freeze_who_executes_three(run, ledger)
    run.journal.await_start("three", times=2)
    os.killpg(group, signal.SIGCONT)

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    wait_until(lambda: len(run.journal.ends("three")) == 2, "the second execution has ended, too")
    invariants.check_nothing_left(ledger)
    invariants.check("flow", ledger, run.journal, told=told, faults=held)


def test_a_collector_that_kills_its_process_is_stopped_after_its_retries(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F16. Proves the requests that record how a process ended.

    And the pool that notices its death: with Celery's own the lease may run out first, and 6 of 10 times it is executed
    four or five times.
    """
    worker = start_worker()
    journal = Journal(tmp_path / "j")
    workflow = _poison(tmp_path, "faulty.die", {"max_retries": 2, "delay": "100ms"})

    answer = runner("run", workflow, "--run-id", "poison", "--json")

    assert answer.code == 1, answer.stderr
    assert flow.statuses(answer.json)["poison"] == "failed"
    assert len(journal.starts("poison")) == 3
    assert flow.begin(tmp_path, file=flow.SMALL, run_id="small").end(within=20).code == 0
    assert worker.poll() is None
    invariants.check("poison", ledger, journal, told=answer, retries=2)


@pytest.mark.soak
def test_a_collector_that_takes_whole_workers_down_is_stopped_after_three_recoveries(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F16. Proves the count of lost workers in the ledger: without it, workers go down for ever."""
    journal = Journal(tmp_path / "j")
    run = flow.Flow(
        "poison",
        journal,
        start("run", _poison(tmp_path, "faulty.take_down", 0), "--run-id", "poison", "--json"),
    )
    for down in range(1, 5):
        worker = start_worker()
        journal.await_start("poison", times=down, within=30)
        worker.wait(60)
    last = start_worker()
    wait_until(
        lambda: run.command.poll() is not None or last.poll() is not None, "the run or the worker has ended", 110
    )
    assert last.poll() is None, "the last worker was taken down, too"

    told = run.end(within=110)

    assert told.code == 1, told.stderr
    assert flow.statuses(told.json)["poison"] == "failed"
    invariants.check("poison", ledger, journal, told=told, faults={"poison": 3})


@pytest.mark.usefixtures("workers")
def test_an_attempt_that_its_worker_took_with_it_uses_no_retry_up(tmp_path: Path, ledger: Ledger) -> None:
    """F01, I5. Proves the count of lost attempts: a step that always fails is executed once, its retries, and the faults."""
    journal = Journal(tmp_path / "j")
    arguments = {"journal": str(journal.path), "step": "flaky", "times": 99, "seconds": 1}
    retry = {"max_retries": 2, "delay": "100ms"}
    workflow = write_workflow(
        tmp_path / "flaky.yaml",
        include=["faulty"],
        collectors=[yaml_step("flaky", "faulty.flaky", arguments, retry=retry)],
    )
    run = flow.Flow("flaky", journal, start("run", str(workflow), "--run-id", "flaky", "--json"))
    os.killpg(os.getpgid(journal.await_start("flaky").pid), signal.SIGKILL)

    told = run.end(within=30)

    assert flow.statuses(told.json)["flaky"] == "failed"
    assert len(journal.starts("flaky")) == 1 + 2 + 1
    invariants.check("flaky", ledger, journal, told=told, retries=2, faults={"flaky": 1})


@pytest.mark.parametrize("time_", [1, *(pytest.param(number, marks=pytest.mark.soak) for number in (2, 3))])
def test_a_terminated_worker_finishes_what_it_executes(
    time_: int, tmp_path: Path, ledger: Ledger, workers: "list[Popen[bytes]]"
) -> None:
    """F25. Proves Celery's own warm shutdown, and that leases are renewed: the collectors take longer than one lasts."""
    run = flow.begin(tmp_path, "--slow", "5", run_id=f"flow-{time_}")
    told_to_end = os.getpgid(run.journal.await_start("three").pid)
    os.kill(told_to_end, signal.SIGTERM)

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    assert next(worker for worker in workers if worker.pid == told_to_end).wait(60) == 0
    assert {len(run.journal.starts(step)) for step in ("one", "two", "three", "four")} == {1}
    invariants.check(run.id, ledger, run.journal, told=told)


def _poison(folder: Path, task: str, retry: object) -> str:
    arguments = {"journal": f"{folder}/j", "step": "poison"}
    collectors = [yaml_step("poison", task, arguments, retry=retry)]
    return str(write_workflow(folder / "poison.yaml", include=["faulty"], collectors=collectors))
