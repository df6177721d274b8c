"""`limits`: shows the limits of the broker's runs; `pause`, `resume` and `set` change one, for all runs at once."""

import sys
from collections.abc import Sequence

import click

from runner.commands.options.shared import broker_options
from runner.language.limits import Rate, read_rate
from runner.language.spec import read_duration
from runner.language.steps import is_slug
from runner.runs.session import open_ledger
from runner.settings import read_settings
from runner.text import to_json
from runner.views.limit_list import limit_list, limits_document, written
from runner.views.screen import screen_of


def _read_rates(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> list[Rate]:
    rates = [(text, read_rate(text)) for text in texts]
    if wrong := [text for text, rate in rates if rate is None]:
        raise click.BadParameter(f"{wrong[0]!r}: write 30/1m, 5/s or 5000/1h")
    return [rate for _, rate in rates if rate]


def _read_seconds(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else read_duration(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: write 30s, 5m or 1h30m, at most 24h") from None


def _check_name(_: click.Context, __: click.Parameter, name: str) -> str:
    if not is_slug(name):
        raise click.BadParameter(f"{name!r} is no name of a limit; the values of its key are changed with it")
    return name


_name = click.argument("name", metavar="NAME", callback=_check_name)


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@broker_options
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Show the limits of all runs, or change one.

    FREE is how many steps may start now. A limit with a key has a line for each of its values, NAME=VALUE.
    """
    if ctx.invoked_subcommand is None:
        with open_ledger(read_settings()) as ledger:
            states, now = ledger.limits.states(), ledger.server.now()
        click.echo(
            to_json(limits_document(states, now)) if as_json else limit_list(states, now, screen=screen_of(sys.stdout))
        )


@command.command
@_name
@click.option("--for", "seconds", metavar="10m", callback=_read_seconds, help="Open it by itself after this time.")
@broker_options
def pause(name: str, seconds: float | None) -> None:
    """Let no step start that names it.

    Those that are executed go on.
    """
    with open_ledger(read_settings()) as ledger:
        ledger.limits.pause(name, seconds)
    click.echo(f"the limit {name} is paused", err=True)


@command.command
@_name
@broker_options
def resume(name: str) -> None:
    """Open a limit, whether it is paused or closed."""
    with open_ledger(read_settings()) as ledger:
        ledger.limits.resume(name)
    click.echo(f"the limit {name} is open", err=True)


@command.command("set")
@_name
@click.option(
    "--rate",
    "rates",
    metavar="30/1m",
    multiple=True,
    callback=_read_rates,
    help="How many may start in a time; may be repeated.",
)
@click.option("--burst", type=click.IntRange(min=1), default=1, show_default=True, help="How many may start at once.")
@click.option("--concurrency", type=click.IntRange(min=0), help="How many are executed at once.")
@click.option("--clear", is_flag=True, help="Take back what was set.")
@broker_options
def set_(name: str, rates: Sequence[Rate], *, burst: int, concurrency: int | None, clear: bool) -> None:
    """Set figures beside those of the files: the stricter of both hold."""
    if clear == bool(rates or concurrency is not None):
        raise click.UsageError("give --rate or --concurrency, or --clear")
    with open_ledger(read_settings()) as ledger:
        ledger.limits.set(name, rates=rates, burst=burst, concurrency=concurrency)
    words = [*map(written, rates), *([f"concurrency {concurrency}"] if concurrency is not None else [])]
    click.echo(f"the limit {name}: {', '.join(words) or 'as the files say'}", err=True)
