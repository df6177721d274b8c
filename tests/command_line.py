"""Words to what `python -m runner` does with them, in a process of its own."""

import json
import os
import subprocess
import sys
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
