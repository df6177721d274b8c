"""`stop: early`: the fan-out ends as soon as enough collectors have succeeded, and nothing else of it is executed."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ROOT, Answer, runner
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "workflows" / "crowded.py", tmp_path)
    return tmp_path


def run(folder: Path, *collectors: dict[str, Any], gather: dict[str, Any], words: tuple[str, ...] = ()) -> Answer:
    keys = {"gather": {"task": "gather.concat", "stop": "early", **gather}, "include": ["crowded"]}
    file = write_workflow(folder / "early.yaml", collectors=collectors, **keys)
    return runner("run", str(file), "--json", *words, CROWDED_JOURNAL=str(folder / "journal"))


def begun(folder: Path) -> list[str]:
    lines = (folder / "journal").read_text(encoding="utf-8").splitlines()
    return [line.split()[2] for line in lines if line.split()[1] == "begin"]


def statuses(answer: Answer) -> dict[str, str]:
    return {step["id"]: step["status"] for step in answer.json["steps"]}


def work(name: str, seconds: float = 0.01, task: str = "crowded.work") -> dict[str, Any]:
    return yaml_step(name, task, {"name": name, "seconds": seconds})


@pytest.mark.parametrize("task", ["crowded.work", "crowded.work_later"])
def test_a_fan_out_ends_with_the_successes_that_are_enough_and_starts_nothing_more(task: str, folder: Path) -> None:
    """AWS durable SDK #192: all items were executed, although the first were enough."""
    arguments = {"name": "${{ string(item) }}", "seconds": 0.02}
    each = yaml_step("each", task, arguments, foreach="${{ range(2000) }}")
    answer = run(folder, each, gather={"min_success": 5})
    assert answer.json["status"] == "succeeded", answer.stderr
    counts = answer.json["steps"][0]["statuses"]
    assert set(counts) == {"succeeded", "not_needed"}
    assert counts["succeeded"] == len(answer.json["result"]) >= 5
    assert counts["succeeded"] + counts["not_needed"] == 2000
    assert len(begun(folder)) < 1000
    assert answer.json["coverage"]["missing"] == []


@pytest.mark.parametrize("task", ["crowded.work", "crowded.work_later"])
def test_collectors_that_are_not_needed_do_not_hold_the_gather_up(task: str, folder: Path) -> None:
    slow = [work(f"slow{at}", 60, task) for at in range(1 if task == "crowded.work" else 3)]
    answer = run(folder, work("one"), work("two"), *slow, gather={"min_success": 2}, words=("--concurrency", "3"))
    assert (answer.json["status"], answer.json["result"]) == ("succeeded", ["one", "two"]), answer.stderr
    assert {statuses(answer)[step["id"]] for step in slow} == {"not_needed"}
    assert answer.json["duration_s"] < 50


def test_what_failed_before_is_missing_and_what_waits_for_its_retry_is_not_needed(folder: Path) -> None:
    fails = yaml_step("fails", "command.run", {"argv": ["false"]})
    waits = yaml_step("waits", "command.run", {"argv": ["false"]}, retry={"max_retries": 1, "delay": "10m"})
    answer = run(folder, fails, waits, work("one", 2), gather={"min_success": 1}, words=("--concurrency", "3"))
    assert (answer.json["status"], answer.json["result"]) == ("partial", ["one"]), answer.stderr
    assert statuses(answer)["fails"] == "failed"
    assert statuses(answer)["waits"] == "not_needed"


def test_records_of_outcomes_have_what_was_not_needed(folder: Path) -> None:
    arguments = {"name": "${{ string(item) }}", "seconds": 0.02}
    each = yaml_step("each", "crowded.work", arguments, foreach="${{ range(300) }}")
    answer = run(folder, each, gather={"min_success": 1, "task": "gather.outcomes"})
    records = answer.json["result"]
    assert [record["item"] for record in records] == list(range(300))
    assert {record["status"] for record in records} == {"succeeded", "not_needed"}
    shown = runner("show", answer.json["run_id"], "--step", "each", "--status", "not_needed", "--json").json
    assert {each["status"] for each in shown["items"]} == {"not_needed"}


def test_a_run_whose_gather_failed_after_an_early_stop_resumes_with_the_gather(folder: Path) -> None:
    arguments = {"name": "${{ string(item) }}", "seconds": 0.02}
    each = yaml_step("each", "crowded.work", arguments, foreach="${{ range(300) }}")
    answer = run(
        folder, each, gather={"min_success": 3, "task": "crowded.gather_once", "with": {"folder": str(folder)}}
    )
    assert answer.json["status"] == "failed"
    executed = len(begun(folder))
    again = runner("resume", answer.json["run_id"], "--json", CROWDED_JOURNAL=str(folder / "journal"))
    assert (again.json["status"], len(again.json["result"]) >= 3) == ("succeeded", True), again.stderr
    assert len(begun(folder)) == executed
