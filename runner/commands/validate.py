"""`validate FILE…`: workflow files to their faults, all at once."""

import sys

import click

from runner import catalogue, foreach, report, screen, settings, source, spec
from runner import plan as plans
from runner.errors import InvalidWorkflow


@click.command
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def command(files: tuple[str, ...]) -> int:
    """Check workflow files, and show every fault at its place.

    Nothing is run, imported or connected to. FILE may be - for standard input.
    """
    chosen = settings.read()
    code = 0
    for name in files:
        try:
            written = source.read(name)
            workflow = spec.read(written, catalogue.of(written, chosen))
            foreach.check(plans.make(workflow, written), written)
        except InvalidWorkflow as error:
            click.echo(report.problem(error, screen=screen.of(sys.stderr)), err=True)
            code = error.exit_code
        else:
            click.echo(f"{name}: valid", err=True)
    return code
