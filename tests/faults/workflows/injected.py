"""Exceptions where a worker has no one to catch them: in what the pool calls, in its threads, in what a step asks the ledger.

A worker that includes this module raises, at each of the ``PLACES`` that is armed, once. A place is armed by a file
``PLACE=KIND=ANYTHING`` in the folder that ``INJECTED`` names.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import redis
from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded

# A module, and what in it raises; add the places of your own.
PLACES = (
    "celery.worker.request:Request.on_accepted",
    "celery.worker.request:Request.on_success",
    "celery.worker.request:Request.on_failure",
    "celery.worker.request:Request.acknowledge",
    "celery.worker.request:Request.reject",
    "runner.worker.leases:Held._renew",
    "runner.worker.execute:Batch.execute",
    "runner.worker.perform:arguments",
    "runner.worker.batch:perform",
    "runner.worker.batch:outcome_of",
    "runner.ledger.run_record:RunRecord.claim",
    "runner.ledger.run_record:RunRecord.renew",
    "runner.ledger.run_record:RunRecord.finish",
    "runner.ledger.run_record:RunRecord.postpone",
    "runner.worker.process:run",
    "runner.worker.reconcile:Reconciler._look",
    "runner.messages.dead_letters:add_dead_letter",
)
# Those that only a pool of processes meets: one of them has died, or is to.
OF_PROCESSES = (
    "runner.worker.step_request:StepRequest._record_all",
    "runner.ledger.run_record:RunRecord.abandon",
    "runner.worker.leases:Held._end_overdue",
    "runner.worker.batch:Batch._end_process",
)


class Stop(BaseException):
    """One that is no Exception."""


KINDS: dict[str, Callable[[], BaseException]] = {
    "runtime": lambda: RuntimeError("injected"),
    "lookup": lambda: ValueError("tuple.index(x): x not in tuple"),
    "memory": lambda: MemoryError("injected"),
    "script": lambda: redis.ResponseError("user_script:1: injected"),
    "full": lambda: redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
    "away": lambda: redis.ConnectionError("injected"),
    "exit": lambda: SystemExit("injected"),
    "stop": lambda: Stop("injected"),
}


def _armed(place: str) -> BaseException | None:
    for file in Path(os.environ["INJECTED"]).glob(f"{place}=*"):
        with suppress(FileNotFoundError):  # another process or thread was there before
            file.unlink()
            return KINDS[file.name.split("=")[1]]()
    return None


def _inject(place: str) -> None:
    module, _, path = place.partition(":")
    *parents, name = path.split(".")
    owner: Any = import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)

    @wraps(original)
    def raising(*args: Any, **kwargs: Any) -> Any:
        error = _armed(place)
        if error is not None:
            raise error
        return original(*args, **kwargs)

    setattr(owner, name, raising)


if "INJECTED" in os.environ:
    for each in (*PLACES, *OF_PROCESSES):
        _inject(each)


@shared_task(name="injected.die_once")
def die_once(mark: str) -> list[str]:
    """Kill the process that executes this, the first time."""
    if not _was_here(mark):
        os.kill(os.getpid(), signal.SIGKILL)
    return ["lived"]


@shared_task(name="injected.stay_once")
def stay_once(item: int, mark: str) -> list[int]:
    """Let nothing interrupt it, the first time; one of them."""
    if item == 1 and not _was_here(mark):
        while True:
            with suppress(SoftTimeLimitExceeded):
                time.sleep(60)
    return [item]


def _was_here(mark: str) -> bool:
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return True
    return False
