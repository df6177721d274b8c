"""The same YAML on an external broker, with any number of workers, and on an existing Celery app."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import DEFAULT, ROOT, runner
from tests.servers import Server
from tests.waiting import wait_until
from tests.workers import working

SLOW = str(ROOT / "tests" / "workflows" / "slow.yaml")
WITH_OUR_TASKS = {"PYTHONPATH": str(ROOT / "tests" / "workflows"), "RUNNER_INCLUDE": "observed"}


@pytest.fixture(autouse=True)
def broker(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    return valkey


def test_two_workers_share_the_collectors_of_a_run(tmp_path: Path) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    one_at_a_time = ("runner", "worker", "--concurrency", "1")
    with (
        working(first, *one_at_a_time, "--name", "one@here", **WITH_OUR_TASKS),
        working(second, *one_at_a_time, "--name", "two@here", **WITH_OUR_TASKS),
    ):
        answer = runner("run", SLOW, "--journal", str(tmp_path / "j"), "--seconds", "0.5", "--json")
    assert answer.code == 0, answer.stderr
    assert {step["worker"] for step in answer.json["steps"] if step["kind"] == "collector"} == {"one@here", "two@here"}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_every_pool_runs_the_default_workflow(pool: str, tmp_path: Path) -> None:
    with working(tmp_path / "log", "runner", "worker", "--pool", pool):
        assert json.loads(runner("run", DEFAULT, "--topic", "x").stdout)["item_count"] == 12


def test_a_plain_celery_worker_runs_the_default_workflow_too(tmp_path: Path) -> None:
    with working(tmp_path / "log", "celery", "-A", "runner.celery_app", "worker", "-l", "info", "-c", "2"):
        assert json.loads(runner("run", DEFAULT, "--topic", "x").stdout)["item_count"] == 12


def test_a_step_goes_to_the_queue_it_names(tmp_path: Path) -> None:
    workflow = tmp_path / "queues.yaml"
    workflow.write_text(
        "name: queues\ncollectors:\n"
        "  - {id: light, task: collector_1, with: {topic: x}}\n"
        "  - {id: heavy, task: collector_2, with: {topic: x}, queue: heavy}\n"
    )
    with (
        working(tmp_path / "log", "runner", "worker", "--name", "light@here"),
        working(tmp_path / "log2", "runner", "worker", "--name", "heavy@here", "--queues", "other, heavy"),
    ):
        steps = runner("run", str(workflow), "--json").json["steps"]
    assert [(step["id"], step["worker"]) for step in steps[:2]] == [("light", "light@here"), ("heavy", "heavy@here")]


def test_a_detached_run_is_executed_by_the_workers_alone(tmp_path: Path) -> None:
    run_id = runner("run", DEFAULT, "--topic", "x", "--detach").stdout.strip()
    assert runner("show", run_id, "--json").json["status"] == "pending"
    with working(tmp_path / "log", "runner", "worker"):
        wait_until(lambda: runner("show", run_id, "--json").json["status"] == "succeeded", "the run has succeeded")


def test_collector_request_starts_a_run_and_returns_its_id_at_once(tmp_path: Path, broker: Server) -> None:
    with working(tmp_path / "log", "runner", "worker"):
        client = broker.client()
        # As any Celery client would call it, from its command line.
        call = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "runner.celery_app",
            "call",
            "collector_request",
            "--args",
            '["tea"]',
        ]
        called = subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT)
        assert called.returncode == 0, called.stderr
        wait_until(lambda: client.zcard("runner:runs") == 1, "the run is in the history")
        run_id = str(client.zrange("runner:runs", 0, -1)[0])
        wait_until(lambda: runner("show", run_id, "--json").json["status"] == "succeeded", "the run has succeeded")
    assert run_id.startswith("request-")


def test_a_terminated_worker_drains_first(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    with working(tmp_path / "log", "runner", "worker", **WITH_OUR_TASKS) as process:
        runner("run", SLOW, "--journal", str(journal), "--seconds", "1", "--detach")
        wait_until(lambda: journal.exists() and journal.read_text().count("START") == 2, "both collectors have started")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert journal.read_text().count("END") == 2


def test_a_client_without_us_gets_the_id_that_collector_request_returns(tmp_path: Path, broker: Server) -> None:
    client = (
        "from celery import Celery\n"
        f"app = Celery(broker={broker.url!r}, backend={broker.url!r})\n"
        "print(app.send_task('collector_request', ['tea']).get(timeout=60))\n"
    )
    with working(tmp_path / "log", "runner", "worker"):
        answer = subprocess.run([sys.executable, "-c", client], capture_output=True, text=True, check=False)
        run_id = answer.stdout.strip()
        assert run_id.startswith("request-"), answer.stderr
        wait_until(lambda: runner("show", run_id, "--json").json["status"] == "succeeded", "the run has succeeded")
