"""The benchmark: it runs, and loses nothing; and a million collectors cost each what a hundred thousand do."""

import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
from rich.console import Console

from tests.benchmarks import plot, results, rows, tables
from tests.benchmarks.results import Line
from tests.command_line import ROOT
from tests.integration.test_documents import BENCHMARK, README, table

LINES = (
    Line("100", "100 collectors", (0.2, 0.1, 0.3), "by hand", (2.0, 4.0, 3.0), ratio=0.1, count=100),
    Line("1000", "1,000 collectors", (0.5,), "by hand", (1.0,), ratio=0.1, count=1000),
    Line("language", "compose", (0.51,), most=0.5),
    Line("100000", "memory", (123.4,), unit="MB"),
)


def test_every_side_of_the_benchmark_runs_and_its_figures_are_kept(tmp_path: Path) -> None:
    file, drawing = tmp_path / "measured.json", tmp_path / "measured.svg"
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--only", "10000"]
    done = subprocess.run(
        [*command, "--json", file, "--plot", drawing, "--markdown"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept = results.load(file)
    assert [line.rival for line in kept.lines] == ["by hand", "the floor", "by hand, in chunks of 100"]
    assert all(len(line.ours) == len(line.theirs) == 1 for line in kept.lines)
    assert done.stdout.startswith(tables.as_markdown(kept))
    assert drawing.read_text(encoding="utf-8") == plot.svg(kept)


def test_a_line_of_the_benchmark_says_whether_its_target_is_met() -> None:
    assert [line.met for line in LINES] == [True, False, False, None]
    assert [tables.cells(line) for line in LINES] == [
        (
            "100 collectors",
            "0.20 s (0.10 to 0.30)",
            "by hand: 3.00 s (2.00 to 4.00)",
            "0.067 (15 times faster)",
            "0.1 times",
            "yes",
        ),
        ("1,000 collectors", "0.50 s", "by hand: 1.00 s", "0.50", "0.1 times", "no"),
        ("compose", "0.51 s", "", "", "0.5 s", "no"),
        ("memory", "123 MB", "", "", "", ""),
    ]


def test_rows_of_the_benchmark_that_are_measured_again_replace_the_earlier_ones() -> None:
    kept = results.here(LINES)
    again = kept.and_([Line("100", "100 collectors", (0.1,))], order=list(rows.ROWS))
    assert [(line.row, line.ours[0]) for line in again.lines] == [
        ("100", 0.1),
        ("1000", 0.5),
        ("100000", 123.4),
        ("language", 0.51),
    ]


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_each_of_a_million_collectors_takes_as_long_as_each_of_a_hundred_thousand() -> None:
    """Time and memory, at most half as much again; they are all in its result, or the benchmark had ended itself."""
    measured = rows.lines("1000000", repeat=1, quick=False, notes=Console(stderr=True))
    assert [tables.cells(line) for line in measured if line.met is False] == []


def test_the_table_of_the_benchmark_is_what_was_measured() -> None:
    measured = results.load(ROOT / "tests" / "benchmarks" / "results.json")
    assert [tuple(row) for row in table(BENCHMARK, "benchmark")] == [tables.cells(line) for line in measured.lines]
    assert tables.caption(measured) in BENCHMARK.read_text(encoding="utf-8")


def test_the_figures_of_the_readme_are_what_was_measured() -> None:
    measured = results.load(ROOT / "tests" / "benchmarks" / "results.json")
    cells = [list(tables.cells(line)[:4]) for line in measured.lines]
    assert not [row for row in table(README, "benchmark rows") if row not in cells]
    seconds = next(line.ours for line in measured.lines if line.row == "10000")
    assert f"10,000 take {median(seconds):.1f} s on two cores" in README.read_text(encoding="utf-8")
