"""The ledger on a real Valkey: each transition is atomic, and the first write wins."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from runner import brokers
from runner.errors import MalformedRunId, UnknownRun
from runner.plan import Plan, Retry, Step
from runner.store import Error, Outcome, Store, check_run_id, new_run_id

PLAN = Plan(
    name="news",
    description="",
    collectors=(Step("a", "collector", "fetch"), Step("b", "collector", "fetch", retry=Retry(max_retries=2))),
    gather=Step("fan_in", "gather", "merge"),
    stages=(Step("first", "stage", "work"), Step("second", "stage", "work")),
    inputs={"topic": "x", "token": "s3cret"},
    secrets=("token",),
)
A, B = PLAN.collectors
FIRST, SECOND = PLAN.stages


@pytest.fixture
def ledger(valkey: Any) -> Iterator[Store]:
    client = brokers.connect(valkey.url)
    yield Store(client, ttl=60)
    client.close()


@pytest.fixture
def accepted(ledger: Store) -> Store:
    assert ledger.accept("run-1", PLAN)
    return ledger


def claim(ledger: Store, step: Step, *, token: str = "one", lease: float = 30) -> str:
    return ledger.claim("run-1", [step], PLAN, token=token, worker="w1", lease=lease)[0].answer


def succeed(ledger: Store, step: Step, value: object = 1) -> list[str]:
    return ledger.finish("run-1", [Outcome(step.id, "succeeded", value)], PLAN)


def test_an_accepted_run_is_pending_and_in_the_history(accepted: Store) -> None:
    assert [(run.id, run.workflow, run.status) for run in accepted.runs()] == [("run-1", "news", "pending")]


def test_the_plan_comes_back_as_it_was_accepted(accepted: Store) -> None:
    assert accepted.plan("run-1") == PLAN


def test_the_same_id_again_changes_nothing(accepted: Store) -> None:
    claim(accepted, A)
    assert not accepted.accept("run-1", PLAN)
    assert accepted.run("run-1").status == "running"


def test_a_secret_input_is_not_in_the_run(accepted: Store) -> None:
    assert accepted.run("run-1").inputs == {"topic": "x", "token": "***"}


def test_the_first_claim_starts_the_run(accepted: Store) -> None:
    assert claim(accepted, A) == "yours"
    assert accepted.run("run-1").started_at is not None


def test_a_leased_step_is_busy_for_everyone_else(accepted: Store) -> None:
    claim(accepted, A)
    [answer] = accepted.claim("run-1", [A], PLAN, token="other", worker="w2", lease=30)
    assert answer.answer == "busy"
    assert 29 < answer.wait <= 30


def test_an_expired_lease_is_anyones_and_counts_an_attempt(accepted: Store) -> None:
    claim(accepted, A, lease=0.02)
    time.sleep(0.03)
    [answer] = accepted.claim("run-1", [A], PLAN, token="other", worker="w2", lease=30)
    assert (answer.answer, answer.attempt) == ("yours", 2)


def test_a_claim_that_is_repeated_is_answered_as_the_first_time(accepted: Store) -> None:
    """The connection may break after the server has done it: redis-py then sends the command again."""
    answers = [accepted.claim("run-1", [A], PLAN, token="one", worker="w1", lease=30)[0] for _ in range(2)]
    assert [(answer.answer, answer.attempt) for answer in answers] == [("yours", 1), ("yours", 1)]


def test_a_lease_is_renewed_by_its_holder_alone(accepted: Store) -> None:
    claim(accepted, A)
    assert accepted.renew("run-1", ["a"], token="one", lease=30) == ["a"]
    assert accepted.renew("run-1", ["a"], token="other", lease=30) == []


def test_several_steps_are_claimed_at_once(accepted: Store) -> None:
    answers = accepted.claim("run-1", [A, B], PLAN, token="one", worker="w1", lease=30)
    assert [(each.step, each.answer) for each in answers] == [("a", "yours"), ("b", "yours")]


def test_the_first_outcome_wins(accepted: Store) -> None:
    claim(accepted, A)
    assert succeed(accepted, A, "first") == ["a"]
    assert succeed(accepted, A, "second") == []
    assert accepted.values("run-1", ["a"]) == {"a": "first"}


def test_a_finished_step_is_done(accepted: Store) -> None:
    succeed(accepted, A)
    assert claim(accepted, A) == "done"


def test_the_gather_is_not_ready_until_every_collector_has_an_outcome(accepted: Store) -> None:
    succeed(accepted, A)
    assert claim(accepted, PLAN.gather) == "not ready"
    succeed(accepted, B)
    assert claim(accepted, PLAN.gather) == "yours"


def test_an_outcome_told_twice_counts_once_for_the_gather(accepted: Store) -> None:
    succeed(accepted, A)
    succeed(accepted, A)
    assert claim(accepted, PLAN.gather) == "not ready"


def test_a_stage_is_not_ready_until_the_step_before_has_an_outcome(accepted: Store) -> None:
    assert claim(accepted, SECOND) == "not ready"
    succeed(accepted, FIRST)
    assert claim(accepted, SECOND) == "yours"


def test_a_postponed_step_is_busy_until_its_time(accepted: Store) -> None:
    claim(accepted, B)
    assert accepted.postpone("run-1", "b", error=Error("OSError", "no"), attempt=1, seconds=0.05)
    assert claim(accepted, B, token="other") == "busy"
    time.sleep(0.06)
    assert claim(accepted, B, token="other") == "yours"


def test_values_are_in_the_order_asked_for_without_those_that_are_missing(accepted: Store) -> None:
    succeed(accepted, B, None)
    accepted.finish("run-1", [Outcome("a", "failed", error=Error("OSError", "no"))], PLAN)
    assert accepted.values("run-1", ["b", "a"]) == {"b": None}


def test_an_outcome_comes_back_with_its_error(accepted: Store) -> None:
    told = Outcome("a", "failed", None, Error("OSError", "no", "Traceback"), 2, 1.5, 2.5, "w1")
    accepted.finish("run-1", [told], PLAN)
    assert accepted.outcome("run-1", "a") == told
    assert accepted.outcomes("run-1") == {"a": told}


def test_an_ended_run_takes_no_more_outcomes(accepted: Store) -> None:
    accepted.finish("run-1", [], PLAN, ends="failed", cause="why")
    assert succeed(accepted, A) == []
    run = accepted.run("run-1")
    assert (run.status, run.cause) == ("failed", "why")


def test_what_answers_after_the_deadline_stays_late_with_its_value_and_how_it_went(accepted: Store) -> None:
    accepted.finish("run-1", [Outcome("a", "late", attempts=1, started_at=1.5, worker="w1")], PLAN)
    answered = Outcome("a", "succeeded", 7, attempts=1, started_at=1.5, finished_at=9.5, worker="w1")
    assert accepted.finish("run-1", [answered], PLAN) == []
    assert accepted.outcome("run-1", "a") == replace(answered, status="late")
    assert claim(accepted, A) == "done"


def test_the_first_late_answer_wins(accepted: Store) -> None:
    accepted.finish("run-1", [Outcome("a", "late")], PLAN)
    failed = Outcome("a", "failed", error=Error("OSError", "no"), attempts=1, started_at=1.5, finished_at=9.5)
    accepted.finish("run-1", [failed], PLAN, ends="failed")
    accepted.finish("run-1", [Outcome("a", "succeeded", 7, attempts=2, started_at=3.5, finished_at=9.75)], PLAN)
    assert accepted.outcome("run-1", "a") == replace(failed, status="late")


def test_leased_steps_are_told_with_the_seconds_that_are_left(accepted: Store) -> None:
    claim(accepted, A)
    claim(accepted, B, lease=0.02)
    time.sleep(0.03)
    [(step, seconds)] = accepted.leased("run-1").items()
    assert step == "a"
    assert 29 < seconds <= 30


def test_nothing_of_a_cancelled_run_starts(accepted: Store) -> None:
    claim(accepted, B)
    assert accepted.cancel("run-1", "by hand") == "cancelled"
    assert claim(accepted, A) == "done"
    assert {outcome.status for outcome in accepted.outcomes("run-1").values()} == {"cancelled"}


def test_cancelling_keeps_what_had_succeeded(accepted: Store) -> None:
    succeed(accepted, A, 7)
    accepted.cancel("run-1", "by hand")
    assert accepted.values("run-1", ["a"]) == {"a": 7}


def test_cancelling_twice_gives_the_same_answer(accepted: Store) -> None:
    assert [accepted.cancel("run-1", "once"), accepted.cancel("run-1", "twice")] == ["cancelled", "cancelled"]
    assert accepted.run("run-1").cause == "once"


def test_cancelling_what_has_ended_changes_nothing(accepted: Store) -> None:
    accepted.finish("run-1", [], PLAN, ends="succeeded")
    assert accepted.cancel("run-1", "too late") == "succeeded"


def test_the_events_tell_the_whole_story(accepted: Store) -> None:
    claim(accepted, A)
    succeed(accepted, A)
    accepted.cancel("run-1", "enough")
    story = [(event.event, event.step, event.status) for event in accepted.follow("run-1") if event]
    assert story[:3] == [("accepted", "", ""), ("started", "a", ""), ("finished", "a", "succeeded")]
    assert story[-1] == ("ended", "", "cancelled")


def test_every_key_expires(accepted: Store) -> None:
    claim(accepted, A)
    claim(accepted, B)
    accepted.postpone("run-1", "b", error=Error("OSError", "no"), attempt=1, seconds=9)
    succeed(accepted, A)
    keys = accepted.client.keys()
    assert [key for key in keys if accepted.client.ttl(key) <= 0] == []


def test_all_keys_of_a_run_are_in_one_hash_slot(accepted: Store) -> None:
    claim(accepted, A)
    keys = accepted.client.keys()
    assert sorted(key for key in keys if "{run-1}" not in key) == ["runner:active", "runner:runs"]


def test_an_unknown_run_is_an_error_of_ours(ledger: Store) -> None:
    with pytest.raises(UnknownRun):
        ledger.run("nobody")
    with pytest.raises(UnknownRun):
        ledger.plan("nobody")
    with pytest.raises(UnknownRun):
        ledger.cancel("nobody", "")
    assert claim(ledger, A) == "unknown"


@pytest.mark.parametrize("run_id", ["", "../../x", "a b", "a\n", "a\0", "-a", "x" * 65, "ä"])
def test_a_malformed_run_id_is_refused(run_id: str) -> None:
    with pytest.raises(MalformedRunId):
        check_run_id(run_id)


def test_a_new_run_id_is_well_formed_and_another_each_time() -> None:
    first, second = new_run_id(PLAN), new_run_id(PLAN)
    assert check_run_id(first).startswith("news-")
    assert first != second
