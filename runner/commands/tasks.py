"""`tasks`: what `task:` may name."""

import sys

import click

from runner import catalogue, checks, report, screen, settings, source, text
from runner.catalogue import Catalogue
from runner.errors import InvalidWorkflow
from runner.settings import Settings
from runner.source import Source


@click.command
@click.argument("file", required=False)
def command(file: str | None) -> None:
    """List the tasks that a workflow may name.

    With FILE, also those of the modules that it includes.
    """
    chosen = settings.read()
    found = _of(source.read(file), chosen) if file else catalogue.read(catalogue.offered(chosen), (), chosen.tasks)
    for name in sorted(found.replaced):
        click.echo(f"warning: {text.printable(found.choice(name))}", err=True)
    click.echo(report.task_list(found.values(), screen=screen.of(sys.stdout)))


def _of(written: Source, chosen: Settings) -> Catalogue:
    """The tasks that a file may name, whatever it says of them: it may not be finished."""
    found = catalogue.of(written, chosen)
    if faults := (*written.faults, *checks.include_faults(written, found)):
        raise InvalidWorkflow(faults)
    return found
