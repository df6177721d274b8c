"""The broker's clock is set, back and forward: the ledger's time advances as if nothing had happened."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.brokers import connect
from runner.language.plan import Step
from runner.ledger.entries import Error, Postponed
from runner.ledger.ledger import Ledger
from tests.command_line import runner
from tests.faults import flow
from tests.faults.conftest import StartWorker
from tests.plans import answer_of, make_collector, make_plan
from tests.servers import Server
from tests.waiting import wait_until

A, B = (make_collector(name) for name in "ab")
PLAN = make_plan(collectors=(A, B), deadline=60)


@pytest.fixture
def set_clock(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the clock of every server that is started from now on, this many seconds ahead."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    source, library, ahead = (
        Path(__file__).parent / "set_clock.c",
        own_directory / "set_clock.so",
        own_directory / "ahead",
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    ahead.write_text("0")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_AHEAD", str(ahead))

    def set_by(seconds: int) -> None:
        ahead.write_text(str(seconds))

    return set_by


@pytest.fixture
def server(
    set_clock: Callable[[int], None],  # noqa: ARG001 - before the server
    start_valkey: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
) -> Server:
    server = start_valkey("--appendonly", "yes")
    monkeypatch.delenv("LD_PRELOAD")  # nobody else's clock is set
    monkeypatch.setenv("RUNNER_BROKER_URL", server.url)
    return server


def store(server: Server) -> Ledger:
    return Ledger(connect(server.url))


def answer(ledger: Ledger, step: Step, token: str) -> str:
    return answer_of(*ledger.open("run-1", PLAN).claim([step], token=token, worker=token, lease=30))


SET = pytest.mark.parametrize("seconds", [-600, 600, -86_400, 86_400], ids="{:+}".format)


@SET
def test_neither_leases_nor_retries_nor_deadlines_notice_that_the_brokers_clock_is_set(
    seconds: int, server: Server, set_clock: Callable[[int], None]
) -> None:
    """F50: set back, retries stalled for as long; set forward, deadlines fired and leases ran out at once."""
    ledger, other = store(server), store(server)
    assert ledger.open("run-1", PLAN).accept()
    assert answer(ledger, A, "one") == "granted"
    assert answer(other, B, "other") == "granted"
    before = ledger.client.time()[0]

    set_clock(seconds)

    wait_until(lambda: abs(ledger.client.time()[0] - before - seconds) < 60, "the clock is set")
    assert answer(other, A, "other") == "busy"
    sweep = ledger.open("run-1").sweep(grace=3600)
    assert sweep is not None
    assert sweep.lost == frozenset()
    assert sweep.held == {"a", "b"}
    assert 0 < sweep.left <= 60
    other.open("run-1").postpone([Postponed(step="b", error=Error("OSError", "no"), attempt=1, seconds=0.2)])
    assert answer(ledger, B, "one") == "busy"
    wait_until(lambda: answer(ledger, B, "one") == "granted", "the retry is due")
    assert len({ledger.lead(who, 60) for who in ("one", "other")}) == 2


@SET
def test_a_process_that_starts_later_has_the_time_of_the_ledger(
    seconds: int, server: Server, set_clock: Callable[[int], None]
) -> None:
    """F50 later: a clock of its own would have been needed before, to notice."""
    ledger = store(server)
    assert ledger.open("run-1", PLAN).accept()
    assert answer(ledger, A, "one") == "granted"
    before = ledger.client.time()[0]
    set_clock(seconds)
    wait_until(lambda: abs(ledger.client.time()[0] - before - seconds) < 60, "the clock is set")
    ledger.server.clock._reading = ledger.server.clock._ask(
        ledger.server.clock._reading
    )  # as it does every ten seconds

    assert answer(store(server), A, "other") == "busy"
    assert abs(store(server).server.now() - ledger.server.now()) < 5


def test_a_process_that_has_slept_adopts_the_time_of_the_ledger(server: Server) -> None:
    """F50 asleep: by its own clock no time has passed, and it would take the others back with it."""
    awake, asleep = store(server), store(server)
    awake.server.now()
    asleep.server.now()
    assert asleep.server.clock._reading is not None
    offset, at, since = asleep.server.clock._reading

    asleep.server.clock._reading = asleep.server.clock._ask((offset, at - 3600, since))

    assert abs(asleep.server.now() - awake.server.now()) < 5
    assert abs(store(server).server.now() - awake.client.time()[0]) < 5


@pytest.mark.parametrize("seconds", [-600, 600], ids="{:+}".format)
def test_a_run_with_a_retry_and_a_deadline_does_not_notice_that_the_brokers_clock_is_set(
    seconds: int, server: Server, set_clock: Callable[[int], None], start_worker: StartWorker, tmp_path: Path
) -> None:
    """F50 run: of a whole run, with a worker that reconciles."""
    workflow = tmp_path / "clock.yaml"
    workflow.write_text(
        "name: clock\n"
        "include: [faulty]\n"
        "inputs: {journal: {type: string}}\n"
        "collectors:\n"
        "  - {id: flaky, task: faulty.flaky, with: {journal: '${{ inputs.journal }}', step: flaky},\n"
        "     retry: {max_retries: 3, delay: 2, jitter: none}}\n"
        "gather: {id: gather, task: gather.concat, deadline: 50}\n"
    )
    start_worker()
    run = flow.begin(tmp_path, file=str(workflow), run_id="one")
    wait_until(lambda: store(server).client.hexists("runner:{one}:open", "flaky"), "the step was begun")
    wait_until(lambda: run.journal.starts("flaky"), "the first attempt is made")

    set_clock(seconds)

    ended = run.end(within=40)
    assert ended.code == 0, ended.stderr
    assert [step["attempts"] for step in runner("show", "one", "--json").json["steps"]] == [2, 1]
