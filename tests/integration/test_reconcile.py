"""What it costs to look after runs in which nothing is amiss."""

import pytest

from runner import brokers
from runner.ledger.ledger import Ledger
from runner.worker import process as here
from runner.worker.reconcile import Reconciler, reconcile
from tests.plans import make_plan
from tests.servers import Server

PLAN = make_plan(collectors="a", deadline=90)


@pytest.fixture
def ledger(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    ledger = Ledger(brokers.connect(valkey.url))
    monkeypatch.setattr(here, "ledger", lambda: ledger)
    return ledger


def commands(ledger: Ledger) -> dict[str, int]:
    return {name.removeprefix("cmdstat_"): told["calls"] for name, told in ledger.client.info("commandstats").items()}


def test_the_plan_is_not_read(ledger: Ledger) -> None:
    """It may be large, and every run is looked at every two seconds."""
    ledger.accept("run-1", PLAN)
    reconcile("run-1", ledger, grace=3)
    ledger.client.config_resetstat()
    reconcile("run-1", ledger, grace=3)
    asked = commands(ledger)
    assert asked["evalsha"] == 1
    assert "get" not in asked


def test_many_runs_are_looked_at_together_and_those_that_have_ended_no_more(ledger: Ledger) -> None:
    for number in range(200):
        ledger.accept(f"run-{number}", PLAN)
        if number % 2:
            ledger.cancel(f"run-{number}", "enough")
    reconciler = Reconciler("worker", 2)
    assert 80 < reconciler._look() <= 90
    assert len(ledger.active()) == 100
    ledger.client.config_resetstat()
    reconciler._look()
    asked = commands(ledger)
    assert asked["evalsha"] in {100, 101}  # every ten seconds the time is asked for, too
    assert asked["zrange"] == 1
    assert "get" not in asked
