"""`show RUN`: what the ledger knows about a run, or about one step of it."""

import sys
from itertools import islice

import click

from runner import errors, options, text
from runner.errors import UnknownRun
from runner.language.ids import is_item, written
from runner.language.plan import Plan, Step
from runner.ledger.damage import NewerPlan
from runner.ledger.entries import Run, Underway
from runner.ledger.ledger import Ledger
from runner.ledger.run_ids import check_run_id
from runner.runs.session import note_unattended, open_ledger
from runner.settings import read_settings
from runner.system import program
from runner.views import item_pages as pages
from runner.views import report, screen
from runner.views.status import ORDER


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
@options.broker_options
def command(run_id: str, step_id: str | None, page: int | None, only: str | None, *, as_json: bool) -> None:
    """Show a run: its status, its inputs and how each step ended."""
    settings = read_settings()
    with open_ledger(settings) as ledger:
        run = note_unattended(ledger.run(check_run_id(run_id)), ledger, settings)
        plan = _plan(ledger, run)
        step = None if step_id is None else _found(ledger, run_id, plan, step_id)
        if (page or only) and not (step and step.foreach and not step.item):
            raise click.UsageError("--page and --status go with the --step of a collector with `foreach`")
        if step is None:
            told = _run(ledger, run, plan, as_json=as_json)
        elif step.foreach and not step.item:
            shown = pages.read(ledger, run, plan, step, number=page or 1, status=only or "")
            told = (
                report.as_json(report.page_document(plan, shown))
                if as_json
                else report.page_details(run, plan, shown, screen=screen.of(sys.stdout))
            )
        else:
            told = _step(ledger, run, plan, step, as_json=as_json)
    click.echo(told)


def _plan(ledger: Ledger, run: Run) -> Plan:
    """The plan of a run; where it is of a newer version, what the run waits for is said all the same."""
    try:
        return ledger.plan(run.id)
    except NewerPlan:
        for note in filter(None, () if run.ended else (run.waits_for, run.unattended)):
            click.echo(f"run {run.id} {text.printable(note)}", err=True)
        raise


def _run(ledger: Ledger, run: Run, plan: Plan, *, as_json: bool) -> str:
    outcomes, tally = ledger.outcomes(run.id, plan), ledger.tally(run.id)
    underway = _underway(ledger, run)
    if not as_json:
        return report.details(run, plan, outcomes, tally=tally, underway=underway, screen=screen.of(sys.stdout))
    unended = list(islice(ledger.unended(run.id, plan), report.ITEMS)) if run.ended else []
    value = ledger.value(run.id, plan.steps[-1].id)
    return report.as_json(report.document(run, plan, outcomes, value, tally=tally, unended=unended, underway=underway))


def _step(ledger: Ledger, run: Run, plan: Plan, step: Step, *, as_json: bool) -> str:
    outcome, underway = ledger.outcome(run.id, step.id), _underway(ledger, run)
    failures = ledger.failures(run.id, [step.id]).get(step.id, [])
    status, now = pages.status_of(step.id, run, {}, underway), underway.get(step.id)
    if as_json:
        told = report.step_document(plan, step, outcome, status=status, underway=now, failures=failures)
        return report.as_json(told)
    here = screen.of(sys.stdout)
    return report.step_details(plan, step, outcome, status=status, underway=now, failures=failures, screen=here)


def _underway(ledger: Ledger, run: Run) -> dict[str, Underway]:
    return {} if run.ended else ledger.underway(run.id)


def _found(ledger: Ledger, run_id: str, plan: Plan, step_id: str) -> Step:
    """The step of this id.

    Raises:
        UnknownRun: the run has none.
    """
    if step := ledger.find(run_id, plan, step_id):
        return step
    names = [step.id for step in plan.steps]
    nearest = errors.nearest(written(step_id), names)
    many = next((step for step in plan.collectors if step.id == nearest and step.foreach), None)
    if many and is_item(step_id):
        hint = f"`{program.command('show', run_id, '--step', many.id)}` lists what {many.id} has"
    else:
        hint = f"did you mean {errors.echo(nearest)}?" if nearest else f"it has {errors.listed(names)}"
    raise UnknownRun(f"run {run_id} has no step {errors.echo(step_id)}", hint=hint)
