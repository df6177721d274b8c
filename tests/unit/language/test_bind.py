"""A plan and a user's inputs: the inputs bound, the items counted, every expression tried."""

from collections.abc import Mapping
from typing import Any

import pytest

from runner.language.faults import InvalidInputs, InvalidWorkflow
from runner.language.plan import Plan, arguments
from runner.language.source import parse_source
from runner.language.task_index import read_tasks
from runner.language.workflow_file import check
from tests.command_line import ROOT

TASKS = read_tasks(["pure_tasks"], [ROOT / "tests"])
ECHO = "collectors:\n  - {id: a, task: pure.echo, with: {value: 1}}\n"


def bound(text: str, given: dict[str, Any] | None = None, words: dict[str, Any] | None = None) -> Plan:
    return check(parse_source(f"name: made\n{text}", "made.yaml"), TASKS).bind(given or {}, words=words).plan


def test_inputs_are_those_given_and_the_defaults_of_the_others() -> None:
    text = f"inputs: {{n: {{type: integer}}, s: {{default: tea}}}}\n{ECHO}"
    assert bound(text, {"n": 5}).inputs == {"n": 5, "s": "tea"}


def test_an_input_on_the_command_line_is_read_as_its_type_and_comes_first() -> None:
    text = f"inputs: {{n: {{type: integer}}}}\n{ECHO}"
    assert bound(text, {"n": 5}, {"n": "6"}).inputs == {"n": 6}


def test_a_text_in_a_file_of_inputs_is_no_number() -> None:
    with pytest.raises(InvalidInputs, match='input "n"'):
        bound(f"inputs: {{n: {{type: integer}}}}\n{ECHO}", {"n": "5"})


def test_every_problem_with_the_inputs_is_reported_at_once() -> None:
    with pytest.raises(InvalidInputs) as told:
        bound(f"inputs: {{n: {{type: integer}}, topic: {{}}}}\n{ECHO}", {"n": "x", "topik": 1})
    assert [line.partition(":")[0] for line in str(told.value).splitlines()] == [
        'input "topik" is unknown',
        'input "n"',
        'input "topic" is missing',
    ]


def test_an_expression_that_cannot_be_worked_out_is_reported_before_the_run() -> None:
    """E038: only the inputs show it."""
    text = (
        "inputs: {n: {type: integer}}\n"
        "collectors:\n  - {id: a, task: pure.echo, with: {value: '${{ 10 / inputs.n }}'}}\n"
    )
    with pytest.raises(InvalidWorkflow) as told:
        bound(text, {"n": 0})
    [fault] = told.value.faults
    assert (fault.code, str(fault.place)) == ("E038", "made.yaml:4:44")
    assert arguments(bound(text, {"n": 5}), bound(text, {"n": 5}).collectors[0], {"id": "r"}) == {"value": 2}


PAGES = (
    "inputs: {{pages: {{type: array, default: []}}}}\n"
    "collectors:\n  - {{id: a, task: pure.echo, with: {{value: '{value}'}}, foreach: '${{{{ inputs.pages }}}}'}}\n"
)


def counts(text: str, given: dict[str, Any]) -> Mapping[str, int]:
    return check(parse_source(f"name: made\n{text}", "made.yaml"), TASKS).bind(given).layout.counts


def faults(text: str, given: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidWorkflow) as told:
        bound(text, given)
    return [f"{fault.place}: {fault.code} {fault.message}" for fault in told.value.faults]


def test_items_are_counted_once_the_inputs_are_known() -> None:
    assert counts(PAGES.format(value="${{ item }}"), {"pages": [1, 2, 3]}) == {"a": 3}


def test_the_arguments_of_the_first_items_are_tried() -> None:
    text = PAGES.format(value="${{ 1 / item }}")
    assert faults(text, {"pages": [1, 2, 0, 3]}) == [
        "made.yaml:4:44: E038 ${{ 1 / item }}: division by zero in CEL expression"
    ]
    assert counts(text, {"pages": [1] * 20 + [0]}) == {"a": 21}


def test_the_step_of_no_items_has_no_arguments_to_try() -> None:
    assert counts(PAGES.format(value="${{ 1 / item }}"), {}) == {"a": 0}


def test_a_min_success_beyond_the_number_of_collectors_is_a_fault_once_they_are_counted() -> None:
    text = f"{PAGES.format(value='x')}gather: {{task: pure.gather_text, min_success: 3}}\n"
    assert counts(text, {"pages": [1, 2, 3]}) == {"a": 3}
    assert faults(text, {"pages": [1, 2]}) == [
        "made.yaml:5:47: E028 expected at most 2, the number of collectors, found 3"
    ]


def test_a_min_success_beyond_no_items_names_the_foreach_that_has_none() -> None:
    """`expected at most 0, the number of collectors` said nothing of the list that was empty."""
    text = f"{PAGES.format(value='x')}gather: {{task: pure.gather_text, min_success: 1}}\n"
    assert faults(text, {"pages": []}) == [
        'made.yaml:5:47: E028 expected at most 0, the number of collectors, found 1: no items for "a"'
    ]


def test_an_expression_that_cannot_be_worked_out_is_placed_where_it_stands() -> None:
    """The fault pointed at the `id:` of its step, of whatever argument it was."""
    text = (
        "inputs: {n: {type: integer, default: 0}}\n"
        "defaults: {collectors: {task: pure.echo, with: {value: '${{ 1 / inputs.n }}'}}}\n"
        "collectors:\n  - {id: a}\n  - {id: c}\n  - {id: b, with: {value: [1, {x: '${{ 2 / inputs.n }}'}]}}\n"
    )
    assert [told.partition(" ")[0] for told in faults(text, {})] == ["made.yaml:3:56:", "made.yaml:7:35:"]
