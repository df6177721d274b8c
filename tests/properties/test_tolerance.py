"""What holds of every verdict, whatever the workflow and whatever became of its collectors."""

from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from runner.plan import Plan, Step
from runner.store import Outcome, StepStatus
from runner.tolerance import missing, verdict

_FROM_WORST = ["failed", "partial", "succeeded"]
_STATUSES: st.SearchStrategy[StepStatus] = st.sampled_from(get_args(StepStatus))


@st.composite
def ended(draw: st.DrawFn) -> tuple[Plan, dict[str, Outcome]]:
    """A plan and how its collectors ended."""
    needed = draw(st.lists(st.booleans(), min_size=1, max_size=8))
    steps = tuple(Step(f"c{at}", "collector", "pure.echo", required=required) for at, required in enumerate(needed))
    least = draw(st.one_of(st.none(), st.integers(0, len(steps))))
    outcomes = {step.id: Outcome(step.id, draw(_STATUSES)) for step in steps}
    return Plan("p", "", steps, Step("gather", "gather", None), min_success=least), outcomes


@given(ended(), st.data())
def test_one_more_success_never_makes_a_verdict_worse(
    case: tuple[Plan, dict[str, Outcome]], data: st.DataObject
) -> None:
    plan, outcomes = case
    name = data.draw(st.sampled_from([step.id for step in plan.collectors]))
    better = outcomes | {name: replace(outcomes[name], status="succeeded")}
    before, after = (_FROM_WORST.index(verdict(plan, each).status) for each in (outcomes, better))
    assert after >= before


@given(ended())
def test_more_tolerance_never_makes_a_verdict_worse(case: tuple[Plan, dict[str, Outcome]]) -> None:
    plan, outcomes = case
    optional = replace(plan, collectors=tuple(replace(step, required=False) for step in plan.collectors))
    before, after = (_FROM_WORST.index(verdict(each, outcomes).status) for each in (plan, optional))
    assert after >= before


@given(ended())
def test_the_gather_runs_unless_the_run_has_failed_and_who_is_missing_is_told(
    case: tuple[Plan, dict[str, Outcome]],
) -> None:
    told = verdict(*case)
    assert told.gather == (told.status != "failed")
    assert bool(told.cause) == bool(missing(*case)) == (told.status != "succeeded")
    assert [name for name in missing(*case) if name not in told.cause] == []
