"""The events of a run, one by one, to the state of each of its steps."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import cast

from runner.language.layout import Layout
from runner.language.plan import Plan, Step
from runner.language.tolerance import lateness
from runner.ledger.entries import PASSING, Event
from runner.ledger.snapshot import redact_event
from runner.ledger.statuses import OPEN, Status
from runner.text import printable
from runner.views.item_counts import ItemCounts


@dataclass(slots=True)
class StepState:
    """The state of a step.

    Args:
        status: of its outcome; before it has one, ``pending``, ``running``, ``retrying`` or ``limited``.
        started_at: of the last attempt, seconds since the epoch.
        ended_at: the same; None while it runs.
        message: why the last attempt failed, on one line; if it is limited, the limit that holds it back, and why.
        wait: seconds from then to the next attempt, if it is retrying, or until the limit may allow it.
    """

    step: Step
    status: Status = "pending"
    attempt: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    worker: str = ""
    message: str = ""
    wait: float = 0.0

    @property
    def ended(self) -> bool:
        return self.status not in OPEN

    @property
    def kept(self) -> bool:
        """Whether the run took over its outcome, from before it was resumed or from another run: it was not executed in this one."""
        return self.status in PASSING and self.started_at is None

    def seconds(self, now: float) -> float | None:
        """Return the seconds that the last attempt took, or has taken until now; none for a step that was not run."""
        if self.started_at is None or self.status == "not_run":
            return None
        return max(0.0, (now if self.ended_at is None else self.ended_at) - self.started_at)


@dataclass(frozen=True, slots=True)
class Change:
    """The change that an event has made.

    Args:
        event: without secrets.
        step: the state of its step, or of its items; None if the event is about the run, or changes nothing.
    """

    event: Event
    step: StepState | ItemCounts | None = None


class RunState:
    """The state of a run. Items of a ``foreach`` are counted; every other step has a state of its own. Without secrets.

    Args:
        plan: the run's, with its inputs, the secret ones included.
        layout: the run's; it may be left out if nothing has ``foreach``.
    """

    def __init__(self, plan: Plan, layout: Layout | None = None) -> None:
        layout = layout or Layout()
        self.ended = False
        self.steps = {step.id: StepState(step) for step in (*plan.steps, *plan.hook_steps) if step.foreach is None}
        self.collectors = [self.steps[step.id] for step in plan.collectors if step.foreach is None]
        self.tail = [self.steps[step.id] for step in plan.tail]
        self.hooks = [self.steps[step.id] for step in plan.hook_steps]
        # Those of a later fan-out are counted when it begins.
        self.items = {
            step.id: ItemCounts(step.id, layout.number(step) if layout.is_counted(step) else 0)
            for step in plan.collectors
            if step.foreach
        }
        self.collector_counts = ItemCounts("", len(self.collectors))  # of those without `foreach`
        self.began_at: float | None = None  # when it was accepted, or resumed
        self._plan = plan
        self._waits_for = ""
        self._latest = 0.0

    @property
    def total(self) -> int:
        """The number of collectors, as far as it is known."""
        return self.collector_counts.total + sum(each.total for each in self.items.values())

    @property
    def counts(self) -> Counter[Status]:
        """The number of collectors in each status."""
        return sum((each.counts for each in (self.collector_counts, *self.items.values())), Counter())

    @property
    def ended_collectors(self) -> int:
        """The number of collectors that have ended."""
        return self.collector_counts.ended + sum(each.ended for each in self.items.values())

    @property
    def waits_for(self) -> str:
        """Why the run makes no progress, while no step of it is executed or waits for its next attempt."""
        counts = self.counts + Counter(each.status for each in self.tail)
        return "" if counts["running"] or counts["retrying"] or counts["limited"] or self.ended else self._waits_for

    @property
    def now(self) -> float:
        """The time by this machine's clock, or by the broker's, which stamps the events, if that is ahead."""
        return self._latest if self.ended else max(time.time(), self._latest)

    def apply(self, event: Event) -> Change:
        """Change the state by an event."""
        event = redact_event(event, self._plan)
        self._latest = max(self._latest, event.at)
        if self.began_at is None:
            self.began_at = event.at
        if event.event == "ended":
            self.ended = True
            for each in self.items.values():
                each.close("cancelled" if event.status == "cancelled" else "not_run")
        if event.event == "waiting":
            self._waits_for = printable(event.message)
        if event.step in self.items:
            return Change(event, self._apply_to_items(event, self.items[event.step]))
        return Change(event, self._apply_to_step(event, self.steps.get(event.step)))

    def _apply_to_step(self, event: Event, state: StepState | None) -> StepState | None:
        if state is None or state.ended:
            return None
        before = state.status
        match event.event:
            case "started":
                state.status, state.started_at, state.ended_at = "running", event.at, None
            case "postponed":
                state.status, state.ended_at, state.wait = "retrying", event.at, event.seconds
            case "limited":
                state.status, state.ended_at, state.wait = "limited", event.at, event.seconds
            case "finished":
                state.status, state.ended_at = cast("Status", event.status), event.at
            case _:
                return None
        state.attempt = event.attempt or state.attempt
        state.worker = printable(event.worker) or state.worker
        state.message = self._message(event)
        if state.step.kind == "collector":
            self.collector_counts.move(before, state.status, event.at)
        return state

    def _apply_to_items(self, event: Event, counts: ItemCounts) -> ItemCounts | None:
        match event.event:
            case "begun":
                counts.expect(event.count)
            case "started":
                counts.start(event.count, event.at)
            case "limited":
                counts.hold_back(event.at, event.seconds, printable(event.message))
            case "postponed":
                counts.postpone(event.count, event.at, event.seconds, self._message(event))
            case "finished":
                counts.finish(event.count, event.at, cast("Status", event.status), self._message(event))
            case _:
                return None
        return counts

    def _message(self, event: Event) -> str:
        """Return why it failed, if it did, on one line."""
        step = self._plan.by_id.get(event.step)
        late = lateness(self._plan.fan_out_of(step)) if step and event.status == "late" else ""
        return printable((event.message or late).strip().removeprefix("NotRun: ").removeprefix("Skipped: "))
