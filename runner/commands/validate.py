"""`validate FILE…`: lists the faults of workflow files, all at once."""

import sys
from collections.abc import Sequence

import click

from runner.commands.options.completed import FILE
from runner.language import advice, foreach
from runner.language.faults import Fault, InvalidWorkflow
from runner.language.workflow_file import load
from runner.settings import read_settings
from runner.text import printable, to_json
from runner.views.faults import describe_faults, faults_document
from runner.views.problem import problem
from runner.views.screen import screen_of


@click.command
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: faults and warnings of each file.")
def command(files: tuple[str, ...], *, as_json: bool) -> int:
    """List every fault of workflow files, each at its place.

    Warn of what has no effect, too. Nothing is executed, imported or connected to. `explain CODE` explains a fault. FILE
    may be - for standard input.
    """
    settings, shown_on = read_settings(), screen_of(sys.stderr)
    code = 0
    documents = []
    for name in files:
        faults: tuple[Fault, ...] = ()
        warnings: Sequence[Fault] = ()
        try:
            file = load(name, settings)
            foreach.check(file.plan(), file.source)
        except InvalidWorkflow as error:
            faults, code = error.faults, error.exit_code
            said = problem(error, screen=shown_on)
        else:
            warnings = advice.warnings(file.source, file.tasks)
            said = f"{printable(name)}: valid"
            said += f"\n{describe_faults(warnings, columns=shown_on.width)}" if warnings else ""
        if not as_json:
            click.echo(said, err=True)
        documents.append(
            {
                "file": name,
                "valid": not faults,
                "faults": faults_document(faults),
                "warnings": faults_document(warnings),
            }
        )
    if as_json:
        click.echo(to_json({"files": documents, "exit_code": code}))
    return code
