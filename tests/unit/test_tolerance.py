"""Which runs go on without all of their collectors, and what they are told to be."""

from dataclasses import replace

import pytest

from runner.plan import Plan, Step
from runner.store import Outcome, StepStatus
from runner.tolerance import Verdict, verdict

PLAN = Plan("news", "", tuple(Step(name, "collector", "http.get") for name in "abcde"), Step("fan_in", "gather", None))
OPTIONAL = replace(PLAN, collectors=tuple(replace(step, required=False) for step in PLAN.collectors))
THREE = replace(OPTIONAL, min_success=3)


def needing(plan: Plan, *names: str) -> Plan:
    return replace(plan, collectors=tuple(replace(step, required=step.id in names) for step in plan.collectors))


def without(*names: str, status: StepStatus = "failed") -> dict[str, Outcome]:
    return {name: Outcome(name, status if name in names else "succeeded") for name in "abcde"}


@pytest.mark.parametrize("plan", [PLAN, OPTIONAL, THREE, needing(THREE, "a")])
def test_nobody_missing_is_a_success(plan: Plan) -> None:
    assert verdict(plan, without()) == Verdict(gather=True, status="succeeded")


def test_without_tolerance_one_failure_fails_the_run() -> None:
    told = verdict(PLAN, without("b"))
    assert told == Verdict(gather=False, status="failed", cause="1 of 5 collectors did not succeed: b")


def test_what_is_not_required_may_fail_however_much_of_it() -> None:
    told = verdict(OPTIONAL, without(*"abcde"))
    assert told == Verdict(gather=True, status="partial", cause="5 of 5 collectors did not succeed: a, b, c, d, e")


def test_what_is_required_may_not_fail_and_is_named() -> None:
    told = verdict(needing(OPTIONAL, "b", "d"), without("a", "b"))
    assert told == Verdict(
        gather=False, status="failed", cause="2 of 5 collectors did not succeed: a, b; b is required"
    )


def test_as_many_as_are_asked_for_are_enough() -> None:
    assert verdict(THREE, without("a", "b")).status == "partial"


def test_one_fewer_is_not_enough() -> None:
    told = verdict(THREE, without("a", "b", "e"))
    assert told == Verdict(
        gather=False, status="failed", cause="3 of 5 collectors did not succeed: a, b, e; min_success is 3"
    )


def test_enough_of_them_do_not_make_up_for_a_required_one() -> None:
    assert verdict(needing(THREE, "a"), without("a")).cause.endswith("; a is required")


def test_both_reasons_are_told() -> None:
    told = verdict(needing(THREE, "a", "b"), without("a", "b", "c"))
    assert told.cause.endswith(": a, b, c; min_success is 3; a, b are required")


@pytest.mark.parametrize("status", ["timed_out", "late", "skipped", "cancelled"])
def test_whatever_is_not_a_success_is_missing(status: StepStatus) -> None:
    assert verdict(THREE, without("c", status=status)).cause == "1 of 5 collectors did not succeed: c"


def test_what_has_no_outcome_is_missing() -> None:
    assert verdict(THREE, {}).cause.startswith("5 of 5 collectors")


def test_a_thousand_missing_are_not_all_named() -> None:
    plan = replace(PLAN, collectors=tuple(Step(f"page_{at}", "collector", "http.get") for at in range(1000)))
    told = verdict(plan, {}).cause
    assert told.startswith("1,000 of 1,000 collectors did not succeed: page_0, page_1, ")
    assert told.endswith("page_19, …")
