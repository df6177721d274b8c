"""`forget RUN`: deletes a run from the ledger."""

import click

from runner.commands.options.shared import broker_options
from runner.errors import RunnerError, UnknownRun
from runner.ledger.damage import UnreadableRun
from runner.ledger.run_ids import check_run_id
from runner.runs.session import open_ledger
from runner.settings import read_settings
from runner.system.program import command_line


class StillRunning(RunnerError):
    """The run has not ended."""

    exit_code = 2


@click.command
@click.argument("run_id", metavar="RUN")
@broker_options
def command(run_id: str) -> None:
    """Delete a run that has ended or cannot be read.

    Its values are deleted, too. Runs expire by themselves after RUNNER_TTL. Use this for a run that is damaged, or has
    confidential values.
    """
    check_run_id(run_id)
    with open_ledger(read_settings()) as ledger:
        try:
            run = ledger.open(run_id)
            ended = bool(run.plan) and run.info().ended  # both must be readable
        except (UnreadableRun, UnknownRun):
            ended = True  # or it cannot be known, or only a part of the run exists
        if not ended:
            raise StillRunning(f"run {run_id} has not ended", hint=f"`{command_line('cancel', run_id)}` ends it")
        if not ledger.forget(run_id):
            raise UnknownRun(f'no run "{run_id}", or it has expired')
    click.echo(f"run {run_id} is forgotten", err=True)
