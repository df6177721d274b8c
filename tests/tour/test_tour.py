"""A tour of the project, in the order of its line. Read this first; every step works on what the one before gave.

text → Source → Workflow → Plan → Signature → Run → words
"""

import json

import pytest
from celery.canvas import _chord

from runner.language import expressions
from runner.language.faults import InvalidWorkflow
from runner.language.layout import Layout
from runner.language.plan import Plan, dump_plan, load_plan, segments
from runner.language.source import Source, parse_source
from runner.language.task_index import TaskIndex, tasks_of
from runner.language.workflow_file import WorkflowFile, check
from runner.messages.canvas import compose, compose_open, messages_of
from runner.settings import Settings
from runner.views.drawings.tree import draw_tree
from runner.views.dry_run import dry_run_words
from tests.command_line import DEFAULT, runner

TEXT = """\
name: news
inputs:
  topic: {type: string}
collectors:
  - id: papers
    task: collector_1
    with: {topic: "${{ inputs.topic }}"}
  - id: blogs
    task: collector_2
    with: {topic: "${{ inputs.topic }}"}
gather:
  task: gather.concat
stages:
  - id: count
    task: records.count
"""


@pytest.fixture
def news() -> Source:
    return parse_source(TEXT, "news.yaml")


@pytest.fixture
def tasks(news: Source) -> TaskIndex:
    return tasks_of(news, Settings())


@pytest.fixture
def file(news: Source, tasks: TaskIndex) -> WorkflowFile:
    """What `load("news.yaml")` returns, which reads the file first."""
    return check(news, tasks)


@pytest.fixture
def plan(file: WorkflowFile) -> Plan:
    return file.bind({"topic": "tea"}).plan


def test_1_a_source_is_plain_data_and_knows_where_everything_stands(news: Source) -> None:
    assert news.data["collectors"][1]["id"] == "blogs"
    assert str(news.place(("collectors", 1, "id"))) == "news.yaml:8:9"


def test_2_the_task_index_knows_tasks_without_importing_them(tasks: TaskIndex) -> None:
    assert [parameter.name for parameter in tasks["collector_1"].parameters] == ["topic"]


def test_3_a_workflow_is_what_the_file_means_and_every_fault_is_reported_at_once(tasks: TaskIndex) -> None:
    wrong = parse_source(
        TEXT.replace("task: collector_2", "task: colector_2").replace("gather:", "gahter:"), "news.yaml"
    )
    with pytest.raises(InvalidWorkflow) as told:
        check(wrong, tasks)
    assert [(fault.place.line, fault.hint) for fault in told.value.faults] == [
        (9, 'did you mean "collector_2"?'),
        (11, 'did you mean "gather"?'),
    ]


def test_4_an_expression_is_checked_before_a_run_and_expanded_in_it() -> None:
    names = {"inputs": {"pages": [1, 2]}, "run": {"id": "r"}}
    assert expressions.expand({"n": "${{ size(inputs.pages) }}", "s": "run ${{ run.id }}"}, names) == {
        "n": 2,
        "s": "run r",
    }


def test_5_a_plan_is_every_step_in_order_with_the_inputs_bound(plan: Plan) -> None:
    assert [(step.id, step.kind) for step in plan.steps] == [
        ("papers", "collector"),
        ("blogs", "collector"),
        ("gather_concat", "gather"),
        ("count", "stage"),
    ]
    assert plan.inputs == {"topic": "tea"}
    assert load_plan(dump_plan(plan)) == plan


def test_6_a_drawing_shows_the_fan_out_and_the_fan_in(plan: Plan) -> None:
    drawing = draw_tree(plan)
    assert drawing.index("papers") < drawing.index("blogs") < drawing.index("gather_concat") < drawing.index("count")


def test_7_a_canvas_is_a_chord_whose_messages_carry_references_only(plan: Plan) -> None:
    [segment] = segments(plan)
    composed = compose(segment, "run-1", Layout())
    assert isinstance(composed, _chord)
    assert [each.args for each in composed.tasks] == [("run-1", ["papers"]), ("run-1", ["blogs"])]
    assert "tea" not in json.dumps(composed)


def test_8_resuming_is_composing_what_has_no_outcome_yet(plan: Plan) -> None:
    rest = compose_open(plan, "run-1", Layout(), done={"papers", "blogs"})
    assert [name for name, *_ in messages_of(rest)] == ["news.gather_concat", "news.count"]


@pytest.mark.usefixtures("state_dir")
def test_9_a_run_is_one_command_and_its_history_stays() -> None:
    answer = runner("run", DEFAULT, "--topic", "tea", "--run-id", "tour")
    assert json.loads(answer.stdout) == {"request_id": "tour", "item_count": 12}
    assert "tour" in runner("runs").stdout


def test_10_words_are_made_in_one_place_and_hide_secrets(plan: Plan) -> None:
    messages = messages_of(compose_open(plan, "run-1", Layout()))
    assert "tea" in dry_run_words(plan, Layout(), "run-1", messages)
