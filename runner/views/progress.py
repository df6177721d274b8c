"""A run's events to its progress on stderr, as they come: a live picture on a terminal, else a line a transition."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO

from runner import text
from runner.language import redact as mask
from runner.language.plan import Plan
from runner.ledger.entries import Event
from runner.views import screen
from runner.views.item_counts import ItemCounts
from runner.views.run_state import RunState, StepState
from runner.views.status import FAILED, sign

_WIDE = 12  # collectors; of more, only what goes wrong is told, and every tenth of them
_TWENTIETH = 0.05  # of the collectors of a `foreach`: so many must have ended before they are told again,
_PATIENCE = 10.0  # or so many seconds have passed
_SILENCE = 30.0  # seconds without a line, after which one says what the run is at: a log without it looks like a hang
_NAMED = 3  # steps that it names


class Progress(Protocol):
    def tell(self, event: Event | None) -> None:
        """Show what has happened, or with None that time has passed."""


@contextmanager
def shown(plan: Plan, run_id: str, *, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Progress]:
    """The progress of a run, for as long as it is watched.

    Args:
        quiet: show nothing.
        stream: by default stderr as it is now. No terminal, or ``TERM=dumb``, makes plain lines.
    """
    out = sys.stderr if stream is None else stream
    if quiet:
        yield Silence()
    elif screen.of(out).moves and (out.encoding or "").lower().replace("-", "") == "utf8":
        # Rich is imported here, not above: it takes 0.05 s, which plain lines need not wait for.
        from runner.views.live import live  # noqa: PLC0415

        with live(RunState(plan), run_id, out) as picture:
            yield picture
    else:
        yield Lines(RunState(plan), run_id, out)


class Silence:
    """No progress."""

    def tell(self, event: Event | None) -> None:
        pass


class Lines:
    """Progress as plain lines: ``12:03:04 collector_1 started (attempt 2) on celery@box``."""

    def __init__(self, board: RunState, run_id: str, stream: TextIO, *, silence: float = _SILENCE) -> None:
        self._board = board
        self._run_id = run_id
        self._stream = stream
        self._silence = silence
        self._said_at = time.monotonic()
        self._tenths = 0
        self._told = {name: _Told() for name in board.tallies}

    def tell(self, event: Event | None) -> None:
        if event is None:
            if time.monotonic() - self._said_at >= self._silence:
                self._print(time.time(), f"run {self._run_id}: {_at_work(self._board)}")
            return
        standing = self._board.tell(event)
        if event.event in {"accepted", "ended"}:
            self._say(event, f"run {self._run_id} {event.status or event.event}")
        elif event.event == "waiting":
            self._say(event, f"run {self._run_id} {text.printable(event.message)}")
        elif event.event == "answered":
            self._say(
                event,
                f"{text.printable(mask.name(event.step, self._board.plan))} has answered, too late for the result",
            )
        elif isinstance(standing, ItemCounts):
            self._tell_tally(event, standing, self._told[standing.name])
        elif standing:
            if self._matters(standing):
                self._say(event, f"{text.printable(standing.step.id)} {_words(standing, self._board.now)}")
            if standing.ended and self._wide:
                self._say_tenths(event)

    @property
    def _wide(self) -> bool:
        return len(self._board.collectors) > _WIDE

    def _matters(self, standing: StepState) -> bool:
        return not self._wide or standing.step.kind != "collector" or standing.status in FAILED

    def _say_tenths(self, event: Event) -> None:
        alone = self._board.alone
        tenths = alone.ended * 10 // alone.total
        if tenths > self._tenths:
            self._tenths = tenths
            failed = f", {alone.failed:,} failed" if alone.failed else ""
            self._say(event, f"{alone.ended:,} of {alone.total:,} collectors have ended{failed}")

    def _tell_tally(self, event: Event, tally: ItemCounts, told: _Told) -> None:
        """The first failures by name, and now and then how far they all are: there is an event for every batch."""
        name = text.printable(tally.name)
        if told.at is None:
            # Of a run that is resumed, the first thing to hear is how many had ended.
            begun = _far(tally, event.at) if tally.started_at is None else text.count(tally.total, "collector")
            self._say(event, f"{name}{'' if tally.started_at is None else ' started'}: {begun}")
            told.at, told.ended = event.at, tally.ended
        if len(tally.failures) > told.failures:
            told.failures = len(tally.failures)
            self._say(event, f"{name}: {event.count:,} {sign(event.status).word}: {tally.failures[-1]}")
        seconds, more = event.at - told.at, tally.ended - told.ended
        much = seconds >= 1 and (more >= _TWENTIETH * tally.total or seconds > _PATIENCE)
        if more and (much or tally.ended == tally.total):
            told.at, told.ended = event.at, tally.ended
            self._say(event, f"{name}: {_far(tally, event.at)}")

    def _say(self, event: Event, words: str) -> None:
        self._print(event.at, words)

    def _print(self, at: float, words: str) -> None:
        self._said_at = time.monotonic()
        print(f"{time.strftime('%H:%M:%S', time.localtime(at))} {words}", file=self._stream, flush=True)


@dataclass(slots=True)
class _Told:
    """What has been said of the collectors of a ``foreach``: when, how many had ended, how many failures were named."""

    at: float | None = None
    ended: int = 0
    failures: int = 0


def _at_work(board: RunState) -> str:
    """What a run is at: ``2 of 3 collectors have ended; hn running for 2m10s, lobsters retrying in 40s``."""
    words = [f"{board.ended:,} of {text.count(board.total, 'collector')} have ended"] if board.collectors else []
    words += [f"{text.printable(name)}: {_far(tally, board.now)}" for name, tally in board.tallies.items()]
    busy = [each for each in board.standings.values() if each.status in {"running", "retrying"}]
    named = [f"{text.printable(each.step.id)} {_busy(each, board.now)}" for each in busy[:_NAMED]]
    if len(busy) > _NAMED:
        named.append(f"{len(busy) - _NAMED:,} more")
    words += [", ".join(named)] if named else []
    words += [board.waits_for] if board.waits_for else []
    return "; ".join(words)


def _busy(standing: StepState, now: float) -> str:
    if standing.status == "retrying" and standing.ended_at is not None:
        return f"retrying in {text.duration(max(0, standing.ended_at + standing.wait - now))}"
    return f"running for {text.duration(standing.seconds(now) or 0)}"


def _far(tally: ItemCounts, now: float) -> str:
    """How far they are: ``720 of 1,000 have ended, 20 failed, 3 retrying, 180/s, 1.6s left``."""
    counts = {"failed": tally.failed, "retrying": tally.counts["retrying"]}
    words = [f"{tally.ended:,} of {tally.total:,} have ended"]
    words += [f"{count:,} {word}" for word, count in counts.items() if count]
    if rate := tally.rate(now):
        words += [text.rate(rate)]
    if left := tally.left(now):
        words += [f"{text.duration(left)} left"]
    return ", ".join(words)


def _words(standing: StepState, now: float) -> str:
    because = f": {standing.message}" if standing.message else ""
    match standing.status:
        case "running":
            worker = f" on {standing.worker}" if standing.worker else ""
            return f"started (attempt {standing.attempt}){worker}"
        case "retrying":
            return f"attempt {standing.attempt} failed, again in {text.duration(standing.wait)}{because}"
        case "succeeded":
            return f"succeeded in {text.duration(standing.seconds(now) or 0)}"
        case _:
            attempts = f" after {text.count(standing.attempt, 'attempt')}" if standing.attempt > 1 else ""
            return f"{sign(standing.status).word}{attempts}{because}"
