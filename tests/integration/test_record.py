"""What came of an attempt, where the ledger refuses it."""

from typing import Any

import pytest
import redis

from runner import brokers
from runner.endings import Success
from runner.entries import Claim, Error, Outcome, Postponed
from runner.plan import Plan, Step
from runner.settle import Attempt, record, settle
from runner.store import Store
from tests.servers import Server

PLAN = Plan("p", "", (Step("a", "collector", "x"), Step("b", "collector", "x")), Step("g", "gather", "x"))
HALF = Error("ValueError", "half \ud83d of a pair")


@pytest.fixture
def ledger(valkey: Server) -> Store:
    ledger = Store(brokers.connect(valkey.url), ttl=60)
    ledger.accept("run-1", PLAN)
    return ledger


def claim(ledger: Store, step: Step) -> Claim:
    [claimed] = ledger.claim("run-1", [step], PLAN, token=step.id, worker="w", lease=30)
    assert claimed.answer == "yours"
    return claimed


def told(ledger: Store) -> dict[str, tuple[str, str]]:
    return {
        step: (each.status, each.error.type if each.error else "") for step, each in ledger.outcomes("run-1").items()
    }


def test_the_ledger_refuses_half_a_surrogate_pair(ledger: Store) -> None:
    """Why there is something to be tested here: Lua's cjson does."""
    with pytest.raises(redis.ResponseError):
        ledger.finish("run-1", [Outcome("a", "failed", error=HALF)], PLAN)


def test_an_outcome_that_the_ledger_refuses_is_recorded_as_such_and_costs_no_other(ledger: Store) -> None:
    """It was taken for a ledger that is away, and the message came back without end: 20 MB of log in 35 s."""
    good, bad = Outcome("a", "succeeded", 1), Outcome("b", "failed", error=HALF, attempts=1)

    assert record(ledger, PLAN, "run-1", [bad, good]) == {}

    assert told(ledger) == {"a": ("succeeded", ""), "b": ("failed", "NotRecorded")}


def test_a_retry_that_the_ledger_refuses_is_the_end_of_its_step(ledger: Store) -> None:
    claim(ledger, PLAN.collectors[0])

    assert record(ledger, PLAN, "run-1", [Postponed("a", HALF, 1, 5.0)]) == {}

    assert told(ledger) == {"a": ("failed", "NotRecorded")}


def test_a_step_of_the_tail_whose_outcome_is_refused_ends_the_run(
    ledger: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(ledger, PLAN, "run-1", [Outcome("a", "succeeded", 1), Outcome("b", "succeeded", 2)])
    attempt = Attempt(PLAN, "run-1", PLAN.gather, claim(ledger, PLAN.gather), "w")
    finish = ledger.finish

    def refuse(run_id: str, outcomes: Any, *more: Any, **words: Any) -> list[str]:
        if any(each.status == "succeeded" for each in outcomes):
            raise redis.ResponseError("user_script:1: no")
        return finish(run_id, outcomes, *more, **words)

    monkeypatch.setattr(ledger, "finish", refuse)
    settle(ledger, attempt, Success(3, "3"))

    assert told(ledger)["g"] == ("failed", "NotRecorded")
    assert ledger.run("run-1").status == "failed"


def test_a_ledger_that_is_away_is_no_outcome(ledger: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> list[str]:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(ledger, "finish", away)
    with pytest.raises(redis.ConnectionError):
        record(ledger, PLAN, "run-1", [Outcome("a", "succeeded", 1)])
