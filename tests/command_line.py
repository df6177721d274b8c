"""A command line to what `python -m runner` prints and its exit code, in a process of its own."""

import json
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.waiting import SLACK

ROOT = Path(__file__).parent.parent
WORKFLOWS = ROOT / "workflows"
DEFAULT = str(WORKFLOWS / "default.yaml")


@dataclass(frozen=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def first_line(self) -> str:
        return (self.stderr.splitlines() or [""])[0]


def runner(
    *words: str, timeout: float = 30 * SLACK, stdin: bytes | None = b"", cwd: Path | None = None, **env: str
) -> Answer:
    """Run a command to its end; no terminal, an empty standard input unless another is given."""
    done = subprocess.run(
        [sys.executable, "-m", "runner", *words],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
        cwd=cwd or ROOT,
        env=os.environ | env,
    )
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


def start(*words: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
    """Start a command and leave it running; in a group of its own, as a shell would."""
    return subprocess.Popen(
        [sys.executable, "-m", "runner", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd or ROOT,
        env=os.environ | env,
        process_group=0,
    )


@dataclass(frozen=True)
class Terminal:
    """A command on a terminal of its own."""

    process: "subprocess.Popen[bytes]"
    descriptor: int

    def read(self) -> str:
        """All that it shows until it ends, one picture after the other, without escape sequences."""
        return self._read(b"")

    def read_until(self, word: str) -> str:
        """The same until it shows a word, or ends."""
        return self._read(word.encode())

    def _read(self, word: bytes) -> str:
        shown = b""
        with suppress(OSError):  # what Linux says when nobody has the other end any more
            while some := os.read(self.descriptor, 65536):
                shown += some
                if word and word in shown:
                    break
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="replace"))


@contextmanager
def on_terminal(*words: str, **env: str) -> Iterator[Terminal]:
    """Start a command whose standard error is a terminal of 100 columns, which can show colours and moves."""
    descriptor, end = pty.openpty()
    termios.tcsetwinsize(end, (40, 100))
    with subprocess.Popen(
        [sys.executable, "-m", "runner", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=end,
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"} | env,
        process_group=0,
    ) as process:
        os.close(end)
        try:
            yield Terminal(process, descriptor)
        finally:
            process.kill()
            os.close(descriptor)
