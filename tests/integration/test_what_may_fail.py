"""Runs that continue without some of their collectors: their status, their result, and their words."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import Answer, runner
from tests.servers import Server
from tests.waiting import wait_until
from tests.workers import working
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")

# One that answers, one that fails, one that takes longer than any deadline here.
COLLECTORS = {
    "well": yaml_step("well", "command.run", {"argv": ["echo", "tea"], "format": "lines"}),
    "badly": yaml_step("badly", "command.run", {"argv": ["false"]}),
    "slowly": yaml_step("slowly", "command.run", {"argv": ["sleep", "60"]}),
}


def run(folder: Path, *collectors: dict[str, Any], words: tuple[str, ...] = ("--json",), **gather: Any) -> Answer:
    gathered = {"task": "gather.concat", **gather}
    return runner("run", str(write_workflow(folder / "tea.yaml", collectors=collectors, gather=gathered)), *words)


def test_without_tolerance_one_failure_fails_the_run_and_what_succeeded_is_kept(tmp_path: Path) -> None:
    answer = run(tmp_path, COLLECTORS["well"], COLLECTORS["badly"])
    document = answer.json
    assert (answer.code, document["status"]) == (1, "failed")
    assert [step["status"] for step in document["steps"]] == ["succeeded", "failed", "not_run"]
    assert document["cause"] == "1 of 2 collectors did not succeed: badly"
    shown = runner("show", document["run_id"], "--step", "well", "--json").json
    assert shown["value"] == ["tea"]


def test_a_collector_that_is_not_required_may_fail(tmp_path: Path) -> None:
    answer = run(tmp_path, COLLECTORS["well"], {**COLLECTORS["badly"], "required": False})
    document = answer.json
    assert (answer.code, document["status"], document["result"]) == (0, "partial", ["tea"])
    assert document["coverage"] == {"succeeded": 1, "total": 2, "missing": ["badly"]}
    assert "warning: the result is without badly" in answer.stderr


@pytest.mark.parametrize(("least", "words"), [(1, ["started", "succeeded"]), (2, ["not"])])
def test_a_gather_that_lacks_collectors_is_started_only_if_it_is_executed(
    tmp_path: Path, least: int, words: list[str]
) -> None:
    """Every failed run said "gather_concat started (attempt 1)", and then that it was not."""
    answer = run(tmp_path, COLLECTORS["well"], COLLECTORS["badly"], min_success=least, words=())
    assert re.findall(r"^\S+ gather_concat (\w+)", answer.stderr, re.MULTILINE) == words


def test_run_strict_makes_a_partial_run_a_failure(tmp_path: Path) -> None:
    answer = run(tmp_path, COLLECTORS["well"], COLLECTORS["badly"], min_success="50%", words=("--json", "--strict"))
    assert (answer.code, answer.json["status"]) == (1, "partial")


def test_too_few_successes_fail_the_run_and_the_summary_says_how_many_were_asked_for(tmp_path: Path) -> None:
    answer = run(tmp_path, COLLECTORS["well"], COLLECTORS["badly"], min_success=2, words=())
    assert answer.code == 1
    assert "  1 of 2 collectors did not succeed: badly; min_success is 2\n" in answer.stderr


def test_a_collector_that_has_not_answered_by_the_deadline_is_late_and_the_rest_is_gathered(tmp_path: Path) -> None:
    answer = run(tmp_path, COLLECTORS["well"], COLLECTORS["slowly"], min_success=1, deadline="1s")
    document = answer.json
    assert (answer.code, document["status"], document["result"]) == (0, "partial", ["tea"])
    assert [step["status"] for step in document["steps"]] == ["succeeded", "late", "succeeded"]
    assert "had not answered when the deadline of 1s passed" in answer.stderr


def test_a_late_collector_is_shown_as_it_works_and_its_value_when_it_comes(
    tmp_path: Path, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's own worker ends with the run; one that several runs share continues."""
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    go_on = tmp_path / "go on"  # no sooner than it has been looked at, however busy the machine is
    waits = f'until [ -e "{go_on}" ]; do sleep 0.1; done; echo cocoa'
    late = yaml_step("slowly", "command.run", {"argv": ["sh", "-c", waits]})
    with working(tmp_path / "log", "runner", "worker", "--concurrency", "2", "--name", "one@here"):
        answer = run(tmp_path, COLLECTORS["well"], late, min_success=1, deadline="1s")
        run_id = answer.json["run_id"]
        meanwhile = shown(run_id)
        go_on.touch()
        wait_until(lambda: shown(run_id)["value"] is not None, "the late value has come")

    assert (answer.code, answer.json["status"]) == (0, "partial")
    told = ("status", "attempts", "worker", "duration_s", "value")
    assert [meanwhile[name] for name in told] == ["late", 1, "one@here", None, None]
    afterwards = shown(run_id)
    assert [afterwards[name] for name in told if name != "duration_s"] == ["late", 1, "one@here", "cocoa\n"]
    assert afterwards["duration_s"] >= 1
    after_all = runner("show", run_id, "--json").json
    assert (after_all["status"], after_all["result"]) == ("partial", ["tea"])


def test_gather_outcomes_has_a_record_of_each_collector_and_of_each_item_the_missing_ones_too(tmp_path: Path) -> None:
    each = yaml_step(
        "each",
        "command.run",
        {"argv": ["sh", "-c", "exit ${{ item }}"]},
        foreach={"items": [0, 3], "key": "code-${{ item }}"},
    )
    answer = run(
        tmp_path, COLLECTORS["well"], each, COLLECTORS["slowly"], task="gather.outcomes", min_success=1, deadline="1s"
    )
    told = answer.json["result"]
    assert [list(record) for record in told] == [["id", "item", "status", "attempts", "seconds", "error"]] * 4
    assert [(record["id"], record["item"], record["status"], record["attempts"]) for record in told] == [
        ("well", None, "succeeded", 1),
        ("each[code-0]", 0, "succeeded", 1),
        ("each[code-3]", 3, "failed", 1),
        ("slowly", None, "late", 1),
    ]
    assert [record["error"] is None for record in told] == [True, True, False, True]
    assert told[2]["error"].startswith("CommandFailure: sh exited with code 3")
    assert [record["seconds"] is None for record in told] == [False, False, False, True]


def shown(run_id: str) -> dict[str, Any]:
    step: dict[str, Any] = runner("show", run_id, "--step", "slowly", "--json").json
    return step
