"""A board to a picture of it that moves, drawn by Rich at the bottom of a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from runner import text
from runner.board import Board, Standing
from runner.status import FAILED, LONGEST, sign

if TYPE_CHECKING:
    from runner.store import Event

_WIDE = 12  # collectors; more are one bar, with a line each only for those in trouble
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SECONDS = 6  # columns of a duration: 12h59m
_BESIDE_NAME = len(" ├─ ✓ ") + 1 + LONGEST + 1 + _SECONDS

Line = list[tuple[str, str]]  # texts and their styles


@contextmanager
def live(board: Board, run_id: str, stream: TextIO) -> Iterator[Picture]:
    """The picture, on the terminal behind the stream; its last state stays there."""
    console = Console(file=stream, force_terminal=True, highlight=False, markup=False, emoji=False)
    # No thread of its own: whoever watches a run hears something twice a second. What is printed to stdout is left
    # alone, because it may go to a file.
    with Live(console=console, auto_refresh=False, redirect_stdout=False, vertical_overflow="crop") as rich_live:
        picture = Picture(board, run_id, rich_live)
        try:
            yield picture
        finally:
            picture.draw()


class Picture:
    """What is on the terminal."""

    def __init__(self, board: Board, run_id: str, rich_live: Live) -> None:
        self._board = board
        self._run_id = run_id
        self._live = rich_live
        self._drawn_at = 0.0

    def tell(self, event: Event | None) -> None:
        if event is not None:
            self._board.tell(event)
        # Ten pictures a second are smooth; 1,000 collectors have 2,000 events.
        if time.monotonic() - self._drawn_at >= 0.1:
            self.draw()

    def draw(self) -> None:
        self._drawn_at = time.monotonic()
        width, height = self._live.console.size
        lines = picture(self._board, self._run_id, width=width, height=height)
        self._live.update(Group(*map(_text, lines)), refresh=True)


def picture(board: Board, run_id: str, *, width: int, height: int) -> list[Line]:
    """Every line of the picture: the run, its collectors or a bar for them, the gather, the stages."""
    ran = f" · {text.duration(board.now - board.started_at)}" if board.started_at is not None else ""
    header: Line = [("run ", "dim"), (run_id, "bold"), (ran, "dim")]
    if board.waits_for:
        header.append((f" · {board.waits_for}", "yellow"))
    wide = len(board.collectors) > _WIDE or len(board.standings) + 2 > height
    shown = _trouble(board) if wide else board.collectors
    room = max(1, min(8, height - 5 - len(board.tail))) if wide else len(shown)
    # A wide terminal keeps a quarter for what went wrong, a narrow one shows the names instead.
    most = width - _BESIDE_NAME - (width // 4 if width >= 72 else 0)
    longest = max(text.width(text.printable(each.step.id)) for each in [*shown[:room], *board.tail])
    column = min(longest, max(8, most))
    collectors = [_line(each, board, column, width) for each in shown[:room]]
    if wide:
        collectors = [*_bar(board, width), *collectors]
    if len(shown) > room:
        collectors.append([(f"… {len(shown) - room:,} more failed or retrying", "dim")])
    tail = _current([_line(each, board, column, width) for each in board.tail], board, height - len(collectors) - 2)
    return [header, *_railed(collectors, wide=wide), *([("    ", ""), *line] for line in tail)]


def _railed(lines: list[Line], *, wide: bool) -> Iterator[Line]:
    last = len(lines) - 1
    for at, line in enumerate(lines):
        rail = "──" if last == 0 else "╭─" if at == 0 else "╰─" if at == last else "│ " if wide and at == 1 else "├─"
        yield [(f" {rail} ", "dim"), *line]


def _line(standing: Standing, board: Board, column: int, width: int) -> Line:
    """A step: icon, name, state, time; then as much as fits of what there is to tell."""
    icon, word, style = sign(standing.status)
    if standing.status == "running":
        icon = _SPINNER[int(board.now * 8) % len(_SPINNER)]
    seconds = standing.seconds(board.now)
    took = "" if seconds is None else text.duration(seconds)
    told = _told(standing, board)
    room = width - column - _BESIDE_NAME - 2
    return [
        (f"{icon} ", style),
        (f"{text.pad(text.cut_middle(text.printable(standing.step.id), column), column)} ", "dim" * (style == "dim")),
        (f"{word:<{LONGEST}} ", style),
        (f"{took:>{_SECONDS}}", "dim"),
        *([(f"  {text.cut(told, room)}", "red" if standing.status in FAILED else "dim")] if told and room >= 8 else []),
    ]


def _told(standing: Standing, board: Board) -> str:
    """The attempt, and where it runs or why it failed; of the gather, how much there is to gather."""
    if standing.status == "pending":
        waits = standing.step.kind == "gather" and board.ended
        return f"{board.ended:,} of {len(board.collectors):,} in" if waits else ""
    attempt = f"attempt {standing.attempt}" if standing.attempt > 1 or standing.status == "retrying" else ""
    if standing.status == "retrying" and standing.ended_at is not None:
        attempt += f", next in {text.duration(max(0, standing.ended_at + standing.wait - board.now))}"
    well = standing.status in {"running", "succeeded"}
    return " · ".join(filter(None, [attempt, standing.worker if well else standing.message]))


def _bar(board: Board, width: int) -> list[Line]:
    """A wide fan-out: a bar, and the counts below it."""
    total, ended, failed = len(board.collectors), board.ended, board.failed
    seconds = board.now - board.started_at if board.started_at is not None else 0
    rate = f"  {ended / seconds:,.0f}/s" if ended and seconds > 0.5 else ""
    label = f"  {ended:,} of {total:,}"
    length = max(4, min(40, width - 5 - len(label) - len(rate)))
    # Whatever has failed is to be seen, however few of however many.
    red = -(-length * failed // total)
    full = max(length * ended // total, red)
    bar: Line = [("━" * (full - red), "green"), ("━" * red, "red"), ("━" * (length - full), "dim")]
    counts: Line = []
    for status in ("succeeded", *FAILED, "cancelled", "skipped", "running", "retrying", "pending"):
        if board.counts[status]:
            _, word, style = sign(status)
            counts += [(" · " if counts else "", "dim"), (f"{board.counts[status]:,} {word}", style)]
    return [[*bar, (label, ""), (rate, "dim")], counts]


def _trouble(board: Board) -> list[Standing]:
    """The collectors that failed, or wait for another attempt."""
    return [each for each in board.collectors if each.status in {*FAILED, "retrying"}]


def _current(lines: list[Line], board: Board, room: int) -> list[Line]:
    """Of more stages than fit, those around the one that is being executed."""
    if len(lines) <= max(room, 3):
        return lines
    at = next((at for at, each in enumerate(board.tail) if not each.ended), len(lines) - 1)
    start = max(0, min(at - 1, len(lines) - max(room, 3)))
    return lines[start : start + max(room, 3)]


def _text(line: Line) -> Text:
    return Text.assemble(*line, no_wrap=True, overflow="ellipsis")
