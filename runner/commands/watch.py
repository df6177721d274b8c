"""`watch RUN`: the live progress of a run that was started elsewhere."""

import sys
from contextlib import suppress
from functools import partial

import click
import redis

from runner.brokers import broker_problem
from runner.ledger.reading import read_snapshot
from runner.ledger.run_ids import check_run_id
from runner.ledger.run_reader import AWAY
from runner.options import broker_options
from runner.runs.exit_codes import exit_code
from runner.runs.outage import Outage
from runner.runs.session import open_ledger
from runner.settings import read_settings
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

    with open_ledger(read_settings()) as ledger:
        record = ledger.open(run_id)
        plan = record.plan
        with show_progress(plan, record.layout, run_id) as progress:
            for event in ledger.open(run_id).follow(away=away):
                progress.update(event)
                if event is None:
                    with suppress(*AWAY):  # `follow` waits for a broker that is away
                        ledger.open(
                            run_id
                        ).info()  # one that is back may have lost its data, and the run  # defence: WATCHED
        snapshot = read_snapshot(ledger, ledger.open(run_id).info(), plan, complete=False)
        click.echo(summary(snapshot, screen=screen_of(sys.stderr)), err=True)
        return exit_code(snapshot.run.status)
