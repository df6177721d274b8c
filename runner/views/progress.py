"""A run's events to its progress on stderr: a live picture on a terminal, and else a line for each transition."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO, cast

from runner.language.layout import Layout
from runner.language.plan import Plan
from runner.ledger.entries import Event
from runner.ledger.statuses import FAILED, Status
from runner.text import count, duration, printable, rate
from runner.views.item_counts import ItemCounts
from runner.views.run_state import RunState, StepState
from runner.views.screen import screen_of
from runner.views.signs import sign

_WIDE = 12  # collectors; if there are more, only failures and every tenth have a line
_TWENTIETH = 0.05  # of the items of a `foreach`: a line when as many have ended since the last one,
_PATIENCE = 10.0  # or these seconds have passed
_SILENCE = 30.0  # seconds without a line until one says what runs: silence in a log looks like a hang
_NAMED = 3  # steps that this line names


class Progress(Protocol):
    def update(self, event: Event | None) -> None:
        """Show an event, or, with None, that time has passed."""


@contextmanager
def show_progress(
    plan: Plan, layout: Layout, run_id: str, *, quiet: bool = False, stream: TextIO | None = None
) -> Iterator[Progress]:
    """Show the progress of a run while it is followed.

    Args:
        quiet: show nothing.
        stream: by default stderr as it is now. Without a terminal, or with ``TERM=dumb``, progress is plain lines.
    """
    out = sys.stderr if stream is None else stream
    if quiet:
        yield Silence()
    elif screen_of(out).moves and (out.encoding or "").lower().replace("-", "") == "utf8":
        # Not at the top: Rich takes 0.05 s, which plain lines do not need.
        from runner.views.live import live  # noqa: PLC0415

        with live(RunState(plan, layout), run_id, out) as picture:
            yield picture
    else:
        yield Lines(RunState(plan, layout), run_id, out)


class Silence:
    """No progress."""

    def update(self, event: Event | None) -> None:
        pass


class Lines:
    """Progress as plain lines: ``12:03:04 collector_1 started (attempt 2) on celery@box``."""

    def __init__(self, state: RunState, run_id: str, stream: TextIO, *, silence: float = _SILENCE) -> None:
        self._state = state
        self._run_id = run_id
        self._stream = stream
        self._silence = silence
        self._printed_at = time.monotonic()
        self._tenths = 0
        self._items = {step_id: _Printed() for step_id in state.items}

    def update(self, event: Event | None) -> None:
        if event is None:
            if time.monotonic() - self._printed_at >= self._silence:
                self._print(time.time(), f"run {self._run_id}: {_activity(self._state)}")
            return
        change = self._state.apply(event)
        event, step = change.event, change.step
        if event.event in {"accepted", "ended"}:
            self._print(event.at, f"run {self._run_id} {event.status or event.event}")
        elif event.event == "waiting":
            self._print(event.at, f"run {self._run_id} {printable(event.message)}")
        elif event.event == "answered":
            self._print(event.at, f"{printable(event.step)} has answered, too late for the result")
        elif isinstance(step, ItemCounts):
            self._print_items(event, step, self._items[step.name])
        elif step:
            if not self._is_wide or step.step.kind != "collector" or step.status in FAILED:
                self._print(event.at, f"{printable(step.step.id)} {_words(step, self._state.now)}")
            if step.ended and self._is_wide:
                self._print_tenths(event)

    @property
    def _is_wide(self) -> bool:
        return len(self._state.collectors) > _WIDE

    def _print_tenths(self, event: Event) -> None:
        counts = self._state.collector_counts
        tenths = counts.ended * 10 // counts.total
        if tenths > self._tenths:
            self._tenths = tenths
            failed = f", {counts.failed:,} failed" if counts.failed else ""
            self._print(event.at, f"{counts.ended:,} of {counts.total:,} collectors have ended{failed}")

    def _print_items(self, event: Event, counts: ItemCounts, printed: _Printed) -> None:
        """Print the first failures by name, and sometimes the counts: there is an event for every batch."""
        name = printable(counts.name)
        if printed.at is None:
            # The first event of a resumed run counts the items that had ended.
            if counts.started_at is None:
                self._print(event.at, f"{name}: {_counts(counts, event.at)}")
            else:
                self._print(event.at, f"{name} started: {count(counts.total, 'collector')}")
            printed.at, printed.ended = event.at, counts.ended
        if event.event == "limited" and event.at >= printed.limited + _PATIENCE:
            printed.limited = event.at
            self._print(event.at, f"{name}: {counts.waits_for(event.at)}")
        if len(counts.failures) > printed.failures:
            printed.failures = len(counts.failures)
            word = sign(cast("Status", event.status)).word
            self._print(event.at, f"{name}: {event.count:,} {word}: {counts.failures[-1]}")
        seconds, more = event.at - printed.at, counts.ended - printed.ended
        much = seconds >= 1 and (more >= _TWENTIETH * counts.total or seconds > _PATIENCE)
        if more and (much or counts.ended == counts.total):
            printed.at, printed.ended = event.at, counts.ended
            self._print(event.at, f"{name}: {_counts(counts, event.at)}")

    def _print(self, at: float, words: str) -> None:
        self._printed_at = time.monotonic()
        print(f"{time.strftime('%H:%M:%S', time.localtime(at))} {words}", file=self._stream, flush=True)


@dataclass(slots=True)
class _Printed:
    """The last line about the items of a ``foreach``: when, how many had ended, how many failures; when one told of a limit."""

    at: float | None = None
    ended: int = 0
    failures: int = 0
    limited: float = 0.0


def _activity(state: RunState) -> str:
    """Say what a run does: ``2 of 3 collectors have ended; hn running for 2m10s, lobsters retrying in 40s``."""
    words = []
    if state.collectors:
        words.append(f"{state.ended_collectors:,} of {count(state.total, 'collector')} have ended")
    words += [f"{printable(step_id)}: {_counts(counts, state.now)}" for step_id, counts in state.items.items()]
    active = [each for each in state.steps.values() if each.status in {"running", "retrying", "limited"}]
    named = [f"{printable(each.step.id)} {_active_words(each, state.now)}" for each in active[:_NAMED]]
    if len(active) > _NAMED:
        named.append(f"{len(active) - _NAMED:,} more")
    return "; ".join(filter(None, [*words, ", ".join(named), state.waits_for]))


def _active_words(step: StepState, now: float) -> str:
    if step.status == "retrying" and step.ended_at is not None:
        return f"retrying in {duration(max(0, step.ended_at + step.wait - now))}"
    if step.status == "limited":
        return f"waiting for the limit {step.message}"
    return f"running for {duration(step.seconds(now) or 0)}"


def _counts(counts: ItemCounts, now: float) -> str:
    """Count the items: ``720 of 1,000 have ended, 20 failed, 3 retrying, 180/s, 1.6s left``."""
    numbers = {"failed": counts.failed, "retrying": counts.counts["retrying"], "skipped": counts.counts["skipped"]}
    words = [f"{counts.ended:,} of {counts.total:,} have ended"]
    words += [f"{number:,} {word}" for word, number in numbers.items() if number]
    words += [counts.waits_for(now)] if counts.waits_for(now) else []
    if each_second := counts.rate(now):
        words += [rate(each_second)]
    if seconds := counts.remaining_seconds(now):
        words += [f"{duration(seconds)} left"]
    return ", ".join(words)


def _words(step: StepState, now: float) -> str:
    because = f": {step.message}" if step.message else ""
    match step.status:
        case "running":
            worker = f" on {step.worker}" if step.worker else ""
            return f"started (attempt {step.attempt}){worker}"
        case "retrying":
            return f"attempt {step.attempt} failed, again in {duration(step.wait)}{because}"
        case "limited":
            return f"waits {duration(step.wait)} for the limit {step.message}"
        case "succeeded" if step.kept:
            return "kept"
        case "succeeded":
            return f"succeeded in {duration(step.seconds(now) or 0)}"
        case _:
            attempts = f" after {count(step.attempt, 'attempt')}" if step.attempt > 1 else ""
            return f"{sign(step.status).word}{attempts}{because}"
