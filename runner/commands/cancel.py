"""`cancel RUN`: no step of it starts any more."""

import click

from runner import options
from runner.ledger.damage import UnreadableRun
from runner.ledger.run_ids import check_run_id
from runner.runs.session import open_ledger
from runner.settings import read_settings


@click.command
@click.argument("run_id", metavar="RUN")
@options.broker_options
def command(run_id: str) -> None:
    """Cancel a run: no further step starts."""
    check_run_id(run_id)
    with open_ledger(read_settings()) as ledger:
        try:
            ended = ledger.run(run_id).ended
        except UnreadableRun:
            ended = False
        status = ledger.cancel(run_id, "cancelled by `runner cancel`")
    click.echo(f"run {run_id} {'had already ended: ' if ended else ''}{status}", err=True)
