"""The ledger refuses an outcome: what is recorded instead."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import redis

from runner.brokers import connect
from runner.language.layout import Layout
from runner.language.plan import Foreach, Item, Retry, Step
from runner.ledger.codec import packed
from runner.ledger.entries import Error, Granted, Outcome, Postponed
from runner.ledger.ledger import Ledger
from runner.ledger.run_record import RunRecord
from runner.worker.attempt import Attempt
from runner.worker.endings import Success, exception
from runner.worker.record import outcome_of, record
from tests.plans import granted, make_collector, make_outcome, make_plan
from tests.servers import Server

PLAN = make_plan("p", collectors="a b", gather="g")
HALF = "worker \ud83d"


@pytest.fixture
def ledger(valkey: Server) -> Ledger:
    ledger = Ledger(connect(valkey.url), ttl=60)
    ledger.open("run-1", PLAN).accept()
    return ledger


@pytest.fixture
def run(ledger: Ledger) -> RunRecord:
    return ledger.open("run-1", PLAN)


def claim(run: RunRecord, step: Step) -> Granted:
    [claimed] = run.claim([step], token=step.id, worker="w", lease=30)
    return granted(claimed)


def told(run: RunRecord) -> dict[str, tuple[str, str]]:
    return {step: (each.status, each.error.type if each.error else "") for step, each in run.outcomes().items()}


def test_half_a_surrogate_pair_is_escaped_wherever_it_stands(run: RunRecord) -> None:
    """Lua's JSON refuses it, and with it every other outcome of the same call."""
    run.finish([make_outcome("a", "succeeded", 1, ref="a", worker=HALF)])
    outcome = run.outcome("a")
    assert outcome is not None
    assert outcome.worker == r"worker \ud83d"


def test_an_outcome_that_the_ledger_refuses_is_recorded_as_such_and_costs_no_other(
    run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken for a ledger that is away, and the message came back without end: 20 MB of log in 35 s."""
    good = make_outcome("a", "succeeded", 1, ref="a")
    bad = make_outcome("b", "succeeded", {"not": "json"}, ref="b", json="{", attempts=1)
    refuse(run, monkeypatch, lambda each: each.json == "{")

    assert record(run, [bad, good]) == {}

    assert told(run) == {"a": ("succeeded", ""), "b": ("failed", "NotRecorded")}


def test_a_retry_that_the_ledger_refuses_is_the_end_of_its_step(
    run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(run, PLAN.collectors[0])

    def refuse_all(*_: Any) -> list[str]:
        raise redis.ResponseError("user_script:1: no")

    monkeypatch.setattr(run, "postpone", refuse_all)

    error = Error("ValueError", "no")
    postponed = Postponed(step="a", ref="a", error=error, attempt=1, seconds=5.0)

    assert record(run, [postponed]) == {}

    assert told(run) == {"a": ("failed", "NotRecorded")}


def test_an_item_whose_retry_the_ledger_refuses_counts_as_ended(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger did not know which batch it was in: the gather waited for it until the run expired."""
    item = Item("x", "0", 0)
    page = make_collector("page", foreach=Foreach(items=["x"]), retry=Retry(max_retries=1))
    wide = make_plan("wide", collectors=[page], gather="g")
    ledger.open("run-2", wide).accept(
        layout=Layout(counts={"page": 1}, sizes={"page": 1}), items=[packed([item], "page/0")]
    )
    [claimed] = ledger.open("run-2", wide).claim([page.of(item)], token="one", worker="w", lease=30)
    other = ledger.open("run-2", wide)
    attempt = Attempt(run=other, step=page.of(item), claim=granted(claimed), worker="w")

    def refuse_all(*_: Any) -> list[str]:
        raise redis.ResponseError("user_script:1: no")

    monkeypatch.setattr(other, "postpone", refuse_all)

    record(other, [outcome_of(attempt, exception(OSError("no")))])

    assert ledger.open("run-2").left() == {}


def refuse(run: RunRecord, monkeypatch: pytest.MonkeyPatch, which: Callable[[Outcome], bool]) -> None:
    """Have a script fail at some outcomes."""
    finish = run.finish

    def refusing(outcomes: Iterable[Outcome], *more: Any, **words: Any) -> list[str]:
        outcomes = list(outcomes)
        if any(map(which, outcomes)):
            raise redis.ResponseError("user_script:1: no")
        return finish(outcomes, *more, **words)

    monkeypatch.setattr(run, "finish", refusing)


def test_a_step_of_the_tail_whose_outcome_is_refused_ends_the_run(
    run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(run, [make_outcome("a", "succeeded", 1, ref="a"), make_outcome("b", "succeeded", 2, ref="b")])
    attempt = Attempt(
        run=run,
        step=PLAN.fan_outs[0].gather,
        claim=claim(run, PLAN.fan_outs[0].gather),
        worker="w",
    )
    refuse(run, monkeypatch, lambda each: each.status == "succeeded")

    record(run, [outcome_of(attempt, Success(3, "3"))])

    assert told(run)["g"] == ("failed", "NotRecorded")
    assert run.info().status == "failed"


def test_a_ledger_that_is_away_fails_no_step(run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> list[str]:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(run, "finish", away)
    with pytest.raises(redis.ConnectionError):
        record(run, [make_outcome("a", "succeeded", 1, ref="a")])
