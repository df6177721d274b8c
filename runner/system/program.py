"""A command's words to the command line that a user can type, with the name that the program was called by."""

import shlex
import shutil
from pathlib import Path

_MODULE = "python -m runner"
_name = _MODULE


def set_program_name(script: str) -> None:
    """Take the program's name from ``sys.argv[0]``: a hint with another name fails, for example after `uv tool install`.

    A script that is not on the PATH (``.venv/bin/runner``) is named as it was called.

    Args:
        script: ``sys.argv[0]``.
    """
    global _name  # noqa: PLW0603 - state of the process, set once by the command line
    path = Path(script)
    found = shutil.which(path.name)
    if path.name == "__main__.py":
        _name = _MODULE
    elif found and path.exists() and Path(found).resolve() == path.resolve():
        _name = path.name
    else:
        _name = shlex.quote(script)


def program_name() -> str:
    """Return ``runner``, or ``python -m runner`` if the user typed that or no command line is running."""
    return _name


def command_line(*words: str) -> str:
    """Return the command line of a command, quoted for a shell: ``runner show tea-7x3kq9ab``."""
    return f"{_name} {shlex.join(words)}"
