"""The explanation of a code to text for a terminal."""

from collections.abc import Mapping

from runner.language.explanations import Explanation
from runner.text import wrap
from runner.views.screen import PLAIN, Screen

_WIDEST = 100  # columns of prose that are still easy to read


def code_list(meanings: Mapping[str, str], *, screen: Screen = PLAIN) -> str:
    """List every code with its meaning, one a line."""
    return "\n".join(f"{screen.paint(code, 'bold')}  {meaning}" for code, meaning in meanings.items())


def explanation(explained: Explanation, *, screen: Screen = PLAIN) -> str:
    """Explain a code: its meaning, why it is a fault, an example, and its correction."""
    parts = [
        f"{screen.paint(explained.code, 'bold')}: {explained.meaning}",
        "\n".join(wrap(explained.why, min(screen.width, _WIDEST))),
    ]
    if explained.wrong:
        parts += [
            screen.paint("wrong", "red", "bold") + "\n" + _indented(explained.wrong),
            screen.paint("right", "green", "bold") + "\n" + _indented(explained.mended),
        ]
    return "\n\n".join(parts)


def _indented(example: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in example.rstrip("\n").split("\n"))
