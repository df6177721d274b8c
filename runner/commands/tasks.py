"""`tasks`: what `task:` may name."""

import sys

import click

from runner import catalogue, report, screen, settings, source


@click.command
@click.argument("file", required=False)
def command(file: str | None) -> None:
    """List the tasks that a workflow may name.

    With FILE, also those of the modules that it includes.
    """
    chosen = settings.read()
    found = (
        catalogue.of(source.read(file), chosen) if file else catalogue.read(catalogue.offered(chosen), (), chosen.tasks)
    )
    click.echo(report.task_list(found.values(), screen=screen.of(sys.stdout)))
