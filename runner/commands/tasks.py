"""`tasks`: lists the tasks that `task:` may name."""

import re
import sys
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from runner.commands.options.completed import Completed, files
from runner.errors import RunnerError
from runner.language import checks
from runner.language.faults import InvalidWorkflow
from runner.language.source import Source, read_source
from runner.language.task_index import TaskIndex, offered_modules, read_tasks, tasks_of
from runner.settings import Settings, read_settings
from runner.text import nearest, printable, to_json
from runner.views.screen import screen_of
from runner.views.task_list import task_details, task_list, tasks_document


def _names_and_files(incomplete: str) -> list[CompletionItem]:
    """Return the tasks that begin so, and let the shell add files."""
    with suppress(RunnerError):
        names = sorted(name for name in _offered(read_settings()) if name.startswith(incomplete))
        return [*map(CompletionItem, names), *files(incomplete)]
    return files(incomplete)


@click.command
@click.argument("words", metavar="[FILE] [NAME]", nargs=-1, type=Completed("file_or_name", _names_and_files))
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object: each task with its parameters and an example."
)
def command(words: tuple[str, ...], *, as_json: bool) -> None:
    """List the tasks that a workflow may use.

    With NAME, describe this one, with an example. With FILE, include the tasks of its modules.
    """
    settings = read_settings()
    file, name = _file_and_name(words, settings)
    found = _of(read_source(file), settings) if file else _offered(settings)
    if name is not None and name not in found:
        near = nearest(name, found)
        raise click.UsageError(f"There is no task {name}." + (f" Did you mean {near}?" if near else ""))
    if as_json:
        click.echo(to_json(tasks_document(found.values() if name is None else [found[name]], found)))
        return
    for each in sorted(found.replaced):
        click.echo(f"warning: {printable(found.choice(each))}", err=True)
    shown_on = screen_of(sys.stdout)
    click.echo(
        task_list(found.values(), screen=shown_on) if name is None else task_details(found[name], screen=shown_on)
    )


def _file_and_name(words: tuple[str, ...], settings: Settings) -> tuple[str | None, str | None]:
    """Sort one or two words into a file and a name: a task's name, then a file that exists, then a word like a file's."""
    if len(words) > 2:
        raise click.UsageError("tasks takes at most a FILE and a NAME.")
    if len(words) == 2:
        return words
    [word] = words or [None]
    if word is None or word == "-":
        return word, None
    if word not in _offered(settings) and (
        Path(word).exists() or not re.fullmatch(r"\w+(\.\w+)*", word) or _is_yaml(word)
    ):
        return word, None
    return None, word


def _is_yaml(word: str) -> bool:
    return word.endswith((".yaml", ".yml", ".json"))


def _offered(settings: Settings) -> TaskIndex:
    return read_tasks(offered_modules(settings), (), settings.tasks)


def _of(written: Source, settings: Settings) -> TaskIndex:
    """Return the tasks that a file may name, even if the file has faults: it may not be finished."""
    found = tasks_of(written, settings)
    if faults := (*written.faults, *checks.include_faults(written, found)):
        raise InvalidWorkflow(faults)
    return found
