"""`show RUN`: what the ledger knows about a run, or about one step of it."""

import sys
from dataclasses import replace

import click

from runner import options, report, screen, session, settings
from runner.errors import UnknownRun
from runner.store import Outcome, check_run_id


@click.command
@click.argument("run_id", metavar="RUN")
@click.option("--step", "step_id", metavar="ID", help="This step alone: its value, or its error with the traceback.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, as `run --json` prints it.")
@options.broker_options
def command(run_id: str, step_id: str | None, *, as_json: bool) -> None:
    """Show a run: its status, its inputs and how each step ended."""
    chosen = settings.read()
    with session.ledger(chosen) as ledger:
        run = ledger.run(check_run_id(run_id))
        if not run.ended and not ledger.is_led():
            start = "worker` starts one" if chosen.broker_url else f"resume {run_id}` brings one"
            run = replace(run, waits_for=f"waits for a worker, and there is none: `python -m runner {start}")
        plan = ledger.plan(run_id)
        if step_id is not None:
            if step_id not in {step.id for step in plan.steps}:
                raise UnknownRun(
                    f'run {run_id} has no step "{step_id}"', hint=f"it has {', '.join(step.id for step in plan.steps)}"
                )
            outcome = ledger.outcome(run_id, step_id)
            click.echo(
                report.as_json(report.step_document(plan, plan.step(step_id), outcome))
                if as_json
                else report.step_details(plan, plan.step(step_id), outcome, screen=screen.of(sys.stdout))
            )
            return
        outcomes: dict[str, Outcome] = ledger.outcomes(run_id)
        last = ledger.outcome(run_id, plan.steps[-1].id)
        running = ledger.leased(run_id)
    if as_json:
        click.echo(report.as_json(report.document(run, plan, outcomes, last.value if last else None, running=running)))
    else:
        click.echo(report.details(run, plan, outcomes, running=running, screen=screen.of(sys.stdout)))
