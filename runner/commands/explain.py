"""`explain [CODE]`: explains the code of a fault, with an example."""

import sys

import click
from click.shell_completion import CompletionItem

from runner.commands.options.completed import Completed
from runner.language.explanations import MEANINGS, explain
from runner.system.program import command_line
from runner.text import nearest
from runner.views.explanation import code_list, explanation
from runner.views.screen import screen_of


def _codes(incomplete: str) -> list[CompletionItem]:
    """Return the codes that begin so, in capitals or not."""
    return [
        CompletionItem(code, help=meaning) for code, meaning in MEANINGS.items() if code.startswith(incomplete.upper())
    ]


@click.command
@click.argument("code", required=False, type=Completed("code", _codes))
def command(code: str | None) -> None:
    """Explain a code of `validate`: its meaning, and an example.

    The example comes with its correction. Without CODE, list the codes of all faults and warnings.
    """
    shown_on = screen_of(sys.stdout)
    if code is None:
        click.echo(code_list(MEANINGS, screen=shown_on))
    elif (name := code.upper()) in MEANINGS:
        click.echo(explanation(explain(name), screen=shown_on))
    else:
        near = nearest(name, MEANINGS)
        hint = f"Did you mean {near}?" if near else f"`{command_line('explain')}` lists all codes."
        raise click.UsageError(f"There is no code {code}. {hint}")
