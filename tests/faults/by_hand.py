"""The base flow written by hand on plain Celery, for comparison: `python -m tests.faults.by_hand JOURNAL` runs it.

The tasks are those of the fault tests, and the settings all that Celery 5.7 has against losses.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import click
import redis
from celery import Celery, chord
from celery.canvas import Signature
from celery.exceptions import BackendError
from celery.result import AsyncResult
from kombu.exceptions import OperationalError

from tests.faults.workflows import faulty

URL = os.environ.get("BY_HAND_BROKER_URL", "redis://")

app = Celery("by_hand", broker=URL, backend=URL, include=[faulty.__name__])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # New in 5.7: without it, a task that kills its process is executed again for ever.
    task_retry_on_worker_lost=True,
    task_annotations={"*": {"max_retries": 2, "default_retry_delay": 0.1}},
    result_backend_always_retry=True,
    broker_connection_max_retries=None,
    task_publish_retry_policy={"max_retries": 30, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 1},
    broker_transport_options={
        "visibility_timeout": float(os.environ.get("BY_HAND_VISIBILITY", "3600")),
        # With kombu's defaults, what has become visible again is looked for every 100 s.
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 10,
    },
)

FOURTH: dict[str, Callable[[str], Signature]] = {
    "faulty.stubborn": lambda journal: faulty.stubborn.s(journal, "four").set(soft_time_limit=2, time_limit=3),
    "faulty.die": lambda journal: faulty.die.s(journal, "four"),
    "faulty.flaky": lambda journal: faulty.flaky.s(journal, "four", 99),
}


def flow(journal: str, *, slow: float, gather_seconds: float, gather_dies: int, fourth: str | None) -> Signature:
    """Two fast and two slow collectors, a gather and a stage; the fourth collector may be another task."""
    header = [
        faulty.collect.s(journal, "one", 1),
        faulty.collect.s(journal, "two", 1),
        faulty.collect.s(journal, "three", slow),
        FOURTH[fourth](journal) if fourth else faulty.collect.s(journal, "four", slow),
    ]
    return chord(header, faulty.gather.s(journal, gather_seconds, gather_dies) | faulty.stage.s(journal, "stage"))


@click.command()
@click.argument("journal")
@click.option("--slow", default=3.0)
@click.option("--gather-seconds", default=0.0)
@click.option("--gather-dies", default=0)
@click.option("--fourth")
def main(journal: str, **changes: Any) -> None:
    """Send the flow, wait for its end, and print that as JSON."""
    result = flow(journal, **changes).apply_async()
    while (status := _status(result)) is None:
        time.sleep(0.05)
    sys.stdout.write(json.dumps({"status": status}))


def _status(result: AsyncResult) -> str | None:
    """How it ended; None while it has not, and while the broker is away."""
    try:
        if result.successful():
            return "succeeded"
        node = result
        while node is not None:
            if node.failed():
                return "failed"
            node = node.parent
    except (redis.RedisError, OperationalError, BackendError):
        pass
    return None


if __name__ == "__main__":
    main()
