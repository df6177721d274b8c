"""A run at one moment, without its secrets: every view of a run is made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from runner.language.ids import is_item, written
from runner.language.layout import Layout
from runner.language.plan import Plan, Step
from runner.language.redact import redact, redact_id, redact_inputs
from runner.language.tolerance import lateness
from runner.ledger.entries import PASSING, Error, Event, FailedAttempt, Outcome, Run, Underway
from runner.ledger.statuses import FAILED, LEFT_OUT, OPEN, ORDER, Status, together

ITEMS = 1000  # items that a snapshot has, of all `foreach` together; a page (item_pages.py) has any of them


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSnapshot:
    """A step at that moment, without secrets.

    Args:
        step: as in the plan; of an item, the collector that it was made for.
        status: of its outcome, or what happens to it until it has one.
        outcome: how it ended; None of a collector with ``foreach``, which has `counts`.
        running: while it is executed, or waits for its next attempt or for a limit.
        failures: the attempts before the last, if they were read.
        counts: for a collector with ``foreach``, the number of its items in each status, without the empty ones.
        reason: why it did not succeed; if it waits for its next attempt, why the last one failed.
    """

    step: Step
    status: Status
    outcome: Outcome | None = None
    running: Underway | None = None
    failures: Sequence[FailedAttempt] = ()
    counts: Mapping[Status, int] | None = None
    reason: str = ""

    @property
    def id(self) -> str:
        return self.step.id

    @property
    def is_item(self) -> bool:
        """Whether it is the collector of an item of a ``foreach``."""
        return is_item(self.step.id)

    @property
    def is_collector(self) -> bool:
        """Whether it is one collector: alone, or of an item."""
        return self.step.kind == "collector" and self.counts is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A run at one moment. Only `snapshot_of` makes one: it hides the secrets.

    Args:
        plan: with ``***`` for each secret input.
        steps: those of the file, in its order. One with ``foreach`` is followed by its items that ended without success, or
            that an ended run never executed, as far as they were read.
        running: the steps, items among them, that are executed or wait for their next attempt.
        result: the value of the last step, if that was read.
    """

    run: Run
    plan: Plan
    steps: Sequence[StepSnapshot]
    running: Sequence[StepSnapshot]
    result: Any

    @property
    def note(self) -> str:
        """Why a run that has not ended makes no progress; empty if it does."""
        if self.run.ended:
            return ""
        return self.run.unattended or ("" if self.running else self.run.waits_for)

    @property
    def failed(self) -> list[StepSnapshot]:
        return [each for each in self.steps if each.counts is None and each.status in FAILED]

    @property
    def deciding(self) -> StepSnapshot | None:
        """The step whose failure decided the run: the gather or stage that failed, or else the first collector that had to succeed."""
        failed = [each for each in self.failed if each.step.kind != "hook"]
        later = [each for each in failed if each.step.kind != "collector"]
        return next(iter(later or sorted(failed, key=lambda each: not each.step.required)), None)

    @property
    def missing(self) -> list[StepSnapshot]:
        """The collectors whose values are not in the result, and will not be."""
        return [each for each in self.steps if each.is_collector and each.status not in {*PASSING, *OPEN, *LEFT_OUT}]

    @property
    def replaced(self) -> list[StepSnapshot]:
        """The gathers and stages that did not succeed and are not required: each has the value before it."""
        ended = (each for each in self.steps if each.outcome and each.outcome.handed_on)
        return [each for each in ended if each.status != "skipped"]

    @property
    def counts(self) -> Counter[Status]:
        """The number of collectors in each status, with all items."""
        alone = Counter(each.status for each in self.steps if each.is_collector and not each.is_item)
        return sum((Counter(each.counts) for each in self.steps if each.counts), alone)


def snapshot_of(
    run: Run,
    plan: Plan,
    outcomes: Mapping[str, Outcome],
    *,
    layout: Layout | None = None,
    counts: Mapping[str, Mapping[Status, int]] | None = None,
    running: Mapping[str, Underway] | None = None,
    unended: Iterable[str] = (),
    result: Any = None,
) -> Snapshot:
    """Return a run as it was read from the ledger, without the secrets of its plan.

    Args:
        outcomes: of the steps that have ended; of a ``foreach``, of the items that ended without success.
        layout: of the run; it may be left out if nothing has ``foreach``.
        counts: for each collector with ``foreach``, the number of items that have ended in each status.
        running: the steps that are executed, or wait for their next attempt; none of a run that has ended.
        unended: of a run that has ended, the items that it never executed.
        result: the value of the last step.
    """
    layout = layout or Layout()
    active = {} if run.ended and not run.hooks else running or {}
    items: dict[str, list[str]] = {}
    for step_id in [each for each in (*outcomes, *unended) if is_item(each)][:ITEMS]:
        items.setdefault(written(step_id), []).append(step_id)

    def one(step: Step) -> StepSnapshot:
        return step_snapshot(run, plan, step, outcomes.get(step.id), running=active.get(step.id))

    steps: list[StepSnapshot] = []
    for step in plan.steps:
        if step.foreach is None:
            steps.append(one(step))
            continue
        total = layout.number(step) if layout.is_counted(step) else 0
        all_items = count_items(run, step, total, (counts or {}).get(step.id, {}), active)
        steps.append(StepSnapshot(step=step, status=together(all_items), counts=all_items))
        steps += (one(replace(step, id=step_id, foreach=None)) for step_id in items.get(step.id, ()))
    steps += (one(step) for step in plan.hook_steps if step.id in outcomes or step.id in run.hooks)
    return Snapshot(
        run=replace(
            run, cause=redact(run.cause, plan), waits_for=redact(run.waits_for, plan), inputs=redact(run.inputs, plan)
        ),
        plan=replace(plan, inputs=redact(redact_inputs(plan), plan)),
        steps=tuple(steps),
        running=tuple(
            one(replace(plan.by_id[written(step_id)], id=step_id, foreach=None))
            for step_id in active
            if written(step_id) in plan.by_id
        ),
        result=redact(result, plan),
    )


def step_snapshot(
    run: Run,
    plan: Plan,
    step: Step,
    outcome: Outcome | None,
    *,
    running: Underway | None = None,
    failures: Sequence[FailedAttempt] = (),
) -> StepSnapshot:
    """Return one step as it was read from the ledger, without the secrets of its plan."""
    active = running if step.kind == "hook" or not run.ended else None
    error = outcome.error if outcome else active.error if active else None
    if error is None and active and active.status == "retrying" and failures:
        error = failures[-1].error
    late = lateness(plan.fan_out_of(step)) if outcome and outcome.status == "late" else ""
    reason = "; then ".join(filter(None, [late, f"{error.type}: {error.message}" if error else ""]))
    return StepSnapshot(
        step=_redacted_step(step, plan) if plan.secrets else step,
        status=status_in(run, plan, step, outcome, active),
        outcome=_redacted_outcome(outcome, plan) if outcome and plan.secrets else outcome,
        running=active and _redacted_running(active, plan),
        failures=tuple(_redacted_failure(each, plan) for each in failures),
        reason=redact(reason, plan) if reason else "",
    )


def status_in(run: Run, plan: Plan, step: Step, outcome: Outcome | None, running: Underway | None) -> Status:
    """Return the status of a step, also of an item that was not needed: of a million, those have no outcome."""
    if outcome is None and step.kind == "collector" and run.stopped and plan.fan_out_of(step).id in run.stopped:
        return "not_needed"
    if outcome is None and step.kind == "hook" and (step.id in run.hooks or not run.ended):
        return running.status if running else "pending"
    return status_of(run, outcome, running)


def status_of(run: Run, outcome: Outcome | None, running: Underway | None) -> Status:
    """Return the status of a step; in a run that has ended, a step without an outcome was not run."""
    if outcome:
        return outcome.status
    if run.ended:
        return "cancelled" if run.status == "cancelled" else "not_run"
    return running.status if running else "pending"


def count_items(
    run: Run, step: Step, total: int, ended: Mapping[Status, int], running: Mapping[str, Underway]
) -> dict[Status, int]:
    """Return the number of items of a ``foreach`` in each status, without the empty ones.

    Args:
        total: the number of items.
        ended: the number of items that have ended in each status.
        running: the steps and items of the run that are executed, or wait for their next attempt; none if it has ended.
    """
    counts: Counter[Status] = Counter(ended)
    left = total - counts.total()
    active: Counter[Status] = Counter()
    for step_id, each in running.items():
        if written(step_id) == step.id:
            active[each.status] += each.count
    if active["limited"]:  # as many of its batches have no outcome: some of them are executed
        active["limited"] = max(0, min(active["limited"], left) - active["running"] - active["retrying"])
    if active.total() > left:  # some of them have ended since
        active = Counter({"running": left})
    counts.update(active)
    counts[status_of(run, None, None)] += left - active.total()
    return {status: counts[status] for status in ORDER if counts[status]}


def redact_event(event: Event, plan: Plan) -> Event:
    """Return an event of a run without the secrets of its plan."""
    return replace(
        event, step=redact_id(event.step, plan), worker=redact(event.worker, plan), message=redact(event.message, plan)
    )


def _redacted_step(step: Step, plan: Plan) -> Step:
    item = step.item and replace(step.item, value=redact(step.item.value, plan), key=redact(step.item.key, plan))
    return replace(step, id=redact_id(step.id, plan), item=item)


def _redacted_outcome(outcome: Outcome, plan: Plan) -> Outcome:
    return replace(
        outcome,
        step=redact_id(outcome.step, plan),
        value=redact(outcome.value, plan),
        error=outcome.error and _redacted_error(outcome.error, plan),
        worker=redact(outcome.worker, plan),
        json="",
        notes=redact(outcome.notes, plan),
    )


def _redacted_running(running: Underway, plan: Plan) -> Underway:
    error = running.error and _redacted_error(running.error, plan)
    return replace(running, worker=redact(running.worker, plan), error=error)


def _redacted_failure(failure: FailedAttempt, plan: Plan) -> FailedAttempt:
    return replace(failure, worker=redact(failure.worker, plan), error=_redacted_error(failure.error, plan))


def _redacted_error(error: Error, plan: Plan) -> Error:
    return Error(*redact(astuple(error), plan))
