"""`run FILE`: runs a workflow file and prints its result."""

import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any

import click

from runner.brokers import starting_broker
from runner.commands.options.completed import FILE
from runner.commands.options.inputs import find_file, input_options, typed_inputs
from runner.commands.options.shared import broker_options, check_concurrency, concurrency_option, wait_options
from runner.errors import RunnerError, UnknownRun
from runner.language import inputs
from runner.language.layout import Layout
from runner.language.plan import Plan, segments
from runner.language.workflow_file import WorkflowFile, load
from runner.ledger.run_ids import check_run_id, new_run_id
from runner.messages.batching import lay_out
from runner.messages.destination import Destination
from runner.runs.before_begin import tell_nothing_begun
from runner.runs.session import open_ledger, open_session
from runner.runs.wait_options import WaitOptions
from runner.settings import read_settings
from runner.system.gc_freeze import frozen_imports
from runner.system.interrupts import raise_interrupts
from runner.text import to_json
from runner.views.dry_run import dry_run_document, dry_run_words
from runner.views.screen import screen_of

_OPTIONS = f"{__name__}.options"  # of the inputs, in a context's `meta`


class RunCommand(click.Command):
    """`run`, whose options include the inputs of the workflow; its file is the context's ``obj``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        name = find_file(args, self.params)
        if ctx.resilient_parsing:  # in completion, half a name is not a fault, and standard input is the terminal
            if name not in {None, "-"}:
                with suppress(RunnerError):
                    self._load(name, ctx)
        elif name is not None:
            self._load(name, ctx)
        elif not set(args) & {"-h", "--help"}:
            # Otherwise the error would name an input's option, which is unknown only because the file is missing.
            raise click.MissingParameter(ctx=ctx, param=next(each for each in self.params if each.name == "file"))
        return super().parse_args(ctx, args)

    def _load(self, name: str, ctx: click.Context) -> None:
        file = load(name)
        taken = [word for param in self.params for word in param.opts]
        ctx.obj, ctx.meta[_OPTIONS] = file, input_options(file.workflow.inputs, taken)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_help_text(ctx, formatter)
        if ctx.obj and ctx.obj.workflow.description:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(f"{ctx.obj.workflow.name}: {ctx.obj.workflow.description}")

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        return [*ctx.meta.get(_OPTIONS, ()), *params]


@click.command(cls=RunCommand)
@click.argument("file", type=FILE)
@click.option(
    "--input",
    "pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an input; also one that is named like an option of `run`.",
)
@click.option(
    "--inputs-file",
    metavar="FILE",
    type=FILE,
    help="Read inputs from a YAML or JSON file; options take precedence.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and start nothing.")
@click.option(
    "--run-id",
    metavar="ID",
    help="The run's id. If that run exists, it is continued, or its result printed; with another workflow or other inputs"
    " it is refused.",
)
@concurrency_option
@wait_options
@broker_options
@click.pass_obj
def command(
    workflow_file: WorkflowFile,
    /,
    *,
    file: str,  # noqa: ARG001 - it has been read already, for its inputs
    pairs: tuple[str, ...],
    inputs_file: str | None,
    dry_run: bool,
    run_id: str | None,
    concurrency: int | None,
    wait: WaitOptions,
    **words: Any,
) -> int:
    """Run a workflow and print its result.

    `run FILE --help` also lists the inputs of FILE, each an option. FILE may be - for standard input.
    """
    declared = workflow_file.workflow.inputs
    values = {} if inputs_file is None else inputs.read(inputs_file, declared)
    bound = workflow_file.bind(values, words=typed_inputs(declared, words, pairs))
    plan = bound.plan
    # An empty id is refused, too: with `--run-id "$ID"` and no ID, each start would be another run.
    name = new_run_id(plan) if run_id is None else check_run_id(run_id)
    settings = read_settings(concurrency=concurrency)
    check_concurrency(concurrency, settings)
    if dry_run:
        destination = Destination.of(settings, name)
        first = segments(plan)[0].fan_out
        layout = replace(bound.layout, queue=destination.queue, own=destination.own)
        if first is not None:
            layout = lay_out(first, bound.layout, destination.slots or settings.slots, destination)
        return _show(plan, layout, name, as_json=wait.as_json)
    nothing = f"run {name}: nothing was started"
    with raise_interrupts(), tell_nothing_begun(nothing) as begun, starting_broker(settings):
        # Not at the top: Celery takes 0.25 s. Before the worker starts, which is a fork of this process.
        with frozen_imports():
            from runner.celery_app import make_current  # noqa: PLC0415
            from runner.runs.follow import follow  # noqa: PLC0415
            from runner.runs.start import check_same, start  # noqa: PLC0415

            make_current()

        if run_id and settings.broker_url is None:
            # Before the worker starts: it would serve the queue of the existing run, without the modules of its workflow.
            with open_ledger(settings) as ledger, suppress(UnknownRun):
                check_same(name, plan, ledger)
        with open_session(settings, name, plan) as session:

            def begin() -> None:
                begun()
                if start(bound, name, session.ledger, session.destination):
                    return
                check_same(name, plan, session.ledger)
                ended = session.ledger.open(name).info().ended
                what = "has ended" if ended else "has not ended: it continues"
                click.echo(f"run {name} exists already, and {what}", err=True)

            return follow(name, session, wait, begin)


def _show(plan: Plan, layout: Layout, run_id: str, *, as_json: bool) -> int:
    from runner.messages.canvas import compose_open, messages_of  # noqa: PLC0415 - imports Celery

    messages = messages_of(compose_open(plan, run_id, layout))
    if as_json:
        click.echo(to_json(dry_run_document(plan, layout, run_id, messages)))
    else:
        click.echo(dry_run_words(plan, layout, run_id, messages, screen=screen_of(sys.stdout)))
    return 0
