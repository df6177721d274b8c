"""Results to a table: for a terminal, and for README.md."""

from collections.abc import Sequence
from statistics import median

from rich.table import Table

from tests.benchmarks.results import Line, Results

COLUMNS = ("work", "this project", "rival", "ratio", "at most", "met")


def for_terminal(results: Results) -> Table:
    table = Table(*COLUMNS, caption=caption(results))
    for line in results.lines:
        style = "red" if line.met is False else ""
        table.add_row(*cells(line), style=style)
    return table


def as_markdown(results: Results) -> str:
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(cells, results.lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def caption(results: Results) -> str:
    return f"{results.day}, {results.machine}; {results.versions}. Medians, with the least and the most."


def cells(line: Line) -> tuple[str, ...]:
    return (
        line.work,
        amount(line.ours, line.unit),
        f"{line.rival}: {amount(line.theirs, line.unit)}" if line.theirs else "",
        _ratio(line),
        _target(line),
        {True: "yes", False: "no", None: ""}[line.met],
    )


def amount(measured: Sequence[float], unit: str) -> str:
    """The median, and from where to where: `0.32 s (0.30 to 0.41)`."""
    least, most = _number(min(measured)), _number(max(measured))
    return f"{_number(median(measured))} {unit}" + (f" ({least} to {most})" if least != most else "")


def _number(value: float) -> str:
    """Three digits are more than any measurement is good for."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def _ratio(line: Line) -> str:
    ratio = line.measured_ratio
    if ratio is None:
        return ""
    better = "less" if line.unit in {"MB", "bytes"} else "faster"
    return f"{ratio:.2g} ({1 / ratio:.0f} times {better})" if ratio < 0.5 else f"{ratio:.2f}"


def _target(line: Line) -> str:
    targets = [f"{line.ratio:.2g} times"] if line.ratio is not None else []
    targets += [f"{line.most:g} {line.unit}"] if line.most is not None else []
    return ", ".join(targets) or ""
