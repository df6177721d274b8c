"""The faults of the list in what begins while a run is executed: a later fan-out, its beginning, the hooks after the end.

| case | fan-out | beginning | hook |
|---|---|---|---|
| F01 a worker is killed | here | test_crashpoints | here |
| F02 a process of the pool is killed | here | test_crashpoints | here |
| F04 a worker dies after an effect | here | | |
| F06 messages that a worker had taken | test_reconciliation (properties) | the same | test_hooks |
| F07 the broker is killed | here | | here |
| F13 messages that come twice | here | here | here |
| F16 a step that kills its process | | test_crashpoints | here |
| F24 a task that no worker has | | | here |
| F26 cancelling | here | | here |
| F27 `run` is killed | here | | here |

Of ``then`` they are in test_killed_workers and in test_chaos, whose runs have all of these.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.brokers import embedded
from runner.ledger.ledger import Ledger
from tests import processes
from tests.command_line import ROOT, runner
from tests.faults import flow, invariants
from tests.faults.conftest import StartWorker
from tests.servers import Server
from tests.waiting import SLACK, wait_until

STEPS = ["three", "hook"]  # of the second fan-out, and of the hooks


def begin(folder: Path, *words: str, **env: str) -> flow.Flow:
    return flow.begin(folder, "--hook-seconds", "2", *words, file=flow.FLOW_LATER, **env)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.usefixtures("workers")
def test_a_worker_killed_in_a_later_step_costs_seconds(step: str, tmp_path: Path, ledger: Ledger) -> None:
    """F01."""
    run = begin(tmp_path)
    group = os.getpgid(run.journal.await_start(step).pid)
    os.killpg(group, signal.SIGSTOP)
    begun = ledger.open("flow").begun()
    held = {name: 1 for name, each in begun.items() if each.worker == begun[step].worker}
    os.killpg(group, signal.SIGKILL)

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    invariants.check("flow", ledger, run.journal, told=told, faults=held)


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_child_of_the_pool_costs_one_attempt_of_a_later_step(
    step: str, tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F02."""
    for _ in range(2):
        start_worker(RUNNER_LEASE=f"{30 * SLACK:g}")  # longer than the run may take
    run = begin(tmp_path)
    os.kill(run.journal.await_start(step).pid, signal.SIGKILL)

    told = run.end(within=25)

    assert told.code == 0, told.stderr
    assert len(run.journal.starts(step)) == 2
    invariants.check("flow", ledger, run.journal, told=told, faults={step: 1})


@pytest.mark.usefixtures("workers")
def test_a_later_gather_whose_worker_died_after_its_effect_is_recorded_once(tmp_path: Path, ledger: Ledger) -> None:
    """F04."""
    run = begin(tmp_path, "--gather-dies", "1", "--slow", "1")

    told = run.end(within=40)

    assert told.code == 0, told.stderr
    assert len(run.journal.ends("gather")) == 2
    invariants.check("flow", ledger, run.journal, told=told, faults={"gather": 1})


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.usefixtures("workers")
def test_a_broker_that_is_killed_in_a_later_step_loses_nothing(
    step: str, tmp_path: Path, broker: Server, ledger: Ledger
) -> None:
    """F07."""
    run = begin(tmp_path)
    run.journal.await_start(step)
    broker.stop()
    time.sleep(2)  # as the case says
    broker.start()

    told = run.end(within=45)

    assert told.code == 0, told.stderr
    invariants.check("flow", ledger, run.journal, told=told)


@pytest.mark.usefixtures("workers")
def test_messages_that_come_twice_begin_and_execute_each_later_part_once(tmp_path: Path, ledger: Ledger) -> None:
    """F13."""
    run = begin(tmp_path, "--gather-seconds", "1")
    again = (
        "from runner import celery_app\nfrom runner.worker import execute as e\ncelery_app.make_current()\n"
        "for _ in range(3): e.begin.delay('flow', 'gather'); e.gather.delay('flow', 'gather'); "
        "e.hook.delay('flow', 'hook'); e.hook.delay('flow', 'last'); e.collect.delay('flow', ['three'])"
    )
    for step in ("zero", "three", "gather", "hook"):
        run.journal.await_start(step)
        subprocess.run([sys.executable, "-c", again], check=True, cwd=ROOT)

    told = run.end(within=40)

    assert told.code == 0, told.stderr
    invariants.check("flow", ledger, run.journal, told=told)


def test_a_hook_waits_for_a_worker_that_has_its_task(tmp_path: Path, ledger: Ledger, start_worker: StartWorker) -> None:
    """F24."""
    (tmp_path / "lacking.yaml").write_text(
        "name: lacking\ninclude: [faulty]\ninputs: {journal: {type: string}}\n"
        "collectors: [{id: a, task: collector_1, with: {topic: x}}]\n"
        "hooks: {finally: [{id: hook, task: faulty.collect, with: {journal: '${{ inputs.journal }}', step: hook}}]}\n"
    )
    start_worker(RUNNER_INCLUDE="")
    words = ("run", str(tmp_path / "lacking.yaml"), "--journal", str(tmp_path / "j"), "--run-id", "lacking")
    assert runner(*words, "--detach", PYTHONPATH=str(flow.FOLDER)).code == 0
    run = ledger.open("lacking")
    wait_until(lambda: "faulty.collect" in run.info().waits_for, "the hook waits, and says for what")
    assert (run.info().status, run.info().hooks) == ("succeeded", ("hook",))
    start_worker()
    wait_until(lambda: not run.info().hooks, "the hook has been executed", 30)
    assert run.outcomes()["hook"].status == "succeeded"


def test_a_run_that_is_cancelled_in_a_later_fan_out_starts_nothing_but_its_hooks(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F26 a: with one process, most collectors are still to come."""
    start_worker("--concurrency", "1")
    run = begin(tmp_path)
    run.journal.await_start("one")
    assert runner("cancel", "flow").code == 0
    hooks = ["cancelled", "hook", "last"]
    started = [line.step for line in run.journal.lines() if line.word == "START" and line.step not in hooks]

    told = run.end(within=20)

    assert (told.code, told.json["status"]) == (6, "cancelled")
    invariants.check("flow", ledger, run.journal, told=told)
    assert [line.step for line in run.journal.lines() if line.word == "START"] == [*started, *hooks]


@pytest.mark.usefixtures("workers")
def test_a_run_that_is_cancelled_in_its_hooks_has_ended_before(tmp_path: Path, ledger: Ledger) -> None:
    """F26 f."""
    run = begin(tmp_path, "--slow", "1")
    run.journal.await_start("hook")
    answer = runner("cancel", "flow")
    assert (answer.code, answer.stderr) == (0, "run flow had already ended: succeeded\n")

    told = run.end(within=20)

    assert told.code == 0, told.stderr
    invariants.check("flow", ledger, run.journal, told=told)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.usefixtures("state_dir")
def test_a_run_that_is_killed_in_a_later_step_is_resumed(
    step: str, tmp_path: Path, own_directory: Path, state_dir: Path
) -> None:
    """F27: what has an outcome is not executed again, and hooks that were left are executed."""
    run = begin(tmp_path)
    run.journal.await_start(step)
    run.command.send_signal(signal.SIGKILL)
    run.command.communicate()
    wait_until(lambda: not processes.carrying(own_directory.name), "no process of it is left")

    answer = runner("resume", "flow", "--json")

    assert answer.code == 0, answer.stderr
    assert len(run.journal.starts("zero")) == 1
    assert len(run.journal.ends("last")) == 1
    with embedded.embedded_valkey(state_dir) as url:
        touched = dict.fromkeys(("one", "two", "three", "four", "hook"), 1)
        invariants.check_recorded("flow", flow.ledger(url), run.journal, faults=touched)
