"""What came of an attempt, where the ledger refuses it."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import redis

from runner import brokers
from runner.language.plan import Step
from runner.ledger.damage import UnreadableRun
from runner.ledger.entries import Claim, Error, Outcome, Postponed
from runner.ledger.ledger import Ledger
from runner.worker.attempt import Attempt
from runner.worker.endings import Success
from runner.worker.record import outcome_of, record
from tests.plans import make_outcome, make_plan
from tests.servers import Server

PLAN = make_plan("p", collectors="a b", gather="g")
REFUSED = "worker \ud83d"  # half a surrogate pair, which Lua's cjson refuses; only the texts of errors are made valid


@pytest.fixture
def ledger(valkey: Server) -> Ledger:
    ledger = Ledger(brokers.connect(valkey.url), ttl=60)
    ledger.accept("run-1", PLAN)
    return ledger


def claim(ledger: Ledger, step: Step) -> Claim:
    [claimed] = ledger.claim("run-1", [step], PLAN, token=step.id, worker="w", lease=30)
    assert claimed.answer == "yours"
    return claimed


def told(ledger: Ledger) -> dict[str, tuple[str, str]]:
    return {
        step: (each.status, each.error.type if each.error else "") for step, each in ledger.outcomes("run-1").items()
    }


def test_the_ledger_refuses_half_a_surrogate_pair(ledger: Ledger) -> None:
    """Why there is something to be tested here."""
    with pytest.raises(UnreadableRun):
        ledger.finish("run-1", [make_outcome("a", "succeeded", 1, worker=REFUSED)], PLAN)


def test_an_outcome_that_the_ledger_refuses_is_recorded_as_such_and_costs_no_other(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken for a ledger that is away, and the message came back without end: 20 MB of log in 35 s."""
    good, bad = make_outcome("a", "succeeded", 1), make_outcome("b", "succeeded", {"not": "json"}, json="{", attempts=1)
    refuse(ledger, monkeypatch, lambda each: each.json == "{")

    assert record(ledger, PLAN, "run-1", [bad, good]) == {}

    assert told(ledger) == {"a": ("succeeded", ""), "b": ("failed", "NotRecorded")}


def test_a_retry_that_the_ledger_refuses_is_the_end_of_its_step(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(ledger, PLAN.collectors[0])

    def refuse_all(*_: Any) -> list[str]:
        raise redis.ResponseError("user_script:1: no")

    monkeypatch.setattr(ledger, "postpone", refuse_all)

    assert (
        record(ledger, PLAN, "run-1", [Postponed(step="a", error=Error("ValueError", "no"), attempt=1, seconds=5.0)])
        == {}
    )

    assert told(ledger) == {"a": ("failed", "NotRecorded")}


def refuse(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, which: Callable[[Outcome], bool]) -> None:
    """Have a script fail at some outcomes."""
    finish = ledger.finish

    def refusing(run_id: str, outcomes: Iterable[Outcome], *more: Any, **words: Any) -> list[str]:
        outcomes = list(outcomes)
        if any(map(which, outcomes)):
            raise redis.ResponseError("user_script:1: no")
        return finish(run_id, outcomes, *more, **words)

    monkeypatch.setattr(ledger, "finish", refusing)


def test_a_step_of_the_tail_whose_outcome_is_refused_ends_the_run(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(ledger, PLAN, "run-1", [make_outcome("a", "succeeded", 1), make_outcome("b", "succeeded", 2)])
    attempt = Attempt(
        ledger=ledger,
        plan=PLAN,
        run_id="run-1",
        step=PLAN.fan_outs[0].gather,
        claim=claim(ledger, PLAN.fan_outs[0].gather),
        worker="w",
    )
    refuse(ledger, monkeypatch, lambda each: each.status == "succeeded")

    record(ledger, PLAN, "run-1", [outcome_of(attempt, Success(3, "3"))])

    assert told(ledger)["g"] == ("failed", "NotRecorded")
    assert ledger.run("run-1").status == "failed"


def test_a_ledger_that_is_away_fails_no_step(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> list[str]:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(ledger, "finish", away)
    with pytest.raises(redis.ConnectionError):
        record(ledger, PLAN, "run-1", [make_outcome("a", "succeeded", 1)])
