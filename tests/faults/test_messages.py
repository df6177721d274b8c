"""Messages that come twice, and messages that are none."""

import base64
import json
import pickle
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, cast

import pytest

from runner import dead_letters, settings
from runner.store import Store
from tests.command_line import ROOT
from tests.faults import flow, invariants
from tests.faults.conftest import StartWorker
from tests.waiting import wait_until


def test_messages_that_come_twice_execute_each_step_once(
    tmp_path: Path, ledger: Store, start_worker: StartWorker
) -> None:
    """F13. Proves the claim: a message that comes twice finds its steps done, or busy."""
    run = flow.begin(tmp_path, "--gather-seconds", "1")
    wait_until(lambda: ledger.client.llen("celery") == 4, "every header is queued")
    ledger.client.lpush("celery", *cast("list[str]", ledger.client.lrange("celery", 0, -1)))
    start_worker()
    start_worker()
    run.journal.await_start("gather")
    again = "from runner import celery_app, execute as e; e.gather.delay('flow'); e.stage.delay('flow', 'stage')"
    subprocess.run([sys.executable, "-c", again], check=True, cwd=ROOT)

    told = run.end(within=30)

    assert told.code == 0, told.stderr
    invariants.check("flow", ledger, run.journal, told=told)


def _envelope(body: bytes, *, content: str = "application/json", **changed: Any) -> dict[str, Any]:
    """A message as kombu 5.7 puts it into a queue."""
    task_id = str(uuid.uuid4())
    return {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": content,
        "headers": {
            "lang": "py",
            "task": "runner.collect",
            "id": task_id,
            "root_id": task_id,
            "argsrepr": "",
            "kwargsrepr": "",
        },
        "properties": {
            "correlation_id": task_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    } | changed


_GOOD = _envelope(b'[["run", ["step"]], {}, {}]')
HOSTILE: dict[str, bytes] = {
    "pickle": json.dumps(_envelope(pickle.dumps([]), content="application/x-python-serialize")).encode(),
    "bad JSON in the body": json.dumps(_envelope(b"[[1, ")).encode(),
    "no headers": json.dumps({name: part for name, part in _GOOD.items() if name != "headers"}).encode(),
    "wrong arguments": json.dumps(_envelope(b'[[1, 2, 3, 4], {"x": 5}, {}]')).encode(),
    "deep JSON": json.dumps(_envelope(b"[" * 100_000 + b"]" * 100_000)).encode(),
    "no body": json.dumps({name: part for name, part in _GOOD.items() if name != "body"}).encode(),
    "a body of another shape": json.dumps(_envelope(b'{"not": "a task"}')).encode(),
    "no JSON": b"this is { no JSON",
    "a list": b"[1, 2, 3]",
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_is_kept_aside_and_the_worker_goes_on(
    name: str, tmp_path: Path, ledger: Store, start_worker: StartWorker
) -> None:
    """F17. Proves the dead letters.

    Celery 5.7 exits on some of these, is given them again when it starts, and exits again.
    """
    worker = start_worker()
    ledger.client.lpush("celery", HOSTILE[name])
    wait_until(lambda: dead_letters.count(ledger.client, settings.read()) == 1, "the message is in the list", 10)

    run = flow.begin(tmp_path, file=flow.SMALL, run_id="after")
    told = run.end(within=20)

    assert told.code == 0, told.stderr
    assert worker.poll() is None
    assert dead_letters.latest(ledger.client, settings.read())[0].message == HOSTILE[name]
    invariants.check("after", ledger, run.journal, told=told)
