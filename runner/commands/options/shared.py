"""The options that several commands have, as decorators of a command."""

import math
import os
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, cast

import click

from runner.runs.wait_options import WaitOptions
from runner.settings import Settings
from runner.system.program import command_line

Command = TypeVar("Command", bound=Callable[..., Any])


class Seconds(click.FloatRange):
    """A finite number of seconds. `float` also accepts "nan", which compares with nothing: such a timeout would never pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return seconds


def wait_options(command: Command) -> Command:
    """Add the options of waiting for a run; the command gets them as ``wait``, a `WaitOptions`."""

    @wraps(command)
    def with_wait_options(*args: Any, **words: Any) -> Any:
        return command(
            *args, wait=WaitOptions(**{each.name: words.pop(each.name) for each in fields(WaitOptions)}), **words
        )

    for option in (
        click.option(
            "--quiet", is_flag=True, help="Print no progress, and a summary only if the run does not succeed."
        ),
        click.option("--strict", is_flag=True, help="Exit with 1 if the run is partial, or a hook fails."),
        click.option(
            "--timeout",
            type=Seconds(min=0, min_open=True),
            metavar="SECONDS",
            help="Stop waiting after this time, exit with 5; the run continues.",
        ),
        click.option("--detach", is_flag=True, help="Print the run's id and return; the run continues."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object: run, result, steps."),
    ):
        with_wait_options = option(with_wait_options)
    return cast("Command", with_wait_options)


def concurrency_option(command: Command) -> Command:
    """Add `--concurrency` of a run's own worker; the command gets it as ``concurrency``."""
    return click.option(
        "--concurrency",
        "-c",
        type=click.IntRange(min=1),
        help="Steps that the run's own worker executes at once. Default: the CPUs, at least 4.",
    )(command)


def check_concurrency(concurrency: int | None, settings: Settings) -> None:
    """Refuse `--concurrency` where it would have no effect.

    Args:
        concurrency: as typed; None if it was not.
        settings: of this process.

    Raises:
        click.UsageError: the broker is not private, and so the run has no worker of its own.
    """
    if concurrency and settings.broker_url:
        raise click.UsageError(
            "--concurrency applies to a run's own worker; with a broker of yours, set it where a worker starts:"
            f" `{command_line('worker')} --concurrency {concurrency}`"
        )


def broker_options(command: Command) -> Command:
    """Add `--broker` and `--insecure`: RUNNER_BROKER_URL and RUNNER_INSECURE for this command and its workers."""

    def export(variable: str) -> Callable[[click.Context, click.Parameter, Any], None]:
        def callback(_ctx: click.Context, _option: click.Parameter, value: Any) -> None:
            if value:
                os.environ[variable] = str(value)

        return callback

    insecure = click.option(
        "--insecure",
        is_flag=True,
        callback=export("RUNNER_INSECURE"),
        expose_value=False,
        help="Accept a broker at a public address that asks for no password.",
    )
    broker = click.option(
        "--broker",
        metavar="RUNNER_BROKER_URL",
        callback=export("RUNNER_BROKER_URL"),
        expose_value=False,
        help="Redis or Valkey to use instead of the private one: redis://host:6379/0",
    )
    return broker(insecure(command))
