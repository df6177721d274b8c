"""`when`, and stages that may fail: what is executed, what is handed on, and what is counted."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ROOT, runner

pytestmark = pytest.mark.usefixtures("state_dir")

FILE = """
name: chosen
include: [pure_tasks, unkind]
inputs:
  deep: {type: boolean, default: false}
  pages: {type: array, default: [1, 2, 3, 4]}
  times: {type: integer, default: 0}
collectors:
  - {id: always, task: pure.echo, with: {value: 1}}
  - {id: deep, task: pure.echo, with: {value: 2}, when: "${{ inputs.deep }}"}
  - {id: page, task: pure.echo, foreach: "${{ inputs.pages }}", when: "${{ item % 2 == 0 }}", with: {value: "${{ item }}"}}
stages:
  - {id: long, task: pure.stage_wrap, with: {label: long}, when: "${{ size(value) > 3 }}"}
  - id: again
    when: "${{ type(value) == list && size(value) > 1 }}"
    collectors:
      - {id: one, task: pure.echo, foreach: "${{ value }}", when: "${{ item != 2 }}", with: {value: "${{ item * 10 }}"}}
  - {id: last, task: pure.stage_wrap, with: {label: "${{ string(coverage) }}"}}
"""


@pytest.fixture
def chosen(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "pure_tasks.py", tmp_path)
    (tmp_path / "unkind.py").write_text(
        "from celery import shared_task\n\n@shared_task(name='unkind.fail')\ndef fail(value=None):\n    raise ValueError('no')\n"
    )
    file = tmp_path / "chosen.yaml"
    file.write_text(FILE)
    return file


def statuses(document: dict[str, Any]) -> dict[str, Any]:
    return {step["id"]: step.get("statuses") or step["status"] for step in document["steps"]}


def test_what_is_false_is_skipped_and_missed_by_nobody(chosen: Path) -> None:
    answer = runner("run", str(chosen), "--run-id", "one", "--json")
    assert (answer.code, answer.json["status"], answer.json["result"]) == (0, "succeeded", {"1": [10, 40]}), (
        answer.stderr
    )
    assert statuses(answer.json) == {
        "always": "succeeded",
        "deep": "skipped",
        "page": {"succeeded": 2, "skipped": 2},
        "gather": "succeeded",
        "long": "skipped",
        "one": {"succeeded": 2, "skipped": 1},
        "again": "succeeded",
        "last": "succeeded",
    }
    assert answer.json["coverage"] == {"succeeded": 5, "total": 5, "missing": [], "missing_count": 0}
    [long] = [step for step in answer.json["steps"] if step["id"] == "long"]
    assert long["error"] == {"type": "Skipped", "message": "${{ size(value) > 3 }} is false"}
    assert "long started" not in answer.stderr
    assert "deep skipped: ${{ inputs.deep }} is false" in answer.stderr
    assert runner("show", "one", "--step", "page[3]", "--json").json["value"] == 4
    assert runner("show", "one", "--step", "page[0]").code == 7
    assert runner("show", "one", "--step", "long", "--json").json["value"] == [1, 2, 4]


def test_a_skipped_fan_out_hands_on_the_value_before_it(chosen: Path) -> None:
    answer = runner("run", str(chosen), "--pages", "[]", "--json")
    assert (answer.code, answer.json["result"]) == (0, {"1": [1]}), answer.stderr
    assert statuses(answer.json)["again"] == "skipped"


def test_a_fan_out_of_which_everything_is_skipped_gathers_an_empty_list(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "pure_tasks.py", tmp_path)
    file = tmp_path / "none.yaml"
    file.write_text(
        "name: none\ninclude: [pure_tasks]\n"
        "collectors: [{id: a, task: pure.echo, with: {value: 1}, when: false}]\n"
        "gather: {task: pure.gather_count, min_success: 60%}\n"
    )
    answer = runner("run", str(file), "--json")
    assert (answer.code, answer.json["result"]) == (0, {"values": 0, "outcomes": 1}), answer.stderr


def test_a_run_that_is_resumed_decides_again_only_what_follows(chosen: Path) -> None:
    """`last` fails; what was skipped stays so, and its reason is shown."""
    chosen.write_text(
        FILE.replace('task: pure.stage_wrap, with: {label: "${{ string(coverage) }}"}', "task: unkind.fail")
    )
    assert runner("run", str(chosen), "--run-id", "one").code == 1
    answer = runner("resume", "one", "--json")
    assert answer.code == 1
    assert statuses(answer.json) | {"last": ""} == {
        "always": "succeeded",
        "deep": "skipped",
        "page": {"succeeded": 2, "skipped": 2},
        "gather": "succeeded",
        "long": "skipped",
        "one": {"succeeded": 2, "skipped": 1},
        "again": "succeeded",
        "last": "",
    }
    chosen.write_text(FILE)
    again = runner("resume", "one", "--file", str(chosen), "--json")
    assert (again.code, again.json["result"]) == (0, {"1": [10, 40]}), again.stderr
    assert statuses(again.json)["deep"] == "skipped"


@pytest.mark.parametrize(
    "stage",
    [
        {"id": "extra", "task": "unkind.fail", "required": False},
        {"id": "extra", "required": False, "collectors": [{"id": "x", "task": "unkind.fail"}]},
        {
            "id": "extra",
            "required": False,
            "collectors": [{"id": "x", "task": "pure.echo", "foreach": "${{ value[0] }}", "with": {"value": 1}}],
        },
        {
            "id": "extra",
            "required": False,
            "collectors": [{"id": "x", "task": "pure.echo", "with": {"value": 1}}],
            "gather": {"task": "unkind.fail"},
        },
        {"id": "extra", "task": "pure.stage_text", "required": False, "when": "${{ value[0] }}"},
    ],
    ids=["stage", "collectors", "items", "gather", "condition"],
)
@pytest.mark.parametrize("is_last", [False, True])
def test_a_stage_that_is_not_required_hands_on_the_value_before_it_and_the_run_is_partial(
    stage: dict[str, Any], chosen: Path, *, is_last: bool
) -> None:
    collectors = [{"id": "a", "task": "pure.echo", "with": {"value": 7}}]
    stages = [stage] if is_last else [stage, {"id": "last", "task": "pure.stage_wrap", "with": {"label": "got"}}]
    data = {"name": "some", "include": ["pure_tasks", "unkind"], "collectors": collectors, "stages": stages}
    chosen.write_text(json.dumps(data))
    answer = runner("run", str(chosen), "--run-id", "one", "--json")
    assert (answer.code, answer.json["status"]) == (0, "partial"), answer.stderr
    assert answer.json["result"] == ([7] if is_last else {"got": [7]})
    assert "extra" in answer.json["cause"] or "x" in answer.json["cause"]
    assert (
        "warning: extra did not succeed: the value before it is handed on"
        in runner("show", "one").stdout + answer.stderr
    )
    again = runner("resume", "one", "--failed", "--json")
    assert (again.code, again.json["status"], again.json["result"]) == (0, "partial", answer.json["result"]), (
        again.stderr
    )


def test_the_gather_may_name_its_own_coverage(chosen: Path) -> None:
    chosen.write_text(
        "name: covered\ninclude: [pure_tasks, unkind]\n"
        "collectors:\n  - {id: a, task: pure.echo, with: {value: 1}}\n  - {id: b, task: unkind.fail}\n"
        "  - {id: c, task: pure.echo, with: {value: 1}, when: false}\n"
        'gather: {task: pure.gather_list, min_success: 1, with: {tag: "${{ string(coverage) }}"}}\n'
        'stages: [{id: s, task: pure.stage_text, when: "${{ coverage > 0.9 }}"}]\n'
    )
    answer = runner("run", str(chosen), "--json")
    assert (answer.code, answer.json["result"]) == (0, ["0.5", 1]), answer.stderr


def test_a_dry_run_says_what_is_skipped(chosen: Path) -> None:
    answer = runner("run", str(chosen), "--dry-run", "--json")
    counts = {step["id"]: (step.get("count"), step.get("skipped")) for step in answer.json["steps"]}
    assert (counts["deep"], counts["page"], counts["one"]) == ((None, 1), (2, 2), (None, None))
    words = runner("run", str(chosen), "--dry-run").stdout
    assert "  deep, skipped: ${{ inputs.deep }} is false" in words
    assert "  page[1], of 2, 2 skipped" in words
