"""The state of a run to a live picture, drawn by Rich at the bottom of a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from runner.ledger.entries import Event
from runner.ledger.statuses import FAILED, ORDER
from runner.text import cut, cut_middle, duration, pad, printable, rate, width
from runner.views.item_counts import ItemCounts
from runner.views.run_state import RunState, StepState
from runner.views.screen import screen_of
from runner.views.signs import LONGEST, sign

_WIDE = 12  # collectors; more are one bar, with a line for each that failed or is retrying
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SECONDS = 6  # columns of a duration: 12h59m
_SHORTEST_BAR, _LONGEST_BAR = 6, 24
_BESIDE_NAME = len(" ├─ ✓ ") + 1 + LONGEST + 1 + _SECONDS

Line = list[tuple[str, str]]  # texts and their styles


@contextmanager
def live(state: RunState, run_id: str, stream: TextIO) -> Iterator[Picture]:
    """Show the picture on the terminal behind the stream; its last state stays there."""
    plain = not screen_of(stream).colour
    console = Console(file=stream, force_terminal=True, no_color=plain, highlight=False, markup=False, emoji=False)
    # Without a thread: `Ledger.follow` yields twice a second. Output on stdout is not redirected, because it may go to a file.
    with Live(console=console, auto_refresh=False, redirect_stdout=False, vertical_overflow="crop") as rich_live:
        picture = Picture(state, run_id, rich_live)
        try:
            yield picture
        finally:
            picture.draw()


class Picture:
    """The picture on the terminal."""

    def __init__(self, state: RunState, run_id: str, rich_live: Live) -> None:
        self._state = state
        self._run_id = run_id
        self._live = rich_live
        self._drawn_at = 0.0

    def update(self, event: Event | None) -> None:
        if event is not None:
            self._state.apply(event)
        # Ten pictures a second are smooth; 1,000 collectors have 2,000 events.
        if time.monotonic() - self._drawn_at >= 0.1:
            self.draw()

    def draw(self) -> None:
        self._drawn_at = time.monotonic()
        columns, height = self._live.console.size
        lines = picture(self._state, self._run_id, columns=columns, height=height)
        self._live.update(Group(*map(_text, lines)), refresh=True)


def picture(state: RunState, run_id: str, *, columns: int, height: int) -> list[Line]:
    """Return every line of the picture: the run, its collectors or bars for them, the gather, the stages."""
    ran = f" · {duration(state.now - state.began_at)}" if state.began_at is not None else ""
    header: Line = [("run ", "dim"), (run_id, "bold"), (ran, "dim")]
    if state.waits_for:
        header.append((f" · {state.waits_for}", "yellow"))
    # A hook has a line once the run has come to it.
    tail_steps = [*state.tail, *(each for each in state.hooks if each.status != "pending")]
    lines = len(state.steps) + 2 * len(state.items)
    wide = bool(state.collectors) and (len(state.collectors) > _WIDE or lines + 2 > height)
    shown = _trouble(state) if wide else state.collectors
    # The rows below the header and its bar: the others' bars with a line for each, the tail, and the line below.
    spare = height - 5 - len(tail_steps) - 2 * len(state.items)
    room = max(1, min(8, spare)) if wide else len(shown)
    # A wide terminal keeps a quarter for errors, a narrow one shows the names instead.
    most = columns - _BESIDE_NAME - (columns // 4 if columns >= 72 else 0)
    names = [*(each.step.id for each in [*shown[:room], *state.tail]), *state.items]
    name_columns = min(max(width(printable(each)) for each in names), max(8, most))
    collectors = [_bar(state, columns)] if wide else []
    collectors += [[_line(each, state, name_columns, columns)] for each in shown[:room]]
    if len(shown) > room:
        collectors.append([[(f"… {len(shown) - room:,} more failed, retrying or limited", "dim")]])
    collectors += _many(state, name_columns, columns, height - 2 - len(tail_steps[:3]) - sum(map(len, collectors)))
    above = list(_railed(collectors))
    tail = _current([_line(each, state, name_columns, columns) for each in tail_steps], state, height - len(above) - 2)
    return [header, *above, *([("    ", ""), *line] for line in tail)]


def _railed(collectors: list[list[Line]]) -> Iterator[Line]:
    """Yield the lines of the collectors, with a rail along their first lines."""
    last = len(collectors) - 1
    for at, lines in enumerate(collectors):
        rail = "──" if last == 0 else "╭─" if at == 0 else "╰─" if at == last else "├─"
        below = "  " if at == last else "│ "
        yield from ([(f" {rail if line is lines[0] else below} ", "dim"), *line] for line in lines)


def _line(step: StepState, state: RunState, name_columns: int, columns: int) -> Line:
    """Return the line of a step: icon, name, state, time; then as much of its notes as fits."""
    icon, word, style = sign(step.status)
    if step.status == "running":
        icon = _SPINNER[int(state.now * 8) % len(_SPINNER)]
    seconds = step.seconds(state.now)
    took = "" if seconds is None else duration(seconds)
    notes = _notes(step, state)
    room = columns - name_columns - _BESIDE_NAME - 2
    return [
        (f"{icon} ", style),
        (f"{pad(cut_middle(printable(step.step.id), name_columns), name_columns)} ", "dim" * (style == "dim")),
        (f"{word:<{LONGEST}} ", style),
        (f"{took:>{_SECONDS}}", "dim"),
        *([(f"  {cut(notes, room)}", "red" if step.status in FAILED else "dim")] if notes and room >= 8 else []),
    ]


def _notes(step: StepState, state: RunState) -> str:
    """Return the attempt, and where it runs or why it failed; for the gather, how many collectors have ended."""
    if step.status == "pending":
        waits = step.step.kind == "gather" and state.ended_collectors
        return f"{state.ended_collectors:,} of {state.total:,} in" if waits else ""
    if step.kept:
        return "kept"
    attempt = f"attempt {step.attempt}" if step.attempt > 1 or step.status == "retrying" else ""
    if step.status == "retrying" and step.ended_at is not None:
        attempt += f", next in {duration(max(0, step.ended_at + step.wait - state.now))}"
    if step.status == "limited" and step.ended_at is not None:
        left = max(0, step.ended_at + step.wait - state.now)
        return f"{step.message}, {duration(left)} left" if left >= 1 else step.message
    well = step.status in {"running", "succeeded"}
    return " · ".join(filter(None, [attempt, step.worker if well else step.message]))


def _bar(state: RunState, columns: int) -> list[Line]:
    """Return the lines of a wide fan-out without ``foreach``: a bar, and the counts below it."""
    counts = state.collector_counts
    label = f"  {counts.ended:,} of {counts.total:,}"
    each_second = counts.rate(state.now)
    speed = f"  {rate(each_second)}" if each_second else ""
    below: Line = []
    for status in ORDER:
        if counts.counts[status]:
            _, word, style = sign(status)
            below += [(" · " if below else "", "dim"), (f"{counts.counts[status]:,} {word}", style)]
    length = max(4, min(40, columns - 5 - len(label) - len(speed)))
    return [[*_filled(counts, length), (label, ""), (speed, "dim")], below]


def _filled(counts: ItemCounts, length: int) -> Line:
    """Return a bar. A failure is always visible, among any number of collectors."""
    total = max(counts.total, 1)
    red = -(-length * counts.failed // total)
    full = max(length * counts.ended // total, red) if counts.total else length
    return [("━" * (full - red), "green"), ("━" * red, "red"), ("━" * (length - full), "dim")]


def _many(state: RunState, name_columns: int, columns: int, room: int) -> list[list[Line]]:
    """Return each collector with ``foreach``: a bar, and below it the first failures, as many as fit."""
    all_counts = list(state.items.values())
    shown = all_counts if len(all_counts) <= max(room, 1) else all_counts[: max(room - 1, 1)]
    spare = max(0, room - len(shown))
    many: list[list[Line]] = []
    for counts in shown:
        parts = [(f"✗ {each}", "red") for each in counts.failures]
        if counts.counts["retrying"]:
            parts.append((f"↻ {counts.retry}", "yellow"))
        if waits := counts.waits_for(state.now):
            parts.append((f"{sign('limited').icon} {waits}", "yellow"))
        below: list[Line] = [[("  ", ""), (cut(words, columns - 6), style)] for words, style in parts[:spare]]
        spare -= len(below)
        many.append([_items(counts, state, name_columns, columns), *below])
    if len(shown) < len(all_counts):
        many.append([[(f"… {len(all_counts) - len(shown):,} more with foreach", "dim")]])
    return many


def _items(counts: ItemCounts, state: RunState, name_columns: int, columns: int) -> Line:
    """Return the line of a ``foreach``: a bar, the counts, the rate, the time left, as much as fits."""
    icon, _, style = sign(counts.status)
    if counts.status == "running":
        icon = _SPINNER[int(state.now * 8) % len(_SPINNER)]
    each_second, seconds = counts.rate(state.now), counts.seconds(state.now)
    remaining = counts.remaining_seconds(state.now)
    parts = [  # each with its rank: the lowest is left out first
        (f"{counts.ended:,} of {counts.total:,}", "", 6),
        (f"{counts.failed:,} failed" if counts.failed else "", "red", 5),
        (f"{counts.counts['retrying']:,} retrying" if counts.counts["retrying"] else "", "yellow", 2),
        (f"{counts.counts['running']:,} running" if counts.counts["running"] else "", "dim", 1),
        (f"{counts.counts['cancelled']:,} cancelled" if counts.counts["cancelled"] else "", "yellow", 4),
        (f"{counts.counts['not_run']:,} not run" if counts.counts["not_run"] else "", "dim", 4),
        (f"{counts.counts['skipped']:,} skipped" if counts.counts["skipped"] else "", "dim", 4),
        (rate(each_second) if each_second else "", "dim", 3),
        (f"{duration(remaining)} left" if remaining else "", "dim", 4),
        (duration(seconds) if seconds is not None and counts.is_over else "", "dim", 4),
    ]
    parts = [each for each in parts if each[0]]
    room = columns - len(" ├─ ✓ ") - name_columns - 1
    while len(parts) > 1 and sum(len(words) + 2 for words, _, _ in parts) + _SHORTEST_BAR > room:
        parts.remove(min(parts, key=lambda each: each[2]))
    length = min(_LONGEST_BAR, room - sum(len(words) + 2 for words, _, _ in parts))
    name = pad(cut_middle(printable(counts.name), name_columns), name_columns)
    bar = _filled(counts, length) if length >= 4 else []
    return [(f"{icon} ", style), (f"{name} ", ""), *bar, *((f"  {words}", colour) for words, colour, _ in parts)]


def _trouble(state: RunState) -> list[StepState]:
    """Return the collectors that failed, or wait for another attempt or for a limit."""
    return [each for each in state.collectors if each.status in {*FAILED, "retrying", "limited"}]


def _current(lines: list[Line], state: RunState, room: int) -> list[Line]:
    """Return the lines of the stages, if they are too many those around the one that is being executed."""
    if len(lines) <= max(room, 3):
        return lines
    at = next((at for at, each in enumerate(state.tail) if not each.ended), len(lines) - 1)
    start = max(0, min(at - 1, len(lines) - max(room, 3)))
    return lines[start : start + max(room, 3)]


def _text(line: Line) -> Text:
    return Text.assemble(*line, no_wrap=True, overflow="ellipsis")
