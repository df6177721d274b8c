"""`resume` executes the steps that did not succeed, in the same run or, from a step on, in a new one."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.command_line import ROOT, runner, start
from tests.waiting import SLACK, wait_until
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workflow whose second collector fails as often as the file `times` says, and its journal."""
    shutil.copy(ROOT / "tests" / "workflows" / "observed.py", tmp_path)
    journal = {"journal": f"{tmp_path}/j"}
    write_workflow(
        tmp_path / "flow.yaml",
        include=["observed"],
        inputs={"times": {"type": "integer", "default": 1}},
        collectors=[
            yaml_step("good", "observed.collect", {**journal, "step": "good"}),
            yaml_step("bad", "observed.fail", {**journal, "step": "bad", "times": "${{ inputs.times }}"}),
        ],
        gather={"task": "observed.gather", "with": journal},
        stages=[yaml_step("last", "observed.stage", {**journal, "step": "last"})],
    )
    return tmp_path


def starts(folder: Path, step: str) -> int:
    return [line.split()[2:] for line in (folder / "j").read_text().splitlines()].count(["START", step])


def test_a_failed_run_is_resumed_under_its_own_id_and_keeps_what_succeeded(folder: Path) -> None:
    assert runner("run", str(folder / "flow.yaml"), "--run-id", "one").code == 1
    answer = runner("resume", "one")
    assert (answer.code, json.loads(answer.stdout)) == (0, {"last": ["good", "bad"]})
    assert (starts(folder, "good"), starts(folder, "bad")) == (1, 2)


def test_a_run_that_fails_again_can_be_resumed_again(folder: Path) -> None:
    assert runner("run", str(folder / "flow.yaml"), "--run-id", "one", "--times", "2").code == 1
    assert [runner("resume", "one").code for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("option", ["--from", "--file"])
def test_resume_refuses_an_empty_step_and_an_empty_file_name(option: str, folder: Path) -> None:
    """`--from "$STEP"` without a STEP resumed the run itself, as if the option were not there."""
    assert runner("run", str(folder / "flow.yaml"), "--run-id", "one").code == 1
    assert runner("resume", "one", option, "").code == 3
    assert (starts(folder, "good"), starts(folder, "bad")) == (1, 1)


def test_resume_of_a_partial_run_does_nothing_and_says_what_it_would_do(folder: Path) -> None:
    """It replayed the old lines, "collector started", and did nothing."""
    assert runner("run", tolerant(folder), "--run-id", "one").code == 0
    answer = runner("resume", "one")
    assert (answer.code, json.loads(answer.stdout)) == (0, {"last": ["good"]})
    assert answer.stderr.splitlines()[:2] == [
        "run one has ended partial, without bad",
        "hint: `python -m runner resume one --failed` executes again what failed, then observed_gather, last, as the same run",
    ]
    assert "started" not in answer.stderr
    assert (starts(folder, "good"), starts(folder, "bad"), starts(folder, "last")) == (1, 1, 1)


def test_resume_of_a_partial_run_executes_what_failed_and_what_follows_as_the_same_run(folder: Path) -> None:
    assert runner("run", tolerant(folder), "--run-id", "one").code == 0

    answer = runner("resume", "one", "--failed", "--json")

    assert (answer.code, answer.json["run_id"], answer.json["status"]) == (0, "one", "succeeded")
    assert answer.json["result"] == {"last": ["good", "bad"]}
    assert (starts(folder, "good"), starts(folder, "bad"), starts(folder, "last")) == (1, 2, 2)


def test_a_run_whose_collector_fails_once_more_is_partial_again_and_resumed_again(folder: Path) -> None:
    assert runner("run", tolerant(folder), "--run-id", "one", "--times", "2").code == 0

    answers = [runner("resume", "one", "--failed", "--json") for _ in range(3)]

    assert [each.json["status"] for each in answers] == ["partial", "succeeded", "succeeded"]
    assert answers[2].first_line == "run one has ended succeeded: nothing is left to execute"
    assert (starts(folder, "good"), starts(folder, "bad"), starts(folder, "last")) == (1, 3, 3)


def test_a_failed_run_continues_without_its_missing_collector_unless_what_failed_is_asked_for(folder: Path) -> None:
    """The gather was content without it; the stage failed for another reason."""
    file = Path(tolerant(folder))
    check = yaml_step("last", "command.run", {"argv": ["test", "-e", str(folder / "repaired")]})
    write_workflow(file, **{**yaml.safe_load(file.read_text()), "stages": [check]})

    assert runner("run", str(file), "--run-id", "one").code == 1
    (folder / "repaired").touch()
    assert runner("resume", "one", "--failed", "--json").json["status"] == "succeeded"
    assert (starts(folder, "good"), starts(folder, "bad")) == (1, 2)

    (folder / "repaired").unlink()
    assert runner("run", str(file), "--run-id", "two", "--times", "9").code == 1
    (folder / "repaired").touch()
    assert runner("resume", "two", "--json").json["status"] == "partial"
    assert (starts(folder, "good"), starts(folder, "bad")) == (2, 3)


@pytest.mark.parametrize("option", ["--from", "--file"])
def test_what_failed_is_not_executed_again_as_a_new_run(option: str, folder: Path) -> None:
    answer = runner("resume", "one", "--failed", option, str(folder / "flow.yaml"))

    assert answer.code == 2
    assert "--failed continues the same run" in answer.stderr


def tolerant(folder: Path) -> str:
    """That workflow, which does without its second collector."""
    file = folder / "flow.yaml"
    file.write_text(file.read_text().replace("id: bad\n", "id: bad\n  required: false\n"))
    return str(file)


@pytest.mark.parametrize(("words", "code"), [((), 0), (("--strict",), 1)])
def test_resume_of_a_partial_run_ends_with_the_code_of_the_run(words: tuple[str, ...], code: int, folder: Path) -> None:
    file = folder / "flow.yaml"
    file.write_text(file.read_text().replace("id: bad\n", "id: bad\n  required: false\n"))
    runner("run", str(file), "--run-id", "one")
    assert runner("resume", "one", *words).code == code


def test_resume_of_a_run_that_has_succeeded_says_so(folder: Path) -> None:
    runner("run", str(folder / "flow.yaml"), "--run-id", "one", "--times", "0")
    answer = runner("resume", "one", "--json")
    assert answer.json["status"] == "succeeded"
    assert answer.first_line == "run one has ended succeeded: nothing is left to execute"
    assert "hint: `python -m runner resume one --from last` executes last and what follows again" in answer.stderr


def test_a_cancelled_run_is_resumed(folder: Path) -> None:
    runner("run", str(folder / "flow.yaml"), "--run-id", "one", "--times", "0", "--detach")
    runner("cancel", "one")
    assert json.loads(runner("resume", "one").stdout) == {"last": ["good", "bad"]}


def test_resume_of_a_killed_run_says_whose_lease_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_LEASE", f"{4 * SLACK:g}")  # `resume` starts before it has run out
    mark = tmp_path / "mark"
    slow_once = f"test -e {mark} || {{ touch {mark}; sleep 60; }}"
    write_workflow(
        tmp_path / "slow.yaml", collectors=[yaml_step("slow", "command.run", {"argv": ["sh", "-c", slow_once]})]
    )
    killed = start("run", str(tmp_path / "slow.yaml"), "--run-id", "one")
    wait_until(mark.exists, "the step is executed")
    killed.kill()
    killed.communicate()

    answer = runner("resume", "one")

    assert answer.code == 0, answer.stderr
    assert re.search(r"waiting for the lease of slow, up to [\d.]+s\n", answer.stderr)


def test_resume_from_a_step_executes_all_from_it_on_as_a_new_run(folder: Path) -> None:
    runner("run", str(folder / "flow.yaml"), "--run-id", "one", "--times", "0")
    answer = runner("resume", "one", "--from", "last", "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json["run_id"] != "one"
    assert answer.json["result"] == {"last": ["good", "bad"]}
    assert [starts(folder, step) for step in ("good", "bad", "gather", "last")] == [1, 1, 1, 2]


def test_an_edited_stage_works_on_what_was_collected(folder: Path) -> None:
    runner("run", str(folder / "flow.yaml"), "--run-id", "one", "--times", "0")
    edited = folder / "edited.yaml"
    edited.write_text("# edited\n" + (folder / "flow.yaml").read_text().replace("step: last", "step: better"))
    answer = runner("resume", "one", "--file", str(edited))
    assert json.loads(answer.stdout) == {"better": ["good", "bad"]}
    assert [starts(folder, step) for step in ("good", "bad", "gather")] == [1, 1, 1]


def test_an_edited_collector_is_executed_again_and_so_is_all_after_it(folder: Path) -> None:
    runner("run", str(folder / "flow.yaml"), "--run-id", "one", "--times", "0")
    edited = folder / "edited.yaml"
    edited.write_text((folder / "flow.yaml").read_text().replace("step: good", "step: better"))
    answer = runner("resume", "one", "--file", str(edited))
    assert json.loads(answer.stdout) == {"last": ["better", "bad"]}
    assert [starts(folder, step) for step in ("good", "better", "bad", "gather")] == [1, 1, 1, 2]


BROKEN = yaml_step("a", "command.run", {"argv": ["false"]})
MENDED = yaml_step("a", "command.run", {"argv": ["echo", "mended"]})


@pytest.mark.parametrize("options", [(), ("--from", "a")])
def test_resume_says_that_the_file_has_changed_and_how_the_run_continues_with_it(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    """The file was mended, `resume RUN` typed as the failed run said, and the same failure came again without a word."""
    flow = write_workflow(tmp_path / "flow.yaml", collectors=[BROKEN])
    assert runner("run", str(flow), "--run-id", "one").code == 1
    write_workflow(flow, collectors=[MENDED])
    answer = runner("resume", "one", *options)
    assert answer.code == 1
    assert f"{flow} has changed since run one was started; the run continues without the change" in answer.stderr
    again = ("resume", "one", "--file", str(flow), *options)
    assert f"hint: `python -m runner {' '.join(again)}` executes what has changed, as a new run" in answer.stderr
    answer = runner(*again)
    assert answer.code == 0
    assert "has changed since" not in answer.stderr


def test_resume_of_a_file_that_does_the_same_is_no_change(tmp_path: Path) -> None:
    flow = write_workflow(tmp_path / "flow.yaml", collectors=[BROKEN])
    assert runner("run", str(flow), "--run-id", "one").code == 1
    flow.write_text(f"# a comment\n{flow.read_text()}", encoding="utf-8")
    assert "has changed since" not in runner("resume", "one").stderr


@pytest.mark.parametrize("content", [None, "name: flow\nstages: ["])
def test_resume_continues_a_run_whose_file_is_gone_or_half_edited(content: str | None, tmp_path: Path) -> None:
    flow = write_workflow(tmp_path / "flow.yaml", collectors=[BROKEN])
    assert runner("run", str(flow), "--run-id", "one").code == 1
    flow.unlink() if content is None else flow.write_text(content, encoding="utf-8")
    answer = runner("resume", "one")
    assert (answer.code, "has changed since" in answer.stderr) == (1, False)


def test_resume_from_a_step_that_is_not_there_names_it(folder: Path) -> None:
    runner("run", str(folder / "flow.yaml"), "--run-id", "one", "--times", "0")
    answer = runner("resume", "one", "--from", "lst")
    assert answer.code == 3
    assert 'no step "lst"' in answer.stderr


def test_resume_from_a_step_is_refused_if_a_step_before_did_not_succeed(folder: Path) -> None:
    runner("run", str(folder / "flow.yaml"), "--run-id", "one")
    answer = runner("resume", "one", "--from", "last")
    assert answer.code == 3
    assert "bad" in answer.stderr


# A collector with `foreach`: what is kept, is kept of each item.

ITEMS = """
name: items
include: [observed]
inputs: {times: {type: integer, default: 0}}
collectors:
  - id: page
    task: observed.fail
    foreach: {items: {file: FOLDER/items.txt}, key: "${{ item }}"}
    batch: 2
    with:
      journal: FOLDER/j
      step: page-${{ item }}
      times: "${{ item == 'c' ? inputs.times : 0 }}"
gather: {id: gather, task: observed.gather, with: {journal: FOLDER/j}}
stages:
  - {id: last, task: observed.stage, with: {journal: FOLDER/j, step: last}}
"""


@pytest.fixture
def items(folder: Path) -> Path:
    """A workflow with a collector for each line of `items.txt`: a to e."""
    (folder / "items.txt").write_text("a\nb\nc\nd\ne\n")
    (folder / "items.yaml").write_text(ITEMS.replace("FOLDER", str(folder)))
    return folder


def executions(folder: Path) -> dict[str, int]:
    return {each: starts(folder, f"page-{each}") for each in "abcdef" if starts(folder, f"page-{each}")}


def test_resume_executes_only_the_items_of_a_foreach_that_failed(items: Path) -> None:
    assert runner("run", str(items / "items.yaml"), "--run-id", "one", "--times", "1").code == 1

    answer = runner("resume", "one")

    assert (answer.code, json.loads(answer.stdout)) == (0, {"last": [f"page-{each}" for each in "abcde"]})
    assert executions(items) == {"a": 1, "b": 1, "c": 2, "d": 1, "e": 1}


def test_resume_executes_only_the_items_again_that_failed_of_a_partial_run(items: Path) -> None:
    file = items / "items.yaml"
    file.write_text(file.read_text().replace("gather: {id: gather", "gather: {min_success: 60%, id: gather"))
    assert runner("run", str(file), "--run-id", "one", "--times", "1", "--json").json["status"] == "partial"

    answer = runner("resume", "one", "--failed", "--json")

    assert (answer.code, answer.json["status"]) == (0, "succeeded")
    assert answer.json["result"] == {"last": [f"page-{each}" for each in "abcde"]}
    assert executions(items) == {"a": 1, "b": 1, "c": 2, "d": 1, "e": 1}
    assert (starts(items, "gather"), starts(items, "last")) == (2, 2)


def test_resume_from_a_stage_executes_no_item_again_though_their_file_is_gone(items: Path) -> None:
    assert runner("run", str(items / "items.yaml"), "--run-id", "one").code == 0
    (items / "items.txt").unlink()

    answer = runner("resume", "one", "--from", "gather", "--json")

    assert answer.code == 0, answer.stderr
    assert answer.json["result"] == {"last": [f"page-{each}" for each in "abcde"]}
    assert executions(items) == dict.fromkeys("abcde", 1)
    assert (starts(items, "gather"), starts(items, "last")) == (2, 2)


def test_resume_executes_only_the_new_items_of_a_file_that_has_changed(items: Path) -> None:
    assert runner("run", str(items / "items.yaml"), "--run-id", "one").code == 0
    (items / "items.txt").write_text("f\na\nb\nd\n")

    answer = runner("resume", "one", "--file", str(items / "items.yaml"), "--json")

    assert answer.code == 0, answer.stderr
    assert answer.json["result"] == {"last": [f"page-{each}" for each in "fabd"]}
    assert executions(items) == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1}


def test_resume_from_a_step_that_is_not_there_starts_no_worker(folder: Path, state_dir: Path) -> None:
    """`resume RUN --from TYPO` left the empty log of a run that never was."""
    runner("run", str(folder / "flow.yaml"), "--run-id", "one", "--times", "0")
    answer = runner("resume", "one", "--from", "typo")
    assert answer.code == 3
    assert 'the workflow has no step "typo"' in answer.stderr
    assert [log.name for log in (state_dir / "logs").iterdir()] == ["one.log"]
