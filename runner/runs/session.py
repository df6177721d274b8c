"""Settings to a session: the broker, the ledger on it, and a worker if the broker is our own."""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import redis

from runner.brokers import connect, open_broker, prepare_directory
from runner.language.plan import Plan
from runner.ledger.entries import Run
from runner.ledger.ledger import Ledger
from runner.messages.destination import Destination
from runner.runs.missing_worker import how_to_start
from runner.runs.private_worker import PrivateWorker
from runner.settings import Settings
from runner.system.program import command_line


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """The ledger, the destination and the worker of a run, from its first step to its end.

    Args:
        destination: the queues of its steps.
        worker: of our own, listening to that queue alone; None where workers are yours, on a broker of yours.
    """

    ledger: Ledger
    destination: Destination
    worker: PrivateWorker | None
    settings: Settings


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger]:
    """Open the ledger on the broker of the settings; the broker is checked, and started if it is our own."""
    with open_broker(settings) as broker:
        yield Ledger.of(connect(broker.url), settings)


@contextmanager
def open_session(settings: Settings, run_id: str, plan: Plan) -> Iterator[Session]:
    """Open a session for one run.

    With the embedded broker each run starts a worker that serves it alone: it imports this workflow's modules as they
    are now, and gets no step of another run.
    """
    log = _log(settings, run_id)
    destination = Destination.of(settings, run_id)
    own = _worker(settings, destination.queue, plan, log) if destination.own else nullcontext()
    # The worker first: it imports modules while Valkey starts.
    with own as process, open_ledger(settings) as ledger:
        yield Session(ledger=ledger, destination=destination, worker=process, settings=settings)
        # Not after an interrupt: the second Ctrl-C must not wait for a server that does not answer.
        if process is not None:
            process.end()
            _forget_messages(ledger.client, destination.queue)  # defence: OWN_QUEUE


def note_unattended(run: Run, ledger: Ledger, settings: Settings) -> Run:
    """Add a note to a run that has not ended and that no process continues, even if its steps are still leased.

    With the embedded broker the worker of another run does not continue it: each serves its own.
    """
    if run.ended or run.status == "unreadable":
        return run
    if settings.broker_url is None:
        note = (
            ""
            if _is_served(settings, run.id)
            else f"nobody executes it: `{command_line('resume', run.id)}` brings a worker"
        )
    else:
        note = "" if ledger.is_led() else f"waits for a worker, and there is none: {how_to_start(settings)}"
    return replace(run, unattended=note)


def _is_served(settings: Settings, run_id: str) -> bool:
    """Whether a command follows the run, or its worker lives: they hold its log."""
    try:
        with _log(settings, run_id).open("rb") as log:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _log(settings: Settings, run_id: str) -> Path:
    return settings.state_dir / "logs" / f"{run_id}.log"


def _forget_messages(client: redis.Redis, queue: str) -> None:
    """Delete the messages of a run's own queue: no worker would read them again, and they never expire.

    The keys are those of kombu's Redis transport: the queue, one more for each priority, and what is not acknowledged.
    """
    with suppress(redis.RedisError):  # a server that is gone has lost them, or keeps a few hundred bytes
        client.delete(queue, f"_kombu.binding.{queue}", *(f"{queue}\x06\x16{priority}" for priority in (3, 6, 9)))
        for tag, message in client.hscan_iter("unacked"):
            if json.loads(message)[2] == queue:
                client.hdel("unacked", tag)
                client.zrem("unacked_index", tag)


@contextmanager
def _worker(settings: Settings, queue: str, plan: Plan, log: Path) -> Iterator[PrivateWorker]:
    prepare_directory(settings.state_dir)
    log.parent.mkdir(exist_ok=True)
    # Shared with the worker, and with a copy of this process in the background: the kernel releases it with the last of them.
    with log.open("ab") as locked:
        fcntl.flock(locked, fcntl.LOCK_SH)
        with _locked_worker(settings, queue, plan, log) as worker:
            yield worker


@contextmanager
def _locked_worker(settings: Settings, queue: str, plan: Plan, log: Path) -> Iterator[PrivateWorker]:
    for old in log.parent.glob("*.log"):
        if time.time() - old.stat().st_mtime > settings.ttl:
            old.unlink(missing_ok=True)
    worker = PrivateWorker(
        queue=queue, include=plan.include, directory=plan.directory, log=log, concurrency=settings.concurrency
    )
    try:
        yield worker
    finally:
        worker.end()
