"""A batch executed in this process, on a real ledger."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runner.brokers import connect
from runner.language.layout import Layout
from runner.language.plan import Foreach, Item
from runner.ledger.codec import packed
from runner.ledger.ledger import Ledger
from runner.settings import Settings
from runner.worker.batch import Batch, Paces
from runner.worker.callee import Callee
from runner.worker.process import own
from tests.plans import make_collector, make_gather, make_plan

PAGE = make_collector("page", "slow", arguments={"n": "${{ item }}"}, foreach=Foreach(items=list(range(10))))
PLAN = make_plan("wide", collectors=(PAGE,), gather=make_gather("gather", "sum"))


@pytest.fixture
def ledger(valkey: Any) -> Ledger:
    ledger = Ledger(connect(valkey.url), ttl=60)
    ledger.open("run-1", PLAN).accept(
        layout=Layout(counts={"page": 10}, sizes={"page": 10}),
        items=[packed((Item(n, str(n), n) for n in range(10)), "page/0")],
    )
    return ledger


def execute(ledger: Ledger, task: Any, folder: Path) -> None:
    steps = ledger.open("run-1", PLAN).steps("page/0")
    Batch(
        run=ledger.open("run-1", PLAN),
        steps=steps,
        worker="w1",
        settings=Settings(state_dir=folder),
        callees={("slow", None): Callee.of(task, PAGE)},
    ).execute()


def noted(begun: list[int], *, seconds: float) -> Callable[[int], int]:
    """A task that takes so long, and notes what it was called with."""

    def slow(n: int) -> int:
        begun.append(n)
        time.sleep(seconds)
        return n

    return slow


def test_collectors_that_are_slower_than_those_before_are_not_kept_from_others(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were claimed ten at once, for a tenth of a second of work as it seemed. Here they take a second and a half."""
    monkeypatch.setitem(own(Paces), "slow", 1e-6)
    begun: list[int] = []
    slow = noted(begun, seconds=0.15)

    def cancelling(n: int) -> int:
        if n == 2:
            ledger.open("run-1").cancel("by the test")
        return slow(n)

    execute(ledger, cancelling, tmp_path)

    assert begun == [0, 1, 2]


def test_collectors_of_a_batch_are_executed_once_in_their_order(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(own(Paces), "slow", 1e-6)
    begun: list[int] = []

    execute(ledger, noted(begun, seconds=0.06), tmp_path)

    assert begun == list(range(10))
    assert list(ledger.open("run-1").collected(PLAN.collectors)) == list(range(10))


def test_each_collector_of_a_batch_started_after_those_before(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(own(Paces), "slow", 1e-6)
    execute(ledger, lambda n: time.sleep(0.01 + 0 * n), tmp_path)
    outcomes = ledger.open("run-1").outcomes().values()
    starts = sorted(each.started_at for each in outcomes if each.started_at)
    # They are claimed together, and each takes 10 ms: none starts before the one before it has slept.
    assert [later - earlier >= 0.009 for earlier, later in pairwise(starts)] == 9 * [True]
