"""A row of the table to its lines: who does what, how often, and what the target is.

Those that are compared take turns, so that what else the machine does hits both.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter

from rich.console import Console

from tests.benchmarks import sides
from tests.benchmarks.results import BY_HAND, FLOOR, Line
from tests.benchmarks.sides import Side
from tests.command_line import DEFAULT, ROOT

Measure = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a row is measured.

    Args:
        folder: for files, empty.
        repeat: how often everything is measured.
        quick: with a hundredth of the collectors, only to see that it works.
    """

    folder: Path
    repeat: int
    quick: bool
    notes: Console

    def count(self, full: int) -> int:
        return max(3, full // 100) if self.quick else full

    def in_turns(self, *measures: Measure, times: int = 1) -> list[tuple[float, ...]]:
        """Each of them, one after the other, `times` as often as everything is measured."""
        taken: list[list[float]] = [[] for _ in measures]
        for _ in range(self.repeat * times):
            for number, measure in enumerate(measures):
                taken[number].append(measure())
            self.notes.print("  ", *(f"{each[-1]:.3f}" for each in taken), highlight=False)
        return [tuple(each) for each in taken]


def lines(row: str, *, repeat: int, quick: bool, notes: Console) -> list[Line]:
    """Measure a row."""
    notes.print(f"{row}:", highlight=False)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        measured = list(ROWS[row](Bench(Path(folder), repeat, quick, notes)))
    # Targets are for the full numbers.
    return [replace(line, row=row, ratio=None, most=None) if quick else replace(line, row=row) for line in measured]


def _default(bench: Bench) -> Iterator[Line]:
    with sides.ours(bench.folder) as ours, sides.by_hand(bench.folder) as by_hand:
        mine, theirs = bench.in_turns(partial(ours.seconds, "default"), partial(by_hand.seconds, "default"), times=4)
    yield Line("", "3 collectors, a gather and 2 stages", mine, BY_HAND, theirs, ratio=1.2)


def _many(bench: Bench) -> Iterator[Line]:
    """Small runs that come all at once: what a run costs beside its steps."""
    count = bench.count(300)
    with sides.ours(bench.folder) as ours, sides.by_hand(bench.folder) as by_hand:
        mine, theirs = bench.in_turns(*(partial(side.seconds, "many", count=count) for side in (ours, by_hand)))
    yield Line("", f"{count:,} runs of the default workflow at once", mine, BY_HAND, theirs, ratio=1.0)


def _discover(bench: Bench) -> Iterator[Line]:
    count, fewer = bench.count(10_000), bench.count(1000)
    with sides.ours(bench.folder) as ours, sides.by_hand(bench.folder) as by_hand:
        mine, theirs = bench.in_turns(
            partial(ours.seconds, "discover", count=count), partial(by_hand.seconds, "discover", count=fewer)
        )
    work, rival = f"find {count:,}, fetch each, fetch each again; each", f"{BY_HAND}, {fewer:,} of them"
    yield Line("", work, mine, count=2 * count)
    yield Line("", work, _each(mine, 2 * count), rival, _each(theirs, 2 * fewer), "µs", ratio=1 / 30)


def _second(bench: Bench) -> Iterator[Line]:
    """A fan-out that begins after another, and one that begins the run."""
    count = bench.count(1_000_000)
    times, taken = [], []
    for work in ("numbers", "second"):
        with sides.ours(bench.folder / work) as ours:
            before = ours.stored()
            times += bench.in_turns(partial(ours.seconds, work, count=count))
            taken.append(_memory(ours, before, bench.repeat))
    rival, work = "this project, the first fan-out", f"{count:,} collectors in a second fan-out"
    yield Line("", work, times[1], rival, times[0], ratio=1.2, count=count)
    for name in taken[0]:
        first, second = (size[name] for size in taken)
        yield Line("", f"{work}: memory of {name}", (second,), rival, (first,), "MB", ratio=1.2)


def _wide(bench: Bench, full: int, ratio: float, *, chunks: int = 0, times: int = 1) -> Iterator[Line]:
    """Collectors that do nothing: what is left is what it costs to send, keep and gather them."""
    count = bench.count(full)
    with ExitStack() as started:
        ours, by_hand, floor = _all(bench, started)
        numbers = [partial(side.seconds, "numbers", count=count) for side in (ours, by_hand, floor)]
        if chunks:
            numbers.append(partial(by_hand.seconds, "chunks", count=count, size=chunks))
        mine, theirs, least, *chunked = bench.in_turns(*numbers, times=times)
    work = f"{count:,} collectors that do nothing"
    yield Line("", work, mine, BY_HAND, theirs, ratio=ratio, count=count)
    yield Line("", work, mine, FLOOR, least, count=count)
    for each in chunked:
        yield Line("", work, mine, f"{BY_HAND}, in chunks of {chunks}", each)


def _written_out(bench: Bench) -> Iterator[Line]:
    """A file with this many collectors: what a worker looks up in the plan at each message would show here."""
    count, fewer = bench.count(10_000), bench.count(1000)
    with sides.ours(bench.folder) as ours:
        many, some = bench.in_turns(*(partial(ours.seconds, "written_out", count=each) for each in (count, fewer)))
    work, rival = f"{count:,} collectors that do nothing, all written out, each", f"this project, {fewer:,} of them"
    yield Line("", work, _each(many, count), rival, _each(some, fewer), "µs", ratio=1.3)


def _hundred_thousand(bench: Bench) -> Iterator[Line]:
    count, fewer = bench.count(100_000), bench.count(10_000)
    with ExitStack() as started:
        ours, by_hand, floor = _all(bench, started)
        before = ours.stored()
        mine, theirs, least = bench.in_turns(
            partial(ours.seconds, "numbers", count=count),
            partial(by_hand.seconds, "numbers", count=fewer),
            partial(floor.seconds, "numbers", count=count),
        )
        taken = _memory(ours, before, bench.repeat)
    work = f"{count:,} collectors that do nothing"
    yield Line("", work, mine, FLOOR, least, count=count)
    rival = f"{BY_HAND}, {fewer:,} of them"
    yield Line("", f"{work}, each", _each(mine, count), rival, _each(theirs, fewer), "µs", ratio=0.03)
    most = {WORKER: 300, CLIENT: 500}
    for name, size in taken.items():
        yield Line("", f"{count:,} collectors: memory of {name}", (size,), unit="MB", most=most.get(name))


def _million(bench: Bench) -> Iterator[Line]:
    """What grows faster than the number of collectors would show here."""
    counts = bench.count(100_000), bench.count(1_000_000)
    times, taken = [], []
    for count in counts:
        with sides.ours(bench.folder / str(count)) as ours:
            before = ours.stored()
            times += bench.in_turns(partial(ours.seconds, "numbers", count=count))
            taken.append(_memory(ours, before, bench.repeat))
    fewer, count = counts
    rival, work = f"this project, {fewer:,} of them", f"{count:,} collectors that do nothing"
    yield Line("", work, times[1], count=count)
    yield Line("", f"{work}, each", _each(times[1], count), rival, _each(times[0], fewer), "µs", ratio=1.5)
    for name in taken[0]:
        small, large = (_each((size[name],), number) for size, number in zip(taken, counts, strict=True))
        yield Line("", f"{count:,} collectors: memory of {name}, each", large, rival, small, "bytes", ratio=1.5)


WORKER, CLIENT, BROKER = "the worker's three processes", "the process that submits and waits", "the broker"


def _memory(ours: Side, before: float, runs: int) -> dict[str, float]:
    """Megabytes: of our processes at most, and what a run has left in the broker."""
    return {WORKER: ours.worker_peak(), CLIENT: ours.client_peak(), BROKER: (ours.stored() - before) / runs}


def _each(seconds: Iterable[float], count: int) -> tuple[float, ...]:
    """Microseconds for each of this many collectors."""
    return tuple(taken / count * 1e6 for taken in seconds)


def _pages(bench: Bench) -> Iterator[Line]:
    """1,000 requests of 100 ms each, on one worker of two processes."""
    count = bench.count(1000)
    with ExitStack() as started:
        server = started.enter_context(sides.pages())
        ours = started.enter_context(sides.ours(bench.folder))
        prefork = started.enter_context(sides.by_hand(bench.folder))
        threads = started.enter_context(sides.by_hand(bench.folder, sides.THREADS))
        for side in (ours, prefork, threads):
            side.seconds("pages", count=10, server=server)  # so that everybody has a client, and connections
        mine, processes, threaded = bench.in_turns(
            *(partial(side.seconds, "pages", count=count, server=server) for side in (ours, prefork, threads))
        )
    work = f"{count:,} HTTP collectors of 100 ms"
    yield Line("", work, mine, f"{BY_HAND}, 2 processes", processes, ratio=1 / 20)
    yield Line("", work, mine, f"{BY_HAND}, 64 threads", threaded, ratio=1 / 3)


def _flaky(bench: Bench) -> Iterator[Line]:
    count = bench.count(10_000)

    def seconds(ours: Side, every: int) -> float:
        # In memory where there is such a place: it is not the disk that is measured.
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else bench.folder) as folder:
            return ours.seconds("flaky", count=count, every=every, folder=folder)

    with sides.ours(bench.folder) as ours:
        failing, fine = bench.in_turns(partial(seconds, ours, 10), partial(seconds, ours, 0))
    yield Line("", f"{count:,} collectors, each tenth fails once", failing, "none fails", fine, ratio=1.5)


def _language(bench: Bench) -> Iterator[Line]:
    count, more = bench.count(1000), bench.count(10_000)
    file = bench.folder / "many.yaml"
    one = "- {{id: collector_{n}, task: collector_1, with: {{topic: '${{{{ inputs.topic }}}} {n}'}}}}\n"
    head = "name: many\ninputs: {topic: {type: string}}\ncollectors:\n"
    file.write_text(head + "".join(one.format(n=n) for n in range(count)), encoding="utf-8")
    drawn, checked = bench.in_turns(
        *(partial(_processor_seconds, "-m", "runner", command, str(file)) for command in ("graph", "validate"))
    )
    yield Line("", f"graph of {count:,} collectors, all written out (CPU)", drawn, most=1)
    yield Line("", "validate of the same (CPU)", checked, most=1)
    with sides.ours(bench.folder) as ours:
        [composed] = bench.in_turns(partial(ours.seconds, "compose", count=more))
    yield Line("", f"compose a plan of {more:,} collectors, all written out", composed, most=0.5)


def _cold(bench: Bench) -> Iterator[Line]:
    def ours() -> float:
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            return _wall_seconds("-m", "runner", "run", DEFAULT, "--topic", "tea", "--quiet", RUNNER_STATE_DIR=folder)

    mine, theirs = bench.in_turns(ours, partial(_wall_seconds, "-m", "tests.benchmarks.by_hand_cold"))
    work = "run of the default workflow, with nothing started"
    yield Line("", work, mine, "a script by hand", theirs, ratio=0.5, most=0.9)


def _all(bench: Bench, started: ExitStack) -> tuple[Side, Side, Side]:
    ours = started.enter_context(sides.ours(bench.folder))
    by_hand = started.enter_context(sides.by_hand(bench.folder))
    return ours, by_hand, started.enter_context(sides.floor(bench.folder))


def _wall_seconds(*words: str, **environment: str) -> float:
    began = perf_counter()
    done = _python(*words, **environment)
    seconds = perf_counter() - began
    if '"item_count": 12' not in done:
        raise SystemExit(f"{words}: {done}")
    return seconds


def _processor_seconds(*words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _python(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _python(*words: str, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUNNER_")}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words}: {done.stderr}")
    return done.stdout


ROWS: Mapping[str, Callable[[Bench], Iterator[Line]]] = {
    "default": _default,
    "300 small": _many,
    "discover": _discover,
    "100": partial(_wide, full=100, ratio=0.7, times=4),
    "1000": partial(_wide, full=1000, ratio=0.1),
    "10000": partial(_wide, full=10_000, ratio=0.033, chunks=100),
    "10000 written out": _written_out,
    "100000": _hundred_thousand,
    "1000000": _million,
    "1000000 second": _second,
    "http": _pages,
    "flaky": _flaky,
    "language": _language,
    "cold": _cold,
}
ALL_BUT_THE_LARGEST = tuple(row for row in ROWS if not row.startswith("1000000"))
