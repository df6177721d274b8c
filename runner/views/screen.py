"""A stream to its screen: how wide it is, and whether it has colour."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

# Select Graphic Rendition: the sixteen colours that a terminal's own theme keeps readable.
_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36}


@dataclass(frozen=True, slots=True)
class Screen:
    """The abilities of the screen that a view may use.

    Args:
        width: in columns.
        colour: whether to use colours: it is a terminal, and ``NO_COLOR`` is not set.
        moves: whether the cursor can be moved, for a live picture.
    """

    width: int = 80
    colour: bool = False
    moves: bool = False

    def paint(self, text: str, *styles: str) -> str:
        """Return the text in these styles (``bold``, ``dim``, ``red`` …), unchanged on a screen without colour."""
        if not self.colour or not styles or not text:
            return text
        return f"\x1b[{';'.join(str(_CODES[style]) for style in styles)}m{text}\x1b[0m"


PLAIN = Screen()


def screen_of(stream: TextIO, environment: Mapping[str, str] = os.environ) -> Screen:
    """Return the screen behind a stream. A file or a pipe takes lines of any width: nothing is cut there."""
    if not stream.isatty():
        return Screen(width=1_000)
    dumb = environment.get("TERM") == "dumb"
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        columns = 80
    return Screen(width=max(20, columns or 80), colour=not (dumb or environment.get("NO_COLOR")), moves=not dumb)
