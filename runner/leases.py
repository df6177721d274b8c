"""A lease on a step that stays ours for as long as the work takes: a thread beside the work renews it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from runner.store import Store

logger = logging.getLogger(__name__)


@contextmanager
def renewed(ledger: Store, run_id: str, step: str, *, token: str, lease: float) -> Iterator[None]:
    """Renew a step's lease at a third of its time, so that two renewals may fail before another worker takes it.

    Args:
        token: that the step was claimed with.
        lease: seconds.
    """
    done = threading.Event()

    def renew() -> None:
        while not done.wait(lease / 3):
            try:
                if not ledger.renew(run_id, [step], token=token, lease=lease):
                    return  # the run has ended, or the step is another worker's by now
            except redis.RedisError as error:
                logger.warning("cannot renew the lease on %s of run %s: %s", step, run_id, error)

    thread = threading.Thread(target=renew, name=f"lease of {step}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
