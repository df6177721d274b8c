"""A board to a picture of it that moves, drawn by Rich at the bottom of a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from runner import text
from runner.ledger.entries import Event
from runner.views import screen
from runner.views.item_counts import ItemCounts
from runner.views.run_state import RunState, StepState
from runner.views.status import FAILED, LONGEST, ORDER, sign

_WIDE = 12  # collectors; more are one bar, with a line each only for those in trouble
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SECONDS = 6  # columns of a duration: 12h59m
_SHORTEST_BAR, _LONGEST_BAR = 6, 24
_BESIDE_NAME = len(" ├─ ✓ ") + 1 + LONGEST + 1 + _SECONDS

Line = list[tuple[str, str]]  # texts and their styles


@contextmanager
def live(board: RunState, run_id: str, stream: TextIO) -> Iterator[Picture]:
    """The picture, on the terminal behind the stream; its last state stays there."""
    plain = not screen.of(stream).colour
    console = Console(file=stream, force_terminal=True, no_color=plain, highlight=False, markup=False, emoji=False)
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

    def __init__(self, board: RunState, run_id: str, rich_live: Live) -> None:
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


def picture(board: RunState, run_id: str, *, width: int, height: int) -> list[Line]:
    """Every line of the picture: the run, its collectors or bars for them, the gather, the stages."""
    ran = f" · {text.duration(board.now - board.began_at)}" if board.began_at is not None else ""
    header: Line = [("run ", "dim"), (run_id, "bold"), (ran, "dim")]
    if board.waits_for:
        header.append((f" · {board.waits_for}", "yellow"))
    lines = len(board.standings) + 2 * len(board.tallies)
    wide = bool(board.collectors) and (len(board.collectors) > _WIDE or lines + 2 > height)
    shown = _trouble(board) if wide else board.collectors
    # Below the header and its bar there are left: the others' bars with a line for each, the tail, and what follows.
    spare = height - 5 - len(board.tail) - 2 * len(board.tallies)
    room = max(1, min(8, spare)) if wide else len(shown)
    # A wide terminal keeps a quarter for what went wrong, a narrow one shows the names instead.
    most = width - _BESIDE_NAME - (width // 4 if width >= 72 else 0)
    names = [*(each.step.id for each in [*shown[:room], *board.tail]), *board.tallies]
    column = min(max(text.width(text.printable(each)) for each in names), max(8, most))
    collectors = [_bar(board, width)] if wide else []
    collectors += [[_line(each, board, column, width)] for each in shown[:room]]
    if len(shown) > room:
        collectors.append([[(f"… {len(shown) - room:,} more failed or retrying", "dim")]])
    collectors += _many(board, column, width, height - 2 - len(board.tail[:3]) - sum(map(len, collectors)))
    above = list(_railed(collectors))
    tail = _current([_line(each, board, column, width) for each in board.tail], board, height - len(above) - 2)
    return [header, *above, *([("    ", ""), *line] for line in tail)]


def _railed(collectors: list[list[Line]]) -> Iterator[Line]:
    """The collectors, tied together at their first lines."""
    last = len(collectors) - 1
    for at, lines in enumerate(collectors):
        rail = "──" if last == 0 else "╭─" if at == 0 else "╰─" if at == last else "├─"
        below = "  " if at == last else "│ "
        yield from ([(f" {rail if line is lines[0] else below} ", "dim"), *line] for line in lines)


def _line(standing: StepState, board: RunState, column: int, width: int) -> Line:
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


def _told(standing: StepState, board: RunState) -> str:
    """The attempt, and where it runs or why it failed; of the gather, how much there is to gather."""
    if standing.status == "pending":
        waits = standing.step.kind == "gather" and board.ended
        return f"{board.ended:,} of {board.total:,} in" if waits else ""
    attempt = f"attempt {standing.attempt}" if standing.attempt > 1 or standing.status == "retrying" else ""
    if standing.status == "retrying" and standing.ended_at is not None:
        attempt += f", next in {text.duration(max(0, standing.ended_at + standing.wait - board.now))}"
    well = standing.status in {"running", "succeeded"}
    return " · ".join(filter(None, [attempt, standing.worker if well else standing.message]))


def _bar(board: RunState, width: int) -> list[Line]:
    """A wide fan-out without ``foreach``: a bar, and the counts below it."""
    tally = board.alone
    label = f"  {tally.ended:,} of {tally.total:,}"
    ran = tally.rate(board.now)
    rate = f"  {text.rate(ran)}" if ran else ""
    counts: Line = []
    for status in ORDER:
        if tally.counts[status]:
            _, word, style = sign(status)
            counts += [(" · " if counts else "", "dim"), (f"{tally.counts[status]:,} {word}", style)]
    length = max(4, min(40, width - 5 - len(label) - len(rate)))
    return [[*_filled(tally, length), (label, ""), (rate, "dim")], counts]


def _filled(tally: ItemCounts, length: int) -> Line:
    """A bar. Whatever has failed is to be seen, however few of however many."""
    total = max(tally.total, 1)
    red = -(-length * tally.failed // total)
    full = max(length * tally.ended // total, red) if tally.total else length
    return [("━" * (full - red), "green"), ("━" * red, "red"), ("━" * (length - full), "dim")]


def _many(board: RunState, column: int, width: int, room: int) -> list[list[Line]]:
    """Each collector with ``foreach``: a bar, and below it as many of the first failures as there is room for."""
    tallies = list(board.tallies.values())
    shown = tallies if len(tallies) <= max(room, 1) else tallies[: max(room - 1, 1)]
    spare = max(0, room - len(shown))
    many: list[list[Line]] = []
    for tally in shown:
        told = [(f"✗ {each}", "red") for each in tally.failures]
        if tally.counts["retrying"]:
            told.append((f"↻ {tally.retry}", "yellow"))
        below: list[Line] = [[("  ", ""), (text.cut(words, width - 6), style)] for words, style in told[:spare]]
        spare -= len(below)
        many.append([_counted(tally, board, column, width), *below])
    if len(shown) < len(tallies):
        many.append([[(f"… {len(tallies) - len(shown):,} more with foreach", "dim")]])
    return many


def _counted(tally: ItemCounts, board: RunState, column: int, width: int) -> Line:
    """How far the collectors of a ``foreach`` are: a bar, the counts, the rate, the time left, as much of it as fits."""
    icon, _, style = sign(tally.status)
    if tally.status == "running":
        icon = _SPINNER[int(board.now * 8) % len(_SPINNER)]
    rate, left, seconds = tally.rate(board.now), tally.left(board.now), tally.seconds(board.now)
    told = [  # with what is left out first where there is no room, counted from 1
        (f"{tally.ended:,} of {tally.total:,}", "", 6),
        (f"{tally.failed:,} failed" if tally.failed else "", "red", 5),
        (f"{tally.counts['retrying']:,} retrying" if tally.counts["retrying"] else "", "yellow", 2),
        (f"{tally.counts['running']:,} running" if tally.counts["running"] else "", "dim", 1),
        (text.rate(rate) if rate else "", "dim", 3),
        (f"{text.duration(left)} left" if left else "", "dim", 4),
        (text.duration(seconds) if seconds is not None and tally.ended == tally.total else "", "dim", 4),
    ]
    told = [each for each in told if each[0]]
    room = width - len(" ├─ ✓ ") - column - 1
    while len(told) > 1 and sum(len(words) + 2 for words, _, _ in told) + _SHORTEST_BAR > room:
        told.remove(min(told, key=lambda each: each[2]))
    length = min(_LONGEST_BAR, room - sum(len(words) + 2 for words, _, _ in told))
    name = text.pad(text.cut_middle(text.printable(tally.name), column), column)
    bar = _filled(tally, length) if length >= 4 else []
    return [(f"{icon} ", style), (f"{name} ", ""), *bar, *((f"  {words}", colour) for words, colour, _ in told)]


def _trouble(board: RunState) -> list[StepState]:
    """The collectors that failed, or wait for another attempt."""
    return [each for each in board.collectors if each.status in {*FAILED, "retrying"}]


def _current(lines: list[Line], board: RunState, room: int) -> list[Line]:
    """Of more stages than fit, those around the one that is being executed."""
    if len(lines) <= max(room, 3):
        return lines
    at = next((at for at, each in enumerate(board.tail) if not each.ended), len(lines) - 1)
    start = max(0, min(at - 1, len(lines) - max(room, 3)))
    return lines[start : start + max(room, 3)]


def _text(line: Line) -> Text:
    return Text.assemble(*line, no_wrap=True, overflow="ellipsis")
