"""`watch RUN`: follows a run that was started elsewhere."""

import sys
from contextlib import suppress
from functools import partial
from signal import SIGHUP

import click
import redis

from runner.brokers import broker_problem
from runner.commands.options.shared import broker_options
from runner.ledger.reading import read_snapshot
from runner.ledger.run_ids import check_run_id
from runner.ledger.run_reader import AWAY
from runner.runs.exit_codes import exit_code
from runner.runs.outage import Outage
from runner.runs.session import note_unattended, open_ledger
from runner.settings import read_settings
from runner.system.interrupts import Interrupted, raise_interrupts
from runner.system.program import command_line
from runner.views.progress import show_progress
from runner.views.screen import screen_of
from runner.views.words import summary


@click.command
@click.argument("run_id", metavar="RUN")
@broker_options
def command(run_id: str) -> int:
    """Follow a run to its end, and exit with its exit code.

    Ctrl-C stops watching only; the run continues.
    """
    check_run_id(run_id)
    outage = Outage(partial(click.echo, err=True))

    def away(error: redis.RedisError) -> None:
        outage.tell(f"run {run_id} waits for the broker: {broker_problem(error)[0]}")

    settings = read_settings()
    with raise_interrupts(), open_ledger(settings) as ledger:
        record = ledger.open(run_id)
        plan = record.plan
        run, note = ledger.open(run_id).info(), ""
        try:
            with show_progress(plan, record.layout, run_id) as progress:
                for event in record.follow(away=away):
                    progress.update(event)
                    if event is None:
                        with suppress(*AWAY):  # `follow` waits for a broker that is away
                            # One that is back may have lost its data, and the run.
                            run = ledger.open(run_id).info()  # defence: WATCHED
                            before, note = note, note_unattended(run, ledger, settings).unattended
                            if note and note != before:  # once: it stays so until somebody does something
                                click.echo(f"run {run_id}: {note}", err=True)
        except Interrupted as interrupted:
            if interrupted.signal is not SIGHUP:
                show = command_line("watch", run_id)
                click.echo(f"\nno longer watching; run {run_id} is not affected: `{show}` watches it again", err=True)
            raise
        snapshot = read_snapshot(ledger, ledger.open(run_id).info(), plan, complete=False)
        click.echo(summary(snapshot, screen=screen_of(sys.stderr)), err=True)
        return exit_code(snapshot.run.status)
