"""Chains of tasks for each collector: the value goes from call to call, in one attempt, and the last one is kept."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ROOT, Answer, runner
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")

Step = dict[str, Any]
ITEMS: Step = {"foreach": [1, 2, 3], "with": {"number": "${{ item }}"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "workflows" / "chained.py", tmp_path)
    return tmp_path


def run(folder: Path, *collectors: Step, words: tuple[str, ...] = ("--json",), **keys: Any) -> Answer:
    file = write_workflow(folder / "chained.yaml", include=["chained"], collectors=collectors, **keys)
    return runner("run", str(file), *words, CHAINED_JOURNAL=str(folder / "journal"))


def journal(folder: Path) -> list[str]:
    return (folder / "journal").read_text(encoding="utf-8").splitlines()


def then(task: str, **arguments: Any) -> Step:
    return {"task": task, **({"with": arguments} if arguments else {})}


@pytest.mark.parametrize("second", ["chained.number", "chained.number_later"])
@pytest.mark.parametrize("first", ["chained.page", "chained.page_later"])
@pytest.mark.parametrize("sent", [{"batch": 1}, {"batch": 3}, {"batch": 3, "max_concurrency": 3}], ids=str)
def test_each_value_goes_on_to_the_next_call_and_the_last_is_kept(
    first: str, second: str, sent: Step, folder: Path
) -> None:
    chain = [then(second, add="${{ item * 10 }}"), then("chained.hooked")]
    answer = run(folder, yaml_step("a", first, then=chain, **ITEMS, **sent))
    assert answer.json["result"] == [22, 44, 66], answer.stderr
    run_id = answer.json["run_id"]
    step = runner("show", run_id, "--step", "a[1]", "--json").json
    assert (step["notes"], step["then"]) == ({"page": 2, "added": 20}, [second, "chained.hooked"])
    assert f"task      {first}, then {second}, then chained.hooked" in runner("show", run_id, "--step", "a[1]").stdout
    assert len({line.split()[1] for line in journal(folder)}) == 3, "each call has an id of its own"


@pytest.mark.parametrize("first", ["chained.page", "chained.page_later"])
def test_a_failure_names_its_call_and_the_whole_chain_is_tried_again(first: str, folder: Path) -> None:
    number = "chained.number"
    chain = [then(number), then("chained.fussy", dislikes=2), then("chained.hooked")]
    gather = {"task": "gather.concat", "min_success": 2}
    step = yaml_step("a", first, then=chain, retry={"max_retries": 1, "delay": "1ms"}, **ITEMS)
    answer = run(folder, step, gather=gather)
    assert (answer.json["status"], answer.json["result"]) == ("partial", [2, 6]), answer.stderr
    assert [line for line in journal(folder) if line == "fussy 2"] == ["fussy 2"] * 2
    error = runner("show", answer.json["run_id"], "--step", "a[1]", "--json").json["error"]
    assert (error["type"], error["message"]) == ("ValueError", "then chained.fussy: I do not like 2")
    assert "in fussy" in error["traceback"]


def test_the_name_of_a_task_that_stands_twice_says_which(folder: Path) -> None:
    chain = [then("chained.number"), then("chained.fussy", dislikes=5), then("chained.fussy", dislikes=1)]
    answer = run(folder, yaml_step("a", "chained.page", {"number": 1}, then=chain))
    assert answer.json["steps"][0]["error"]["message"] == "then chained.fussy (3 of 3): I do not like 1"


@pytest.mark.parametrize("slow", ["chained.slow", "chained.slow_later"])
@pytest.mark.parametrize("first", ["chained.page", "chained.page_later"])
def test_the_timeout_is_for_the_whole_chain(first: str, slow: str, folder: Path) -> None:
    chain = [then("chained.number"), then(slow, seconds=2), then(slow, seconds=30)]
    answer = run(folder, yaml_step("a", first, then=chain, timeout=4, **ITEMS), gather=then("gather.concat"))
    errors = {step["id"]: step for step in answer.json["steps"]}
    messages = {errors[f"a[{at}]"]["error"]["message"] for at in range(3)}
    assert messages == {f"then {slow} (3 of 3): took longer than 4 s"}
    assert {errors[f"a[{at}]"]["status"] for at in range(3)} == {"timed_out"}


def test_a_plain_function_after_an_async_one_does_not_keep_the_others_of_its_batch(folder: Path) -> None:
    """It would block their event loop: `html.select` after `http.get`, 64 at once."""
    (folder / "met").mkdir()
    chain = [then("chained.number"), then("chained.meet", folder=str(folder / "met"), others=3)]
    answer = run(folder, yaml_step("a", "chained.page_later", then=chain, timeout=60, batch=3, **ITEMS))
    assert answer.json["status"] == "succeeded", answer.stderr


def test_a_value_that_is_not_json_must_not_be_the_last(folder: Path) -> None:
    answer = run(folder, yaml_step("a", "chained.page", {"number": 1}))
    assert "which is not JSON" in answer.json["steps"][0]["error"]["message"]


def test_a_process_that_dies_in_a_chain_is_one_failed_attempt_of_its_collector(folder: Path) -> None:
    chain = [then("chained.number"), then("chained.die_once", marker=str(folder / "died"))]
    answer = run(folder, yaml_step("a", "chained.page", {"number": 7}, then=chain))
    assert (answer.json["result"], answer.json["steps"][0]["attempts"]) == ([7], 2), answer.stderr


def test_a_chain_whose_task_no_worker_has_is_not_begun(folder: Path) -> None:
    step = yaml_step("a", "chained.fussy", {"number": 1, "dislikes": 2}, then=[then("far.away")])
    file = write_workflow(folder / "chained.yaml", include=["chained"], collectors=[step])
    answer = runner("run", str(file), "--json", RUNNER_TASKS="far.*", CHAINED_JOURNAL=str(folder / "journal"))
    assert '"far.away" is not registered' in answer.json["steps"][0]["error"]["message"]
    assert not (folder / "journal").exists()


def test_a_dry_run_shows_the_arguments_of_each_call(folder: Path) -> None:
    chain = [then("chained.number", add="${{ item * 10 }}"), then("chained.hooked")]
    step = yaml_step("a", "chained.page", then=chain, **ITEMS)
    file = write_workflow(folder / "chained.yaml", include=["chained"], collectors=[step])
    shown = runner("run", str(file), "--dry-run").stdout
    assert "    then chained.number\n      add = 10\n    then chained.hooked\n" in shown
    [node, _] = runner("run", str(file), "--dry-run", "--json").json["steps"]
    assert node["then"] == [
        {"task": "chained.number", "arguments": {"add": 10}},
        {"task": "chained.hooked", "arguments": {}},
    ]
