"""A run whose record in the ledger is damaged or incomplete: it affects no other run, and has no wrong result."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.brokers import connect
from runner.language.plan import Plan
from runner.language.workflow_file import load
from runner.ledger.ledger import Ledger
from runner.ledger.run_record import RunRecord
from runner.settings import Settings
from runner.worker import process
from runner.worker.reconcile import Reconciler
from tests.command_line import runner
from tests.faults.conftest import StartWorker
from tests.faults.flow import FLOW, SMALL
from tests.plans import change_plan, make_outcome
from tests.servers import Server
from tests.waiting import wait_until

# What may stand in the ledger instead of a plan: cut short, of bytes that are no text, of another shape.
PLANS: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda text: text[: len(text) // 2],
    "bytes": lambda text: text.replace(b'"', b"\xff", 9),
    "another shape": lambda _: b'{"parts":null}',
    "no object": lambda _: b"[]",
}


def planned(file: str, journal: Path) -> Plan:
    return load(file).bind({"journal": str(journal)}).plan


def key(run_id: str, name: str) -> str:
    return f"runner:{{{run_id}}}:{name}"


def damage_plan(ledger: Ledger, run_id: str, kind: str) -> None:
    raw = connect(f"redis://127.0.0.1:{ledger.client.get_connection_kwargs()['port']}/0", decode_responses=False)
    text = raw.get(key(run_id, "plan"))
    assert isinstance(text, bytes)
    raw.set(key(run_id, "plan"), PLANS[kind](text), ex=600)
    raw.close()


@pytest.mark.parametrize("kind", PLANS)
def test_a_run_that_cannot_be_read_leaves_the_others_to_the_reconciler(
    kind: str, tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F39: one such run ended the reconciler of every worker, for all runs: nothing lost was sent again, and `doctor` was silent."""
    plan = planned(SMALL, tmp_path / "journal")
    ledger.open("bad", plan).accept()
    damage_plan(ledger, "bad", kind)
    ledger.open("good", plan).accept()  # and never sent: only a reconciler starts it
    start_worker()

    wait_until(lambda: ledger.open("good").info().ended, "the good run has ended", timeout=30)
    wait_until(lambda: "bad" in ledger.unreadable(), "the bad run is recorded", timeout=30)

    assert ledger.open("good").info().status == "succeeded"
    assert "bad  " in runner("runs").stdout
    assert "run bad cannot be read" in runner("runs").stderr
    assert "run bad cannot be read" in runner("doctor").stdout
    assert runner("show", "bad").code == 7
    assert runner("cancel", "bad").code == 0
    assert ledger.open("bad").info().status == "cancelled"
    assert runner("forget", "bad").code == 0
    assert [run.id for run in ledger.runs()] == ["good"]
    assert ledger.client.keys("*{bad}*") == []


@pytest.mark.parametrize("name", ["run", "open", "left", "waits", "outcomes"])
def test_a_key_of_another_type_is_the_problem_of_its_run(
    name: str, tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F39: the script of a sweep fails over it, and with it failed all the sweeps of its pipeline."""
    plan = planned(SMALL, tmp_path / "journal")
    ledger.open("bad", plan).accept()
    ledger.client.delete(key("bad", name))
    ledger.client.set(key("bad", name), "x", ex=600)
    ledger.open("good", plan).accept()
    start_worker()

    wait_until(lambda: ledger.open("good").info().ended, "the good run has ended", timeout=30)

    assert ledger.open("good").info().status == "succeeded"
    assert runner("cancel", "bad").code == 0
    assert runner("forget", "bad").code == 0
    assert ledger.client.keys("*{bad}*") == []


class Broken(Ledger):
    """A ledger whose methods raise the given exceptions, each a given number of times."""

    raises: BaseException
    times: int

    def trip(self) -> None:
        if self.times > 0:
            self.times -= 1
            raise self.raises

    def active(self) -> dict[str, float]:
        self.trip()
        return super().active()

    def lead(self, who: str, seconds: float) -> bool:
        self.trip()
        return super().lead(who, seconds)

    def open(self, run_id: str, *args: Any) -> RunRecord:
        self.trip()
        return super().open(run_id, *args)


RAISED = [
    KeyError("status"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    OverflowError("cannot convert float infinity to integer"),
    RecursionError(),
    MemoryError(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    BaseException("of no kind"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_no_exception_of_any_kind_ends_the_thread_of_the_reconciler(
    error: BaseException, broker: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F39 thread: three kinds were caught; after any other no deadline fired any more, of any workflow."""
    ledger = Broken(connect(broker.url))
    ledger.raises, ledger.times = error, 0
    settings = Settings(broker_url=broker.url, reconcile_every=0.05, grace=0.1)
    monkeypatch.setattr(process, "ledger", lambda: ledger)
    monkeypatch.setattr(process, "settings", lambda: settings)
    monkeypatch.setattr("runner.worker.reconcile.AGAIN", 0.05)
    plan = planned(SMALL, tmp_path / "journal")
    reconciler = Reconciler("one", 2)
    run = ledger.open("late", change_plan(plan, deadline=0.001))
    ledger.times = 7
    reconciler.start()
    run.accept()
    run.claim(plan.collectors, token="t", worker="w", lease=60)

    wait_until(lambda: run.outcome("only"), "the deadline has fired")

    outcome = run.outcome("only")
    assert outcome is not None
    assert outcome.status == "late"
    reconciler.stop()
    reconciler._thread.join(timeout=10)


@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "1e300"])
@pytest.mark.parametrize("name", ["RECONCILE_EVERY", "GRACE", "LEASE", "VISIBILITY", "WAIT_FOR_TASK"])
def test_a_setting_in_seconds_that_is_infinite_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RUNNER_RECONCILE_EVERY=inf ended the reconciler: the broker takes no such number."""
    monkeypatch.setenv(f"RUNNER_{name}", value)
    answer = runner("runs")
    assert answer.code == 2
    assert f"RUNNER_{name}" in answer.stderr
    assert not math.isfinite(float(value)) or "less than or equal" in answer.stderr


# What of a run may be missing, and what its cause then says.


def ready_to_gather(ledger: Ledger, folder: Path) -> None:
    """The run "one", of which every collector has ended."""
    plan = planned(FLOW, folder / "journal")
    ledger.open("one", plan).accept()
    ledger.open("one").finish([make_outcome(step.id, "succeeded", [step.id], ref=step.ref) for step in plan.collectors])


@pytest.mark.parametrize("lost", [("values",), ("outcomes",), ("values", "outcomes")], ids=" and ".join)
def test_a_value_that_the_ledger_lost_is_missed_and_its_collector_executed_again(
    lost: tuple[str, ...], tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F51: it was left out of the fan-in silently, and the run succeeded with three values of four."""
    ready_to_gather(ledger, tmp_path)
    ledger.client.hdel(key("one", lost[0]), "three")
    ledger.client.hdel(key("one", lost[-1]), "three")
    start_worker()

    wait_until(lambda: ledger.open("one").info().ended, "the run has ended", timeout=30)
    assert ledger.open("one").info().status == "failed"
    assert "three is missing" in runner("show", "one").stdout

    answer = runner("resume", "one", "--json")

    assert answer.code == 0, answer.stderr
    assert json.loads(answer.stdout)["result"] == {"stage": [["one"], ["two"], ["three"], ["four"]]}


def test_a_stage_whose_value_before_is_lost_fails_and_names_it(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F51 stage: there was nothing to read, which was no JSON, and the run did not end."""
    ready_to_gather(ledger, tmp_path)
    ledger.open("one").finish([make_outcome("gather", "succeeded", ["x"])])
    ledger.client.hdel(key("one", "values"), "gather")
    start_worker()

    wait_until(lambda: ledger.open("one").info().ended, "the run has ended", timeout=30)

    assert (ledger.open("one").info().status, ledger.open("one").info().cause) == (
        "failed",
        "the value of gather is missing",
    )
    assert runner("resume", "one").code == 0
    assert ledger.open("one").value("stage") == {"stage": [["one"], ["two"], ["three"], ["four"]]}


def test_a_run_whose_plan_is_lost_fails_and_says_so(tmp_path: Path, ledger: Ledger, start_worker: StartWorker) -> None:
    """F51 plan: it was taken for a run that is not there, and stayed as it was for ever."""
    ready_to_gather(ledger, tmp_path)
    ledger.client.delete(key("one", "plan"))
    start_worker()

    wait_until(lambda: ledger.open("one").info().ended, "the run has ended", timeout=30)

    assert (ledger.open("one").info().status, ledger.open("one").info().cause) == ("failed", "its plan is missing")


WIDE = """
name: wide
collectors:
  - id: page
    task: collector_1
    foreach: [a, b, c]
    batch: 1
    with: {topic: "${{ item }}"}
gather: {id: gather, task: gather.concat}
"""


def test_a_run_whose_items_are_lost_fails_and_names_them(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F51 items: their message became a dead letter, again and again, and the run did not end."""
    workflow = tmp_path / "wide.yaml"
    workflow.write_text(WIDE)
    assert runner("run", str(workflow), "--run-id", "one", "--detach").code == 0
    ledger.client.hdel(key("one", "items"), "page/1")
    start_worker()

    wait_until(lambda: ledger.open("one").info().ended, "the run has ended", timeout=30)

    assert (ledger.open("one").info().status, ledger.open("one").info().cause) == (
        "failed",
        "the items page/1 are missing",
    )


def test_a_result_that_is_lost_is_not_shown_as_null(tmp_path: Path, ledger: Ledger) -> None:
    """F51 result: `run --json` and `show` printed null for a run that had succeeded with something else."""
    ready_to_gather(ledger, tmp_path)
    ledger.open("one").finish([make_outcome("gather", "succeeded", 1)])
    ledger.open("one").finish([make_outcome("stage", "succeeded", 2)], ends="succeeded")
    ledger.client.hdel(key("one", "values"), "stage")

    answer = runner("show", "one", "--json")

    assert answer.code == 7
    assert answer.json["error"]["message"] == "run one: the value of stage is missing in the ledger"
