"""Many runs to those that wait for them in this process: one thread and one connection read the streams of all of them."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import redis

from runner.errors import UnknownRun
from runner.ledger import codec as encoding
from runner.ledger.damage import readable
from runner.ledger.entries import Event
from runner.ledger.ledger import Ledger
from runner.ledger.run_reader import AWAY, FOLLOW_PATIENCE

# Seconds that one read waits for an entry: a run that somebody begins to wait for meanwhile is read after it. The read itself
# returns as soon as there is an entry.
READ_FOR = 0.05
CHECK_EVERY = 2.0  # seconds between two looks whether the runs still exist: the stream of one that is lost has no end

Deliver = Callable[[Sequence[tuple[str, dict[str, str]]] | Exception], None]


@dataclass(eq=False, slots=True)
class Subscription:
    """What is read of one run, for one of those who wait.

    Args:
        stream: the key ``events`` of the run, or ``end``.
        deliver: called in the thread with entries, or with the error that ends the subscription.
        after: the id of the last entry that was delivered.
    """

    run_id: str
    stream: Literal["events", "end"]
    deliver: Deliver
    after: str = "0-0"


@dataclass(eq=False)
class Watchers:
    """The subscriptions of this process to the runs of one ledger; the thread lasts as long as there is one."""

    ledger: Ledger
    _open: set[Subscription] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def end_of(self, run_id: str) -> "Future[None]":
        """Return a future that is done when the run has ended; cancelling it ends the wait.

        Its exception is `UnknownRun` if the run is lost, or an error of redis-py if the server was away for too long.
        """
        future: Future[None] = Future()

        def deliver(entries: Sequence[Any] | Exception) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if isinstance(entries, Exception):
                future.set_exception(entries)
            else:
                future.set_result(None)

        subscription = self.subscribe(run_id, "end", deliver)
        future.add_done_callback(lambda _: self.unsubscribe(subscription))
        return future

    def events_of(self, run_id: str, deliver: Callable[[Sequence[Event] | Exception], None]) -> Subscription:
        """Deliver the events of a run from its beginning on, some at a time, until `unsubscribe`, or an error."""

        def read(entries: Sequence[tuple[str, dict[str, str]]] | Exception) -> None:
            if isinstance(entries, Exception):
                deliver(entries)
                return
            with readable(run_id):
                events = [encoding.read_event(event_id, fields) for event_id, fields in entries]
            deliver(events)

        return self.subscribe(run_id, "events", read)

    def subscribe(self, run_id: str, stream: Literal["events", "end"], deliver: Deliver) -> Subscription:
        """Begin to read a stream of a run, from its beginning."""
        subscription = Subscription(run_id, stream, deliver)
        with self._lock:
            self._open.add(subscription)
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, name="runs awaited", daemon=True)
                self._thread.start()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription, also one that has ended."""
        with self._lock:
            self._open.discard(subscription)

    def _read(self) -> None:
        away_since: float | None = None
        checked = time.monotonic()
        while some := self._subscriptions():
            try:
                self._deliver(some)
                if time.monotonic() - checked > CHECK_EVERY:
                    checked = time.monotonic()
                    self._check(some)
                away_since = None
            except redis.RedisError as error:
                # A primary that becomes a replica ends a blocking command with an error of its own.
                passes = isinstance(error, AWAY) or str(error).startswith("UNBLOCKED")
                away_since = away_since or time.monotonic()
                if not passes or time.monotonic() - away_since > FOLLOW_PATIENCE:
                    self._fail(some, error)
                    away_since = None
                else:
                    time.sleep(0.5)
            except Exception as error:  # noqa: BLE001 - nobody may be left waiting for this thread
                self._fail(some, error)

    def _subscriptions(self) -> list[Subscription]:
        """Return the open subscriptions; without any, this thread is no longer the one that reads."""
        with self._lock:
            if not self._open:
                self._thread = None
            return list(self._open)

    def _deliver(self, some: Sequence[Subscription]) -> None:
        by_key: dict[str, list[Subscription]] = {}
        for each in some:
            by_key.setdefault(self.ledger.server.key(each.run_id, each.stream), []).append(each)
        wanted: dict[Any, Any] = {key: min((each.after for each in those), key=_place) for key, those in by_key.items()}
        answer = self.ledger.client.xread(wanted, block=int(READ_FOR * 1000))
        for key, entries in cast("list[tuple[str, list[tuple[str, dict[str, str]]]]]", answer or []):
            for each in by_key[key]:
                if unread := [entry for entry in entries if _place(entry[0]) > _place(each.after)]:
                    each.after = unread[-1][0]
                    try:
                        each.deliver(unread)
                    except Exception as error:  # noqa: BLE001 - a damaged entry, or a closed event loop: the others wait on
                        self._fail([each], error)

    def _check(self, some: Sequence[Subscription]) -> None:
        runs = sorted({each.run_id for each in some})
        with self.ledger.client.pipeline(transaction=False) as pipe:
            for run_id in runs:
                pipe.exists(self.ledger.server.key(run_id, "run"))
            lost = {run_id for run_id, there in zip(runs, pipe.execute(), strict=True) if not there}
        for each in some:
            if each.run_id in lost:
                self._fail([each], UnknownRun(f'no run "{each.run_id}", or it has expired, or the broker has lost it'))

    def _fail(self, some: Sequence[Subscription], error: Exception) -> None:
        for each in some:
            self.unsubscribe(each)
            with suppress(Exception):  # one of those who wait, whose event loop is closed
                each.deliver(error)


def _place(entry_id: str) -> tuple[int, int]:
    time_, _, number = entry_id.partition("-")
    return int(time_), int(number or 0)
