"""`python -m tests.faults.submit FOLDER COUNT NAME [EVERY]`: accepts and sends COUNT small runs, and prints their ids.

A broker that is away is asked again: an id that was recorded meanwhile is not recorded twice.
"""

import sys
import time
from pathlib import Path

import redis

from runner import celery_app
from runner.brokers import connect, locate_broker
from runner.errors import RunnerError
from runner.language.bind import Bound
from runner.language.workflow_file import load
from runner.ledger.ledger import Ledger
from runner.messages.destination import Destination
from runner.runs.start import start
from runner.settings import Settings, read_settings
from tests.faults.flow import SMALL, SMALL_LATER


def main(folder: str, count: str, name: str, every: str = "0") -> None:
    celery_app.make_current()
    settings = read_settings()
    small, later = load(SMALL, settings), load(SMALL_LATER, settings)
    for number in range(int(count)):
        run_id = f"{name}-{number}"
        given = {"journal": str(Path(folder) / f"{run_id}.journal"), "seconds": number % 4 / 2}
        # Each third has parts that begin later, and hooks.
        bound = small.bind(given) if number % 3 else later.bind({"journal": given["journal"]})
        while not _submitted(bound, run_id, settings):
            time.sleep(0.2)
        sys.stdout.write(f"{run_id}\n")
        sys.stdout.flush()
        time.sleep(float(every))


def _submitted(bound: Bound, run_id: str, settings: Settings) -> bool:
    try:
        start(bound, run_id, Ledger.of(connect(locate_broker(settings)), settings), Destination(queue=settings.queue))
    except (redis.RedisError, RunnerError):
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
