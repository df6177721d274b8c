"""What surrounds our own application, and must not reach it: another application's variables, and one in an included module."""

import json
import os
from pathlib import Path

import pytest

from runner.messages.dead_letters import count_dead_letters
from runner.settings import read_settings
from tests.command_line import DEFAULT, runner
from tests.servers import Server, free_port
from tests.workers import working

THEIRS = '{"a message": "of the other application"}'
NOBODY = f"redis://127.0.0.1:{free_port()}"  # where the other application has its broker, when it runs
OWN = f"""
from celery import Celery

app = Celery("proj", broker="{NOBODY}/0", backend="{NOBODY}/1")

@app.task
def add(x, y):
    return x + y
"""
LATE = """
from celery import Celery

app = Celery("proj")

@app.task(shared=False)
def first():
    global another
    another = Celery("made in a step", broker="redis://nowhere.invalid")
    return 1

@app.task(shared=False)
def then(values):
    return [value + 1 for value in values]
"""


@pytest.mark.parametrize("command", [("runner", "worker"), ("celery", "-A", "runner.celery_app", "worker", "-linfo")])
def test_a_worker_leaves_the_queue_of_another_application_alone(
    command: tuple[str, ...], valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery puts `CELERY_BROKER_URL` before an application's own configuration (celery#4284).

    The worker took the messages of the other application, and moved them to the dead letters.
    """
    theirs = valkey.client()
    theirs.lpush("celery", THEIRS)
    monkeypatch.setenv("CELERY_BROKER_URL", valkey.url)
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url.replace("/0", "/1"))

    with working(tmp_path / "log", *command):
        answer = runner("run", DEFAULT, "--topic", "x", "--timeout", "20")

    assert answer.code == 0, answer.stderr
    assert theirs.lrange("celery", 0, -1) == [THEIRS]
    assert count_dead_letters(theirs, read_settings()) == 0
    assert "CELERY_BROKER_URL: ignored" in (tmp_path / "log").read_text()


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A workflow that includes a module with an application of its own."""
    (tmp_path / "proj.py").write_text(OWN)
    file = tmp_path / "own.yaml"
    file.write_text(
        "name: own\ninclude: [proj]\ncollectors:\n"
        "  - {id: one, task: proj.add, with: {x: 1, y: 2}}\n"
        '  - {id: many, task: proj.add, foreach: [1, 2, 3], with: {x: "${{ item }}", y: 1}}\n'
    )
    return str(file)


@pytest.mark.usefixtures("state_dir")
def test_tasks_of_an_application_in_an_included_module_are_executed(own: str) -> None:
    """The first example of Celery's own tutorial, as the module of a workflow (OpenTranscribe#485, celery#2568)."""
    answer = runner("run", own, "--timeout", "20")

    assert answer.code == 0, answer.stderr
    assert json.loads(answer.stdout) == [3, 2, 3, 4]


def test_tasks_of_an_application_that_a_worker_includes_late_are_executed(
    own: str, valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery imports what ``-I`` names when the tasks of our application are final, and registers none of them there."""
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    with working(tmp_path / "log", "celery", "-A", "runner.celery_app", "worker", "-linfo", "-I", "proj"):
        answer = runner("run", own, "--timeout", "20")

    assert answer.code == 0, answer.stderr
    assert json.loads(answer.stdout) == [3, 2, 3, 4]


def test_an_application_that_a_step_makes_takes_nothing_over(
    valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery makes an application the current one of its thread, wherever it is made: the next step waited for another worker."""
    (tmp_path / "late.py").write_text(LATE)
    file = tmp_path / "late.yaml"
    file.write_text("name: late\ninclude: [late]\ncollectors: [{id: a, task: late.first}]\ngather: {task: late.then}\n")
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    with working(tmp_path / "log", "runner", "worker", "--pool", "solo", "--include", "late"):
        answer = runner("run", str(file), "--timeout", "20")

    assert answer.code == 0, answer.stderr
    assert json.loads(answer.stdout) == [2]
