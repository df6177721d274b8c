"""The ledger of a worker's process."""

import time

import pytest

from runner.brokers import connect
from runner.ledger.ledger import Ledger
from runner.worker import process
from tests.plans import change_plan, make_plan
from tests.servers import Server

PLAN = make_plan(collectors="a")


def test_an_id_that_is_used_again_has_its_own_plan_after_half_a_minute(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that had kept it for ever would execute the steps of a run that has expired."""
    ledger, now = Ledger(connect(valkey.url)), time.monotonic()
    monkeypatch.setattr(process, "ledger", lambda: ledger)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    ledger.open("nightly", PLAN).accept()
    assert process.run("nightly") is process.run("nightly")
    ledger.client.flushdb()
    other = change_plan(PLAN, description="another")
    ledger.open("nightly", other).accept()
    now += process.PLAN_LIFETIME
    assert process.run("nightly").plan == other
