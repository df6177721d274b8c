"""`resume RUN`: what has no outcome yet is executed."""

import click

from runner import interrupts, options, session, settings
from runner.store import check_run_id


@click.command
@click.argument("run_id", metavar="RUN")
@options.wish_options
@options.broker_options
def command(run_id: str, wish: options.Wish) -> int:
    """Go on with a run that has not ended.

    What has an outcome is kept; the rest is executed, as the workflow was when the run was started.
    """
    check_run_id(run_id)
    chosen = settings.read()
    with (
        interrupts.raised(),
        session.ledger(chosen) as ledger,
        session.started(chosen, run_id, ledger.plan(run_id)) as here,
    ):
        # As in `run`: while Celery is imported here, the worker starts beside us.
        from runner import attend, celery_app, run  # noqa: F401, PLC0415 - the app becomes the current one

        run.resume(run_id, here.ledger)
        return attend.attend(run_id, here, wish)
