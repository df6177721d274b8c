"""`show RUN`: shows a run, or one step of it."""

import sys

import click

from runner.commands.options.shared import broker_options
from runner.errors import UnknownRun
from runner.language.ids import is_item, written
from runner.language.plan import Plan, Step
from runner.ledger.damage import NewerPlan
from runner.ledger.entries import Run
from runner.ledger.item_pages import read_page
from runner.ledger.ledger import Ledger
from runner.ledger.reading import read_snapshot, read_step
from runner.ledger.run_ids import check_run_id
from runner.ledger.statuses import ORDER, Status
from runner.runs.session import note_unattended, open_ledger
from runner.settings import read_settings
from runner.system.program import command_line
from runner.text import echo, listed, nearest, printable, to_json
from runner.views.document import page_document, snapshot_document, step_document
from runner.views.screen import screen_of
from runner.views.words import details, page_details, step_details


@click.command
@click.argument("run_id", metavar="RUN")
@click.option(
    "--step",
    "step_id",
    metavar="ID",
    help="Show one step: its value, or its error with the traceback. With `foreach`, a page of its items.",
)
@click.option("--page", type=click.IntRange(min=1), help="Page of the items; the first by default.")
@click.option(
    "--status", "only", type=click.Choice(ORDER), help="Only items of this status; failed includes timed out and late."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, as `run --json` does.")
@broker_options
def command(run_id: str, step_id: str | None, page: int | None, only: Status | None, *, as_json: bool) -> None:
    """Show a run: its status, its inputs and how each step ended."""
    settings = read_settings()
    with open_ledger(settings) as ledger:
        run = note_unattended(ledger.open(check_run_id(run_id)).info(), ledger, settings)
        plan = _plan(ledger, run)
        step = None if step_id is None else _found(ledger, run_id, plan, step_id)
        if (page or only) and not (step and step.foreach and not step.item):
            raise click.UsageError("--page and --status go with the --step of a collector with `foreach`")
        terminal = screen_of(sys.stdout)
        if step is None:
            snapshot = read_snapshot(ledger, run, plan, complete=as_json)
            shown = to_json(snapshot_document(snapshot)) if as_json else details(snapshot, screen=terminal)
        elif step.foreach and not step.item:
            items = read_page(ledger, run, plan, step, number=page or 1, status=only)
            shown = to_json(page_document(items)) if as_json else page_details(items, screen=terminal)
        else:
            one = read_step(ledger, run, plan, step)
            shown = to_json(step_document(one)) if as_json else step_details(one, screen=terminal)
    click.echo(shown)


def _plan(ledger: Ledger, run: Run) -> Plan:
    """Return the plan of a run; if it is of a newer version, the error says what the run waits for."""
    try:
        return ledger.open(run.id).plan
    except NewerPlan:
        for note in filter(None, () if run.ended else (run.waits_for, run.unattended)):
            click.echo(f"run {run.id} {printable(note)}", err=True)
        raise


def _found(ledger: Ledger, run_id: str, plan: Plan, step_id: str) -> Step:
    """Return the step of this id.

    Raises:
        UnknownRun: the run has no such step.
    """
    if step := ledger.open(run_id, plan).find(step_id):
        return step
    names = [step.id for step in plan.steps]
    near = nearest(written(step_id), names)
    many = next((step for step in plan.collectors if step.id == near and step.foreach), None)
    if many and is_item(step_id):
        hint = f"`{command_line('show', run_id, '--step', many.id)}` lists what {many.id} has"
    else:
        hint = f"did you mean {echo(near)}?" if near else f"it has {listed(names)}"
    raise UnknownRun(f"run {run_id} has no step {echo(step_id)}", hint=hint)
