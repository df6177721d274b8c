"""`run` on the embedded broker: a command of its own process, a real Valkey, a real worker."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from runner.runs.session import open_ledger
from runner.settings import read_settings
from tests import processes
from tests.command_line import DEFAULT, ROOT, WORKFLOWS, on_terminal, runner, start
from tests.servers import Server
from tests.waiting import wait_until
from tests.workflow import write_workflow, yaml_step

SLOW = str(ROOT / "tests" / "workflows" / "slow.yaml")

pytestmark = pytest.mark.usefixtures("state_dir")


def test_the_default_workflow_ends_with_the_documented_result() -> None:
    answer = runner("run", DEFAULT, "--topic", "python")
    assert answer.code == 0, answer.stderr
    result = json.loads(answer.stdout)
    assert set(result) == {"request_id", "item_count"}
    assert result["item_count"] == 12


def test_run_json_is_one_object_with_every_step() -> None:
    document = runner("run", DEFAULT, "--topic", "python", "--json").json
    assert list(document)[:8] == [
        "run_id", "workflow", "status", "result", "inputs", "started_at", "finished_at", "duration_s",
    ]  # fmt: skip
    assert document["status"] == "succeeded"
    assert document["inputs"] == {"topic": "python"}
    assert document["result"]["request_id"] == document["run_id"]
    assert [(step["id"], step["kind"], step["status"], step["attempts"]) for step in document["steps"]] == [
        ("collector_1", "collector", "succeeded", 1),
        ("collector_2", "collector", "succeeded", 1),
        ("collector_3", "collector", "succeeded", 1),
        ("collector_gathering", "gather", "succeeded", 1),
        ("cleanup", "stage", "succeeded", 1),
        ("process", "stage", "succeeded", 1),
    ]


def test_progress_without_a_terminal_is_a_line_a_transition() -> None:
    stderr = runner("run", DEFAULT, "--topic", "python").stderr
    assert "collector_2 succeeded" in stderr
    assert "\x1b" not in stderr


def test_run_quiet_prints_nothing_but_the_result() -> None:
    answer = runner("run", DEFAULT, "--topic", "python", "--quiet")
    assert answer.stderr == ""
    assert json.loads(answer.stdout)["item_count"] == 12


FAILING = """
name: news
collectors:
  - {id: good, task: command.run, required: %(required)s, with: {argv: [echo, "1"]}}
  - {id: bad, task: command.run, required: %(required)s, with: {argv: [sh, -c, "echo broken >&2; exit 3"]}}
"""


def test_run_quiet_says_what_failed_and_the_id_of_the_run(tmp_path: Path) -> None:
    """`--quiet` in a cron job: a run that failed left nothing at all, not even the id to ask `show` for."""
    file = tmp_path / "news.yaml"
    file.write_text(FAILING % {"required": "true"})
    answer = runner("run", str(file), "--quiet", "--run-id", "news-1")
    assert (answer.code, answer.stdout) == (1, "")
    assert "run news-1" in answer.first_line
    assert "✗ bad failed" in answer.stderr
    assert "broken" in answer.stderr
    assert "started" not in answer.stderr  # no progress


def test_run_quiet_says_what_a_partial_result_is_without(tmp_path: Path) -> None:
    file = tmp_path / "news.yaml"
    file.write_text(FAILING % {"required": "false"})
    answer = runner("run", str(file), "--quiet", "--run-id", "news-1")
    assert answer.code == 0
    assert "run news-1" in answer.first_line
    assert "the result is without bad" in answer.stderr


def test_run_quiet_says_that_the_run_is_cancelled(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    process = start("run", SLOW, "--journal", str(journal), "--run-id", "mine", "--quiet")
    wait_until(lambda: journal.exists() and journal.read_text().count("START") == 2, "both collectors have started")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "cancelled" in stderr
    assert "run mine" in stderr


def test_a_dry_run_shows_what_would_be_sent_and_starts_nothing(state_dir: Path) -> None:
    answer = runner("run", DEFAULT, "--topic", "python", "--dry-run")
    assert answer.code == 0
    assert "runner.collect" in answer.stdout
    assert "python" in answer.stdout
    assert list(state_dir.iterdir()) == []


def test_a_dry_run_with_json_is_one_object_with_the_steps_and_the_messages(state_dir: Path) -> None:
    """`--json` had no effect on `--dry-run`, although the README promised one JSON object whatever happens."""
    answer = runner("run", DEFAULT, "--topic", "python", "--run-id", "mine", "--dry-run", "--json")
    assert (answer.code, answer.json["run_id"], answer.json["inputs"]) == (0, "mine", {"topic": "python"})
    assert answer.json["steps"][0]["arguments"] == {"topic": "python"}
    steps = ["collector_1", "collector_2", "collector_3", "collector_gathering", "cleanup", "process"]
    assert [step["id"] for step in answer.json["steps"]] == steps
    assert [message["name"] for message in answer.json["messages"]] == [f"default.{step}" for step in steps]
    assert list(state_dir.iterdir()) == []


def test_a_dry_run_shows_as_many_messages_as_the_run_sends(tmp_path: Path) -> None:
    """Their number depends on how many steps the run's own worker executes at once, not on what else is there."""
    file = tmp_path / "wide.yaml"
    number = {"id": "number", "task": "pure.echo", "foreach": {"items": list(range(100))}, "with": {"value": 1}}
    workflow = {"name": "wide", "include": ["tests.pure_tasks"], "collectors": [number]}
    file.write_text(json.dumps(workflow), encoding="utf-8")
    told = runner("run", str(file), "--dry-run", RUNNER_CONCURRENCY="3").stdout
    assert runner("run", str(file), "--run-id", "wide-1", RUNNER_CONCURRENCY="3").code == 0
    with open_ledger(read_settings()) as ledger:
        record = ledger.open("wide-1")
        refs = record.layout.refs_of(record.plan.fan_outs[0])
    assert len(refs) == 12
    assert f'["{refs[-1]}"]) to queue' in told  # the last of them; those in the middle are not shown


def test_the_help_of_run_lists_the_inputs_of_the_file() -> None:
    answer = runner("run", DEFAULT, "--help")
    assert answer.code == 0
    assert "--topic" in answer.stdout
    assert "What to collect data about" in answer.stdout


def test_inputs_of_a_run_may_come_from_a_file(tmp_path: Path) -> None:
    inputs = tmp_path / "inputs.yaml"
    inputs.write_text("topic: from a file\n")
    document = runner("run", DEFAULT, "--inputs-file", str(inputs), "--json").json
    assert document["inputs"] == {"topic": "from a file"}


def test_the_same_run_id_again_returns_that_run_and_starts_nothing() -> None:
    first = runner("run", DEFAULT, "--topic", "python", "--run-id", "mine", "--json").json
    second = runner("run", DEFAULT, "--topic", "python", "--run-id", "mine", "--json")
    assert second.json == first
    assert second.first_line == "run mine exists already, and has ended"


SECRET = """
name: %s
inputs: {token: {type: string, secret: true}, topic: {type: string}}
collectors:
  - {id: a, task: command.run, with: {argv: [echo, "${{ inputs.topic }}"]}}
"""


@pytest.mark.parametrize(
    ("name", "words", "different"),
    [
        ("news", ("--token", "hunter22", "--topic", "coffee"), "and it has other inputs: topic"),
        ("news", ("--token", "hunter23", "--topic", "coffee"), "and it has other inputs: token, topic"),
        ("other", ("--token", "hunter22", "--topic", "tea"), 'of another workflow: "news", not "other"'),
        (
            "news\ngather: {task: gather.concat}",
            ("--token", "hunter22", "--topic", "tea"),
            'and workflow "news" has changed since',
        ),
    ],
)
def test_a_run_id_that_another_workflow_or_other_inputs_have_is_refused(
    tmp_path: Path, state_dir: Path, name: str, words: tuple[str, ...], different: str
) -> None:
    """The result of the other run was printed, with exit code 0: a script took it for its own."""
    (tmp_path / "first.yaml").write_text(SECRET % "news")
    (tmp_path / "second.yaml").write_text(SECRET % name)
    first = runner("run", str(tmp_path / "first.yaml"), "--token", "hunter22", "--topic", "tea", "--run-id", "mine")
    log = (state_dir / "logs" / "mine.log").read_bytes()

    second = runner("run", str(tmp_path / "second.yaml"), *words, "--run-id", "mine")
    as_json = runner("run", str(tmp_path / "second.yaml"), *words, "--run-id", "mine", "--json")

    assert first.code == 0, first.stderr
    assert (second.code, second.stdout) == (3, "")
    assert second.first_line == f"error: run mine exists already, {different}"
    assert "hint: another `--run-id` starts a run of its own" in second.stderr
    assert (as_json.code, as_json.json["error"]["type"], as_json.json["exit_code"]) == (3, "OtherRun", 3)
    assert (state_dir / "logs" / "mine.log").read_bytes() == log  # no worker was started for it


def test_a_run_id_of_a_workflow_that_has_changed_is_refused_with_the_command_that_continues_it(tmp_path: Path) -> None:
    """It said that the workflow had changed, and not what to do."""
    flow = write_workflow(tmp_path / "flow.yaml", collectors=[yaml_step("a", "command.run", {"argv": ["false"]})])
    assert runner("run", str(flow), "--run-id", "mine").code == 1
    write_workflow(flow, collectors=[yaml_step("a", "command.run", {"argv": ["echo", "mended"]})])
    refused = runner("run", str(flow), "--run-id", "mine")
    assert refused.code == 3
    again = f"resume mine --file {flow}"
    assert f"or `python -m runner {again}` takes over what has not changed" in refused.stderr
    assert runner(*again.split()).code == 0


def test_a_run_id_that_another_run_on_a_shared_broker_has_is_refused(valkey: Server) -> None:
    words = ("--run-id", "mine", "--broker", valkey.url)
    first = runner("run", DEFAULT, "--topic", "tea", "--detach", *words)
    second = runner("run", DEFAULT, "--topic", "coffee", "--detach", *words)
    assert (first.code, first.stdout) == (0, "mine\n")
    assert (second.code, second.stdout) == (3, "")
    assert second.first_line == "error: run mine exists already, and it has other inputs: topic"


def test_a_run_that_has_not_ended_continues_when_it_is_started_again(valkey: Server) -> None:
    """`run` printed "this is what came of it" about a run that had no result yet."""
    words = ("run", DEFAULT, "--topic", "tea", "--detach", "--run-id", "mine", "--broker", valkey.url)
    runner(*words)
    again = runner(*words)
    assert (again.code, again.stdout) == (0, "mine\n")
    assert again.stderr == "run mine exists already, and has not ended: it continues\n"


def test_an_empty_run_id_is_refused_and_starts_nothing() -> None:
    """`--run-id "$ID"` without an ID started another run each time, though it promises that a second start does nothing."""
    refused = runner("run", DEFAULT, "--topic", "tea", "--run-id", "")
    assert refused.code == 2
    assert refused.first_line == 'error: "" is no run id'
    assert "default" not in runner("runs").stdout


def test_an_empty_name_of_an_inputs_file_is_refused() -> None:
    """`--inputs-file "$FILE"` without a FILE ran with the defaults in place of the values."""
    refused = runner("run", DEFAULT, "--topic", "tea", "--inputs-file", "")
    assert refused.code == 3
    assert "no such file" in refused.first_line


def test_a_collector_added_by_editing_yaml_alone_is_everywhere(tmp_path: Path) -> None:
    text = Path(DEFAULT).read_text()
    block = "  - id: collector_3\n    task: collector_3\n    with:\n      topic: ${{ inputs.topic }}\n"
    edited = tmp_path / "edited.yaml"
    edited.write_text(text.replace(block, block + block.replace("id: collector_3", "id: collector_4")))

    answer = runner("run", str(edited), "--topic", "python", "--run-id", "four")

    assert "collector_4" in runner("graph", str(edited)).stdout
    assert "collector_4 succeeded" in answer.stderr
    assert "collector_4" in runner("show", "four").stdout
    # Its numbers are those of collector_3 once more, which the clean-up drops.
    assert len(json.loads(runner("show", "four", "--step", "collector_gathering", "--json").stdout)["value"]) == 15


def test_a_collector_of_ones_own_module_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from celery import shared_task\n\n"
        "@shared_task\ndef words(topic: str) -> list:\n    '''Words.'''\n    return [topic, topic.upper()]\n\n"
        "@shared_task\nasync def later(topic: str) -> list:\n    '''Later.'''\n    return [topic[::-1]]\n"
    )
    workflow = tmp_path / "mine.yaml"
    workflow.write_text(
        "name: mine\ninclude: [mine]\ninputs: {topic: {type: string}}\ncollectors:\n"
        "  - {id: a, task: mine.words, with: {topic: '${{ inputs.topic }}'}}\n"
        "  - {id: b, task: mine.later, with: {topic: '${{ inputs.topic }}'}}\n"
    )
    answer = runner("run", str(workflow), "--topic", "abc")
    assert answer.code == 0, answer.stderr
    assert json.loads(answer.stdout) == [["abc", "ABC"], ["cba"]]


def test_history_and_values_are_there_after_the_processes_of_the_run_are_gone(own_directory: Path) -> None:
    runner("run", DEFAULT, "--topic", "python", "--run-id", "earlier")
    wait_until(lambda: not processes.carrying(own_directory.name), "Valkey and the worker have ended")
    assert "earlier" in runner("runs").stdout
    assert '"item_count": 12' in runner("show", "earlier", "--step", "process").stdout


def observed_step(folder: Path, step_id: str, task: str, **arguments: Any) -> dict[str, Any]:
    """A step that writes in the journal ``j`` when it starts and ends."""
    return yaml_step(step_id, f"observed.{task}", {"journal": f"{folder}/j", "step": step_id, **arguments})


def test_a_failed_collector_fails_the_run_and_is_reported_with_its_place(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "workflows" / "observed.py", tmp_path)
    workflow = write_workflow(
        tmp_path / "failing.yaml",
        include=["observed"],
        collectors=[observed_step(tmp_path, "good", "collect"), observed_step(tmp_path, "bad", "fail")],
        stages=[observed_step(tmp_path, "after", "stage")],
    )
    answer = runner("run", str(workflow), "--json")
    steps = {step["id"]: step for step in answer.json["steps"]}
    assert answer.code == 1
    assert {name: step["status"] for name, step in steps.items()} == {
        "good": "succeeded", "bad": "failed", "gather": "not_run", "after": "not_run",
    }  # fmt: skip
    assert steps["bad"]["error"]["message"] == "failure 1 of bad"
    line = workflow.read_text().splitlines().index("- id: bad") + 1
    assert f"failing.yaml:{line}:3" in answer.stderr


def test_a_failed_attempt_is_tried_again_as_the_yaml_says(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "workflows" / "observed.py", tmp_path)
    flaky = observed_step(tmp_path, "flaky", "fail", times=2)
    workflow = write_workflow(
        tmp_path / "retried.yaml",
        include=["observed"],
        collectors=[{**flaky, "retry": {"max_retries": 3, "delay": "50ms"}}],
    )
    document = runner("run", str(workflow), "--json").json
    assert (document["status"], document["result"]) == ("succeeded", ["flaky"])
    assert document["steps"][0]["attempts"] == 3


def test_an_attempt_past_its_timeout_is_reported_as_timed_out(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "workflows" / "observed.py", tmp_path)
    slow = observed_step(tmp_path, "slow", "collect", seconds=60)
    workflow = write_workflow(tmp_path / "late.yaml", include=["observed"], collectors=[{**slow, "timeout": "100ms"}])
    answer = runner("run", str(workflow), "--json")
    assert answer.code == 1
    assert answer.json["steps"][0]["status"] == "timed_out"


def test_two_runs_at_once_on_one_state_directory_both_succeed() -> None:
    both = [start("run", DEFAULT, "--topic", word) for word in ("one", "other")]
    assert [process.wait(60) for process in both] == [0, 0]
    assert [json.loads(process.communicate()[0])["item_count"] for process in both] == [12, 12]


def test_a_detached_run_continues_without_its_command(tmp_path: Path, own_directory: Path) -> None:
    answer = runner("run", SLOW, "--journal", str(tmp_path / "j"), "--seconds", "1", "--detach")
    assert answer.code == 0
    run_id = answer.stdout.strip()
    wait_until(lambda: runner("show", run_id, "--json").json["status"] == "succeeded", "the run has succeeded")
    wait_until(lambda: not processes.carrying(own_directory.name), "nothing is left of it")


def test_past_its_timeout_run_stops_waiting_and_the_run_continues(tmp_path: Path) -> None:
    journal = str(tmp_path / "j")
    answer = runner("run", SLOW, "--journal", journal, "--seconds", "2", "--timeout", "1", "--run-id", "slow-1")
    assert answer.code == 5
    assert "slow-1" in answer.stderr
    wait_until(lambda: runner("show", "slow-1", "--json").json["status"] == "succeeded", "the run has succeeded")


def test_a_worker_that_cannot_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from celery import shared_task\n\n@shared_task(name='x.y')\ndef y(): ...\n\nimport not_there\n"
    )
    workflow = tmp_path / "broken.yaml"
    workflow.write_text("name: broken\ninclude: [broken]\ncollectors: [{id: a, task: x.y}]\n")
    answer = runner("run", str(workflow))
    assert answer.code == 1
    assert "not_there" in answer.stderr


def test_the_shipped_schema_is_that_of_the_models() -> None:
    assert json.loads((WORKFLOWS / "schema.json").read_text()) == runner("schema").json


def test_a_run_whose_terminal_has_gone_is_resumed_without_what_it_had_done(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    shutil.copy(ROOT / "tests" / "workflows" / "observed.py", tmp_path)
    slow = observed_step(tmp_path, "slow", "wait", file=f"{tmp_path}/go")
    workflow = write_workflow(
        tmp_path / "halves.yaml", include=["observed"], collectors=[observed_step(tmp_path, "fast", "collect"), slow]
    )
    process = start("run", str(workflow), "--run-id", "halves", RUNNER_LEASE="1")
    wait_until(lambda: '"status": "succeeded"' in runner("show", "halves", "--json").stdout, "the fast half is done")
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 129
    process.communicate()
    (tmp_path / "go").touch()

    answer = runner("resume", "halves", RUNNER_LEASE="1")

    assert json.loads(answer.stdout) == [["fast"], ["slow"]]
    assert [line.split()[2:] for line in journal.read_text().splitlines()].count(["START", "fast"]) == 1


def test_resume_of_a_run_that_has_ended_shows_it_again() -> None:
    first = runner("run", DEFAULT, "--topic", "python", "--run-id", "done", "--json").json
    assert runner("resume", "done", "--json").json == first


def test_ctrl_c_with_json_prints_the_cancelled_run(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    process = start("run", SLOW, "--journal", str(journal), "--json")
    wait_until(lambda: journal.exists() and journal.read_text().count("START") == 2, "both collectors have started")
    process.send_signal(signal.SIGINT)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(printed)["status"] == "cancelled"
    assert "` executes what did not succeed" in told


def test_ctrl_c_before_a_run_is_accepted_says_that_nothing_was_started(tmp_path: Path) -> None:
    """It said that the run was being cancelled, and not whether it was."""
    words = ("run", SLOW, "--journal", f"{tmp_path}/j", "--run-id", "mine")
    answer = runner(*words, RUNNER_CRASHPOINT="submit.before_accept", RUNNER_CRASHPOINT_SIGNAL="SIGINT")
    assert answer.code == 130
    assert "run mine had not been accepted: nothing was started" in answer.stderr
    assert runner("show", "mine").code == 7


def test_a_run_whose_command_was_killed_is_said_to_be_executed_by_nobody(tmp_path: Path) -> None:
    """`runs`, `show` and `doctor` showed it as running, without a note, for as long as its leases lasted and after."""
    journal = tmp_path / "j"
    process = start("run", SLOW, "--journal", str(journal), "--seconds", "60", "--run-id", "slow-1")
    wait_until(lambda: journal.exists() and journal.read_text().count("START") == 2, "both collectors have started")
    before = [runner(*words) for words in (("show", "slow-1"), ("runs",), ("doctor",))]
    process.kill()
    process.communicate()
    wait_until(lambda: "nobody executes it" in runner("show", "slow-1").stdout, "`show` says it")

    watching = start("watch", "slow-1")
    shown, as_json, listed, looked = (
        runner(*words) for words in (("show", "slow-1"), ("show", "slow-1", "--json"), ("runs",), ("doctor",))
    )

    note = "nobody executes it: `python -m runner resume slow-1` brings a worker"
    assert ["nobody executes it" in told.stdout + told.stderr for told in before] == [False, False, False]
    assert f"note      {note}\n" in shown.stdout
    assert watching.stderr
    lines = watching.stderr
    wait_until(lambda: lines.readline() == f"run slow-1: {note}\n", "`watch` says it")
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert "no longer watching; run slow-1 is not affected" in told
    assert as_json.json["note"] == note
    assert listed.stderr == f"run slow-1: {note}\n"
    assert "run slow-1 has not ended, and no worker executes it\n" in looked.stdout
    assert "to do: python -m runner resume slow-1\n" in looked.stdout


def test_a_detached_run_is_not_said_to_be_executed_by_nobody(tmp_path: Path) -> None:
    words = ("--journal", str(tmp_path / "j"), "--seconds", "60", "--run-id", "slow-1", "--detach")
    assert runner("run", SLOW, *words).code == 0
    shown = runner("show", "slow-1")
    assert runner("cancel", "slow-1").code == 0
    assert "nobody" not in shown.stdout


def test_run_without_a_file_says_so_also_where_an_input_is_given() -> None:
    """`run --topic tea` said "No such option: --topic"."""
    answer = runner("run", "--topic", "tea")
    assert (answer.code, answer.stdout) == (2, "")
    assert "Missing argument 'FILE'" in answer.stderr
    assert runner("run", "--help").code == 0


def test_the_last_picture_of_a_cancelled_run_shows_its_steps_cancelled(tmp_path: Path) -> None:
    """It stayed as it was at Ctrl-C: steps that ran, and others that waited, above a summary that said otherwise."""
    journal = tmp_path / "j"
    with on_terminal("run", SLOW, "--journal", str(journal), "--seconds", "60", "--run-id", "slow-1") as terminal:
        wait_until(lambda: journal.exists() and journal.read_text().count("START") == 2, "both collectors have started")
        # On a busy machine they start before the run is followed.
        told = terminal.read_until("running")
        terminal.process.send_signal(signal.SIGINT)
        told += terminal.read()
        assert terminal.process.wait(60) == 130
    last = told[told.rindex("run slow-1 \N{MIDDLE DOT}") :]
    assert "\N{BLACK SQUARE}" in last
    assert "running" not in last
    assert "waiting" not in last
    assert "resume slow-1` executes what did not succeed" in last
