"""A checked workflow to a plan: defaults applied, every step in order."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runner.language.ids import written
from runner.language.layout import Layout, as_written
from runner.language.plan import (
    Foreach,
    Item,
    NewerVersion,
    Plan,
    Retry,
    arguments,
    dump_plan,
    equip,
    load_plan,
    segments,
)
from runner.language.source import parse_source
from runner.language.task_index import read_tasks
from runner.language.workflow_file import WorkflowFile, check
from tests.command_line import ROOT
from tests.plans import make_collector, make_plan

TASKS = read_tasks(["pure_tasks"], [ROOT / "tests"])
ECHO = "collectors:\n  - {id: a, task: pure.echo, with: {value: 1}}\n"


def checked(text: str) -> WorkflowFile:
    return check(parse_source(f"name: made\n{text}", "made.yaml"), TASKS)


def made(text: str) -> Plan:
    return checked(text).plan()


def bound(text: str, given: dict[str, Any] | None = None, words: dict[str, Any] | None = None) -> Plan:
    return checked(text).bind(given or {}, words=words).plan


def test_a_step_has_the_defaults_of_its_kind_where_it_says_nothing() -> None:
    plan = made(
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
    plan = made(
        "defaults:\n  collectors: {retry: {max_retries: 5, delay: 9s}}\n"
        "collectors:\n  - {id: a, task: pure.echo, with: {value: 1}, retry: {max_retries: 1}}\n"
    )
    assert plan.collectors[0].retry == Retry(max_retries=1)


def test_of_a_steps_keys_with_alone_is_merged_with_the_defaults() -> None:
    plan = made(
        "defaults:\n  collectors: {with: {a: 1, b: 2}}\ncollectors:\n  - {id: a, task: pure.add, with: {b: 3}}\n"
    )
    assert plan.collectors[0].arguments == {"a": 1, "b": 3}


def test_a_gather_left_out_is_a_step_without_a_task() -> None:
    plan = made(ECHO)
    assert (plan.fan_outs[0].gather.id, plan.fan_outs[0].gather.task) == ("gather", None)


def test_a_step_knows_its_place_in_the_file() -> None:
    plan = made(ECHO)
    assert plan.collectors[0].place == "made.yaml:3:5"


def test_a_plan_knows_the_step_before_and_those_after_each() -> None:
    plan = made(f"{ECHO}stages:\n  - {{id: s, task: pure.stage_text}}\n  - {{id: t, task: pure.stage_text}}\n")
    assert plan.before(plan.collectors[0]) is None
    assert plan.before(plan.fan_outs[0].gather) is None
    assert plan.before(plan.tail[1:][0]) == plan.fan_outs[0].gather
    assert plan.after(plan.tail[1:][0]) == (plan.tail[1:][1],)


def test_the_hash_of_a_plan_changes_with_what_the_workflow_does_alone() -> None:
    plain, commented, other = (
        made(text).hash for text in (ECHO, f"# moved down\n{ECHO}", ECHO.replace("value: 1", "value: 2"))
    )
    assert plain == commented != other


def test_a_key_that_the_language_gets_changes_no_hash_of_a_workflow_without_it() -> None:
    """They are in the ledgers of users: `run --run-id` and `resume` would take each for another workflow."""
    full = (
        "collectors:\n  - {id: a, task: pure.echo, with: {value: 1}, timeout: 5s, retry: {max_retries: 2, on: [OSError]}}\n"
        "  - {id: b, task: pure.echo, with: {value: '${{ item }}'}, foreach: [1, 2], batch: 2, required: false}\n"
        "gather: {task: pure.gather_text, min_success: 1, deadline: 1m}\nstages: [{id: s, task: pure.stage_text}]\n"
    )
    assert (made(ECHO).hash, made(full).hash) == ("e1df91acb810", "175854d85ff8")


def test_the_hash_of_a_plan_does_not_change_with_the_inputs() -> None:
    text = f"inputs: {{n: {{type: integer}}}}\n{ECHO}"
    assert bound(text, {"n": 1}).hash == bound(text, {"n": 2}).hash


def required(text: str) -> list[bool]:
    return [step.required for step in made(text).collectors]


THREE = "collectors:\n" + "".join(
    f"  - {{id: {name}, task: pure.echo, with: {{value: 1}}{more}}}\n"
    for name, more in (("a", ""), ("b", ", required: true"), ("c", ", required: false"))
)


def test_a_collector_is_required_unless_it_says_otherwise() -> None:
    assert required(THREE) == [True, True, False]


def test_with_min_success_a_collector_is_required_only_if_it_says_so() -> None:
    assert required(f"{THREE}gather: {{task: pure.gather_text, min_success: 1}}\n") == [False, True, False]


def test_a_collector_that_says_nothing_of_required_has_the_default() -> None:
    assert required(f"defaults: {{collectors: {{required: false}}}}\n{THREE}") == [False, True, False]


def test_a_percentage_of_the_collectors_is_a_number_of_them() -> None:
    plan = made(f"{THREE}gather: {{task: pure.gather_text, min_success: 50%, deadline: 90s}}\n")
    [fan_out] = plan.fan_outs
    assert (fan_out.min_success, Layout().least(fan_out), fan_out.deadline) == ("50%", 2, 90)


@pytest.mark.parametrize(("written", "least"), [("0", 0), ("3", 3), ("60%", 3), ("61%", 4), ("0%", 0), ("100%", 5)])
def test_a_percentage_of_the_collectors_is_rounded_up(written: str, least: int) -> None:
    plan = made(
        "defaults: {collectors: {task: pure.echo, with: {value: 1}}}\n"
        f"collectors: [{', '.join(f'{{id: {name}}}' for name in 'abcde')}]\n"
        f"gather: {{task: pure.gather_text, min_success: {written}}}"
    )
    assert Layout().least(plan.fan_outs[0]) == least


def test_a_plan_that_says_nothing_of_failure_has_no_tolerance() -> None:
    plan = made(ECHO)
    assert (plan.fan_outs[0].min_success, plan.fan_outs[0].deadline, plan.fan_outs[0].tolerant) == (None, None, False)


def test_the_hash_of_a_plan_changes_with_what_may_fail() -> None:
    gathers = ["", ", min_success: 1", ", min_success: 2", ", min_success: 100%", ", deadline: 1m"]
    hashes = [made(f"{THREE}gather: {{task: pure.gather_text{keys}}}\n").hash for keys in gathers]
    assert len(set(hashes)) == 5
    assert made(THREE).hash != made(THREE.replace("required: false", "required: true")).hash


def test_a_step_is_the_same_in_a_plan_that_tolerates_more() -> None:
    strict, tolerant = (made(f"{ECHO}gather: {{task: pure.gather_text{keys}}}\n") for keys in ("", ", min_success: 0"))
    other = made(ECHO.replace("value: 1", "value: 2"))
    assert tolerant.same(strict.collectors[0], tolerant)
    assert not tolerant.same(strict.collectors[0], other)


def test_a_plan_of_an_earlier_version_has_the_defaults_of_what_it_does_not_know() -> None:
    plan = made(ECHO)
    stored = json.loads(dump_plan(plan))
    del stored["version"]
    assert load_plan(json.dumps(stored)) == plan


def test_a_stored_plan_has_its_version_and_no_defaults() -> None:
    plan = made(ECHO)
    stored = json.loads(dump_plan(plan))
    assert stored["version"] == 1
    assert stored["parts"][0]["collectors"] == [
        {"id": "a", "kind": "collector", "task": "pure.echo", "arguments": {"value": 1}, "place": "made.yaml:3:5"}
    ]


def test_a_plan_of_a_newer_version_says_what_reads_it() -> None:
    stored = json.loads(dump_plan(made(ECHO))) | {"version": 2, "fan_outs": []}
    with pytest.raises(NewerVersion, match="its plan is of version 2, and this program reads version 1") as raised:
        load_plan(json.dumps(stored))
    assert raised.value.needs == "plans of version 2"


NEWER: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "plan": lambda stored: stored,
    "fan-out": lambda stored: stored["parts"][0],
    "collector": lambda stored: stored["parts"][0]["collectors"][0],
    "gather": lambda stored: stored["parts"][0]["gather"],
    "retry": lambda stored: stored["parts"][0]["collectors"][0]["retry"],
    "foreach": lambda stored: stored["parts"][0]["collectors"][0]["foreach"],
}


@pytest.mark.parametrize("part", NEWER)
def test_a_plan_with_a_key_that_is_unknown_is_of_a_newer_version(part: str) -> None:
    """Of a step it was a TypeError, which a collector raised into the chord."""
    plan = made("collectors: [{id: a, task: pure.echo, with: {value: 1}, retry: 1, foreach: [1]}]")
    stored = json.loads(dump_plan(plan))
    NEWER[part](stored)["since"] = "${{ inputs.deep }}"
    with pytest.raises(NewerVersion, match="its plan has 'since', which this program does not know") as raised:
        load_plan(json.dumps(stored))
    assert raised.value.needs == "plans that have 'since'"


def test_what_a_step_needs_is_nothing_every_collector_or_the_step_before() -> None:
    plan = made(f"{ECHO}stages:\n  - {{id: s, task: pure.stage_text}}\n  - {{id: t, task: pure.stage_text}}\n")
    assert [plan.needs(step) for step in plan.steps] == ["", "*gather", "gather", "s"]


PAGES = (
    "collectors:\n"
    "  - {id: page, task: pure.echo, with: {value: '${{ item }}'}, foreach: [x, y, z], batch: 2, max_concurrency: 5}\n"
    "  - {id: home, task: pure.echo, with: {value: 1}}\n"
)


def test_a_collector_is_repeated_for_each_of_its_items() -> None:
    plan = made(PAGES)
    page, _ = plan.collectors
    assert page.foreach == Foreach(items=["x", "y", "z"])
    assert (as_written(plan).total(plan.fan_outs[0]), page.batch, page.max_concurrency) == (4, 2, 5)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("'${{ inputs.pages }}'", Foreach(items="${{ inputs.pages }}")),
        (
            "{items: '${{ inputs.pages }}', as: page, key: '${{ page.id }}'}",
            Foreach(items="${{ inputs.pages }}", name="page", key="${{ page.id }}"),
        ),
        ("{items: {file: urls.txt}}", Foreach(items={"file": "urls.txt", "format": None})),
        ("[]", Foreach(items=[])),
    ],
)
def test_the_items_of_a_foreach_are_kept_in_the_plan_as_written(written: str, meant: Foreach) -> None:
    plan = made(
        "inputs: {pages: {type: array}}\n"
        f"collectors:\n  - {{id: a, task: pure.echo, with: {{value: 1}}, foreach: {written}}}\n"
    )
    assert plan.collectors[0].foreach == meant


def test_the_keys_of_a_foreach_may_be_defaults_of_the_collectors_with_one() -> None:
    plan = made(
        "defaults: {collectors: {batch: 5, max_concurrency: 2, with: {value: 1}}}\n"
        "collectors:\n  - {id: a, task: pure.echo, foreach: [1], batch: auto}\n"
        "  - {id: b, task: pure.echo, foreach: [1]}\n  - {id: c, task: pure.echo}\n"
    )
    assert [(step.batch, step.max_concurrency) for step in plan.collectors] == [(None, 2), (5, 2), (None, None)]


def test_the_arguments_of_an_items_collector_have_the_item_and_its_index() -> None:
    plan = made(
        "collectors:\n  - {id: a, task: pure.add, with: {a: '${{ n.x }}', b: '${{ item_index }}'}, "
        "foreach: {items: [{x: 5}], as: n}}\n"
    )
    assert arguments(plan, plan.collectors[0].of(Item({"x": 5}, "0", 7)), {}) == {"a": 5, "b": 7}


def test_a_plan_with_items_survives_the_ledger() -> None:
    plan = made(PAGES)
    assert load_plan(dump_plan(plan)) == plan


def test_the_collector_of_an_item_is_found_as_it_is_written() -> None:
    plan = made(PAGES)
    assert plan.by_id[written("page[a[0]]")] == plan.collectors[0]
    assert plan.by_id["home"] == plan.collectors[1]


def test_the_hash_of_a_plan_changes_with_the_items_and_not_with_how_they_are_sent() -> None:
    text = PAGES.replace(", batch: 2, max_concurrency: 5", "")
    assert made(text).hash == made(PAGES).hash
    assert made(PAGES.replace("[x, y, z]", "[x, y]")).hash != made(PAGES).hash
    assert made(PAGES.replace("foreach: [x, y, z]", "foreach: {items: [x, y, z], key: '${{ item }}'}")).hash != (
        made(PAGES).hash
    )


def test_neither_the_hash_of_a_plan_nor_what_is_stored_of_it_depends_on_how_many_items_there_are() -> None:
    text = "inputs: {n: {type: integer}}\n" + PAGES.replace("[x, y, z]", "'${{ range(inputs.n) }}'")
    few, many = (checked(text).bind({"n": count}) for count in (1, 900))
    assert (few.layout.counts, many.layout.counts) == ({"page": 1}, {"page": 900})
    assert few.plan.hash == many.plan.hash
    assert dump_plan(replace(few.plan, inputs={})) == dump_plan(replace(many.plan, inputs={}))


def test_a_collector_is_the_same_however_many_items_there_are() -> None:
    plan = made(PAGES)
    page = plan.collectors[0]
    assert page.foreach is not None
    assert plan.same(replace(page, batch=None), plan)
    assert not plan.same(replace(page, foreach=replace(page.foreach, key="${{ item }}")), plan)


def test_a_task_that_awaits_waits_64_times_at_once() -> None:
    plan = made(
        "include: [pure_tasks]\ndefaults: {collectors: {with: {value: 1}, foreach: [1]}}\n"
        "collectors:\n  - {id: a, task: pure.echo_async}\n  - {id: b, task: pure.echo}\n"
        "  - {id: c, task: pure.echo_async, max_concurrency: 3}\n"
    )
    equipped = equip(plan, TASKS)
    assert [step.together for step in equipped.collectors] == [64, 1, 64]
    assert [step.at_once for step in equipped.collectors] == [64, 1, 3]
    assert [step.together for step in equip(plan, read_tasks(())).collectors] == [None, None, None]


def test_a_plan_is_cut_into_segments_before_each_fan_out() -> None:
    """Exactly one of them is open at a time; today's language gives exactly one."""
    one = make_plan(collectors="a b", gather="first", stages="s t")
    two = make_plan(collectors="c", gather="second", stages="u")
    begins_with_stages = Plan(name="news", description="", parts=(*two.parts[1:], *one.parts))

    assert [(each.fan_out and each.fan_out.id, [step.id for step in each.stages]) for each in segments(one)] == [
        ("first", ["s", "t"])
    ]
    assert [
        (each.fan_out and each.fan_out.id, [step.id for step in each.stages])
        for each in segments(replace(begins_with_stages, parts=(*begins_with_stages.parts, *two.parts)))
    ] == [(None, ["u"]), ("first", ["s", "t"]), ("second", ["u"])]


def test_what_a_step_of_a_later_part_needs_is_the_value_of_the_part_before() -> None:
    one = make_plan(collectors="a", gather="first", stages="s")
    two = make_plan(collectors="b", gather="second")
    plan = replace(one, parts=(*one.parts, *two.parts))

    assert [plan.needs(step) for step in plan.steps] == ["", "*first", "first", "s", "*second"]
    assert [step.id for step in plan.after(plan.by_id["s"])] == ["b", "second"]
    assert plan.fan_out_of(plan.by_id["b"]).id == "second"
    assert load_plan(dump_plan(plan)) == plan


def test_a_step_is_found_in_its_part_whatever_its_id_looks_like() -> None:
    """Drawings take any id, and looked for ``[`` as the item of a collector without a name."""
    plan = make_plan(collectors=(make_collector("["), make_collector("page", foreach=Foreach(items=[1]))))
    many = plan.by_id["page"].of(Item(1, "0", 0))
    assert [plan.fan_out_of(step).id for step in (plan.by_id["["], many)] == ["gather", "gather"]
