"""The notes of tasks, from a worker through the ledger to the views."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import Answer, runner
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")

TASKS = '''
"""Tasks that note."""

from celery import shared_task
from runner import note


@shared_task(name="noting.rows")
def rows(number: int) -> list:
    note(rows=number, half="\\ud800")
    return [{"number": number}]


@shared_task(name="noting.fail")
def fail(value: object, token: str) -> None:
    note(token=token)
    raise ValueError("no")
'''


def run(folder: Path, workflow: dict[str, Any], *words: str) -> Answer:
    (folder / "noting.py").write_text(TASKS)
    file = write_workflow(folder / "noting.yaml", include=["noting"], **workflow)
    return runner("run", str(file), "--run-id", "noting", *words)


def steps(told: dict[str, Any]) -> dict[str, Any]:
    return {step["id"]: step for step in told["steps"]}


def test_two_stages_that_write_both_write_the_records(tmp_path: Path) -> None:
    """The second wrote the receipt of the first, `{path, count}`, and the file was "valid"."""
    answer = run(
        tmp_path,
        {
            "collectors": [yaml_step("rows", "noting.rows", {"number": 5})],
            "gather": {"task": "gather.concat"},
            "stages": [
                yaml_step("lines", "write.jsonl", {"path": f"{tmp_path}/a.jsonl"}),
                yaml_step("table", "write.csv", {"path": f"{tmp_path}/a.csv"}),
                yaml_step("whole", "write.json", {"path": f"{tmp_path}/a.json", "receipt": True}),
            ],
        },
        "--json",
    )

    assert answer.code == 0, answer.stderr
    assert (tmp_path / "a.jsonl").read_text() == '{"number": 5}\n'
    assert (tmp_path / "a.csv").read_text() == "number\n5\n"
    assert json.loads((tmp_path / "a.json").read_text()) == [{"number": 5}]
    notes = {name: step.get("notes") for name, step in steps(answer.json).items()}
    assert notes == {
        "rows": {"rows": 5, "half": "\ud800"},
        "gather_concat": None,
        "lines": {"path": f"{tmp_path}/a.jsonl", "count": 1},
        "table": {"path": f"{tmp_path}/a.csv", "count": 1},
        "whole": {"path": f"{tmp_path}/a.json", "count": 1},
    }
    assert answer.json["result"] == notes["whole"]


def test_notes_are_shown_with_their_step_and_below_the_summary(tmp_path: Path) -> None:
    answer = run(
        tmp_path,
        {
            "collectors": [yaml_step("rows", "noting.rows", {"number": "${{ item }}"}, foreach=[5, 6])],
            "gather": {"task": "gather.concat"},
            "stages": [yaml_step("write", "write.json", {"path": f"{tmp_path}/a.json"})],
        },
    )

    assert f'  write: path = "{tmp_path}/a.json", count = 2' in answer.stderr.splitlines()
    assert "notes     rows = 6, " in runner("show", "noting", "--step", "rows[1]").stdout
    assert steps(runner("show", "noting", "--json").json)["write"]["notes"]["count"] == 2


def test_a_secret_in_a_note_is_not_shown(tmp_path: Path) -> None:
    """Of a step that has failed, the notes are kept as well."""
    answer = run(
        tmp_path,
        {
            "inputs": {"token": {"secret": True}},
            "collectors": [yaml_step("rows", "noting.rows", {"number": 5})],
            "stages": [yaml_step("fail", "noting.fail", {"token": "${{ inputs.token }}"})],
        },
        "--token",
        "hunter2",
    )

    shown = runner("show", "noting", "--step", "fail").stdout
    assert answer.code == 1
    assert 'notes     token = "***"' in shown
    assert "hunter2" not in shown + answer.stderr + runner("show", "noting", "--json").stdout
