"""A run's events to its progress on stderr, as they come: a live picture on a terminal, else a line a transition."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from runner import screen, text
from runner.board import Board, Standing
from runner.plan import Plan
from runner.status import FAILED, sign

if TYPE_CHECKING:
    from runner.store import Event

_WIDE = 12  # collectors; of more, only what goes wrong is told, and every tenth of them


class Progress(Protocol):
    def tell(self, event: Event | None) -> None:
        """Show what has happened, or with None that time has passed."""


@contextmanager
def shown(plan: Plan, run_id: str, *, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Progress]:
    """The progress of a run, for as long as it is watched.

    Args:
        quiet: show nothing.
        stream: by default stderr as it is now. No terminal, ``NO_COLOR`` or ``TERM=dumb`` makes plain lines.
    """
    out = sys.stderr if stream is None else stream
    if quiet:
        yield Silence()
    elif screen.of(out).colour and (out.encoding or "").lower().replace("-", "") == "utf8":
        # Rich is imported here, not above: it takes 0.05 s, which plain lines need not wait for.
        from runner.live import live  # noqa: PLC0415

        with live(Board(plan), run_id, out) as picture:
            yield picture
    else:
        yield Lines(Board(plan), run_id, out)


class Silence:
    """No progress."""

    def tell(self, event: Event | None) -> None:
        pass


class Lines:
    """Progress as plain lines: ``12:03:04 collector_1 started (attempt 2) on celery@box``."""

    def __init__(self, board: Board, run_id: str, stream: TextIO) -> None:
        self._board = board
        self._run_id = run_id
        self._stream = stream
        self._tenths = 0

    def tell(self, event: Event | None) -> None:
        if event is None:
            return
        standing = self._board.tell(event)
        if event.event in {"accepted", "ended"}:
            self._say(event, f"run {self._run_id} {event.status or event.event}")
        elif event.event == "waiting":
            self._say(event, f"run {self._run_id} {text.printable(event.message)}")
        elif event.event == "answered":
            self._say(event, f"{text.printable(event.step)} has answered, too late for the result")
        elif standing and self._matters(standing):
            self._say(event, f"{text.printable(standing.step.id)} {_words(standing, self._board.now)}")
        if standing and standing.ended and self._wide:
            self._say_tenths(event)

    @property
    def _wide(self) -> bool:
        return len(self._board.collectors) > _WIDE

    def _matters(self, standing: Standing) -> bool:
        return not self._wide or standing.step.kind != "collector" or standing.status in FAILED

    def _say_tenths(self, event: Event) -> None:
        board = self._board
        tenths = board.ended * 10 // len(board.collectors)
        if tenths > self._tenths:
            self._tenths = tenths
            failed = f", {board.failed:,} failed" if board.failed else ""
            self._say(event, f"{board.ended:,} of {len(board.collectors):,} collectors have ended{failed}")

    def _say(self, event: Event, words: str) -> None:
        print(f"{time.strftime('%H:%M:%S', time.localtime(event.at))} {words}", file=self._stream, flush=True)


def _words(standing: Standing, now: float) -> str:
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
