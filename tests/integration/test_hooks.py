"""What follows the end of a run: which hooks, in which order, with what they may name; and a run's timeout."""

from pathlib import Path
from typing import Any

import pytest

from runner.brokers import connect
from runner.ledger.ledger import Ledger
from runner.settings import read_settings
from tests.command_line import runner
from tests.servers import Server
from tests.waiting import wait_until
from tests.workers import working

FILE = """
name: hooked
include: [ends]
inputs:
  journal: {{type: string, default: "{journal}"}}
  mood: {{type: string, default: fine}}
{more}
collectors:
  - {{id: always, task: ends.note, with: {{journal: "${{{{ inputs.journal }}}}", word: always}}}}
  - {{id: moody, task: ends.behave, with: {{mood: "${{{{ inputs.mood }}}}"}}, required: "${{{{ }}}}"}}
hooks:
  on_success: [{{id: good, task: ends.note, with: {{journal: "${{{{ inputs.journal }}}}", word: "good ${{{{ value }}}}"}}}}]
  on_partial: [{{id: some, task: ends.note, with: {{journal: "${{{{ inputs.journal }}}}", word: "some ${{{{ missing }}}} ${{{{ coverage }}}}"}}}}]
  on_failure:
    - {{id: bad, task: ends.behave, with: {{mood: bad}}}}
    - id: alert
      task: ends.note
      with: {{journal: "${{{{ inputs.journal }}}}", word: "${{{{ run.status }}}}, ${{{{ run.cause }}}}, ${{{{ error.step }}}} ${{{{ error.type }}}}, ${{{{ run.attempt }}}}"}}
  on_cancelled: [{{id: gone, task: ends.note, with: {{journal: "${{{{ inputs.journal }}}}", word: "gone ${{{{ value == null }}}}"}}}}]
  on_recovered: [{{id: well, task: ends.note, with: {{journal: "${{{{ inputs.journal }}}}", word: well}}}}]
  finally:
    - {{id: never, task: ends.behave, with: {{mood: bad}}, when: "${{{{ run.status == 'lost' }}}}"}}
    - {{id: clean, task: ends.note, with: {{journal: "${{{{ inputs.journal }}}}", word: "clean ${{{{ run.id }}}}"}}, when: true}}
"""

TASKS = """
import os, time
from celery import shared_task

@shared_task(name="ends.note")
def note(*, journal, word):
    with open(journal, "a") as file:
        file.write(word + "\\n")
    return word

@shared_task(name="ends.tell")
def tell(values, key):
    raise ValueError(f"with {key}")

@shared_task(name="ends.behave")
def behave(mood):
    if mood == "bad":
        raise ValueError("a bad mood")
    if mood == "dead":
        os._exit(9)
    if mood == "slow":
        time.sleep(60)
    return mood
"""


def write(folder: Path, more: str = "", *, required: bool = True) -> Path:
    (folder / "ends.py").write_text(TASKS)
    file = folder / "hooked.yaml"
    text = FILE.format(journal=folder / "j", more=more)
    file.write_text(text.replace('"${{ }}"', str(required).lower()))
    return file


def noted(file: Path) -> list[str]:
    """The words that the tasks have noted, without that of the collector."""
    return [line for line in (file.parent / "j").read_text().splitlines() if line != "always"]


def hook_statuses(document: dict[str, Any]) -> dict[str, str]:
    return {step["id"]: step["status"] for step in document["steps"] if step["kind"] == "hook"}


@pytest.mark.usefixtures("state_dir")
def test_hooks_follow_in_their_order_and_change_nothing(tmp_path: Path) -> None:
    file = write(tmp_path)
    answer = runner("run", str(file), "--run-id", "one", "--mood", "bad", "--json")
    assert (answer.code, answer.json["status"]) == (1, "failed"), answer.stderr
    cause = "1 of 2 collectors did not succeed: moody"
    assert noted(file) == [f"failed, {cause}, moody ValueError, 1", "clean one"]
    assert hook_statuses(answer.json) == {
        "bad": "failed",
        "alert": "succeeded",
        "never": "skipped",
        "clean": "succeeded",
    }
    assert answer.stderr.index("run one failed") < answer.stderr.index("alert started") < answer.stderr.index("clean")
    assert runner("show", "one", "--step", "good", "--json").json["status"] == "not_run"


@pytest.mark.usefixtures("state_dir")
def test_a_run_that_is_resumed_and_ends_again_has_its_hooks_again(tmp_path: Path) -> None:
    file = write(tmp_path)
    runner("run", str(file), "--run-id", "one", "--mood", "bad")
    again = runner("resume", "one", "--json")
    assert again.code == 1
    assert [line.rpartition(", ")[2] for line in noted(file)] == ["1", "clean one", "2", "clean one"]


@pytest.mark.usefixtures("state_dir")
def test_a_run_that_succeeds_after_a_bad_one_has_recovered(tmp_path: Path) -> None:
    file = write(tmp_path)
    for mood, run_id in (("fine", "first"), ("bad", "second"), ("fine", "third"), ("fine", "fourth")):
        runner("run", str(file), "--run-id", run_id, "--mood", mood)
    value = '["always", "fine"]'
    assert [line for line in noted(file) if "failed" not in line] == [
        *(f"good {value}", "clean first", "clean second"),
        *(f"good {value}", "well", "clean third"),
        *(f"good {value}", "clean fourth"),
    ]


@pytest.mark.usefixtures("state_dir")
def test_the_hooks_of_a_partial_run_know_what_is_missing(tmp_path: Path) -> None:
    file = write(tmp_path, required=False)
    answer = runner("run", str(file), "--run-id", "one", "--mood", "bad", "--json")
    assert (answer.code, answer.json["status"]) == (0, "partial"), answer.stderr
    assert noted(file) == ['some ["moody"] 0.5', "clean one"]


@pytest.mark.usefixtures("state_dir")
def test_a_hook_that_fails_is_shown_and_strict_notices_it(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text().replace("when: \"${{ run.status == 'lost' }}\"", "when: true"))
    answer = runner("run", str(file), "--strict")
    assert answer.code == 1
    assert "✓ hooked succeeded" in answer.stderr
    assert "✗ never failed" in answer.stderr
    assert noted(file)[-1].startswith("clean")
    assert runner("run", str(file)).code == 0


@pytest.mark.usefixtures("state_dir")
def test_a_hook_whose_process_dies_fails_and_the_next_follows(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(
        file.read_text().replace(
            "{id: bad, task: ends.behave, with: {mood: bad}}", "{id: bad, task: ends.behave, with: {mood: dead}}"
        )
    )
    answer = runner("run", str(file), "--run-id", "one", "--mood", "bad", "--json")
    assert answer.code == 1
    assert hook_statuses(answer.json)["bad"] == "failed"
    assert noted(file)[-1] == "clean one"


@pytest.mark.usefixtures("state_dir")
def test_no_hook_is_told_a_secret_that_it_does_not_name(tmp_path: Path) -> None:
    """What a hook says goes to others: a task that failed may have put the secret into its message."""
    (tmp_path / "ends.py").write_text(TASKS)
    (tmp_path / "secret.yaml").write_text(
        "name: secret\ninclude: [ends]\ninputs: {key: {type: string, secret: true}, journal: {type: string}}\n"
        "collectors: [{id: a, task: ends.behave, with: {mood: '${{ inputs.key }}'}}]\n"
        "gather: {task: ends.tell, with: {key: '${{ inputs.key }}'}}\n"
        "hooks: {on_failure: [{id: h, task: ends.note, with: {journal: '${{ inputs.journal }}', "
        "word: '${{ error.type }} ${{ error.message }} ${{ run.cause }}'}}]}\n"
    )
    words = ("--key", "hunter22", "--journal", str(tmp_path / "j"))
    answer = runner("run", str(tmp_path / "secret.yaml"), *words)
    assert answer.code == 1
    assert noted(tmp_path / "secret.yaml") == ["ValueError with *** gather ends_tell failed"]


@pytest.mark.usefixtures("state_dir")
def test_a_run_that_takes_longer_than_its_timeout_fails_and_keeps_what_was_collected(tmp_path: Path) -> None:
    file = write(tmp_path, "timeout: 1s")
    answer = runner("run", str(file), "--run-id", "one", "--mood", "slow", "--json")
    assert (answer.code, answer.json["status"]) == (1, "failed"), answer.stderr
    assert answer.json["cause"] == "took longer than its timeout, 1s"
    assert runner("show", "one", "--step", "always", "--json").json["value"] == "always"
    assert noted(file)[-1] == "clean one"


def test_a_run_that_is_cancelled_from_elsewhere_has_its_hooks(
    valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    file = write(tmp_path)
    ledger = Ledger.of(connect(valkey.url), read_settings())
    with working(
        tmp_path / "log", "runner", "worker", "--concurrency", "2", RUNNER_INCLUDE="ends", PYTHONPATH=str(tmp_path)
    ):
        runner("run", str(file), "--run-id", "one", "--mood", "slow", "--detach")
        wait_until(lambda: "moody" in ledger.open("one").leased(), "the slow collector is executed")
        answer = runner("cancel", "one")
        assert answer.stderr == "run one cancelled\n"
        wait_until(lambda: not ledger.open("one").info().hooks, "the hooks have ended")
        assert noted(file) == ["gone true", "clean one"]
        assert [event.event for event in ledger.open("one").follow() if event][-1] == "settled"


def test_hooks_that_nobody_sent_are_sent_by_the_reconciler(
    valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever records the end of a run may be gone before it has sent the first of them."""
    for name, value in {"BROKER_URL": valkey.url, "RECONCILE_EVERY": "0.2", "GRACE": "0.4"}.items():
        monkeypatch.setenv(f"RUNNER_{name}", value)
    file = write(tmp_path)
    ledger = Ledger.of(connect(valkey.url), read_settings())
    runner("run", str(file), "--run-id", "one", "--detach")
    assert runner("cancel", "one", RUNNER_CRASHPOINT="hook.before_send").code == -9
    assert ledger.open("one").info().hooks == ("gone", "never", "clean")
    with working(
        tmp_path / "log", "runner", "worker", "--concurrency", "2", RUNNER_INCLUDE="ends", PYTHONPATH=str(tmp_path)
    ):
        wait_until(lambda: not ledger.open("one").info().hooks, "the hooks have ended")
    assert noted(file) == ["gone true", "clean one"]
