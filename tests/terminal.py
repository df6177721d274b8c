"""A command to what it leaves on a terminal of 80 columns, as text with or without colours."""

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

from tests.command_line import ROOT

WIDTH = 80


def environment() -> dict[str, str]:
    """Ours, with `python` for the one that runs the tests, whether its environment is activated or not."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "NO_COLOR"}}
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "TERM": "xterm", "LANG": "C.UTF-8"}


def on_a_terminal(command: str, cwd: Path, *, colours: bool = False) -> str:
    """What a command leaves on a terminal."""
    main, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, WIDTH))
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=cwd, env=environment(), stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    shown = b""
    try:
        while read := os.read(main, 65536):
            shown += read
    except OSError:  # Linux: the other end is closed
        pass
    finally:
        os.close(main)
        process.wait()
    return remaining(shown.decode(), colours=colours)


def remaining(written: str, *, colours: bool = False) -> str:
    """The text that is left where lines were drawn anew: cursor and erased lines are obeyed, colours kept or dropped.

    Args:
        colours: whether to keep them; then every line must have been erased before it was drawn anew, as Rich does.
    """
    lines, row, column = [""], 0, 0
    for word in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if word == "\r":
            column = 0
        elif word == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif word == "\x1b[2K":
            lines[row] = ""
        elif up := re.fullmatch(r"\x1b\[(\d+)A", word):
            row -= int(up[1])
        elif colours and (not word.startswith("\x1b") or word.endswith("m")):
            lines[row] += word
        elif not word.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + word + lines[row][column + len(word) :]
            column += len(word)
    return "\n".join(lines)
