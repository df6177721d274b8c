"""`init [DIR]`: writes a first workflow."""

from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import click

from runner.errors import RunnerError
from runner.system.program import command_line
from runner.text import printable

# An editor completes and checks the first with the second.
FILES = ("default.yaml", "schema.json")


class NotWritten(RunnerError):
    """A first workflow cannot be written there."""

    exit_code = 3


@click.command
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path())
def command(directory: str) -> None:
    """Write a first workflow into DIR, and say how to run it.

    DIR is the current directory by default. The workflow uses built-in tasks, so it runs at once. Existing files are
    never replaced.
    """
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            _write(folder / name, files("runner.language").joinpath("workflows", name).read_bytes())
    except FileExistsError as error:
        raise NotWritten(
            f"{error.filename} is there already, and is not replaced",
            hint=f"`{command_line('init', 'first')}` writes into the folder first/",
        ) from error
    except OSError as error:
        raise NotWritten(f"{error.filename or folder}: {error.strerror}") from error
    workflow = str(folder / FILES[0])
    click.echo(f"{printable(workflow)}: three collectors, a gather, two stages; edit it as you like", err=True)
    click.echo(f"next: {printable(command_line('run', workflow, '--topic', 'python'))}", err=True)


def _write(path: Path, content: bytes) -> None:
    """Write a new file; one with the same content is kept.

    Raises:
        FileExistsError: a file of that name has other content.
    """
    with suppress(FileExistsError), path.open("xb") as file:
        file.write(content)
        return
    if not path.is_file() or path.read_bytes() != content:
        raise FileExistsError(0, "is there already", str(path))
