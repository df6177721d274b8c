"""`run FILE`: a workflow file to its result."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from runner import catalogue, interrupts, options, progress, report, screen, session, settings, source, spec
from runner import plan as plans
from runner.interrupts import Interrupted
from runner.plan import Plan
from runner.session import Session, WorkerEnded
from runner.settings import Settings
from runner.store import Run, check_run_id, new_run_id

EXIT_CODES = {"succeeded": 0, "partial": 0, "failed": 1, "cancelled": 6}
STILL_RUNNING = 5


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """The file that `run` was given, checked, and the options that its inputs are."""

    source: source.Source
    workflow: spec.Workflow
    options: list[click.Option]

    @property
    def directory(self) -> Path:
        return Path(self.source.name).absolute().parent


class RunCommand(click.Command):
    """`run`, whose options include the inputs of the workflow that it is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        name = options.file_among(args, self.params)
        if name is not None:
            written = source.read(name)
            workflow = spec.read(written, catalogue.of(written, settings.read()))
            taken = [word for param in self.params for word in param.opts]
            ctx.obj = WorkflowFile(written, workflow, options.of_inputs(workflow.inputs, taken))
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        return [*ctx.obj.options, *params] if ctx.obj else params


@click.command(cls=RunCommand)
@click.argument("file")
@click.option("--input", "pairs", multiple=True, metavar="NAME=VALUE", help="Give an input, whatever its name.")
@click.option("--inputs-file", metavar="FILE", help="Read inputs from a YAML or JSON file; options come before it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout: run, result, steps.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and start nothing.")
@click.option("--detach", is_flag=True, help="Print the run's id and go on in the background.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Stop waiting after so long; the run goes on (exit 5).")
@click.option("--strict", is_flag=True, help="A partial run is a failure: exit 1.")
@click.option("--run-id", metavar="ID", help="The run's id; if there is such a run already, nothing is started.")
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
@options.broker_options
@click.pass_obj
def command(workflow_file: WorkflowFile, /, **wish: Any) -> int:
    """Run a workflow and print its result.

    `runner run FILE --help` lists the inputs of FILE, each an option. FILE may be - for standard input.
    """
    inputs = options.given_inputs(workflow_file.workflow.inputs, wish, wish["pairs"], wish["inputs_file"])
    plan = plans.bind(
        plans.make(workflow_file.workflow, workflow_file.source), workflow_file.workflow, inputs, workflow_file.source
    )
    chosen = settings.read()
    run_id = check_run_id(wish["run_id"]) if wish["run_id"] else new_run_id(plan)
    if wish["dry_run"]:
        return _show(plans.route(plan, chosen.queue, everything=False), run_id)
    try:
        with interrupts.raised():
            return _run(plan, run_id, chosen, workflow_file.directory, wish)
    except Interrupted as interrupted:
        return interrupted.exit_code


def _show(plan: Plan, run_id: str) -> int:
    from runner import canvas  # noqa: PLC0415 - imports Celery

    sent = canvas.messages(canvas.compose(plan, run_id))
    click.echo(report.dry_run(plan, run_id, sent, screen=screen.of(sys.stdout)))
    return 0


def _run(plan: Plan, run_id: str, chosen: Settings, directory: Path, wish: Mapping[str, Any]) -> int:
    with session.started(chosen, run_id, include=plan.include, directory=directory) as here:
        # Celery is imported here, not above: it takes 0.25 s, in which the worker starts beside us.
        from runner import celery_app, run  # noqa: F401, PLC0415 - the app becomes the current one

        if not run.submit(plan, run_id, here.ledger, queue=here.queue, own_queue=here.own_queue):
            _say(f"run {run_id} exists already: this is what came of it")
        if wish["detach"]:
            click.echo(run_id)
            _go_on_in_background(here, run_id, 0)
            return 0
        try:
            if not _watch(plan, run_id, here, wish):
                _say(f"run {run_id} is not done after {wish['timeout']:g} s, and goes on: `runner show {run_id}`")
                _go_on_in_background(here, run_id, STILL_RUNNING)
                return STILL_RUNNING
        except Interrupted as interrupted:
            _cancel(plan, run_id, here, interrupted)
            raise
        except WorkerEnded as ended:
            run.fail(run_id, here.ledger, str(ended))
            raise
        return _tell(here.ledger.run(run_id), here, plan, wish)


def _watch(plan: Plan, run_id: str, here: Session, wish: Mapping[str, Any]) -> bool:
    """Show the run's progress to its end; False if the time is up before."""
    until = time.monotonic() + (wish["timeout"] or float("inf"))
    with progress.shown(plan, run_id, quiet=wish["quiet"]) as shown:
        for event in here.ledger.follow(run_id):
            shown.tell(event)
            if event is None:
                here.check()
            if time.monotonic() > until:
                return False
    return True


def _tell(ended: Run, here: Session, plan: Plan, wish: Mapping[str, Any]) -> int:
    """The summary, the result, the exit code."""
    outcomes = here.ledger.outcomes(ended.id)
    last = here.ledger.outcome(ended.id, plan.steps[-1].id)
    result = last.value if last else None
    if wish["as_json"]:
        click.echo(report.as_json(report.document(ended, plan, outcomes, result)))
    if not wish["quiet"]:
        _say(report.summary(ended, plan, outcomes, screen=screen.of(sys.stderr)))
    if ended.status in {"succeeded", "partial"} and not wish["as_json"]:
        click.echo(report.result(result, plan))
    return 1 if ended.status == "partial" and wish["strict"] else EXIT_CODES[ended.status]


def _cancel(plan: Plan, run_id: str, here: Session, interrupted: Interrupted) -> None:
    """Ctrl-C and SIGTERM cancel; a second one, and the end of the terminal, leave the run to be resumed."""
    if interrupted.signal is signal.SIGHUP:
        return
    _say(f"\ncancelling run {run_id}; once more to leave it as it is")
    try:
        here.ledger.cancel(run_id, f"{interrupted.signal.name} to `run`")
        told = report.summary(here.ledger.run(run_id), plan, here.ledger.outcomes(run_id), screen=screen.of(sys.stderr))
        _say(told)
    except Interrupted:
        _say(f"left as it is: `runner resume {run_id}`")
        raise


def _go_on_in_background(here: Session, run_id: str, code: int) -> None:
    """Leave the terminal: this process ends with the code, and a copy of it waits for the end of the run.

    With a broker of yours nobody has to wait, and nothing is left behind.
    """
    if here.worker is None:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os._exit(code)  # the worker and the server belong to the copy: nothing is to be closed here
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    from runner import run  # noqa: PLC0415 - imports Celery, which our caller has done

    try:
        for event in here.ledger.follow(run_id):
            if event is None:
                here.check()
    except WorkerEnded as ended:
        run.fail(run_id, here.ledger, str(ended))


def _say(text: str) -> None:
    click.echo(text, err=True)
