"""The words of a command to the command line that a user can type, with the name that they called us by."""

import shlex
import shutil
from pathlib import Path

_MODULE = "python -m runner"
_name = _MODULE


def call_it(script: str) -> None:
    """Take the name from ``sys.argv[0]``: hints that name another command fail, after `uv tool install` for example.

    A script that is not on the PATH (``.venv/bin/runner``) is named as it was called.
    """
    global _name  # noqa: PLW0603 - of the process, and set once, by the command line
    path = Path(script)
    found = shutil.which(path.name)
    if path.name == "__main__.py":
        _name = _MODULE
    elif found and path.exists() and Path(found).resolve() == path.resolve():
        _name = path.name
    else:
        _name = shlex.quote(script)


def name() -> str:
    """``runner``, or ``python -m runner`` where that is what the user typed, and where no command line is running."""
    return _name


def command(*words: str) -> str:
    """The command line of a command of ours: ``runner show tea-7x3kq9ab``."""
    return f"{_name} {shlex.join(words)}"
