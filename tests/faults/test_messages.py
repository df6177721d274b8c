"""Messages that are delivered twice, and messages that are malformed."""

import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from runner.ledger.ledger import Ledger
from runner.messages.dead_letters import count_dead_letters, latest_dead_letters
from runner.settings import read_settings
from tests.command_line import ROOT
from tests.faults import flow, invariants
from tests.faults.conftest import StartWorker
from tests.faults.hostile import HOSTILE
from tests.waiting import wait_until


def test_messages_that_come_twice_execute_each_step_once(
    tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F13. Proves the claim: a message that comes twice finds its steps done, or busy."""
    run = flow.begin(tmp_path, "--gather-seconds", "1")
    wait_until(lambda: ledger.client.llen("celery") == 4, "every header is queued")
    ledger.client.lpush("celery", *cast("list[str]", ledger.client.lrange("celery", 0, -1)))
    start_worker()
    start_worker()
    run.journal.await_start("gather")
    again = (
        "from runner import celery_app\nfrom runner.worker import execute as e\n"
        "celery_app.make_current(); e.gather.delay('flow', 'gather'); e.stage.delay('flow', 'stage')"
    )
    subprocess.run([sys.executable, "-c", again], check=True, cwd=ROOT)

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    invariants.check("flow", ledger, run.journal, told=told)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_is_kept_aside_and_the_worker_continues(
    name: str, tmp_path: Path, ledger: Ledger, start_worker: StartWorker
) -> None:
    """F17. Proves the dead letters.

    Celery 5.7 exits on some of these, is given them again when it starts, and exits again.
    """
    worker = start_worker()
    ledger.client.lpush("celery", HOSTILE[name])
    wait_until(lambda: count_dead_letters(ledger.client, read_settings()) == 1, "the message is in the list")

    run = flow.begin(tmp_path, file=flow.SMALL, run_id="after")
    told = run.end(within=20)

    assert told.code == 0, told.stderr
    assert worker.poll() is None
    assert latest_dead_letters(ledger.client, read_settings())[0].message == HOSTILE[name]
    invariants.check("after", ledger, run.journal, told=told)
