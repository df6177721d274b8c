"""`schema`: prints the JSON Schema of the language."""

import json

import click

from runner.language import spec


@click.command
def command() -> None:
    """Print the JSON Schema of the workflow language, for editors."""
    click.echo(json.dumps(spec.schema(), indent=2, ensure_ascii=False))
