"""How a run ends, on a real ledger."""

import pytest

from runner.brokers import connect
from runner.errors import UnknownRun
from runner.language.tolerance import Verdict
from runner.ledger.ledger import Ledger
from runner.worker.conclude import conclude
from tests.plans import make_outcome, make_plan
from tests.servers import Server

PLAN = make_plan("p", collectors="a b", gather="g", stages="s t")


@pytest.fixture
def ledger(valkey: Server) -> Ledger:
    ledger = Ledger(connect(valkey.url), ttl=60)
    ledger.open("run-1", PLAN).accept()
    return ledger


def statuses(ledger: Ledger) -> dict[str, str]:
    return {step: each.status for step, each in ledger.open("run-1").outcomes().items()}


def test_a_run_that_fails_skips_every_step_without_an_outcome(ledger: Ledger) -> None:
    ledger.open("run-1").finish([make_outcome("a", "succeeded", 1, ref="a")])

    conclude(ledger.open("run-1"), Verdict("failed", "its plan is missing"))

    assert statuses(ledger) == {"a": "succeeded", "b": "not_run", "g": "not_run", "s": "not_run", "t": "not_run"}
    run = ledger.open("run-1").info()
    assert (run.status, run.cause) == ("failed", "its plan is missing")


def test_a_run_that_is_cancelled_cancels_every_step_without_an_outcome(ledger: Ledger) -> None:
    ledger.open("run-1").finish([make_outcome("a", "failed", ref="a")])

    conclude(ledger.open("run-1"), Verdict("cancelled", "by hand"))

    assert statuses(ledger) == {"a": "failed", **dict.fromkeys("bgst", "cancelled")}
    assert ledger.open("run-1").info().status == "cancelled"


def test_the_last_outcome_of_a_run_is_recorded_with_its_end(ledger: Ledger) -> None:
    conclude(ledger.open("run-1"), Verdict("failed", "stage s failed"), last=make_outcome("s", "failed"))
    assert statuses(ledger) == {"s": "failed", "t": "not_run"}
    assert ledger.open("run-1").info().cause == "stage s failed"


def test_a_run_that_has_ended_keeps_its_status(ledger: Ledger) -> None:
    conclude(ledger.open("run-1"), Verdict("succeeded"), last=make_outcome("t", "succeeded", 1))
    conclude(ledger.open("run-1"), Verdict("failed", "too late"))
    conclude(ledger.open("run-1"), Verdict("cancelled", "too late"))
    assert ledger.open("run-1").info().status == "succeeded"


def test_a_run_that_cannot_be_read_is_failed_without_a_word_of_its_steps(ledger: Ledger) -> None:
    ledger.client.set("runner:{run-1}:plan", "{")
    conclude(ledger.open("run-1"), Verdict("failed", "it cannot be read"))
    assert (ledger.open("run-1").info().status, statuses(ledger)) == ("failed", {})


@pytest.mark.parametrize("verdict", [Verdict("failed", "gone"), Verdict("cancelled", "gone")])
def test_a_run_that_is_not_there_cannot_be_ended(ledger: Ledger, verdict: Verdict) -> None:
    with pytest.raises(UnknownRun):
        conclude(ledger.open("run-2"), verdict)
