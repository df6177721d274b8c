"""A workflow of the fault tests to a run of it: its command, its end, and its journal."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

from runner.brokers import connect
from runner.ledger.ledger import Ledger
from runner.system.crashpoints import Crashpoint
from tests import processes
from tests.command_line import ROOT, Answer, runner, start
from tests.faults.journal import Journal
from tests.waiting import SLACK, wait_until

FOLDER = ROOT / "tests" / "faults" / "workflows"
FLOW = str(FOLDER / "flow.yaml")
FLOW_THEN = str(FOLDER / "flow_then.yaml")
FLOW_LATER = str(FOLDER / "flow_later.yaml")
SMALL_LATER = str(FOLDER / "small_later.yaml")
SMALL = str(FOLDER / "small.yaml")

# What makes faults cheap to wait for. `visibility` is the last resort, when nothing else finds a lost message.
SETTINGS = {
    "RUNNER_LEASE": "3",
    "RUNNER_RECONCILE_EVERY": "2",
    "RUNNER_GRACE": "3",
    "RUNNER_VISIBILITY": "10",  # defence: VISIBILITY
}
# ROOT, as the workers that a command starts do not look in the current directory: test_defences.py tries a copy of it.
WITH_OUR_TASKS = {"PYTHONPATH": f"{FOLDER}{os.pathsep}{ROOT}", "RUNNER_INCLUDE": "faulty"}
WAITS_FOR_A_MINUTE = {"RUNNER_INCLUDE": "faulty,patient"}
# Before the run is accepted: no reconciler sends one that the ledger does not have.
STOPS_BEFORE_IT_SENDS = {
    "RUNNER_CRASHPOINT": str(Crashpoint.SUBMIT_BEFORE_ACCEPT),
    "RUNNER_CRASHPOINT_SIGNAL": "SIGSTOP",
}


@dataclass(frozen=True, slots=True)
class Flow:
    """A run under way.

    Args:
        command: the waiting `run --json`.
        began: by the monotonic clock.
    """

    id: str
    journal: Journal
    command: Popen[str]
    began: float = field(default_factory=time.monotonic)

    def end(self, within: float) -> Answer:
        """What `run` said when the run had ended.

        Args:
            within: seconds from its start after which an idle machine would have ended it.
        """
        left = self.began + within * SLACK - time.monotonic()
        try:
            out, err = self.command.communicate(timeout=max(0.1, left))
        finally:
            self.command.kill()
        return Answer(self.command.returncode, out, err)


def begin(folder: Path, *words: str, file: str = FLOW, run_id: str = "flow", **env: str) -> Flow:
    """Start a run; its journal is in the folder, and named like it."""
    journal = Journal(folder / f"{run_id}.journal")
    command = start("run", file, "--journal", str(journal.path), "--run-id", run_id, "--json", *words, cwd=ROOT, **env)
    return Flow(run_id, journal, command)


def begin_with_a_frozen_worker(
    worker: "Popen[bytes]", ledger: Ledger, messages: int, begin: Callable[[int], Flow]
) -> Flow:
    """Begin a run of which an idle worker that is frozen has one message, that nobody else will ever see.

    A BRPOP of kombu's ends after a second, on the server, and a busy machine takes longer to start a program: it is stopped
    right before it sends, and the worker's is longer. What is sent too late nevertheless is not taken, and another run begun.

    Args:
        worker: started with `WAITS_FOR_A_MINUTE` in its environment.
        messages: that the run sends at first.
        begin: what begins a run, with `STOPS_BEFORE_IT_SENDS` in its environment, given which try it is.
    """
    for number in range(20):
        run = begin(number)
        try:
            _freeze_and_send(worker, run.command, ledger, messages)
        except BaseException:
            run.command.kill()
            raise
        if ledger.client.llen("celery") < messages:
            return run
        worker.send_signal(signal.SIGCONT)
        run.end(within=30)
    raise AssertionError("20 runs were sent when no BRPOP was open")


def _freeze_and_send(worker: "Popen[bytes]", command: Popen[str], ledger: Ledger, messages: int) -> None:
    """Freeze the worker while it waits for a message, then let the command send its own."""
    wait_until(lambda: processes.is_stopped(command.pid), "the command stops before it sends", 30)
    sent = _sent(ledger)
    wait_until(lambda: _blocked(ledger), "the worker waits for a message (BRPOP)")
    worker.send_signal(signal.SIGSTOP)
    command.send_signal(signal.SIGCONT)
    wait_until(lambda: _sent(ledger) >= sent + messages, "every message is sent")


def _sent(ledger: Ledger) -> int:
    """How many messages the server was sent since it started, also those that were taken at once."""
    commands: dict[str, dict[str, int]] = ledger.client.info("commandstats")
    return commands.get("cmdstat_lpush", {}).get("calls", 0)


def _blocked(ledger: Ledger) -> bool:
    """Whether a worker's BRPOP is open."""
    return any(client["cmd"] == "brpop" and "b" in client["flags"] for client in ledger.client.client_list())


def show(run_id: str) -> dict[str, Any]:
    answer = runner("show", run_id, "--json")
    assert answer.code == 0, answer.stderr
    told: dict[str, Any] = answer.json
    return told


def statuses(told: Mapping[str, Any]) -> dict[str, str]:
    return {step["id"]: step["status"] for step in told["steps"]}


def ledger(url: str) -> Ledger:
    return Ledger(connect(url))
