"""What a worker's process keeps of the ledger."""

import time
from dataclasses import replace

import pytest

from runner import brokers, here
from runner.plan import Plan, Step
from runner.store import Store
from tests.servers import Server

PLAN = Plan("news", "", (Step("a", "collector", "fetch"),), Step("gather", "gather", "merge"))


def test_an_id_that_is_used_again_has_its_own_plan_after_half_a_minute(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that had kept it for ever would execute the steps of a run that has expired."""
    ledger, now = Store(brokers.connect(valkey.url)), time.monotonic()
    monkeypatch.setattr(here, "ledger", lambda: ledger)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    ledger.accept("nightly", PLAN)
    assert here.plan("nightly") is here.plan("nightly")
    ledger.client.flushdb()
    other = replace(PLAN, description="another")
    ledger.accept("nightly", other)
    now += here.KNOWN_FOR
    assert here.plan("nightly") == other
