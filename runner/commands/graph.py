"""`graph FILE`: draws a workflow file."""

import sys

import click

from runner.commands.options.completed import FILE
from runner.language.workflow_file import load
from runner.views.drawings import FORMATS
from runner.views.screen import screen_of


@click.command
@click.argument("file", type=FILE)
@click.option(
    "--format",
    "format_",
    type=click.Choice(sorted(FORMATS)),
    default="tree",
    show_default=True,
    help="Format of the drawing.",
)
def command(file: str, format_: str) -> None:
    """Draw a workflow: collectors in parallel, the gather, the stages.

    Needs no broker and imports no task. FILE may be - for standard input.
    """
    plan = load(file).plan()
    click.echo(FORMATS[format_](plan, screen_of(sys.stdout)))
