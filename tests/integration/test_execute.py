"""A worker executes a step: the cases that the other tests do not show."""

from pathlib import Path

import pytest

from tests.command_line import ROOT, runner

pytestmark = pytest.mark.usefixtures("state_dir")


def test_a_gather_with_a_parameter_outcomes_gets_how_each_collector_ended(tmp_path: Path) -> None:
    workflow = tmp_path / "told.yaml"
    (tmp_path / "telling.py").write_text(
        "from celery import shared_task\n\n@shared_task\ndef tell(values: list, outcomes: list) -> list:\n    return outcomes\n"
    )
    (tmp_path / "pure_tasks.py").write_text((ROOT / "tests" / "pure_tasks.py").read_text())
    workflow.write_text(
        "name: told\ninclude: [telling, pure_tasks]\ncollectors:\n"
        "  - {id: b, task: pure.echo, with: {value: 1}}\n  - {id: a, task: pure.echo_async, with: {value: [2]}}\n"
        "gather: {task: telling.tell}\n"
    )
    told = runner("run", str(workflow), "--json").json["result"]
    assert [each.pop("seconds") >= 0 for each in told] == [True, True]
    assert told == [
        {"id": "b", "item": None, "status": "succeeded", "attempts": 1, "value": 1, "error": None},
        {"id": "a", "item": None, "status": "succeeded", "attempts": 1, "value": [2], "error": None},
    ]


def test_a_secret_reaches_the_task_and_is_shown_nowhere(tmp_path: Path) -> None:
    workflow = tmp_path / "secret.yaml"
    (tmp_path / "telling.py").write_text(
        "from celery import shared_task\n\n@shared_task\ndef tell(token: str) -> str:\n    raise ValueError(f'bad {token}')\n"
    )
    workflow.write_text(
        "name: secret\ninclude: [telling]\ninputs: {token: {type: string, secret: true}}\n"
        "collectors: [{id: a, task: telling.tell, with: {token: '${{ inputs.token }}'}}]\n"
    )
    answers = [
        runner("run", str(workflow), "--token", "hunter2-hunter2", "--run-id", "hush", "--json"),
        runner("show", "hush"),
        runner("show", "hush", "--step", "a"),
        runner("run", str(workflow), "--token", "hunter2-hunter2", "--dry-run"),
    ]
    assert "bad ***" in answers[2].stdout
    assert [answer for answer in answers if "hunter2" in answer.stdout + answer.stderr] == []


def test_a_task_that_the_worker_does_not_have_is_named(tmp_path: Path) -> None:
    workflow = tmp_path / "elsewhere.yaml"
    workflow.write_text("name: elsewhere\ncollectors: [{id: a, task: far.away}]\n")
    answer = runner("run", str(workflow), "--json", RUNNER_TASKS="far.*")
    assert answer.code == 1
    assert '"far.away" is not registered' in answer.json["steps"][0]["error"]["message"]
