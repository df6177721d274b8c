"""A signal that comes before a command has begun a run to a line that says so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from runner.system.interrupts import Interrupted


@contextmanager
def tell_nothing_begun(line: str) -> Iterator[Callable[[], None]]:
    """Print the line if a signal interrupts the block before the function that this yields was called."""
    begun = False

    def begin() -> None:
        nonlocal begun
        begun = True

    try:
        yield begin
    except Interrupted:
        if not begun:
            click.echo(f"\n{line}", err=True)
        raise
