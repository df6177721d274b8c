"""The costs of the reconciler when nothing is wrong."""

import time

import pytest
from celery import Celery

from runner.brokers import connect
from runner.ledger.ledger import Ledger
from runner.settings import Settings
from runner.worker import process
from runner.worker.reconcile import Reconciler, reconcile
from tests.plans import change_plan, make_plan
from tests.servers import Server

PLAN = make_plan(collectors="a", deadline=90)


@pytest.fixture
def ledger(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    ledger = Ledger(connect(valkey.url))
    monkeypatch.setattr(process, "ledger", lambda: ledger)
    return ledger


def commands(ledger: Ledger) -> dict[str, int]:
    return {name.removeprefix("cmdstat_"): told["calls"] for name, told in ledger.client.info("commandstats").items()}


def test_a_run_with_nothing_to_do_is_reconciled_without_its_plan(ledger: Ledger) -> None:
    """It may be large, and every run is looked at every two seconds."""
    ledger.open("run-1", PLAN).accept()
    reconcile("run-1", ledger, grace=3)
    ledger.client.config_resetstat()
    reconcile("run-1", ledger, grace=3)
    asked = commands(ledger)
    assert asked["evalsha"] == 1
    assert "get" not in asked


def test_many_runs_are_reconciled_together_and_those_that_have_ended_no_more(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "settings", lambda: Settings(grace=3600))  # none is silent, on however busy a machine
    for number in range(200):
        ledger.open(f"run-{number}", PLAN).accept()
        if number % 2:
            ledger.open(f"run-{number}").cancel("enough")
    reconciler = Reconciler("worker", 2)
    assert 0 < reconciler._look() <= 90
    assert len(ledger.active()) == 100
    ledger.client.config_resetstat()
    reconciler._look()
    asked = commands(ledger)
    assert asked["evalsha"] in {100, 101}  # every ten seconds the time is asked for, too
    assert asked["zrange"] == 1
    assert "get" not in asked


def accept_newer(ledger: Ledger) -> None:
    """A run whose plan is of a newer version, and whose deadline has passed."""
    ledger.open("newer", change_plan(PLAN, version=2, deadline=0.001)).accept()
    ledger.open("newer", PLAN).claim(PLAN.collectors, token="t", worker="w", lease=60)
    ledger.server.clock_offset += 1


def test_a_reconciler_looks_again_at_the_next_deadline_however_seldom_it_looks(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadline fired up to a whole interval of the reconciler late."""
    monkeypatch.setattr(process, "settings", lambda: Settings(reconcile_every=300))
    monkeypatch.setattr(process, "app", lambda: Celery(set_as_current=False))
    ledger.open("run-1", PLAN).accept()

    assert 0 < Reconciler("worker", 2)._once() <= 90


def test_a_reconciler_lets_one_lead_that_reads_the_plans_that_it_cannot_read(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it led, no deadline of a run of a newer version fired, though a worker of that version was there."""
    now = time.monotonic()
    monkeypatch.setattr(process, "settings", lambda: Settings(reconcile_every=2))
    monkeypatch.setattr(process, "app", lambda: Celery(set_as_current=False))
    monkeypatch.setattr(time, "monotonic", lambda: now)
    accept_newer(ledger)
    older = Reconciler("older", 2)
    ledger.serve("newer", 2, ["plans of version 2"], 60)

    older._once()
    ledger.server.clock_offset += 2
    now += 2
    older._once()

    assert ledger.lead("newer", 6)
    assert ledger.unreadable() == {}


def test_a_reconciler_continues_where_no_other_reads_the_plans_that_it_cannot_read(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "settings", lambda: Settings(reconcile_every=2))
    monkeypatch.setattr(process, "app", lambda: Celery(set_as_current=False))
    accept_newer(ledger)
    older = Reconciler("older", 2)

    older._once()
    ledger.server.clock_offset += 2

    assert ledger.is_led()
    assert not ledger.lead("another", 6)
