"""The faults of F01, F06, F13, F16 and F26, where one message executes many collectors."""

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import cast

import pytest

from runner.ledger.ledger import Ledger
from tests.command_line import Answer, runner
from tests.faults import flow, invariants
from tests.faults.conftest import StartWorker
from tests.faults.journal import Journal, Line
from tests.waiting import SLACK, wait_until

WIDE = str(flow.FOLDER / "wide.yaml")
PAGES = [f"page[{number}]" for number in range(24)]


@pytest.mark.usefixtures("workers")
def test_a_killed_worker_costs_what_had_no_outcome(tmp_path: Path, ledger: Ledger) -> None:
    """F01."""
    run = flow.begin(tmp_path, file=WIDE, run_id="wide")
    group = os.getpgid(run.journal.await_start("page[3]").pid)
    os.killpg(group, signal.SIGKILL)
    ended = {line.step for line in run.journal.lines() if line.word == "END"}

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    again = _executed_again(run.journal)
    assert 1 <= len(again) <= 2  # of each of its two processes the one collector that it was at
    assert not again & ended
    _check(run, ledger, told)


def test_what_a_frozen_and_killed_worker_had_taken_is_sent_again(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F06."""
    idle = start_worker(**flow.WAITS_FOR_A_MINUTE)
    run = flow.begin_with_a_frozen_worker(
        idle,
        ledger,
        messages=3,
        begin=lambda number: flow.begin(
            tmp_path, "--seconds", "0", file=WIDE, run_id=f"wide-{number}", **flow.STOPS_BEFORE_IT_SENDS
        ),
    )
    os.killpg(idle.pid, signal.SIGKILL)
    start_worker()

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    assert not _executed_again(run.journal)
    _check(run, ledger, told)


def test_messages_that_come_twice_execute_each_collector_once(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F13. Two workers with the same message share its collectors."""
    run = flow.begin(tmp_path, file=WIDE, run_id="wide")
    wait_until(lambda: ledger.client.llen("celery") == 3, "every batch is queued")
    ledger.client.lpush("celery", *cast("list[str]", ledger.client.lrange("celery", 0, -1)))
    start_worker()
    start_worker()

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    assert not _executed_again(run.journal)
    _check(run, ledger, told)


@pytest.mark.parametrize("seconds", ["0", "0.2"])
def test_a_collector_that_kills_its_process_is_stopped_and_the_others_of_its_batch_succeed(
    seconds: str, tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F16. Collectors of a moment are claimed many at a time: none is blamed for the one that kills."""
    worker = start_worker()
    run = flow.begin(tmp_path, "--poison", "4", "--seconds", seconds, file=WIDE, run_id="wide")

    told = run.end(within=60)

    assert told.code == 0, told.stderr
    assert told.json["status"] == "partial"
    assert ledger.open("wide").tally() == {"page": {"succeeded": 23, "failed": 1}}
    assert ledger.open("wide", ledger.open("wide").plan).absent() == ["page[4]"]
    # Two retries; and until it is alone, it is not known to be the one.
    assert 3 <= len(run.journal.starts("page[4]")) <= 5
    assert worker.poll() is None
    [values] = run.journal.gathered()
    assert values == [[page] for page in PAGES if page != "page[4]"]
    invariants.check_nothing_left(ledger)


@pytest.mark.soak
def test_a_collector_that_takes_whole_workers_down_is_stopped_and_the_others_of_its_batch_succeed(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F16, after three recoveries."""
    run = flow.begin(tmp_path, "--poison", "4", "--whole-worker", "true", "--seconds", "0", file=WIDE, run_id="wide")
    for down in range(1, 5):
        worker = start_worker()
        run.journal.await_start("page[4]", times=down, within=30)
        worker.wait(60)
    last = start_worker()
    wait_until(
        lambda: run.command.poll() is not None or last.poll() is not None, "the run or the worker has ended", 120
    )
    assert last.poll() is None, "the last worker was taken down, too"

    told = run.end(within=120)

    assert told.json["status"] == "partial"
    assert ledger.open("wide", ledger.open("wide").plan).absent() == ["page[4]"]
    assert len(run.journal.starts("page[4]")) == 4
    outcome = ledger.open("wide").outcome("page[4]")
    assert outcome is not None
    assert outcome.error is not None
    assert outcome.error.type == "WorkerLost"


STUBBORN = """
name: stubborn
include: [faulty]
inputs: {journal: {type: string}}
collectors:
  - id: page
    task: faulty.sometimes_stubborn
    foreach: [0, 1, 2, 3, 4, 5]
    batch: 6
    timeout: 1
    retry: 0
    required: false
    with:
      journal: ${{ inputs.journal }}
      step: page[${{ item }}]
      stubborn_one: ${{ item == 2 }}
"""


@pytest.mark.usefixtures("workers")
def test_a_collector_that_lets_nothing_interrupt_it_ends_alone(tmp_path: Path, ledger: Ledger) -> None:
    """F14 b. The process ends with the collector; the rest of the batch is executed in another."""
    workflow = tmp_path / "stubborn.yaml"
    workflow.write_text(STUBBORN)
    run = flow.begin(tmp_path, file=str(workflow), run_id="stubborn")

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    ended = ledger.open("stubborn").outcome("page[2]")
    assert ended is not None
    assert ended.status == "timed_out"
    assert ledger.open("stubborn").tally() == {"page": {"succeeded": 5, "timed_out": 1}}
    assert ended.finished_at is not None
    assert ended.started_at is not None
    assert ended.finished_at - ended.started_at < 3 * SLACK  # the timeout and two seconds
    assert told.json["result"] == [[page] for page in PAGES[:6] if page != "page[2]"]


@pytest.mark.usefixtures("workers")
def test_no_collector_of_a_batch_starts_after_the_run_is_cancelled(tmp_path: Path, ledger: Ledger) -> None:
    """F26 a."""
    run = flow.begin(tmp_path, "--seconds", "0.5", file=WIDE, run_id="wide")
    run.journal.await_start("page[9]")

    assert runner("cancel", "wide").code == 0
    cancelled = time.monotonic()

    assert run.end(within=15).code == 6
    invariants.check_nothing_left(ledger)
    starts = [line for line in run.journal.lines() if line.word == "START"]
    assert len(starts) < len(PAGES)
    assert [line for line in starts if line.at > cancelled] == []
    assert not run.journal.starts("gather")


@pytest.mark.usefixtures("workers")
def test_a_cancelled_run_is_resumed_with_what_has_no_outcome(tmp_path: Path, ledger: Ledger) -> None:
    run = flow.begin(tmp_path, "--held-from", "12", file=WIDE, run_id="wide")
    run.journal.await_end("page[9]")
    runner("cancel", "wide")
    assert run.end(within=15).code == 6
    Path(f"{run.journal.path}.go").touch()
    # What was under way when it was cancelled has its end in the journal, and no outcome.
    succeeded = ledger.open("wide").tally()["page"]["succeeded"]

    told = runner("resume", "wide", "--json")

    assert told.code == 0, told.stderr
    assert sum(Counter(line.step for line in _starts(run.journal)).values()) <= 2 * len(PAGES) - succeeded
    [values] = run.journal.gathered()
    assert values == [[page] for page in PAGES]


def _starts(journal: Journal) -> list[Line]:
    return [line for line in journal.lines() if line.word == "START" and line.step in PAGES]


def _executed_again(journal: Journal) -> set[str]:
    return {step for step, count in Counter(line.step for line in _starts(journal)).items() if count > 1}


def _check(run: flow.Flow, ledger: Ledger, told: Answer) -> None:
    """I1 to I7, of a run in which every collector succeeds."""
    assert told.json["status"] == "succeeded", "I1"
    values = [[page] for page in PAGES]
    assert run.journal.gathered() == [values], "I2"
    assert told.json["result"] == {"stage": values}, "I2"
    assert ledger.open(run.id).tally() == {"page": {"succeeded": len(PAGES)}}, "I3"
    events = ledger.open(run.id).events()
    assert sum(event.count for event in events if (event.event, event.step) == ("finished", "page")) == len(PAGES), "I3"
    assert all(run.journal.ends(page) for page in PAGES), "I6"
    invariants.check_nothing_left(ledger)
