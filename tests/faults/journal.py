"""What the tasks of a run wrote down: who started and ended what, when, in which process."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Line:
    """One line. Args: at: seconds of the machine's monotonic clock, the same in every process; attempt: from 1."""

    at: float
    pid: int
    word: str
    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Journal:
    path: Path

    def lines(self) -> list[Line]:
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        words = [line.split() for line in text.splitlines()]
        return [Line(float(at), int(pid), word, step, int(attempt)) for at, pid, word, step, attempt in words]

    def starts(self, step: str) -> list[Line]:
        return [line for line in self.lines() if (line.word, line.step) == ("START", step)]

    def ends(self, step: str) -> list[Line]:
        return [line for line in self.lines() if (line.word, line.step) == ("END", step)]

    def gathered(self) -> list[list[Any]]:
        """What each execution of the gather was handed."""
        path = Path(f"{self.path}.gathered")
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def await_start(self, step: str, *, times: int = 1, within: float = 15) -> Line:
        """Return the latest start of a step, once it has been started this many times."""
        wait_until(lambda: len(self.starts(step)) >= times, f"{step} has started {times} times", within)
        return self.starts(step)[-1]

    def await_end(self, step: str, *, within: float = 15) -> Line:
        wait_until(lambda: self.ends(step), f"{step} has ended", within)
        return self.ends(step)[-1]
