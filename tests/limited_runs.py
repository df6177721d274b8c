"""Runs that share a limit, in the ledger's own time: their messages ask, come back when they are told to, and execute.

The ledger's clock is set forward from one to the next: a minute of waiting takes a millisecond.
"""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from runner.language.layout import Layout
from runner.language.limits import Limit
from runner.language.plan import Foreach, Item, Plan, Step
from runner.ledger.codec import packed
from runner.ledger.entries import Granted, Refused
from runner.ledger.ledger import Ledger
from runner.ledger.limits import Named
from tests.plans import make_collector, make_outcome, make_plan

LATE = 0.02  # seconds by which a message may come late


@dataclass
class Simulation:
    """Runs that share a limit, and what they have started: when, and until when.

    Args:
        seconds: how long each step is executed.
    """

    ledger: Ledger
    limit: Limit
    seconds: float
    random: random.Random
    started: list[tuple[float, float, str]] = field(default_factory=list)
    asked: int = 0
    _queue: list[tuple[float, int, Any]] = field(default_factory=list)
    _number: Any = field(default_factory=count)
    _begin: float = 0.0

    def submit(self, run_id: str, steps: int, *, messages: int, at: float = 0.0) -> None:
        """Add a run of so many steps, in so many messages, whose first ask comes at a time."""
        page = make_collector("page", foreach=Foreach(items=list(range(steps))), limits=("shop",))
        plan = make_plan(run_id, collectors=(page,), limits={"shop": self.limit})
        size = -(-steps // messages)
        items = [Item(number, str(number), number, number // size) for number in range(steps)]
        batches = {f"page/{at}": items[at * size : (at + 1) * size] for at in range(messages)}
        batches = {ref: some for ref, some in batches.items() if some}
        layout = Layout(counts={"page": steps}, sizes={"page": size})
        record = self.ledger.open(run_id, plan)
        assert record.accept(layout=layout, items=[packed(some, ref) for ref, some in batches.items()])
        for some in batches.values():
            self._push(at, (plan, layout, [page.of(each) for each in some]))

    def go_on(self) -> float:
        """Execute all; return the seconds from the first ask to the last start."""
        self._begin = self.ledger.server.now()
        while self._queue:
            due, _, message = heapq.heappop(self._queue)
            passed = self.ledger.server.now() - self._begin
            self.ledger.server.clock_offset += max(0.0, due - passed)
            self._ask(*message)
            assert self.asked < 20_000, "it does not end"
        return max(at for at, _, _ in self.started) - self._begin

    def _ask(self, plan: Plan, layout: Layout, steps: Sequence[Step], ended: Any = None) -> None:
        record = self.ledger.open(plan.name, plan, layout)
        if ended is not None:
            record.finish([make_outcome(ended.id, "succeeded", 1, ref=ended.ref)])
        if not steps:
            return
        self.asked += 1
        named = (Named("shop", self.limit),)
        limits = {step.id: named for step in steps}
        claims = record.claim(
            steps, token=str(next(self._number)), worker="w", lease=1000, take=1, limits=limits, ahead=True
        )
        now = self.ledger.server.now() - self._begin
        rest = [step for step, claim in zip(steps, claims, strict=True) if not isinstance(claim, Granted)]
        waits = [claim.wait for claim in claims if isinstance(claim, Refused) and claim.why == "limited"]
        for step, claim in zip(steps, claims, strict=True):
            if isinstance(claim, Granted):  # one, as a process executes one at a time
                at = claim.started_at + claim.delay
                self.started.append((at, at + self.seconds, plan.name))
                self._push(at - self._begin + self.seconds, (plan, layout, rest, step))
                return
        assert waits, claims
        self._push(now + min(waits) + self.random.random() * LATE, (plan, layout, rest))

    def _push(self, at: float, message: Any) -> None:
        heapq.heappush(self._queue, (at, next(self._number), message))


def most_in_a_window(started: Sequence[float], seconds: float) -> int:
    times = sorted(started)
    return max(sum(at <= each < at + seconds for each in times) for at in times)


def most_at_once(started: Sequence[tuple[float, float, str]]) -> int:
    changes = sorted([(at, 1) for at, _, _ in started] + [(end, -1) for _, end, _ in started])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most
