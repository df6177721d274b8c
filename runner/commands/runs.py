"""`runs`: lists the latest runs, newest first."""

import sys

import click

from runner.commands.options.shared import broker_options
from runner.ledger.damage import UnreadableRun
from runner.runs.session import note_unattended, open_ledger
from runner.settings import read_settings
from runner.text import printable, to_json
from runner.views.document import run_document
from runner.views.problem import problem
from runner.views.screen import screen_of
from runner.views.words import history


@click.command
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Number of runs to list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@broker_options
def command(limit: int, *, as_json: bool) -> None:
    """List the latest runs."""
    settings = read_settings()
    with open_ledger(settings) as ledger:
        found = [note_unattended(run, ledger, settings) for run in ledger.runs(limit)]
    for each in found:
        if each.status == "unreadable":
            click.echo(problem(UnreadableRun(each.id, each.cause), screen=screen_of(sys.stderr)), err=True)
        elif each.unattended:
            click.echo(f"run {each.id}: {each.unattended}", err=True)
        elif each.waits_for and not each.ended:
            click.echo(f"run {each.id}: {printable(each.waits_for)}", err=True)
    click.echo(
        to_json({"runs": [run_document(each) for each in found]})
        if as_json
        else history(found, screen=screen_of(sys.stdout))
    )
