"""A lease on a step that stays ours for as long as the work takes: one thread of the process renews them all."""

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from runner.store import Store

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Lease:
    ledger: Store
    run_id: str
    step: str
    token: str
    seconds: float
    due: float = field(init=False)

    def __post_init__(self) -> None:
        self.due = time.monotonic() + self.seconds / 3

    def renew(self) -> None:
        # At a third of its time, so that two renewals may fail before another worker takes the step.
        self.due = time.monotonic() + self.seconds / 3
        try:
            self.ledger.renew(self.run_id, [self.step], token=self.token, lease=self.seconds)
        except redis.RedisError as error:
            logger.warning("cannot renew the lease on %s of run %s: %s", self.step, self.run_id, error)


class _Renewal:
    """The leases that this process holds, and the thread that renews them.

    A thread for each step would be simpler, and costs as much as a round trip to the ledger (0.1 ms measured).
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._leases: set[_Lease] = set()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="leases", daemon=True).start()

    def add(self, lease: _Lease) -> None:
        with self._changed:
            self._leases.add(lease)
            self._changed.notify()

    def remove(self, lease: _Lease) -> None:
        with self._changed:
            self._leases.discard(lease)

    def _run(self) -> None:
        while True:
            with self._changed:
                wait = min((lease.due for lease in self._leases), default=float("inf")) - time.monotonic()
                if wait > 0:
                    self._changed.wait(None if wait == float("inf") else wait)
                due = [lease for lease in self._leases if lease.due <= time.monotonic()]
            for lease in due:
                lease.renew()


_renewals: list[_Renewal] = []
_starting = threading.Lock()


@contextmanager
def renewed(ledger: Store, run_id: str, step: str, *, token: str, lease: float) -> Iterator[None]:
    """Renew a step's lease until the block ends.

    Args:
        token: that the step was claimed with.
        lease: seconds.
    """
    renewal = _renewal()
    held = _Lease(ledger, run_id, step, token, lease)
    renewal.add(held)
    try:
        yield
    finally:
        renewal.remove(held)


def _renewal() -> _Renewal:
    """This process's: a child of the pool has not its parent's threads, and two threads of one must not each start one."""
    with _starting:
        if not _renewals or _renewals[0].pid != os.getpid():
            _renewals[:] = [_Renewal()]
        return _renewals[0]
