"""What a workflow says under ``limits``: how politely a source is treated, and how long that makes a run last at least."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

STARTS_LIMIT = 1_000_000  # of one rate
DAY = 24 * 3600.0
_RATE = re.compile(r"(\d{1,7}) ?/ ?(\d{0,9}(?:\.\d{1,9})?)(h|ms|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True)
class Rate:
    """How many steps may start in a time.

    Args:
        starts: how many.
        seconds: the length of any window in which there are at most so many, and one less than the burst more.
    """

    starts: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """How the steps that name a limit treat their source, those of all runs and workers together.

    Args:
        rates: all of which must allow a start.
        burst: how many may start at once after a pause.
        concurrency: how many are executed at once; None for any number.
        key: an expression whose values each have a limit of their own; None for one limit.
        cooldown_on: errors that close the limit, besides those that say how long to wait: ``http_429`` …
        cooldown: seconds for which it is closed if the error does not say.
        cooldown_max: the most seconds that an error may close it for, and that a row of them may.
        failures: final failures in a row that close it; None for no number.
        open_for: seconds for which these close it.
    """

    rates: tuple[Rate, ...] = ()
    burst: int = 1
    concurrency: int | None = None
    key: str | None = None
    cooldown_on: tuple[str, ...] = ("http_429", "http_503")
    cooldown: float = 30.0
    cooldown_max: float = 900.0
    failures: int | None = None
    open_for: float = 300.0


def read_rate(text: str) -> Rate | None:
    """Return the rate that is written as ``30/1m``, ``30/m`` or ``5/s``; None if it is none.

    >>> read_rate("30/m")
    Rate(starts=30, seconds=60.0)
    """
    match = _RATE.fullmatch(text.strip())
    if match is None:
        return None
    starts, seconds = int(match[1]), float(match[2] or 1) * _UNITS[match[3]]
    good = 1 <= starts <= STARTS_LIMIT and 0.001 <= seconds <= DAY
    return Rate(starts, seconds) if good else None


def least_seconds(limits: Mapping[str, Limit], starts: Iterable[tuple[str, int]]) -> dict[str, float]:
    """Return, for each limit with a rate and without a key, the seconds from the first start to the last at least.

    Args:
        starts: names of limits, with how many starts of steps need each; a name may come several times.
    """
    total: dict[str, int] = {}
    for name, number in starts:
        total[name] = total.get(name, 0) + number
    return {
        name: max(max(0, number - limit.burst) * rate.seconds / rate.starts for rate in limit.rates)
        for name, number in total.items()
        if (limit := limits[name]).rates and limit.key is None
    }
