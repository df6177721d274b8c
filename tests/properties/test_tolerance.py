"""Properties of every verdict, whatever the workflow, and whichever collectors are absent."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from runner.language.layout import Layout
from runner.language.plan import Foreach, Item, Plan
from runner.language.tolerance import verdict
from tests.plans import change_plan, make_collector, make_gather, make_plan

_FROM_WORST = ["failed", "partial", "succeeded"]


@st.composite
def ended(draw: st.DrawFn) -> tuple[Plan, Layout, list[str]]:
    """A plan, its layout, and which of its collectors did not succeed."""
    steps, ids = [], []
    counts: dict[str, int] = {}
    for at, count in enumerate(draw(st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=1, max_size=6))):
        foreach = None if count is None else Foreach(items=[0] * count)
        step = make_collector(f"c{at}", "pure.echo", required=draw(st.booleans()), foreach=foreach)
        steps.append(step)
        counts |= {} if count is None else {step.id: count}
        ids += [step.id] if count is None else [step.of(Item(0, str(index), index)).id for index in range(count)]
    least = st.one_of(st.none(), st.integers(0, len(ids)), st.integers(0, 100).map(lambda share: f"{share}%"))
    plan = make_plan("p", collectors=tuple(steps), gather=make_gather(task=None), min_success=draw(least))
    return plan, Layout(counts=counts), draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []


@given(ended(), st.data())
def test_one_more_success_never_makes_the_verdict_of_a_run_worse(
    case: tuple[Plan, Layout, list[str]], data: st.DataObject
) -> None:
    plan, layout, absent = case
    better = absent[: data.draw(st.integers(0, len(absent)))]
    before, after = (_FROM_WORST.index(verdict(plan.fan_outs[0], layout, each).status) for each in (absent, better))
    assert after >= before


@given(ended())
def test_more_tolerance_never_makes_the_verdict_of_a_run_worse(case: tuple[Plan, Layout, list[str]]) -> None:
    plan, layout, absent = case
    optional = change_plan(plan, collectors=tuple(replace(step, required=False) for step in plan.collectors))
    before, after = (_FROM_WORST.index(verdict(each.fan_outs[0], layout, absent).status) for each in (plan, optional))
    assert after >= before


@given(ended())
def test_the_gather_runs_unless_the_run_has_failed_and_the_verdict_names_the_absent(
    case: tuple[Plan, Layout, list[str]],
) -> None:
    plan, layout, absent = case
    told = verdict(plan.fan_outs[0], layout, absent)
    assert told.opens_gate == (told.status != "failed")
    assert bool(told.cause) == bool(absent) == (told.status != "succeeded")
    assert [name for name in absent[:20] if name not in told.cause] == []
