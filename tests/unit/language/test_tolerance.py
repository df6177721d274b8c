"""The runs that continue without all of their collectors, and their status."""

from dataclasses import replace

import pytest

from runner.language.layout import Layout
from runner.language.plan import Foreach, Plan
from runner.language.tolerance import Verdict, verdict
from tests.plans import change_plan, make_collector, make_gather, make_plan

PLAN = make_plan(
    collectors=tuple(make_collector(name, "http.get") for name in "abcde"), gather=make_gather("fan_in", None)
)
OPTIONAL = change_plan(PLAN, collectors=tuple(replace(step, required=False) for step in PLAN.collectors))
THREE = change_plan(OPTIONAL, min_success=3)
LAYOUT = Layout(counts={"page": 9})


def needing(plan: Plan, *names: str) -> Plan:
    return change_plan(plan, collectors=tuple(replace(step, required=step.id in names) for step in plan.collectors))


@pytest.mark.parametrize("plan", [PLAN, OPTIONAL, THREE, needing(THREE, "a")])
def test_a_run_without_absent_collectors_is_a_success(plan: Plan) -> None:
    assert verdict(plan.fan_outs[0], LAYOUT, []) == Verdict(status="succeeded")


def test_without_tolerance_one_failure_fails_the_run() -> None:
    told = verdict(PLAN.fan_outs[0], LAYOUT, ["b"])
    assert told == Verdict(status="failed", cause="1 of 5 collectors did not succeed: b")


def test_collectors_that_are_not_required_may_all_fail() -> None:
    told = verdict(OPTIONAL.fan_outs[0], LAYOUT, list("abcde"))
    assert told == Verdict(status="partial", cause="5 of 5 collectors did not succeed: a, b, c, d, e")


def test_a_required_collector_that_fails_fails_the_run_and_is_named() -> None:
    told = verdict(needing(OPTIONAL, "b", "d").fan_outs[0], LAYOUT, ["a", "b"])
    assert told == Verdict(status="failed", cause="2 of 5 collectors did not succeed: a, b; b is required")


def test_as_many_successes_as_min_success_are_enough() -> None:
    assert verdict(THREE.fan_outs[0], LAYOUT, ["a", "b"]).status == "partial"


def test_one_success_fewer_than_min_success_is_not_enough() -> None:
    told = verdict(THREE.fan_outs[0], LAYOUT, ["a", "b", "e"])
    assert told == Verdict(status="failed", cause="3 of 5 collectors did not succeed: a, b, e; min_success is 3")


def test_enough_successes_do_not_make_up_for_a_required_collector() -> None:
    assert verdict(needing(THREE, "a").fan_outs[0], LAYOUT, ["a"]).cause.endswith("; a is required")


def test_a_verdict_names_required_collectors_and_min_success() -> None:
    told = verdict(needing(THREE, "a", "b").fan_outs[0], LAYOUT, ["a", "b", "c"])
    assert told.cause.endswith(": a, b, c; min_success is 3; a, b are required")


def test_a_verdict_does_not_name_a_thousand_absent_collectors() -> None:
    plan = change_plan(PLAN, collectors=tuple(make_collector(f"page_{at}", "http.get") for at in range(1000)))
    told = verdict(plan.fan_outs[0], LAYOUT, [step.id for step in plan.collectors]).cause
    assert told.startswith("1,000 of 1,000 collectors did not succeed: page_0, page_1, ")
    assert told.endswith("page_19, …")


PAGES = change_plan(
    PLAN,
    collectors=(
        make_collector("home", "http.get"),
        make_collector("page", "http.get", foreach=Foreach(items="${{ range(9) }}"), required=False),
    ),
)


def test_collectors_of_a_foreach_count_each_for_min_success() -> None:
    assert verdict(PAGES.fan_outs[0], LAYOUT, ["page[1]", "page[2]"]) == Verdict(
        status="partial", cause="2 of 10 collectors did not succeed: page[1], page[2]"
    )


def test_each_collector_of_a_foreach_that_is_required_is_required() -> None:
    assert verdict(needing(PAGES, "page").fan_outs[0], LAYOUT, ["page[1]"]).cause.endswith(
        ": page[1]; page[1] is required"
    )


@pytest.mark.parametrize(("absent", "enough"), [(4, True), (5, False)])
def test_a_percentage_of_min_success_is_one_of_all_collectors(absent: int, enough: bool) -> None:  # noqa: FBT001
    plan = change_plan(needing(PAGES), min_success="60%")
    told = verdict(plan.fan_outs[0], LAYOUT, [f"page[{at}]" for at in range(absent)])
    assert told.opens_gate == enough
    assert told.cause.endswith("min_success is 60% (6)") != enough
