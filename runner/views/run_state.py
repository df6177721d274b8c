"""A run's events, one by one, to where each of its steps stands."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from runner import text
from runner.language import redact as mask
from runner.language import tolerance
from runner.language.plan import Plan, Step
from runner.ledger.entries import Event
from runner.views.item_counts import ItemCounts
from runner.views.status import OPEN


@dataclass(slots=True)
class StepState:
    """How far a step is.

    Args:
        status: of its outcome; before it has one, ``pending``, ``running`` or ``retrying``.
        started_at: of the last attempt, seconds since the epoch.
        ended_at: the same; None while it runs.
        message: why the last attempt failed, on one line, without secrets.
        wait: seconds from then to the next attempt, if it is retrying.
    """

    step: Step
    status: str = "pending"
    attempt: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    worker: str = ""
    message: str = ""
    wait: float = 0.0

    @property
    def ended(self) -> bool:
        return self.status not in OPEN

    def seconds(self, now: float) -> float | None:
        """How long the last attempt took, or has taken until now; a step that was passed over took none."""
        if self.started_at is None or self.status == "skipped":
            return None
        return max(0.0, (now if self.ended_at is None else self.ended_at) - self.started_at)


class RunState:
    """Where the steps of one run stand. Collectors with ``foreach`` are counted; of the others, each has its standing.

    Args:
        plan: the run's, with its inputs, so that secrets can be masked.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.status = "pending"
        self.standings = {step.id: StepState(step) for step in plan.steps if step.foreach is None}
        self.collectors = [self.standings[step.id] for step in plan.collectors if step.foreach is None]
        self.tail = [self.standings[step.id] for step in plan.tail]
        self.alone = ItemCounts("", len(self.collectors))
        self.tallies = {step.id: ItemCounts(step.id, step.count) for step in plan.collectors if step.foreach}
        self.total = plan.total
        self.began_at: float | None = None  # when it was accepted, or resumed
        self._waits_for = ""
        self._latest = 0.0

    @property
    def counts(self) -> Counter[str]:
        """How many collectors are in which state."""
        return sum((tally.counts for tally in (self.alone, *self.tallies.values())), Counter())

    @property
    def ended(self) -> int:
        """How many collectors have ended."""
        return self.alone.ended + sum(tally.ended for tally in self.tallies.values())

    @property
    def waits_for(self) -> str:
        """Why the run makes no progress, while no step of it is being executed or waits for another attempt."""
        busy = ("running", "retrying")
        counts = self.counts
        active = any(counts[each] for each in busy) or any(each.status in busy for each in self.tail)
        return "" if active or self.status == "ended" else self._waits_for

    @property
    def now(self) -> float:
        """This machine's clock, unless the broker's, which stamps the events, is ahead of it."""
        return self._latest if self.status == "ended" else max(time.time(), self._latest)

    def tell(self, event: Event) -> StepState | ItemCounts | None:
        """Take note of an event; answers where its step stands now, None if it is about the run or changes nothing."""
        self._latest = max(self._latest, event.at)
        if event.event == "ended":
            self.status = "ended"
            for tally in self.tallies.values():
                tally.close("cancelled" if event.status == "cancelled" else "skipped")
        if event.event == "waiting":
            self._waits_for = mask.line(event.message, self.plan)
        if self.began_at is None:
            self.began_at = event.at
        if event.step in self.tallies:
            return self._count(event, self.tallies[event.step])
        standing = self.standings.get(event.step)
        if standing is None or standing.ended:
            return None
        before = standing.status
        match event.event:
            case "started":
                standing.status, standing.started_at, standing.ended_at = "running", event.at, None
            case "postponed":
                standing.status, standing.ended_at, standing.wait = "retrying", event.at, event.seconds
            case "finished":
                standing.status, standing.ended_at = event.status, event.at
            case _:
                return None
        standing.attempt = event.attempt or standing.attempt
        standing.worker = text.printable(event.worker) or standing.worker
        standing.message = self._message(event)
        if standing.step.kind == "collector":
            self.alone.step(before, standing.status, event.at)
        return standing

    def _count(self, event: Event, tally: ItemCounts) -> ItemCounts | None:
        match event.event:
            case "started":
                tally.start(event.count, event.at)
            case "postponed":
                tally.postpone(event.count, event.at, event.seconds, self._message(event))
            case "finished":
                tally.finish(event.count, event.at, event.status, self._message(event))
            case _:
                return None
        return tally

    def _message(self, event: Event) -> str:
        """Why it failed, if it did, on one line."""
        step = self.plan.by_id.get(event.step)
        late = tolerance.lateness(self.plan.fan_out_of(step)) if step and event.status == "late" else ""
        message = event.message or late
        return mask.line(message.strip().removeprefix("Skipped: "), self.plan)
