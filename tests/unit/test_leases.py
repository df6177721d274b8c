"""How a process keeps the leases that it holds."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from runner import leases
from runner.store import Store


def test_steps_that_begin_at_once_share_a_thread_and_leave_no_lease_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two threads started a renewal: the lease of one was given back to the other's, and renewed for ever."""
    monkeypatch.setattr(leases, "_renewals", [])
    before = threading.active_count()
    together = threading.Barrier(8)

    def hold(number: int) -> None:
        together.wait()
        with leases.renewed(cast("Store", None), "run", token="mine", lease=3600) as held:
            held.steps.add(f"step {number}")
            together.wait()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, range(8)))

    assert threading.active_count() == before + 1
    assert not leases._renewals[0]._all
