"""The events of many collectors to the number in each status: there may be a million."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from runner.ledger.statuses import FAILED, OPEN, Status, together
from runner.text import duration

_WINDOW = 10.0  # seconds over which the rate is measured
_STEP = 0.5  # seconds between two counts that are kept for the rate
_PASSED_OVER: tuple[Status, ...] = ("cancelled", "not_run")
_LATE = 2.0  # seconds after which no limit holds back any more that has not been told again
_NAMED = 3  # failures whose messages are kept


@dataclass(slots=True)
class ItemCounts:
    """How far many collectors are: the items of one ``foreach``, or all collectors without one.

    Args:
        name: the id of the collector with ``foreach``; empty for those without.
        started_at: when the first of them started, seconds since the epoch.
        ended_at: when the last of them ended.
        failures: the messages of the first that failed.
        retry: why the latest item that waits for its next attempt failed.
        limit: the limit that holds items back, and why; empty if none does.
        limited_until: when it may allow the next start.
    """

    name: str
    total: int
    counts: Counter[Status] = field(default_factory=Counter)
    started_at: float | None = None
    ended_at: float | None = None
    failures: list[str] = field(default_factory=list)
    retry: str = ""
    limit: str = ""
    limited_until: float = 0.0
    _due: list[tuple[float, int]] = field(default_factory=list)
    _ended: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.counts["pending"] = self.total

    @property
    def ended(self) -> int:
        """How many were executed to an outcome, without those that the end of the run has cancelled or passed over."""
        return self.total - sum(self.counts[status] for status in (*OPEN, *_PASSED_OVER))

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to any of them any more."""
        return not any(self.counts[status] for status in OPEN)

    @property
    def failed(self) -> int:
        return sum(self.counts[status] for status in FAILED)

    @property
    def status(self) -> Status:
        return together(self.counts)

    def expect(self, total: int) -> None:
        """Count so many: the fan-out has begun, perhaps anew, and its items are known."""
        self.total = total
        self.counts.clear()
        self.counts["pending"] = total
        self.ended_at = None

    def move(self, before: Status, after: Status, at: float) -> None:
        """Move one collector from a status to another."""
        self._begin(at, after)
        self._move(1, after, before)
        self._leave_out(1 if after == "skipped" else 0)
        self._note(at)

    def start(self, count: int, at: float) -> None:
        self._begin(at, "running")
        # The event does not say how many of them are retries: the number that was due is taken.
        again = min(count, self._due_by(at, count))
        self._move(again, "running", "retrying")
        self._move(count - again, "running", "pending")

    def hold_back(self, at: float, seconds: float, limit: str) -> None:
        self.limit, self.limited_until = limit, at + seconds

    def waits_for(self, now: float) -> str:
        """Return the words for a limit that holds items back: ``waits 40s for the limit shop``; empty if none does."""
        left = self.limited_until - now
        if self.is_over or not self.limit or left < -_LATE:
            return ""
        return f"waits for the limit {self.limit}" + (f", {duration(math.ceil(left))} left" if left >= 1 else "")

    def postpone(self, count: int, at: float, seconds: float, message: str) -> None:
        self._move(count, "retrying", "running", "pending")
        heappush(self._due, (at + seconds, count))
        self.retry = message

    def finish(self, count: int, at: float, status: Status, message: str = "") -> None:
        self._move(count, status, "running", "retrying", "pending")
        self._leave_out(count if status == "skipped" else 0)
        if status in FAILED and message and len(self.failures) < _NAMED:
            self.failures.append(message)
        self._note(at)

    def close(self, status: Status) -> None:
        """Count every unfinished item as ``status``: the run is over."""
        self._move(self.total, status, *OPEN)

    def rate(self, now: float) -> float:
        """Return how many end in a second: over the last 10 s, or, if all have ended, since the first start. 0 if not known yet."""
        if self.started_at is None:
            return 0.0
        if self.ended_at is None:
            while len(self._ended) > 1 and self._ended[1][0] <= now - _WINDOW:
                self._ended.popleft()
        since, before = self._ended[0]
        seconds = (now if self.ended_at is None else self.ended_at) - since
        return (self.ended - before) / seconds if seconds > _STEP else 0.0

    def remaining_seconds(self, now: float) -> float | None:
        """Return the seconds until all have ended, at this rate; None if that is not known."""
        rate = self.rate(now)
        return (self.total - self.ended) / rate if rate and not self.is_over else None

    def seconds(self, now: float) -> float | None:
        """Return the seconds that they took, or have taken until now."""
        if self.started_at is None:
            return None
        return max(0.0, (now if self.ended_at is None else self.ended_at) - self.started_at)

    def _leave_out(self, skipped: int) -> None:
        """Count those that are skipped among the others no more: of ten, eight are to be executed."""
        self.total -= skipped

    def _begin(self, at: float, status: Status) -> None:
        if self.started_at is None and status == "running":
            self.started_at = at
            self._ended.append((at, self.ended))

    def _note(self, at: float) -> None:
        if self.ended == self.total:
            self.ended_at = at
        if self._ended and at - self._ended[-1][0] >= _STEP:
            self._ended.append((at, self.ended))

    def _move(self, count: int, to: Status, *sources: Status) -> None:
        for source in sources:
            some = min(count, self.counts[source])
            self.counts[source] -= some
            self.counts[to] += some
            count -= some

    def _due_by(self, at: float, most: int) -> int:
        """Return how many retries were due by then, up to ``most``; each is counted once."""
        due = 0
        while self._due and self._due[0][0] <= at and due < most:
            when, count = heappop(self._due)
            due += count
            if due > most:
                heappush(self._due, (when, due - most))
        return min(due, most)
