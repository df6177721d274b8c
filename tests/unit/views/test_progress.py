"""The progress of a run: on a terminal, and without one."""

import io
import os
import pty
import re
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from runner.language.layout import Layout
from runner.language.plan import Foreach, Plan
from runner.ledger.entries import Event, EventName, RunStatus, StepStatus
from runner.views.live import picture
from runner.views.progress import Lines, show_progress
from runner.views.run_state import RunState
from tests.command_line import ROOT
from tests.plans import change_plan, make_collector, make_plan, make_stage

NEWS = make_plan(
    collectors="hn lobsters reddit",
    gather="fan_in",
    stages=(make_stage("count", "count"),),
    inputs={"key": "hunter22"},
    secrets=("key",),
)
WIDE = make_plan("wide", collectors=tuple(make_collector(f"page_{at}") for at in range(1000)), gather="fan_in")
MILLION = make_plan(
    "pages",
    collectors=(
        make_collector("index"),
        make_collector("page", foreach=Foreach(items="…")),
    ),
    gather="fan_in",
    inputs={"key": "hunter22"},
    secrets=("key",),
)
LAYOUT = Layout(counts={"page": 1_000_000})
START = 1_767_225_600.0


def started(step: str, at: float = 0, attempt: int = 1) -> Event:
    return Event(id="0", event="started", at=START + at, step=step, attempt=attempt, worker="celery@box")


def finished(step: str, at: float = 1, status: StepStatus = "succeeded", message: str = "", attempt: int = 1) -> Event:
    return Event(
        id="0",
        event="finished",
        at=START + at,
        step=step,
        status=status,
        attempt=attempt,
        worker="celery@box",
        message=message,
    )


def postponed(step: str, message: str, at: float = 1, attempt: int = 1) -> Event:
    return Event(id="0", event="postponed", at=START + at, step=step, attempt=attempt, message=message, seconds=4)


def ended(status: RunStatus, at: float = 2) -> Event:
    return Event(id="0", event="ended", at=START + at, status=status)


def lines(plan: Plan, events: Sequence[Event | None]) -> list[str]:
    """What is printed where there is no terminal, without the time of day."""
    stream = io.StringIO()
    with show_progress(plan, LAYOUT, "news-1", stream=stream) as progress:
        for event in events:
            progress.update(event)
    told = stream.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in told)
    return [line[9:] for line in told]


def drawn(
    plan: Plan, events: Sequence[Event], width: int = 80, height: int = 24, *, layout: Layout = LAYOUT
) -> list[str]:
    """The picture after these events."""
    state = RunState(plan, layout)
    for event in events:
        state.apply(event)
    shown = picture(state, "news-1", columns=width, height=height)
    return ["".join(part for part, _ in line).rstrip() for line in shown]


def test_without_a_terminal_every_transition_is_a_line() -> None:
    told = lines(
        NEWS,
        [
            Event(id="0", event="accepted", at=START),
            started("hn"),
            postponed("hn", "ConnectionError: refused"),
            None,
            started("hn", 2, attempt=2),
            finished("hn", 5, attempt=2),
            finished("lobsters", 5, "failed", "ValueError: no", attempt=4),
            finished("fan_in", 6, "not_run", "NotRun: lobsters failed", attempt=0),
            ended("failed"),
        ],
    )
    assert told == [
        "run news-1 accepted",
        "hn started (attempt 1) on celery@box",
        "hn attempt 1 failed, again in 4s: ConnectionError: refused",
        "hn started (attempt 2) on celery@box",
        "hn succeeded in 3s",
        "lobsters failed after 4 attempts: ValueError: no",
        "fan_in not run: lobsters failed",
        "run news-1 failed",
    ]


def test_a_step_that_is_kept_is_shown_as_kept_and_not_as_executed_now() -> None:
    """`resume` said "hn succeeded in 0s", at the time of now, of a step that it had not executed."""
    resumed = Event(id="0", event="resumed", at=START)
    told = lines(NEWS, [resumed, finished("hn", 0), started("lobsters"), finished("lobsters", 2)])
    assert told == ["hn kept", "lobsters started (attempt 1) on celery@box", "lobsters succeeded in 2s"]
    assert " ╭─ ✓ hn       succeeded         kept" in drawn(NEWS, [resumed, finished("hn", 0)])


def test_of_a_wide_fan_out_only_failures_and_every_tenth_are_lines() -> None:
    events = [each for step in WIDE.collectors for each in (started(step.id), finished(step.id))]
    events[301] = finished("page_150", status="failed", message="E: x")
    told = lines(WIDE, [*events, started("fan_in")])
    assert told[:3] == [
        "100 of 1,000 collectors have ended",
        "page_150 failed: E: x",
        "200 of 1,000 collectors have ended, 1 failed",
    ]
    assert told[-1] == "fan_in started (attempt 1) on celery@box"
    assert len(told) == 12


def test_a_late_collector_is_shown_with_the_deadline_and_again_if_it_ends_after_all() -> None:
    late = finished("hn", 90, "late", attempt=0)
    told = lines(
        change_plan(NEWS, deadline=90),
        [started("hn"), late, Event(id="0", event="answered", at=START + 95, step="hn", status="late")],
    )
    assert told[1:] == [
        "hn late: had not answered when the deadline of 1m30s passed",
        "hn has answered, too late for the result",
    ]


def test_the_key_of_an_item_that_ends_late_is_redacted() -> None:
    answered = Event(id="0", event="answered", at=START, step="page[hunter22]", status="late")
    assert lines(MILLION, [answered]) == ["page[***] has answered, too late for the result"]


def test_what_a_run_waits_for_is_a_line_of_progress() -> None:
    waiting = Event(id="0", event="waiting", at=START, message="waits for a worker that has fetch")
    assert lines(NEWS, [waiting]) == ["run news-1 waits for a worker that has fetch"]


def test_what_a_run_waits_for_is_in_the_picture_as_long_as_nothing_runs() -> None:
    waiting = Event(id="0", event="waiting", at=START, message="waits for a worker that has fetch")
    assert drawn(NEWS, [waiting])[0].endswith(" · waits for a worker that has fetch")
    assert "waits" not in drawn(NEWS, [waiting, started("hn")])[0]
    assert "waits" in drawn(NEWS, [waiting, started("hn"), finished("hn")])[0]


def batch(event: EventName, count: int, at: float, **told: Any) -> Event:
    """An event of this many pages."""
    return Event(id="0", event=event, at=START + at, step="page", worker="celery@box", count=count, **told)


def half() -> list[Event]:
    """Half a million pages in 20 s, one of each 250 with an error, and three that are tried again."""
    events = [started("index"), finished("index"), batch("started", 500, 0)]
    for number in range(1, 2001):
        at = number / 100
        message = f"page[{number}]: OSError: \x1b[31m hunter22"
        events += [
            batch("finished", 249, at, status="succeeded"),
            batch("finished", 1, at, status="failed", message=message),
            batch("started", 250, at),
        ]
    return [*events, batch("postponed", 3, 20, message="page[9]: HTTPError: 503", seconds=9, attempt=1)]


def test_a_foreach_is_a_line_with_a_bar_the_counts_the_rate_and_the_time_left_and_its_first_failures() -> None:
    # The clock of the machine is far from that of the events: a run that has ended is as old as its last event.
    state = RunState(MILLION, LAYOUT)
    for event in half():
        state.apply(event)
    state.ended = True
    shown = ["".join(part for part, _ in line).rstrip() for line in picture(state, "r-1", columns=120, height=24)]
    bar = "━" * 24
    counts = "500,000 of 1,000,000  2,000 failed  3 retrying  497 running  25,000/s  20s left"
    assert shown[0:2] == ["run r-1 · 20s", " ╭─ ✓ index  succeeded     1s  celery@box"]
    assert shown[2].endswith(f" page   {bar}  {counts}")
    assert shown[3:] == [
        r"      ✗ page[1]: OSError: \x1b[31m ***",
        r"      ✗ page[2]: OSError: \x1b[31m ***",
        r"      ✗ page[3]: OSError: \x1b[31m ***",
        "      ↻ page[9]: HTTPError: 503",
        "    · fan_in waiting           500,001 of 1,000,001 in",
    ]


@pytest.mark.parametrize("height", [8, 10, 24])
@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_foreach_fits_into_any_terminal(width: int, height: int) -> None:
    shown = drawn(MILLION, half(), width, height)
    assert max(map(len, shown)) <= width
    assert len(shown) <= height
    assert any("500,000 of 1,000,000" in line for line in shown)


def test_a_foreach_without_items_has_nothing_to_do() -> None:
    plan = change_plan(MILLION, collectors=(MILLION.collectors[1],))
    assert "✓ page   ━" in drawn(plan, [], layout=Layout(counts={"page": 0}))[1]


def test_of_many_foreach_as_many_are_shown_as_fit() -> None:
    one = MILLION.collectors[1]
    plan = change_plan(MILLION, collectors=tuple(replace(one, id=f"page_{at}") for at in range(50)))
    layout = Layout(counts={step.id: 1_000_000 for step in plan.collectors})
    shown = drawn(plan, [], height=12, layout=layout)
    assert len(shown) <= 12
    assert any("more with foreach" in line for line in shown)


def test_a_million_collectors_are_no_more_work_than_a_few() -> None:
    assert len(RunState(MILLION, LAYOUT).steps) == 2


def test_without_a_terminal_a_foreach_has_a_line_now_and_then() -> None:
    told = lines(MILLION, half())
    assert told[2:7] == [
        "page started: 1,000,000 collectors",
        r"page: 1 failed: page[1]: OSError: \x1b[31m ***",
        r"page: 1 failed: page[2]: OSError: \x1b[31m ***",
        r"page: 1 failed: page[3]: OSError: \x1b[31m ***",
        "page: 50,000 of 1,000,000 have ended, 200 failed, 25,000/s, 38s left",
    ]
    assert len(told) == 16


def test_the_end_of_a_foreach_is_always_shown() -> None:
    told = lines(MILLION, [batch("started", 1_000_000, 0), batch("finished", 1_000_000, 0.9, status="succeeded")])
    assert told[-1] == "page: 1,000,000 of 1,000,000 have ended, 1,111,111/s"


def test_the_first_line_of_a_resumed_foreach_is_how_many_had_ended() -> None:
    had = batch("finished", 400_000, 0, status="succeeded")
    assert lines(MILLION, [had, batch("started", 250, 1)]) == ["page: 400,000 of 1,000,000 have ended"]


def test_the_end_of_a_resumed_foreach_is_shown_once() -> None:
    events = [batch("finished", 1_000_000, 0, status="succeeded"), batch("started", 250, 1)]
    assert lines(MILLION, events) == ["page: 1,000,000 of 1,000,000 have ended"]


def test_in_a_cancelled_run_the_rest_of_a_foreach_is_cancelled() -> None:
    shown = drawn(
        MILLION, [batch("started", 250, 0), batch("finished", 250, 1, status="succeeded"), ended("cancelled")]
    )
    assert shown[2].startswith(" ╰─ ■ page ")


def test_the_bar_of_a_cancelled_foreach_is_not_full() -> None:
    """Eight of twenty had ended at Ctrl-C; the bar was full, beside "20 of 20"."""
    twenty = make_plan("pages", collectors=(make_collector("page", foreach=Foreach(items="…")),))
    events = [batch("started", 20, 0), batch("finished", 8, 1, status="succeeded"), ended("cancelled")]
    shown = drawn(twenty, events, layout=Layout(counts={"page": 20}, sizes={"page": 4}))
    assert "━  8 of 20  12 cancelled" in shown[1]


def test_a_slow_foreach_has_a_line_every_ten_seconds() -> None:
    told = lines(MILLION, [batch("started", 4, 0), *(batch("finished", 1, at, status="succeeded") for at in range(60))])
    assert len(told) == 1 + 5


def test_a_long_silence_is_broken_by_what_the_run_is_at() -> None:
    """A log had nothing to show for a wait of five minutes, and looked like that of a run that hangs."""
    stream = io.StringIO()
    plain = Lines(RunState(NEWS), "news-1", stream, silence=0)
    for event in [started("hn"), started("lobsters"), postponed("lobsters", "E: x"), finished("hn"), None]:
        plain.update(event)
    assert re.search(
        r"^\d\d:\d\d:\d\d run news-1: 1 of 3 collectors have ended; lobsters retrying in 0s$",
        stream.getvalue().splitlines()[-1],
    )


def test_a_long_silence_of_many_collectors_names_three() -> None:
    stream = io.StringIO()
    plain = Lines(RunState(WIDE), "wide-1", stream, silence=0)
    for event in [*(started(f"page_{at}", time.time() - START) for at in range(5)), None]:
        plain.update(event)
    last = stream.getvalue().splitlines()[-1]
    assert re.search(r"wide-1: 0 of 1,000 collectors have ended; page_0 running for \S+, page_1 .*, 2 more$", last)


def test_a_short_silence_of_a_run_is_kept() -> None:
    assert lines(NEWS, [started("hn"), None, None]) == ["hn started (attempt 1) on celery@box"]


def test_late_collectors_of_a_foreach_are_reported_with_the_deadline() -> None:
    late = batch("finished", 30, 90, status="late")
    told = lines(change_plan(MILLION, deadline=90), [batch("started", 30, 0), late])
    assert told[1] == "page: 30 late: had not answered when the deadline of 1m30s passed"


def test_progress_of_a_quiet_run_is_silent() -> None:
    stream = io.StringIO()
    with show_progress(NEWS, LAYOUT, "news-1", quiet=True, stream=stream) as progress:
        progress.update(started("hn"))
    assert not stream.getvalue()


@pytest.mark.parametrize("render", [lines, drawn])
def test_progress_shows_escape_sequences_of_a_user_and_does_not_obey_them(render: type) -> None:
    shown = "\n".join(render(NEWS, [finished("hn", status="failed", message="E: [red]\x1b[31m\nhunter22")]))
    assert r"E: [red]\x1b[31m\n***" in shown


def test_the_picture_has_a_line_for_every_step_with_state_time_and_cause() -> None:
    events = [
        started("hn"),
        finished("hn", 0.5),
        started("lobsters"),
        postponed("lobsters", "ConnectionError: refused", attempt=2),
        started("reddit"),
        finished("reddit", 1.5, "timed_out", "Timeout: 1s"),
        ended("failed"),
    ]
    assert drawn(NEWS, events) == [
        "run news-1 · 2s",
        " ╭─ ✓ hn       succeeded   0.5s  celery@box",
        " ├─ ↻ lobsters retrying      1s  attempt 2, next in 3s · ConnectionError: refus…",
        " ╰─ ✗ reddit   timed out   1.5s  Timeout: 1s",
        "    · fan_in   waiting           2 of 3 in",
        "    · count    waiting",
    ]


def test_a_wide_fan_out_is_one_bar_with_counts_and_what_went_wrong() -> None:
    events = [finished(step.id) for step in WIDE.collectors[:700]]
    events += [finished(step.id, status="failed", message="E: x") for step in WIDE.collectors[700:720]]
    shown = drawn(WIDE, [started("page_0"), *events, started("page_999"), ended("failed", 4)])
    assert shown[1:5] == [
        " ╭─ ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  720 of 1,000  180/s",
        " │  700 succeeded · 20 failed · 1 running · 279 waiting",
        " ├─ ✗ page_700 failed            E: x",
        " ├─ ✗ page_701 failed            E: x",
    ]
    assert shown[-2:] == [
        " ╰─ … 12 more failed, retrying or limited",
        "    · fan_in   waiting           720 of 1,000 in",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("plan", [NEWS, WIDE], ids=["narrow", "wide"])
def test_no_line_of_the_picture_is_wider_than_the_terminal(plan: Plan, width: int) -> None:
    step = plan.collectors[1].id
    shown = drawn(plan, [started(step), postponed(step, "E: " + "x" * 200)], width)
    steps = [line for line in shown if "retrying" in line and "·" in line]
    assert all(len(line) <= width for line in steps)


@pytest.mark.parametrize("height", [8, 10, 24])
def test_the_picture_is_no_higher_than_the_terminal(height: int) -> None:
    stages = tuple(make_stage(f"stage_{at}") for at in range(30))
    plan = make_plan("long", collectors=NEWS.collectors, gather=NEWS.fan_outs[0].gather, stages=stages)
    shown = drawn(plan, [started("stage_20")], height=height)
    assert len(shown) <= height


def test_of_many_stages_those_around_the_current_one_are_shown() -> None:
    stages = tuple(make_stage(f"stage_{at}") for at in range(30))
    done = [finished(step.id) for step in (*NEWS.collectors, NEWS.fan_outs[0].gather, *stages[:20])]
    shown = drawn(
        make_plan("long", collectors=NEWS.collectors, gather=NEWS.fan_outs[0].gather, stages=stages),
        [*done, started("stage_20")],
        height=12,
    )
    assert any("stage_20 running" in line for line in shown)


def test_an_event_that_comes_twice_changes_nothing() -> None:
    state = RunState(NEWS)
    first = state.apply(finished("hn"))
    again = state.apply(finished("hn", status="failed"))
    assert first.step is not None
    assert again.step is None
    assert state.counts == {"succeeded": 1, "pending": 2}


def test_events_of_steps_that_the_plan_lacks_are_passed_over() -> None:
    assert RunState(NEWS).apply(started("unknown")).step is None


SCRIPT = """
import sys
from runner.views.progress import show_progress
from tests.unit.views.test_progress import LAYOUT, NEWS, ended, finished, postponed, started
print("the result")
with show_progress(NEWS, LAYOUT, "news-1") as progress:
    for event in [started("hn"), postponed("hn", "E: [red] " + "x" * 200), None, finished("lobsters"), ended("failed")]:
        progress.update(event)
print("warning", file=sys.stderr)
"""


def on_a_terminal(columns: int, **environment: str) -> tuple[str, str]:
    """Return what a program with progress wrote, to a terminal of this width on stderr and to a pipe on stdout."""
    main, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, columns))
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", **environment},
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    shown: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # Linux: the other end is closed
            while chunk := os.read(main, 65536):
                shown.append(chunk)

    reading = threading.Thread(target=read)
    reading.start()
    stdout, _ = process.communicate(timeout=60)
    # Not earlier: what nobody has read is lost when the last one closes the terminal.
    os.close(terminal)
    reading.join()
    os.close(main)
    assert process.returncode == 0
    return b"".join(shown).decode(), stdout.decode()


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_on_a_terminal_the_picture_is_drawn_in_place_and_never_wraps(columns: int) -> None:
    shown, stdout = on_a_terminal(columns)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "\x1b[1A" in shown
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= columns
    assert "✓ lobsters succeeded" in plain
    assert plain.endswith("warning\r\n")
    assert stdout == "the result\n"


def test_a_terminal_that_wants_no_colour_keeps_its_picture() -> None:
    """`NO_COLOR` is about colour, and it took the live view away."""
    shown, _ = on_a_terminal(80, NO_COLOR="1")
    assert "\x1b[1A" in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown)


def test_a_terminal_without_a_cursor_gets_plain_lines() -> None:
    shown, _ = on_a_terminal(80, TERM="dumb")
    assert "\x1b" not in shown
    assert "hn started (attempt 1)" in shown


def test_plain_lines_of_progress_do_not_import_rich() -> None:
    asked = "import sys; from runner.views import progress; print('rich' in sys.modules, 'redis' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False False"
