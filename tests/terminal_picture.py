"""The default workflow to the picture of the README: what its run leaves on a terminal, as SVG.

python -m tests.terminal_picture
"""

import os
import re
import tempfile
from html import unescape
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.command_line import ROOT
from tests.terminal import WIDTH, on_a_terminal

PICTURE = ROOT / "tests" / "integration" / "session.svg"
COMMAND = "python -m runner run workflows/default.yaml --topic python"


def recorded(cwd: Path) -> str:
    """The command and what it leaves, with its colours."""
    return f"$ {COMMAND}\n{on_a_terminal(COMMAND, cwd, colours=True).rstrip()}\n"


def svg(recording: str) -> str:
    """The recording as Rich exports it, without fonts from the network."""
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print(Text.from_ansi(recording), soft_wrap=True)
    exported = console.export_svg(title="runner", unique_id="session")
    return re.sub(r"@font-face \{.*?\}\s*", "", exported, flags=re.DOTALL) + "\n"


def lines(picture: str) -> list[str]:
    """The lines of a picture. Rich draws no spaces that stand alone: they follow from the places of the other characters."""
    found: dict[str, str] = {}
    for x, y, part in re.findall(r'<text class="session-r\d+" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>', picture):
        column = round(float(x) / 12.2)  # Rich's width of a character
        found[y] = found.get(y, "").ljust(column) + unescape(part).replace("\xa0", " ")
    return [line.rstrip() for line in found.values()]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="rt-") as state:
        os.environ["RUNNER_STATE_DIR"] = state
        recording = recorded(ROOT)
    # The machine has a name of its own, which is nobody's business.
    PICTURE.write_text(svg(re.sub(r"(worker-\d+)@[\w.-]+", r"\1@box", recording)), encoding="utf-8")


if __name__ == "__main__":
    main()
