"""The path of a workflow file to a checked file, and to plans of it."""

from pathlib import Path

import pytest

from runner.language.faults import InvalidWorkflow
from runner.language.source import parse_source
from runner.language.task_index import read_tasks
from runner.language.workflow_file import check, load
from runner.settings import Settings
from tests.command_line import DEFAULT, ROOT

TASKS = read_tasks(["pure_tasks"], [ROOT / "tests"])
ASYNC = "name: made\ncollectors:\n  - {id: a, task: pure.echo_async, with: {value: 1}}\n"


def test_a_file_that_is_loaded_has_a_plan_before_its_inputs_are_known() -> None:
    assert [step.id for step in load(DEFAULT, Settings()).plan().collectors] == [
        "collector_1",
        "collector_2",
        "collector_3",
    ]


def test_a_bound_plan_has_its_inputs_and_what_its_tasks_say_of_themselves() -> None:
    plan = check(parse_source(ASYNC, "made.yaml"), TASKS).bind({}).plan
    assert (plan.include, plan.collectors[0].together) == (("pure_tasks",), 64)


def test_the_plan_of_a_drawing_has_what_the_file_says_alone() -> None:
    plan = check(parse_source(ASYNC, "made.yaml"), TASKS).plan()
    assert (plan.include, plan.collectors[0].together) == ((), None)


def test_a_file_may_be_named_by_a_path() -> None:
    assert load(Path(DEFAULT)).workflow == load(DEFAULT).workflow


def test_a_file_with_faults_is_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("name: bad\ncollectors: [{id: a, task: nowhere}]\n")
    with pytest.raises(InvalidWorkflow, match="nowhere"):
        load(file)
