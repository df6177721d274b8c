"""The command line: arguments to a command, and every error to an exit code."""

import difflib
import json
import pkgutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn, Self

import click
from click.core import augment_usage_errors

from runner import commands
from runner.errors import BrokerUnavailable, RunnerError
from runner.language.faults import InvalidWorkflow
from runner.system.gc_freeze import frozen_imports
from runner.system.interrupts import Interrupted
from runner.system.program import program_name, set_program_name
from runner.system.streams import exit_code_after_output, secure_streams
from runner.system.tracebacks import save_traceback
from runner.text import printable, safe
from runner.views.faults import faults_document
from runner.views.problem import problem
from runner.views.screen import screen_of


class Printable(click.HelpFormatter):
    """Help texts without escape sequences: the help of `run FILE` shows descriptions, defaults and names of FILE."""

    def write(self, string: str) -> None:
        super().write(safe(string))  # defence: SAFE_HELP


class Context(click.Context):
    """The context of every command: its help texts and its usage errors."""

    formatter_class = Printable

    @contextmanager
    def scope(self, cleanup: bool = True) -> Iterator[Self]:  # noqa: FBT001, FBT002 - click's signature
        """Name the command in every usage error: click's parser leaves it out of "requires an argument"."""
        with super().scope(cleanup), augment_usage_errors(self):
            yield self


class Commands(click.Group):
    """A command for each file of `runner/commands`, but not for its folders; imported when it is called: `graph` must not wait for Celery."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [module.name for module in pkgutil.iter_modules(commands.__path__) if not module.ispkg]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        with frozen_imports():
            command: click.Command = import_module(f"{commands.__name__}.{cmd_name}").command
        for each in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
            each.context_class = Context
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="celery-collectors", prog_name="runner")
def cli() -> None:
    """Collect from many sources at once: workflows in YAML, run by Celery.

    Start with: runner init
    """


def main(args: list[str] | None = None) -> NoReturn:
    """Run a command and exit with its code; every error of a command is reported here.

    Args:
        args: in place of those of the process.
    """
    words = sys.argv[1:] if args is None else args
    set_program_name(sys.argv[0])
    secure_streams()  # defence: SILENCE
    try:
        code = cli.main(words, program_name(), complete_var="_RUNNER_COMPLETE", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        _print_error(error.format_message())
        code = error.exit_code
    except click.ClickException as error:
        _print_error(_usage(error))
        code = error.exit_code
        _print_json(words, code, {"type": "UsageError", "message": error.format_message()})
    except click.Abort:  # what click makes of a KeyboardInterrupt
        code = _interrupted(words, Interrupted(signal.SIGINT))
    except RunnerError as error:
        _print_error(problem(error, screen=screen_of(sys.stderr)))
        code = error.exit_code
        _print_json(words, code, _as_json(error))
    except Interrupted as interrupted:
        code = _interrupted(words, interrupted)
    except Exception as error:  # noqa: BLE001 - whatever a command raises: it is reported, and saved with its traceback
        # By name: the client is imported only by the commands that need it.
        if type(error).__module__.startswith(("redis.", "kombu.exceptions")):
            _print_error(f"error: the broker: {printable(error)}")
            code = BrokerUnavailable.exit_code
        else:
            description = printable(f"{type(error).__name__}: {error}")
            _print_error(f"error: {description}: a bug in runner; {save_traceback(error)}")
            code = 70
        _print_json(words, code, {"type": type(error).__name__, "message": str(error)})
    sys.exit(exit_code_after_output(code))


def _interrupted(words: list[str], interrupted: Interrupted) -> int:
    _print_json(words, interrupted.exit_code, {"type": "Interrupted", "message": str(interrupted)})
    return interrupted.exit_code


def _print_error(words: str) -> None:
    click.echo(words, err=True)


def _usage(error: click.ClickException) -> str:
    """Return a usage error as click shows it, on one line and escaped: it quotes what the user typed."""
    lines = [f"Error: {printable(error.format_message())}"]  # defence: SAFE_USAGE
    if isinstance(error, click.UsageError) and error.ctx is not None:
        path = error.ctx.command_path
        lines = [error.ctx.get_usage(), f"Try '{path} --help' for help.", "", *lines]
    return "\n".join(lines)


def _print_json(words: list[str], code: int, error: dict[str, Any]) -> None:
    """Print the error as JSON if the command has `--json`, which promises one JSON object in every case."""
    if "--json" in words:
        click.echo(json.dumps({"error": error, "exit_code": code}))


def _as_json(error: RunnerError) -> dict[str, Any]:
    document: dict[str, Any] = {"type": type(error).__name__, "message": str(error), "hint": error.hint}
    if isinstance(error, InvalidWorkflow):
        document["faults"] = faults_document(error.faults)
    return document
