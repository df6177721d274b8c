"""A checked workflow to a plan: defaults applied, inputs bound, expressions tried."""

import json
from typing import Any

import pytest

from runner import catalogue, source, spec
from runner import plan as plans
from runner.errors import InvalidInputs, InvalidWorkflow
from runner.plan import Plan, Retry
from tests.command_line import ROOT

CATALOGUE = catalogue.read(["pure_tasks"], [ROOT / "tests"])
ECHO = "collectors:\n  - {id: a, task: pure.echo, with: {value: 1}}\n"


def made(text: str) -> tuple[Plan, spec.Workflow, source.Source]:
    written = source.parse(f"name: made\n{text}", "made.yaml")
    workflow = spec.read(written, CATALOGUE)
    return plans.make(workflow, written), workflow, written


def bound(text: str, given: dict[str, Any] | None = None, words: dict[str, Any] | None = None) -> Plan:
    plan, workflow, written = made(text)
    return plans.bind(plan, workflow, given or {}, written, words=words)


def test_a_step_has_the_defaults_of_its_kind_where_it_says_nothing() -> None:
    plan, *_ = made(
        "defaults:\n  collectors: {timeout: 30s, retry: 2}\n  stages: {timeout: 5s}\n"
        f"{ECHO}  - {{id: b, task: pure.echo, with: {{value: 1}}, timeout: 1m}}\n"
        "stages:\n  - {id: s, task: pure.stage_text}\n"
    )
    assert [(step.id, step.timeout, step.retry.max_retries) for step in plan.steps] == [
        ("a", 30, 2),
        ("b", 60, 2),
        ("gather", None, 0),
        ("s", 5, 0),
    ]


def test_a_steps_own_key_replaces_the_default_whole() -> None:
    plan, *_ = made(
        "defaults:\n  collectors: {retry: {max_retries: 5, delay: 9s}}\n"
        "collectors:\n  - {id: a, task: pure.echo, with: {value: 1}, retry: {max_retries: 1}}\n"
    )
    assert plan.collectors[0].retry == Retry(max_retries=1)


def test_with_alone_is_merged_by_name() -> None:
    plan, *_ = made(
        "defaults:\n  collectors: {with: {a: 1, b: 2}}\ncollectors:\n  - {id: a, task: pure.add, with: {b: 3}}\n"
    )
    assert plan.collectors[0].arguments == {"a": 1, "b": 3}


def test_a_gather_left_out_is_a_step_without_a_task() -> None:
    plan, *_ = made(ECHO)
    assert (plan.gather.id, plan.gather.task) == ("gather", None)


def test_a_step_knows_its_place_in_the_file() -> None:
    plan, *_ = made(ECHO)
    assert plan.collectors[0].place == "made.yaml:3:5"


def test_the_step_before_and_those_after() -> None:
    plan, *_ = made(f"{ECHO}stages:\n  - {{id: s, task: pure.stage_text}}\n  - {{id: t, task: pure.stage_text}}\n")
    assert plan.before(plan.collectors[0]) is None
    assert plan.before(plan.gather) is None
    assert plan.before(plan.stages[0]) == plan.gather
    assert plan.after(plan.stages[0]) == (plan.stages[1],)


def test_the_hash_changes_with_what_the_workflow_does_alone() -> None:
    plain, commented, other = (
        made(text)[0].hash for text in (ECHO, f"# moved down\n{ECHO}", ECHO.replace("value: 1", "value: 2"))
    )
    assert plain == commented != other


def test_the_hash_does_not_change_with_the_inputs() -> None:
    text = f"inputs: {{n: {{type: integer}}}}\n{ECHO}"
    assert bound(text, {"n": 1}).hash == bound(text, {"n": 2}).hash


def test_inputs_are_those_given_and_the_defaults_of_the_others() -> None:
    text = f"inputs: {{n: {{type: integer}}, s: {{default: tea}}}}\n{ECHO}"
    assert bound(text, {"n": 5}).inputs == {"n": 5, "s": "tea"}


def test_what_was_typed_is_read_as_the_inputs_type_and_comes_first() -> None:
    text = f"inputs: {{n: {{type: integer}}}}\n{ECHO}"
    assert bound(text, {"n": 5}, {"n": "6"}).inputs == {"n": 6}


def test_a_text_in_a_file_of_inputs_is_no_number() -> None:
    with pytest.raises(InvalidInputs, match='input "n"'):
        bound(f"inputs: {{n: {{type: integer}}}}\n{ECHO}", {"n": "5"})


def test_every_problem_with_the_inputs_is_told_at_once() -> None:
    with pytest.raises(InvalidInputs) as told:
        bound(f"inputs: {{n: {{type: integer}}, topic: {{}}}}\n{ECHO}", {"n": "x", "topik": 1})
    assert [line.partition(":")[0] for line in str(told.value).splitlines()] == [
        'input "topik" is unknown',
        'input "n"',
        'input "topic" is missing',
    ]


def test_an_expression_that_cannot_be_worked_out_is_told_before_the_run() -> None:
    """E038: only the inputs show it."""
    text = (
        "inputs: {n: {type: integer}}\n"
        "collectors:\n  - {id: a, task: pure.echo, with: {value: '${{ 10 / inputs.n }}'}}\n"
    )
    with pytest.raises(InvalidWorkflow) as told:
        bound(text, {"n": 0})
    [fault] = told.value.faults
    assert (fault.code, str(fault.place)) == ("E038", "made.yaml:4:5")
    assert plans.arguments(bound(text, {"n": 5}), bound(text, {"n": 5}).collectors[0], {"id": "r"}) == {"value": 2}


def required(text: str) -> list[bool]:
    return [step.required for step in made(text)[0].collectors]


THREE = "collectors:\n" + "".join(
    f"  - {{id: {name}, task: pure.echo, with: {{value: 1}}{more}}}\n"
    for name, more in (("a", ""), ("b", ", required: true"), ("c", ", required: false"))
)


def test_a_collector_is_required_unless_it_says_otherwise() -> None:
    assert required(THREE) == [True, True, False]


def test_with_min_success_a_collector_is_required_only_if_it_says_so() -> None:
    assert required(f"{THREE}gather: {{task: pure.gather_text, min_success: 1}}\n") == [False, True, False]


def test_required_is_the_defaults_where_a_collector_says_nothing() -> None:
    assert required(f"defaults: {{collectors: {{required: false}}}}\n{THREE}") == [False, True, False]


def test_a_percentage_of_the_collectors_is_a_number_of_them() -> None:
    plan, *_ = made(f"{THREE}gather: {{task: pure.gather_text, min_success: 50%, deadline: 90s}}\n")
    assert (plan.min_success, plan.deadline) == (2, 90)


def test_who_says_nothing_of_failure_has_no_tolerance() -> None:
    plan, *_ = made(ECHO)
    assert (plan.min_success, plan.deadline, plan.tolerant) == (None, None, False)


def test_the_hash_changes_with_what_may_fail() -> None:
    gathers = ["", ", min_success: 1", ", min_success: 2", ", min_success: 100%", ", deadline: 1m"]
    hashes = [made(f"{THREE}gather: {{task: pure.gather_text{keys}}}\n")[0].hash for keys in gathers]
    assert len(set(hashes)) == 5
    assert made(THREE)[0].hash != made(THREE.replace("required: false", "required: true"))[0].hash


def test_a_step_is_the_same_in_a_plan_that_tolerates_more() -> None:
    strict, tolerant = (
        made(f"{ECHO}gather: {{task: pure.gather_text{keys}}}\n")[0] for keys in ("", ", min_success: 0")
    )
    other, *_ = made(ECHO.replace("value: 1", "value: 2"))
    assert tolerant.same(strict.collectors[0], tolerant)
    assert not tolerant.same(strict.collectors[0], other)


def test_a_plan_of_an_earlier_version_has_the_defaults_of_what_it_does_not_know() -> None:
    plan, *_ = made(ECHO)
    stored = json.loads(plans.dump(plan))
    del stored["min_success"], stored["deadline"]
    for step in (*stored["collectors"], stored["gather"]):
        del step["required"]
    assert plans.load(json.dumps(stored)) == plan


def test_route_sends_steps_to_their_own_queue_or_to_this_one() -> None:
    plan, *_ = made(f"{ECHO}  - {{id: b, task: pure.echo, with: {{value: 1}}, queue: heavy}}\n")
    own = plans.route(plan, "celery", everything=False)
    one = plans.route(plan, "celery", everything=True)
    assert [step.queue for step in own.steps] == ["celery", "heavy", "celery"]
    assert [step.queue for step in one.steps] == ["celery", "celery", "celery"]
