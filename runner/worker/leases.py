"""Heartbeats: one thread a process renews its leases, and ends the process at a step past its hard limit."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from runner.ledger.run_record import RunRecord
from runner.worker import endings
from runner.worker.process import own, renew

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.5  # seconds; a step that nothing interrupts ends the process at most so much after its limit


@dataclass(eq=False, slots=True)
class Held:
    """The leases of one claimer.

    Args:
        seconds: how long a lease lasts.
        overdue: called with a step that is executed past its limit; None to let it go on.
        steps: the steps that are leased.
        limits: for each step that is being executed, its limit by this process's monotonic clock.
    """

    run: RunRecord
    token: str
    seconds: float
    overdue: Callable[[str], None] | None
    steps: set[str] = field(default_factory=set)
    limits: dict[str, float] = field(default_factory=dict)
    due: float = field(init=False)

    def __post_init__(self) -> None:
        self.due = time.monotonic() + self.seconds / 3

    @contextmanager
    def limited(self, step: str, seconds: float | None) -> Iterator[None]:
        """Have this process end if the step is executed in the block for longer, as it lets nothing else end it.

        Args:
            seconds: None for no limit.
        """
        if self.overdue is not None and seconds is not None:
            self.limits[step] = time.monotonic() + seconds
        try:
            yield
        finally:
            self.limits.pop(step, None)

    @property
    def wakes(self) -> float:
        """When the thread must look at it next, by the monotonic clock."""
        return self.due if self.overdue is None else min(self.due, time.monotonic() + LOOK_EVERY)

    def look(self) -> None:
        """End what is overdue, and renew the leases if it is time; what fails is tried again the next time.

        Neither may keep the other from being done, and nothing may end the thread: it serves every step of the process.
        """
        for look in (self._end_overdue, self._renew):
            try:
                look()
            except BaseException as error:  # defence: RENEWAL
                if not endings.is_away(error):
                    logger.exception("the leases on %d steps of run %s", len(self.steps), self.run.id)
                    continue
                logger.warning("cannot renew the leases on %d steps of run %s: %s", len(self.steps), self.run.id, error)

    def _end_overdue(self) -> None:
        if self.overdue is None:
            return
        now = time.monotonic()
        # A copy is made in one step of the interpreter; the thread that works goes on meanwhile.
        for step in [step for step, limit in list(self.limits.items()) if limit < now]:
            self.overdue(step)

    def _renew(self) -> None:
        now = time.monotonic()
        if self.due > now:
            return
        # At a third of its time, so that two renewals may fail before another worker takes the step.
        self.due = now + self.seconds / 3
        if steps := list(self.steps):  # defence: LEASES
            self.run.renew(steps, token=self.token, lease=self.seconds)


class _Renewal:
    """All leases of this process, and the thread that renews them.

    A thread for each step would be simpler, and costs as much as a round trip to the ledger (0.1 ms measured).
    """

    def __init__(self) -> None:
        self._all: set[Held] = set()
        self._wakes = float("inf")  # when the thread looks next, by the monotonic clock
        self._changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self.thread.start()

    def add(self, held: Held) -> None:
        with self._changed:
            self._all.add(held)
            if held.wakes < self._wakes:  # seldom: it has been asleep since the last one for less than a lease lasts
                self._changed.notify()

    def remove(self, held: Held) -> None:
        with self._changed:
            self._all.discard(held)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._wakes = min((held.wakes for held in self._all), default=float("inf"))
                wait = self._wakes - time.monotonic()
                if wait > 0:
                    self._changed.wait(None if wait == float("inf") else wait)
                everything = list(self._all)
            for held in everything:
                held.look()


@contextmanager
def renewed(
    run: RunRecord, *, token: str, lease: float, overdue: Callable[[str], None] | None = None
) -> Iterator[Held]:
    """Renew, until the block ends, the leases on the steps that are added to the ``Held`` it gives.

    Args:
        token: the one that the steps are claimed with.
        lease: seconds.
        overdue: called, in another thread, with a step that is executed past its limit.
    """
    held = Held(run, token, lease, overdue)
    renewal = _renewal()
    renewal.add(held)
    try:
        yield held
    finally:
        renewal.remove(held)


def _renewal() -> _Renewal:
    """Return this process's: a child of the pool has none of its parent's threads."""
    renewal = own(_Renewal)
    return renewal if renewal.thread.is_alive() else renew(_Renewal, renewal)  # defence: RESTARTED
