"""Limits in the ledger: runs whose messages ask, come back when they are told to, and execute; the clock goes on from one to the next.

The clock is the ledger's own, set forward: a minute of waiting takes a millisecond.
"""

import heapq
import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.brokers import connect
from runner.language.layout import Layout
from runner.language.limits import Limit, Rate
from runner.language.plan import Foreach, Item, Plan, Step
from runner.ledger.codec import packed
from runner.ledger.entries import Granted, Refused
from runner.ledger.ledger import Ledger
from runner.ledger.limits import Named
from tests.plans import make_collector, make_outcome, make_plan
from tests.servers import Server

LATE = 0.02  # seconds by which a message may come late
JITTER = 0.001  # of the real clock, which goes on while the test works


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


RATES = st.lists(
    st.builds(Rate, st.integers(1, 50), st.sampled_from([0.5, 1.0, 10.0, 60.0])),
    max_size=2,
    unique_by=lambda r: r.seconds,
)
LIMITS = st.builds(
    lambda rates, burst, concurrency: Limit(rates=tuple(rates), burst=burst, concurrency=concurrency),
    RATES,
    st.integers(1, 5),
    st.none() | st.integers(1, 4),
)


@given(limit=LIMITS, sizes=st.lists(st.integers(1, 25), min_size=1, max_size=3), data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_no_window_has_more_starts_than_a_rate_and_no_moment_more_steps_than_the_concurrency(
    limit: Limit, sizes: list[int], data: st.DataObject, valkey: Server
) -> None:
    """Celery #4614: 15 started where 10 were allowed. All are executed, whoever else waits, and no time is wasted."""
    with connect(valkey.url) as client:
        client.flushall()
        seed = data.draw(st.integers(0, 1000))
        simulation = Simulation(
            Ledger(client), limit, data.draw(st.sampled_from([0.0, 0.05, 1.0])), random.Random(seed)
        )
        for at, size in enumerate(sizes):
            simulation.submit(f"run{at}", size, messages=data.draw(st.integers(1, 6)))
        simulation.go_on()
    times = [at for at, _, _ in simulation.started]
    assert len(times) == sum(sizes)
    for rate in limit.rates:
        assert most_in_a_window(times, rate.seconds - JITTER) <= rate.starts + limit.burst - 1
    if limit.concurrency is not None:
        assert most_at_once(simulation.started) <= limit.concurrency


@pytest.mark.parametrize("burst", [1, 5])
def test_a_limited_run_takes_hardly_longer_than_it_must(burst: int, valkey: Server) -> None:
    """Wall time at most 1.1 of the ideal, though each message comes a little late."""
    with connect(valkey.url) as client:
        limit = Limit(rates=(Rate(10, 1.0),), burst=burst)
        simulation = Simulation(Ledger(client), limit, 0.01, random.Random(1))
        for run in ("a", "b"):
            simulation.submit(run, 100, messages=10)
        took = simulation.go_on()
    assert took <= 1.1 * (200 - burst) / 10
    assert simulation.asked <= 200 * 3


@pytest.mark.parametrize(
    "limit",
    [Limit(rates=(Rate(10, 1.0),)), Limit(concurrency=2), Limit(rates=(Rate(50, 1.0),), burst=10, concurrency=1)],
)
def test_a_large_run_does_not_starve_a_small_one(limit: Limit, valkey: Server) -> None:
    """They take turns: of three steps that come while four hundred wait, the last starts long before these have."""
    with connect(valkey.url) as client:
        simulation = Simulation(Ledger(client), limit, 0.1, random.Random(1))
        simulation.submit("large", 400, messages=20)
        simulation.submit("small", 3, messages=1, at=5.0)
        took = simulation.go_on()
    last = max(at for at, _, run in simulation.started if run == "small") - min(at for at, _, _ in simulation.started)
    assert last <= 5 + 8
    assert took > 15


def _claims(url: str, run_id: str, limit: Limit, ids: list[str], answers: Any) -> None:
    """What each of eight processes does: claim its steps until all have started, and tell when they did."""
    steps = [make_collector(each, limits=("shop",)) for each in ids]
    with connect(url) as client:
        record = Ledger(client).open(run_id, make_plan(run_id, collectors=tuple(steps), limits={"shop": limit}))
        named, rest, started = (Named("shop", limit),), list(steps), []
        while rest:
            limits = {step.id: named for step in rest}
            claims = record.claim(rest, token=rest[0].id, worker="w", lease=1000, take=2, limits=limits, ahead=True)
            granted = [claim for claim in claims if isinstance(claim, Granted)]
            started += [claim.started_at + claim.delay for claim in granted]
            rest = [step for step, claim in zip(rest, claims, strict=True) if isinstance(claim, Refused)]
    answers.put(started)


def test_eight_processes_that_never_wait_start_no_more_than_they_may(valkey: Server) -> None:
    """As fast as they can they ask again, whatever they are told."""
    limit = Limit(rates=(Rate(20, 0.5),), burst=4)
    ids = [f"s{number}" for number in range(120)]
    with connect(valkey.url) as client:
        plan = make_plan("all", collectors=tuple(make_collector(each, limits=("shop",)) for each in ids))
        assert Ledger(client).open("all", plan).accept()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [
        context.Process(target=_claims, args=(valkey.url, "all", limit, ids[at::8], answers)) for at in range(8)
    ]
    for process in processes:
        process.start()
    times = [at for _ in processes for at in answers.get(timeout=120)]
    for process in processes:
        process.join()
    assert len(times) == 120
    assert most_in_a_window(times, 0.5 - JITTER) <= 20 + 4 - 1
    assert max(times) - min(times) >= (120 - 24) / 40
