"""The same faults with the other pools: a worker that executes steps in its threads, and one that does it itself."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from runner.ledger.ledger import Ledger
from tests import processes
from tests.command_line import ROOT, runner
from tests.faults import flow, invariants
from tests.faults.journal import Journal

# Collected here once more. What is left out is about a child of the prefork pool, or needs no worker.
from tests.faults.test_bad_steps import (  # noqa: F401
    site,
    test_a_collector_that_runs_out_of_memory_fails_alone,
    test_a_file_that_does_not_fit_on_the_disk_leaves_the_one_before,
    test_a_server_that_never_ends_is_left_at_the_timeout,
)
from tests.faults.test_broker_outages import (  # noqa: F401
    test_a_broker_that_lost_its_data_is_reported_and_the_run_fails,
    test_a_frozen_broker_is_waited_for,
    test_a_killed_broker_that_keeps_a_file_loses_no_run,
    test_a_killed_broker_that_keeps_a_file_loses_none_of_200_queued_runs,
    test_a_link_that_was_down_heals,
)
from tests.faults.test_chaos import (  # noqa: F401
    test_every_accepted_run_ends_as_promised_whatever_happens,
)
from tests.faults.test_crashpoints import test_a_run_ends_whichever_process_dies_and_where  # noqa: F401
from tests.faults.test_full_disks import test_a_full_disk_of_the_broker_is_reported_and_outlived  # noqa: F401
from tests.faults.test_killed_workers import (
    test_a_collector_that_takes_whole_workers_down_is_stopped_after_three_recoveries,  # noqa: F401
    test_a_gather_whose_worker_died_after_its_effect_is_recorded_once,  # noqa: F401
    test_a_terminated_worker_finishes_what_it_executes,  # noqa: F401
    test_a_worker_killed_in_a_collector_costs_seconds,
    test_what_a_frozen_and_killed_worker_had_taken_is_sent_again,  # noqa: F401
)
from tests.faults.test_messages import (
    test_a_hostile_message_is_kept_aside_and_the_worker_continues,  # noqa: F401
    test_messages_that_come_twice_execute_each_step_once,  # noqa: F401
)
from tests.faults.test_moving_ground import (
    test_a_cancelled_run_stays_so_when_its_worker_is_killed_and_started_again,  # noqa: F401
    test_a_cancelled_run_waits_for_no_task,  # noqa: F401
    test_a_queued_run_that_is_cancelled_never_starts,  # noqa: F401
    test_a_step_waits_for_a_worker_that_has_its_task,  # noqa: F401
    test_a_step_whose_task_nobody_offers_fails_at_last_and_says_why,  # noqa: F401
    test_cancelling_during_the_gather_is_all_or_nothing,  # noqa: F401
    test_no_step_starts_after_a_run_under_way_is_cancelled,
)
from tests.workflow import write_workflow, yaml_step


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test here with both pools; in CI only those that prove the most in the shortest time."""
    often = {
        test_a_worker_killed_in_a_collector_costs_seconds,
        test_no_step_starts_after_a_run_under_way_is_cancelled,
        test_an_attempt_in_a_pool_without_processes_ends_at_its_timeout,
    }
    if "pool" in metafunc.fixturenames:
        marks = () if metafunc.function in often else (pytest.mark.soak,)
        metafunc.parametrize("pool", [pytest.param(pool, marks=marks) for pool in ("threads", "solo")])


@pytest.mark.usefixtures("workers")
def test_an_attempt_in_a_pool_without_processes_ends_at_its_timeout(tmp_path: Path, ledger: Ledger) -> None:
    """F14 a. Where there is no process to end, a thread that sleeps on is left behind, and the run continues."""
    arguments = {"journal": f"{tmp_path}/j", "step": "bad", "seconds": 60}
    retry = {"max_retries": 1, "delay": "100ms"}
    file = write_workflow(
        tmp_path / "bad.yaml",
        include=["faulty"],
        collectors=[yaml_step("bad", "faulty.collect", arguments, timeout="2s", retry=retry)],
    )

    answer = runner("run", str(file), "--run-id", "bad", "--json")

    bad = next(step for step in answer.json["steps"] if step["id"] == "bad")
    assert (answer.code, bad["status"], bad["attempts"]) == (1, "timed_out", 2)
    assert bad["duration_s"] < 60, "its own end was not waited for"
    invariants.check("bad", ledger, Journal(tmp_path / "j"), told=answer, retries=1)


@pytest.mark.usefixtures("broker")
def test_a_worker_without_children_does_not_end_with_its_parent(tmp_path: Path) -> None:
    """Celery marks a solo worker as a child of a pool; such children exit with their worker, and so it did."""
    command = [sys.executable, "-m", "runner", "worker", "--pool", "solo"]
    log = tmp_path / "log"
    shell = subprocess.run(
        ["sh", "-c", f"{shlex.join(command)} > {log} 2>&1 & echo $!; until grep -q ' ready' {log}; do sleep 0.1; done"],
        stdout=subprocess.PIPE,
        check=True,
        cwd=ROOT,
        text=True,
        timeout=20,
    )
    worker = int(shell.stdout)
    try:
        assert runner("run", flow.SMALL, "--journal", str(tmp_path / "j")).code == 0
    finally:
        processes.kill(worker)


@pytest.mark.usefixtures("state_dir")
def test_a_pool_that_is_not_supported_is_refused_with_a_line() -> None:
    command = [sys.executable, "-m", "celery", "-A", "runner.celery_app", "worker", "--pool", "custom"]
    refused = subprocess.run(
        command,
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
        timeout=60,
        env=os.environ | {"CELERY_CUSTOM_WORKER_POOL": "celery.concurrency.base:BasePool"},
    )
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == "error: the pool base is not supported: use prefork, threads or solo"
