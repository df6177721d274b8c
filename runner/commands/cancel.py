"""`cancel RUN`: cancels a run."""

import click

from runner.commands.options.shared import broker_options
from runner.language.tolerance import Verdict
from runner.ledger.damage import UnreadableRun
from runner.ledger.run_ids import check_run_id
from runner.runs.session import open_ledger
from runner.settings import read_settings
from runner.worker.conclude import conclude


@click.command
@click.argument("run_id", metavar="RUN")
@broker_options
def command(run_id: str) -> None:
    """Cancel a run: no further step starts."""
    check_run_id(run_id)
    # Not at the top: Celery takes 0.25 s. It sends the hooks.
    from runner.celery_app import make_current  # noqa: PLC0415

    make_current()
    with open_ledger(read_settings()) as ledger:
        try:
            ended = ledger.open(run_id).info().ended
        except UnreadableRun:
            ended = False
        conclude(ledger.open(run_id), Verdict("cancelled", "cancelled by `runner cancel`"))
        status = ledger.open(run_id).info().status
    click.echo(f"run {run_id} {'had already ended: ' if ended else ''}{status}", err=True)
