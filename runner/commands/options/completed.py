"""A word of a command line that a shell completes: a file, a task, a code."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem


class Completed(click.types.StringParamType):
    """A word of any form: the type serves completion only, and the command that reads the word reports what is wrong.

    Args:
        name: of what is typed; click shows it for an option without a metavar.
        complete: the beginning of a word to the words that it may become.
    """

    def __init__(self, name: str, complete: Callable[[str], Iterable[CompletionItem]]) -> None:
        self.name = name
        self.complete = complete

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        return list(self.complete(incomplete))


def files(incomplete: str) -> list[CompletionItem]:
    """Have the shell complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]


FILE = Completed("file", files)  # or - for standard input
