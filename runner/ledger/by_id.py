"""The methods of a run by the run's id, for callers that have no `RunRecord` yet."""

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from runner.language.layout import Layout
from runner.language.plan import Plan, Step
from runner.ledger.entries import Claim, Outcome
from runner.ledger.run_record import RunRecord

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def _by_id(
    method: Callable[Concatenate[RunRecord, Arguments], Answer],
) -> Callable[Concatenate["ById", str, Arguments], Answer]:
    def call(self: "ById", run_id: str, /, *args: Any, **words: Any) -> Any:
        return getattr(self.open(run_id), method.__name__)(*args, **words)

    return call


def _of_a_plan(
    method: Callable[Concatenate[RunRecord, Arguments], Answer],
) -> Callable[Concatenate["ById", str, Plan, Arguments], Answer]:
    def call(self: "ById", run_id: str, plan: Plan, /, *args: Any, **words: Any) -> Any:
        return getattr(self.open(run_id, plan), method.__name__)(*args, **words)

    return call


class ById:
    """To be removed once every caller has a `RunRecord`."""

    def open(self, run_id: str, plan: Plan | None = None, layout: Layout | None = None) -> RunRecord:
        raise NotImplementedError

    def claim(self, run_id: str, steps: Sequence[Step], plan: Plan, **words: Any) -> list[Claim]:
        return self.open(run_id, plan).claim(steps, **words)

    def plan(self, run_id: str) -> Plan:
        return self.open(run_id).plan

    def layout(self, run_id: str) -> Layout:
        return self.open(run_id).layout

    def page(self, run_id: str, *args: Any) -> list[str]:
        return self.open(run_id).page(*args)

    def outcomes(self, run_id: str, plan: Plan | None = None, **words: Any) -> dict[str, Outcome]:
        return self.open(run_id).outcomes(plan, **words)

    expect = _by_id(RunRecord.expect)
    returned = _by_id(RunRecord.returned)
    renew = _by_id(RunRecord.renew)
    release = _by_id(RunRecord.release)
    finish = _by_id(RunRecord.finish)
    postpone = _by_id(RunRecord.postpone)
    abandon = _by_id(RunRecord.abandon)
    sweep = _by_id(RunRecord.sweep)
    sent_again = _by_id(RunRecord.sent_again)
    park = _by_id(RunRecord.park)
    cancel = _by_id(RunRecord.cancel)
    end = _by_id(RunRecord.end)
    lost = _by_id(RunRecord.lost)
    leased = _by_id(RunRecord.leased)
    underway = _by_id(RunRecord.underway)
    failures = _by_id(RunRecord.failures)
    left = _by_id(RunRecord.left)
    ended = _by_id(RunRecord.ended)
    begun = _by_id(RunRecord.begun)
    tally = _by_id(RunRecord.tally)
    outcomes_of = _by_id(RunRecord.outcomes_of)
    outcome = _by_id(RunRecord.outcome)
    value = _by_id(RunRecord.value)
    events = _by_id(RunRecord.events)
    follow = _by_id(RunRecord.follow)
    run = _by_id(RunRecord.info)
    accept = _of_a_plan(RunRecord.accept)
    reopen = _of_a_plan(RunRecord.reopen)
    steps = _of_a_plan(RunRecord.steps)
    items = _of_a_plan(RunRecord.items)
    ids = _by_id(RunRecord.ids)
    absent = _of_a_plan(RunRecord.absent)
    collected = _by_id(RunRecord.collected)
    find = _of_a_plan(RunRecord.find)
    unended = _of_a_plan(RunRecord.unended)
