"""How fast this project is, and how fast Celery by hand: `python -m tests.benchmarks` measures and prints a table."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from tests.benchmarks import plot, results, rows, tables
from tests.benchmarks.results import Results


@click.command()
@click.option("--only", multiple=True, metavar="ROW", type=click.Choice(list(rows.ROWS)), help="These rows.")
@click.option("--repeat", type=click.IntRange(min=1), default=5, show_default=True, help="Measurements of everything.")
@click.option("--quick", is_flag=True, help="A hundredth of the collectors, once: only to see that it works.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Keep every measurement in this file.")
@click.option("--from", "kept", type=click.Path(exists=True, path_type=Path), help="Measure nothing: show such a file.")
@click.option("--plot", "drawing", type=click.Path(path_type=Path), help="Draw time over number, as SVG.")
@click.option("--markdown", is_flag=True, help="Print the table of its README.md.")
def main(
    only: tuple[str, ...],
    repeat: int,
    file: Path | None,
    kept: Path | None,
    drawing: Path | None,
    *,
    quick: bool,
    markdown: bool,
) -> None:
    """Measure this project, Celery by hand, and what it would cost at least.

    Without --only, all rows but 1000000. Rows that FILE has already, from this machine, stay if they are not measured again.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing that was started stays
    if kept:
        measured = results.load(kept)
    else:
        chosen = only or rows.ALL_BUT_THE_LARGEST
        measured = _measured(chosen, 1 if quick else repeat, file, quick=quick)
    if drawing:
        drawing.write_text(plot.svg(measured), encoding="utf-8")
    if markdown:
        click.echo(f"{tables.as_markdown(measured)}\n\n{tables.caption(measured)}")
    else:
        Console().print(tables.for_terminal(measured))


def _measured(chosen: Sequence[str], repeat: int, file: Path | None, *, quick: bool) -> Results:
    """The rows, measured one after the other; the file has each as soon as it is."""
    measured = results.here()
    if file and file.exists() and (earlier := results.load(file)).machine == measured.machine:
        measured = results.here(earlier.lines)
    for row in chosen:
        lines = rows.lines(row, repeat=repeat, quick=quick, notes=Console(stderr=True))
        measured = measured.and_(lines, order=list(rows.ROWS))
        if file:
            file.write_text(results.dump(measured), encoding="utf-8")
    return measured


if __name__ == "__main__":
    main()
