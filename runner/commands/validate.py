"""`validate FILE…`: lists the faults of workflow files, all at once."""

import sys

import click

from runner.language import advice, foreach
from runner.language.faults import InvalidWorkflow
from runner.language.workflow_file import load
from runner.options import File
from runner.settings import read_settings
from runner.text import printable
from runner.views.faults import describe_faults
from runner.views.problem import problem
from runner.views.screen import screen_of


@click.command
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=File())
def command(files: tuple[str, ...]) -> int:
    """List every fault of workflow files, each at its place.

    Warn of what has no effect, too. Nothing is executed, imported or connected to. `explain CODE` explains a fault. FILE
    may be - for standard input.
    """
    settings, shown_on = read_settings(), screen_of(sys.stderr)
    code = 0
    for name in files:
        try:
            file = load(name, settings)
            foreach.check(file.plan(), file.source)
        except InvalidWorkflow as error:
            click.echo(problem(error, screen=shown_on), err=True)
            code = error.exit_code
        else:
            click.echo(f"{printable(name)}: valid", err=True)
            if found := advice.warnings(file.source, file.tasks):
                click.echo(describe_faults(found, columns=shown_on.width), err=True)
    return code
