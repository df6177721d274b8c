"""An attempt at a step, on a real ledger, where no task is called."""

import pytest

from runner.brokers import connect
from runner.ledger.entries import Granted
from runner.ledger.ledger import Ledger
from runner.settings import Settings
from runner.worker.attempt import Attempt
from runner.worker.callee import Callee
from runner.worker.endings import Ending, Failure, NotRun
from runner.worker.leases import Held
from runner.worker.perform import open_gate, perform
from tests.plans import granted, make_collector, make_outcome, make_plan
from tests.servers import Server

OPTIONAL = tuple(make_collector(name, required=False) for name in "ab")
PLAN = make_plan("p", collectors=OPTIONAL, gather="g", min_success=1)
GATHER = PLAN.by_id["g"]


@pytest.fixture
def ledger(valkey: Server) -> Ledger:
    ledger = Ledger(connect(valkey.url), ttl=60)
    ledger.open("run-1", PLAN).accept()
    return ledger


def attempt(ledger: Ledger) -> Attempt:
    [claim] = ledger.open("run-1", PLAN).claim([GATHER], token="t", worker="w", lease=30)
    return Attempt(run=ledger.open("run-1", PLAN), step=GATHER, claim=granted(claim), worker="w")


def test_a_gate_is_open_while_no_more_collectors_are_missing_than_may_be(ledger: Ledger) -> None:
    ledger.open("run-1").finish([make_outcome("a", "succeeded", 1, ref="a"), make_outcome("b", "failed", ref="b")])
    assert open_gate(attempt(ledger)) == ["b"]


def test_a_closed_gate_skips_the_gather_without_a_call(ledger: Ledger) -> None:
    ledger.open("run-1").finish([make_outcome("a", "failed", ref="a"), make_outcome("b", "failed", ref="b")])
    called: list[object] = []
    gather = attempt(ledger)
    held = Held(ledger.open("run-1"), "t", 30, None)

    result = perform(gather, Callee.of(called.append, GATHER), held, Settings())

    assert result == NotRun("2 of 2 collectors did not succeed: a, b; min_success is 1")
    assert called == []


def test_a_step_that_lost_its_workers_too_often_is_not_called(ledger: Ledger) -> None:
    called: list[object] = []
    claim = Granted(step="a", attempt=5, lost=4, started_at=1.0, first_started_at=1.0)
    step = PLAN.by_id["a"]
    poison = Attempt(run=ledger.open("run-1", PLAN), step=step, claim=granted(claim), worker="w")
    held = Held(ledger.open("run-1"), "t", 30, None)

    result = perform(poison, Callee.of(called.append, step), held, Settings())

    assert isinstance(result, Failure)
    assert result.ending is Ending.LOST
    assert called == []
