"""`resume RUN`: executes the steps that did not succeed."""

import math
import sys
from dataclasses import replace

import click

from runner.commands.options.completed import FILE
from runner.commands.options.shared import broker_options, check_concurrency, concurrency_option, wait_options
from runner.language.bind import Bound
from runner.language.plan import Plan
from runner.language.workflow_file import load
from runner.ledger.reading import read_snapshot
from runner.ledger.run_ids import check_run_id, new_run_id
from runner.runs.before_begin import tell_nothing_begun
from runner.runs.session import open_ledger, open_session
from runner.runs.source_file import changed_file
from runner.runs.wait_options import WaitOptions
from runner.settings import Settings, read_settings
from runner.system.gc_freeze import frozen_imports
from runner.system.interrupts import raise_interrupts
from runner.text import duration, listed, to_json
from runner.views.screen import screen_of
from runner.views.words import file_has_changed, nothing_to_resume


@click.command
@click.argument("run_id", metavar="RUN")
@click.option("--from", "start", metavar="STEP", help="Execute STEP and everything after it again, as a new run.")
@click.option("--file", metavar="FILE", type=FILE, help="Continue with this version of the workflow, as a new run.")
@click.option("--failed", is_flag=True, help="Also execute again what failed of a partial run, and what follows.")
@concurrency_option
@wait_options
@broker_options
def command(
    run_id: str, *, start: str | None, file: str | None, failed: bool, concurrency: int | None, wait: WaitOptions
) -> int:
    """Continue a run: execute the steps that did not succeed.

    A run with a result, also a partial one, is left as it is; --failed executes the collectors again that failed, then the
    gather and what follows, as the same run.

    --from and --file start a new run that takes over the outcomes of the earlier steps: collect once, then work on the
    processing. A step that FILE changes is executed again, with everything after it. Without --file the run continues as
    it was recorded when it was started, and a file that has changed since is reported.
    """
    check_run_id(run_id)
    if failed and not (start is None and file is None):
        raise click.UsageError(
            "--failed continues the same run, and --from and --file start a new one: give one of them"
        )
    settings = read_settings(concurrency=concurrency)
    check_concurrency(concurrency, settings)
    nothing = f"run {run_id} is left as it is"
    with raise_interrupts(), tell_nothing_begun(nothing) as begun, open_ledger(settings) as ledger:
        old = ledger.open(run_id).plan
        edited = None if file is None else _edited(file, old, settings)
        plan = edited.plan if edited else old
        name = run_id if start is None and file is None else new_run_id(plan)
        # Before the worker starts, as in `run`.
        with frozen_imports():
            from runner.celery_app import make_current  # noqa: PLC0415
            from runner.runs.follow import follow, show_end  # noqa: PLC0415
            from runner.runs.rerun import before, rerun  # noqa: PLC0415
            from runner.runs.start import resume, stays  # noqa: PLC0415

            make_current()

        if name == run_id and stays(ended := ledger.open(run_id).info(), failed=failed):
            # Not followed: its progress would be shown again, as if steps were executed.
            snapshot = read_snapshot(ledger, ended, old, complete=False)
            click.echo(nothing_to_resume(snapshot, screen=screen_of(sys.stderr)), err=True)
            if wait.detach:
                click.echo(to_json({"run_id": run_id}) if wait.as_json else run_id)
                return 0
            return show_end(run_id, ledger, old, wait)
        if start:
            before(plan, start)  # before a worker and its log are started
        if file is None and (changed := changed_file(old, settings)):
            click.echo(file_has_changed(run_id, changed, start=start, screen=screen_of(sys.stderr)), err=True)
        with open_session(settings, name, plan) as session:

            def begin() -> None:
                begun()
                if name == run_id:
                    resume(run_id, session.ledger, failed=failed)
                    if leased := session.ledger.open(run_id).leased():
                        seconds = duration(math.ceil(max(leased.values())))
                        click.echo(f"waiting for the lease of {listed([*leased])}, up to {seconds}", err=True)
                else:
                    rerun(
                        run_id,
                        name,
                        session.ledger,
                        start=start,
                        edited=edited,
                        destination=session.destination,
                    )
                    click.echo(f"run {name} continues run {run_id}", err=True)

            return follow(name, session, wait, begin)


def _edited(file: str, old: Plan, settings: Settings) -> Bound:
    """Return the plan of an edited file, with the inputs of the run that the file still declares."""
    edited = load(file, settings)
    bound = edited.bind({name: value for name, value in old.inputs.items() if name in edited.workflow.inputs})
    include = tuple(dict.fromkeys([*bound.plan.include, *old.include]))
    return replace(bound, plan=replace(bound.plan, include=include))
