"""Collectors that only wait share a message: they are executed at once, however few processes a worker has."""

from pathlib import Path
from typing import Any

import pytest

from runner.messages import batching
from tests.command_line import runner
from tests.servers import Server
from tests.workers import working
from tests.workflow import write_workflow

pytestmark = pytest.mark.usefixtures("state_dir")

TOGETHER = 30


def written(folder: Path, *collectors: dict[str, Any]) -> str:
    """A workflow of collectors that wait for one another."""
    (folder / "met").mkdir(exist_ok=True)
    steps = [{"id": f"c{at}", **collector} for at, collector in enumerate(collectors)]
    return str(write_workflow(folder / "meeting.yaml", include=["tests.batch_tasks"], collectors=steps))


def meeting(folder: Path, number: int, **keys: Any) -> list[dict[str, Any]]:
    """This many collectors, each of which ends once all have begun."""
    arguments = {"folder": str(folder / "met"), "number": number}
    return [
        {"task": "batch.meet", "timeout": 20, "with": {**arguments, "name": f"c{at}"}, **keys} for at in range(number)
    ]


def fussy(task: str, value: int, *dislikes: int, **keys: Any) -> dict[str, Any]:
    """A collector that fails if it dislikes its value."""
    return {"task": f"batch.{task}", "with": {"value": value, "dislikes": list(dislikes)}, **keys}


def test_thirty_written_out_async_collectors_are_executed_at_once_in_four_processes(tmp_path: Path) -> None:
    """They were executed four at a time: 27 s where 5 s would do, and nothing explained it."""
    answer = runner("run", written(tmp_path, *meeting(tmp_path, TOGETHER)), "--json", "--concurrency", "4", timeout=60)

    assert answer.code == 0, answer.stderr
    assert answer.json["result"] == [f"c{at}" for at in range(TOGETHER)]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_written_out_async_collectors_are_executed_at_once_on_a_shared_worker_too(
    pool: str, valkey: Server, tmp_path: Path
) -> None:
    words = ("runner", "worker", "--concurrency", "1", "--pool", pool, "--include", "tests.batch_tasks")
    with working(tmp_path / "log", *words, RUNNER_BROKER_URL=valkey.url):
        answer = runner("run", written(tmp_path, *meeting(tmp_path, 8)), "--json", "--broker", valkey.url, timeout=60)

    assert answer.code == 0, answer.stderr
    assert len(answer.json["result"]) == 8


def test_many_written_out_collectors_share_messages_whose_steps_are_executed_in_turn(tmp_path: Path) -> None:
    """10,000 of them took 21 s: each had a message of its own."""
    count = batching.ALONE + 20
    file = written(tmp_path, *(fussy("fussy", value, *([7] if value == 7 else [])) for value in range(count)))
    dry = runner("run", file, "--dry-run", "--json")
    assert 8 <= len(dry.json["messages"]) < 100
    answer = runner("run", file, "--json", timeout=120)
    assert answer.code == 1
    statuses = {step["id"]: step["status"] for step in answer.json["steps"] if step["kind"] == "collector"}
    assert [step for step, status in statuses.items() if status != "succeeded"] == ["c7"]
    assert len(statuses) == count


def test_a_collector_that_fails_in_a_shared_message_fails_alone(tmp_path: Path) -> None:
    collectors = [
        fussy("fussy_async", 1),
        fussy("fussy_async", 2, 2, retry={"max_retries": 2, "delay": 0.2, "jitter": "none"}),
        fussy("fussy_async", 3),
        *[fussy("fussy_async", 1)] * 6,
    ]
    answer = runner("run", written(tmp_path, *collectors), "--json", "--concurrency", "2")

    assert answer.code == 1
    steps = {step["id"]: step for step in answer.json["steps"]}
    assert (steps["c1"]["status"], steps["c1"]["attempts"]) == ("failed", 3)
    assert {steps[f"c{at}"]["status"] for at in (0, 2, 3, 4, 5, 6, 7, 8)} == {"succeeded"}
    assert {steps[f"c{at}"]["attempts"] for at in (0, 2, 3, 4, 5, 6, 7, 8)} == {1}


def test_the_dry_run_shows_the_messages_that_are_sent(tmp_path: Path) -> None:
    workflow = written(
        tmp_path,
        *meeting(tmp_path, 6),
        fussy("fussy", 1),
        *meeting(tmp_path, 2, priority=3),
    )
    answer = runner("run", workflow, "--dry-run", "--concurrency", "2")

    assert answer.code == 0, answer.stderr
    assert "6 messages would be sent" in answer.stdout
    assert 'meeting.c0: runner.collect("meeting-' in answer.stdout
    assert '["c0", "c1", "c2"])' in answer.stdout
    assert '["c6"])' in answer.stdout
    assert answer.stdout.count("shares a process") == 6


def test_run_concurrency_is_refused_where_the_run_has_no_worker_of_its_own(valkey: Server, tmp_path: Path) -> None:
    answer = runner("run", written(tmp_path, *meeting(tmp_path, 1)), "--concurrency", "2", "--broker", valkey.url)

    assert answer.code == 2
    assert "worker --concurrency 2" in answer.stderr
