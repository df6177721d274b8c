"""`show` has the attempts before the last one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import runner, start
from tests.http_server import serve
from tests.waiting import wait_until
from tests.workflow import write_workflow, yaml_step

TASKS = """
from pathlib import Path

from celery import shared_task

@shared_task(name="mine.flaky")
def flaky(folder, name, times):
    file = Path(folder, f"{name}.tries")
    tries = len(file.read_text()) if file.exists() else 0
    if tries < times:
        file.write_text("x" * (tries + 1))
        raise OSError(f"try {tries + 1} of {name}: no answer")
    return tries
"""
WORKFLOW = """
name: flaky
include: [mine]
inputs: {folder: {}, times: {type: integer}}
defaults:
  collectors: {retry: {max_retries: 3, delay: %s, jitter: none, backoff: 1}}
collectors:
  - {id: alone, task: mine.flaky, with: {folder: "${{ inputs.folder }}", name: alone, times: "${{ inputs.times }}"}}
  - id: page
    task: mine.flaky
    foreach: [a, b]
    with: {folder: "${{ inputs.folder }}", name: "${{ item }}", times: "${{ inputs.times }}"}
"""

pytestmark = pytest.mark.usefixtures("state_dir")


def workflow(folder: Path, delay: str) -> str:
    (folder / "mine.py").write_text(TASKS)
    (folder / "flaky.yaml").write_text(WORKFLOW % delay)
    return str(folder / "flaky.yaml")


@pytest.fixture
def retrying(tmp_path: Path, state_dir: Path) -> Iterator[None]:  # noqa: ARG001 - it must be set first
    """A run called "mine", of which every collector has failed once and waits for five minutes."""
    words = ("run", workflow(tmp_path, "5m"), "--folder", str(tmp_path), "--times", "9", "--run-id", "mine")
    process = start(*words)
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.tries"))) == 3, "all have failed once")
        wait_until(lambda: "2 retrying" in runner("show", "mine", "--step", "page").stdout, "that is recorded")
        wait_until(lambda: "alone retrying" in runner("show", "mine").stdout, "that is recorded, too")
        yield
    finally:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("retrying")
def test_show_of_a_run_that_retries_says_so_with_the_last_error() -> None:
    """`show` said "waiting" of a step that had failed three times, and nothing of why."""
    told = runner("show", "mine").stdout
    assert re.search(r"^alone +retrying +1 +worker-", told, re.MULTILINE)
    assert re.search(r"^  ↻ alone retrying after 1 attempt, the next in [45]m", told, re.MULTILINE)
    assert "      OSError: try 1 of alone: no answer\n" in told
    assert "↻ page[0] retrying after 1 attempt" in told
    step = next(each for each in runner("show", "mine", "--json").json["steps"] if each["id"] == "alone")
    assert (step["status"], step["attempts"]) == ("retrying", 1)
    assert step["error"] == {"type": "OSError", "message": "try 1 of alone: no answer"}


@pytest.mark.usefixtures("retrying")
@pytest.mark.parametrize(("step", "name"), [("alone", "alone"), ("page[1]", "b")])
def test_show_of_a_step_that_retries_has_its_attempts_and_when_the_next_is(step: str, name: str) -> None:
    told = runner("show", "mine", "--step", step).stdout
    assert re.search(r"^status +retrying after 1 attempt, the next in [45]m", told, re.MULTILINE)
    assert re.search(
        rf"^  1  failed after \S+s on worker-\S+: OSError: try 1 of {name}: no answer$", told, re.MULTILINE
    )


@pytest.mark.usefixtures("retrying")
def test_a_page_of_retrying_items_has_their_errors() -> None:
    told = runner("show", "mine", "--step", "page", "--status", "retrying").stdout
    assert re.search(r"^page\[0\] +retrying +1 +worker-\S+ +OSError: try 1 of a: no answer$", told, re.MULTILINE)
    assert re.search(r"^page\[1\] +retrying +1 +worker-\S+ +OSError: try 1 of b: no answer$", told, re.MULTILINE)


@pytest.mark.parametrize(("step", "name"), [("alone", "alone"), ("page[1]", "b")])
@pytest.mark.parametrize(("times", "status"), [("2", "succeeded"), ("9", "failed")])
def test_the_earlier_attempts_of_a_step_that_has_ended_are_kept(
    step: str, name: str, times: str, status: str, tmp_path: Path
) -> None:
    """Their duration and their error were nowhere: of a step that failed four times the last reason was the only one."""
    runner("run", workflow(tmp_path, "1ms"), "--folder", str(tmp_path), "--times", times, "--run-id", "mine")
    document = runner("show", "mine", "--step", step, "--json").json
    messages = [each["error"]["message"] for each in document["failed_attempts"]]
    assert document["status"] == status
    assert messages == [f"try {number} of {name}: no answer" for number in range(1, document["attempts"])]
    assert all(each["duration_s"] >= 0 and each["started_at"] for each in document["failed_attempts"])
    assert "  1  failed after 0" in runner("show", "mine", "--step", step).stdout


def test_a_retry_after_that_is_too_long_ends_the_step_at_once_with_the_reason(tmp_path: Path) -> None:
    """It was cut to the five minutes of `max_delay`: the server was asked again and again, within the hour it had named."""
    with serve() as server:
        url = server.url("/status/429?retry_after=3600")
        collector = yaml_step("a", "http.get", {"url": url}, retry={"max_retries": 5})
        answer = runner("run", str(write_workflow(tmp_path / "w.yaml", collectors=[collector])))
        assert server.asked["/status/429"] == 1
    assert answer.code == 1
    assert "429" in answer.stderr
    assert "not tried again: it asks to wait 1h, and retry.max_delay is 5m" in answer.stderr
