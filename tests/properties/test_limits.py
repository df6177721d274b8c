"""Limits in the ledger: no window has more starts than its rate, no moment more steps than the concurrency, whoever asks how."""

import multiprocessing
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.brokers import connect
from runner.language.limits import Limit, Rate
from runner.ledger.entries import Granted, Refused
from runner.ledger.ledger import Ledger
from runner.ledger.limits import Named
from tests.limited_runs import Simulation, most_at_once, most_in_a_window
from tests.plans import make_collector, make_plan
from tests.servers import Server

JITTER = 0.001  # of the real clock, which goes on while the test works

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
