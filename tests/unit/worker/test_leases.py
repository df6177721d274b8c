"""A process renews its leases."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
import redis

from runner.ledger.run_record import RunRecord
from runner.ledger.server import Server
from runner.worker import leases, process
from tests.waiting import wait_until

RUN = RunRecord(cast("Server", None), "run")


def test_steps_that_begin_at_once_share_a_thread_and_leave_no_lease_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two threads started a renewal: the lease of one was given back to the other's, and renewed for ever."""
    monkeypatch.setattr(process, "_own", {})
    before = threading.active_count()
    together = threading.Barrier(8)

    def hold(number: int) -> None:
        together.wait()
        with leases.renewed(RUN, token="mine", lease=3600) as held:
            held.steps.add(f"step {number}")
            together.wait()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, range(8)))

    assert threading.active_count() == before + 1
    assert not process.own(leases._Renewal)._all


def test_a_ledger_that_is_away_ends_neither_the_thread_nor_the_look_at_what_is_overdue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread is one for the whole process: without it, every later step would lose its lease."""
    monkeypatch.setattr(process, "_own", {})
    monkeypatch.setattr(leases, "LOOK_EVERY", 0.01)
    asked: list[str] = []

    def overdue(step: str) -> None:
        asked.append(step)
        raise redis.ConnectionError("away")

    with leases.renewed(RUN, token="mine", lease=3600, overdue=overdue) as held:
        held.limits["slow"] = 0.0
        wait_until(lambda: len(asked) > 2, "it is asked again")


def test_a_new_lease_does_not_wake_a_renewal_thread_that_looks_soon_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """To wake it costs as much as a round trip, at every step."""
    monkeypatch.setattr(process, "_own", {})
    with leases.renewed(RUN, token="one", lease=3600):
        renewal = process.own(leases._Renewal)
        wait_until(lambda: renewal._wakes < float("inf"), "the thread sleeps until the first renewal")
        woken: list[bool] = []
        monkeypatch.setattr(renewal._changed, "notify", lambda: woken.append(True))
        with leases.renewed(RUN, token="two", lease=3600):
            assert not woken
        with leases.renewed(RUN, token="three", lease=60):
            assert woken
