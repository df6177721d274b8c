"""The options that several commands have, and a workflow's inputs, to click's options; typed words to inputs."""

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
from runner.system.program import command_line

Command = TypeVar("Command", bound=Callable[..., Any])

# `--flag` without a value. Inputs of other types must have neither word: with `is_flag=False` or any `flag_value`, None too,
# click 8.5 treats the value as optional, and then a value that begins with "-" as an option.
_ALONE_TRUE: dict[str, Any] = {"is_flag": False, "flag_value": "true"}


class File(click.types.StringParamType):
    """A file, or - for standard input. The type serves shell completion only: the reader of the file reports what is wrong."""

    name = "file"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


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


def find_file(words: list[str], options: Iterable[click.Parameter]) -> str | None:
    """Find the workflow file in a command line, before its inputs and so its options can be read.

    It is the first word that is neither an option nor an option's value. An unknown option is an input's, with a value.

    Args:
        words: of the command line.
        options: of the command itself.

    Returns:
        The file as typed; None if there is none.
    """
    flags = {
        name for option in options if isinstance(option, click.Option) and option.is_flag for name in option.opts
    } | {"-h", "--help"}
    rest = iter(words)
    for word in rest:
        if word == "--":  # no word after it is an option
            return next(rest, None)
        if word == "-" or not word.startswith("-"):
            return word
        if word not in flags and "=" not in word:
            next(rest, None)
    return None


def input_options(inputs: Mapping[str, Input], taken: Iterable[str]) -> list[click.Option]:
    """Return an option for each input; one with the name of an option of the command can be set with `--input` only.

    Args:
        inputs: of the workflow.
        taken: the command's own options, as ``--json``.
    """
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
    """Collect what the user typed for each input: with its option, or with ``--input name=value``.

    Args:
        inputs: of the workflow.
        params: of click's context, with ``input_NAME`` for each input's option.
        pairs: each ``--input``.

    Returns:
        A text for each input that was typed; a list of texts for an array, unless that was typed as JSON.

    Raises:
        click.UsageError: a single value or a JSON list was typed twice, or ``--input`` has no ``name=value``.
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
            raise click.UsageError(f'input "{name}" was passed {len(values)} times')
        if len(values) > 1 and any(map(_is_json_list, values)):
            raise click.UsageError(
                f'input "{name}" was passed {len(values)} times, and once as JSON: pass one JSON list'
            )
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
    description = declared.description.rstrip(".")
    default = "***" if declared.secret else json.dumps(declared.default, ensure_ascii=False)
    note = "required" if declared.required else f"default: {default}"
    choices = f"one of {', '.join(map(str, declared.enum))}" if declared.enum else ""
    return f"{description}  [{'; '.join(filter(None, [choices, note]))}]"
