"""Words of the command line that several commands take, and the options that a workflow's inputs are."""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from runner.language.inputs import Input
from runner.runs.wait_options import WaitOptions
from runner.settings import Settings
from runner.system import program

Command = TypeVar("Command", bound=Callable[..., Any])

# `--flag` alone. For inputs of other types neither word may be given: click 8.5 takes a value for optional where `is_flag`
# is False or `flag_value` is anything, None too, and then one that begins with "-" for an option.
_ALONE_TRUE: dict[str, Any] = {"is_flag": False, "flag_value": "true"}


class File(click.types.StringParamType):
    """A file, or - for standard input. Only a shell is told that it is one: what is wrong with it, the file's reader says."""

    name = "file"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


class Seconds(click.FloatRange):
    """A number of seconds. `float` also takes "nan", which is neither more nor less than anything: no time is over then."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return seconds


def wait_options(command: Command) -> Command:
    """The options that make up a command's wait, which it is given as ``wait``."""

    @wraps(command)
    def with_wait_options(*args: Any, **words: Any) -> Any:
        return command(
            *args, wait=WaitOptions(**{each.name: words.pop(each.name) for each in fields(WaitOptions)}), **words
        )

    for option in (
        click.option(
            "--quiet", is_flag=True, help="Print no progress, and a summary only if the run does not succeed."
        ),
        click.option("--strict", is_flag=True, help="Exit with 1 if the run is partial."),
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
    """`--concurrency`: of the worker that a run brings along; given as ``concurrency``."""
    return click.option(
        "--concurrency",
        "-c",
        type=click.IntRange(min=1),
        help="Steps that the run's own worker executes at once. Default: the CPUs, at least 4.",
    )(command)


def check_concurrency(concurrency: int | None, settings: Settings) -> None:
    """Return unless it would have no effect.

    Raises:
        click.UsageError: the workers are not the run's own.
    """
    if concurrency and settings.broker_url:
        raise click.UsageError(
            "--concurrency is of a run's own worker, and with a broker of yours the workers are yours:"
            f" `{program.command('worker')} --concurrency {concurrency}`"
        )


def broker_options(command: Command) -> Command:
    """`--broker` and `--insecure`, which are RUNNER_BROKER_URL and RUNNER_INSECURE for this command and its workers."""

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


def file_among(words: list[str], options: Iterable[click.Parameter]) -> str | None:
    """The workflow file among a command's words, before its inputs, and so its options, are known.

    It is the first word that is neither an option nor an option's value. An unknown option is an input's, and takes one.
    """
    flags = {
        name for option in options if isinstance(option, click.Option) and option.is_flag for name in option.opts
    } | {"-h", "--help"}
    rest = iter(words)
    for word in rest:
        if word == "--":  # what follows is no option, whatever it begins with
            return next(rest, None)
        if word == "-" or not word.startswith("-"):
            return word
        if word not in flags and "=" not in word:
            next(rest, None)
    return None


def of_inputs(inputs: Mapping[str, Input], taken: Iterable[str]) -> list[click.Option]:
    """An option for each input. One named like an option that is there already is given with `--input` only."""
    free = {name: declared for name, declared in inputs.items() if f"--{_dashed(name)}" not in set(taken)}
    return [
        click.Option(
            [f"input_{name}", f"--{_dashed(name)}", *([f"--{name}"] if "_" in name else [])],
            multiple=True,
            metavar=declared.type.upper(),
            help=_help(declared),
            **(_ALONE_TRUE if declared.type == "boolean" else {}),
        )
        for name, declared in free.items()
    ]


def typed_inputs(inputs: Mapping[str, Input], params: Mapping[str, Any], pairs: Iterable[str]) -> dict[str, Any]:
    """What the user typed for each input, as options of their own or as ``--input name=value``; a list for an array.

    Raises:
        click.UsageError: one is given twice, also a list as JSON, or is no ``name=value``.
    """
    words: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--input takes name=value, not {pair!r}")
        words.setdefault(name, []).append(value)
    for name in inputs:
        words.setdefault(name, []).extend(params.get(f"input_{name}") or ())
    typed: dict[str, Any] = {}
    for name, values in words.items():
        several = name in inputs and inputs[name].type == "array"
        if len(values) > 1 and not several:
            raise click.UsageError(f'input "{name}" is given {len(values)} times')
        if len(values) > 1 and any(map(_is_json_list, values)):
            raise click.UsageError(f'input "{name}" is given {len(values)} times, and once as JSON: give one JSON list')
        if values:
            one = len(values) == 1 and values[0].lstrip().startswith("[")
            typed[name] = values if several and not one else values[0]
    return typed


def _is_json_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _help(declared: Input) -> str:
    words = declared.description.rstrip(".")
    default = "***" if declared.secret else json.dumps(declared.default, ensure_ascii=False)
    note = "required" if declared.required else f"default: {default}"
    choices = f"one of {', '.join(map(str, declared.enum))}" if declared.enum else ""
    return f"{words}  [{'; '.join(filter(None, [choices, note]))}]"
