"""The limits of a ledger to a table for people, and to a document for programs."""

import math
from collections.abc import Sequence
from typing import Any

from runner.language.limits import Rate
from runner.ledger.limits import LimitState
from runner.text import duration, printable
from runner.views.layout import table
from runner.views.screen import PLAIN, Screen


def limit_list(states: Sequence[LimitState], now: float, *, screen: Screen = PLAIN) -> str:
    """Return a table of limits, a line each.

    Args:
        now: seconds since the epoch by the ledger's clock.
    """
    if not states:
        return "no limits: no step with one has been executed on this broker"
    headings = ("LIMIT", "RATE", "CONCURRENCY", "USED", "FREE", "RUNS WAITING", "STATE")
    rows = [
        (
            printable(each.id),
            _rates(each),
            _concurrency(each),
            str(each.used) if _concurrency(each) else "",
            "any number" if each.free is None else f"{each.free:,}",
            str(each.waiting or ""),
            printable(_state(each, now)),
        )
        for each in states
    ]
    return table(headings, rows, screen)


def limits_document(states: Sequence[LimitState], now: float) -> dict[str, Any]:
    """Return the same for ``--json``; ``closed_s`` and ``paused_s`` are null unless it is closed, and infinity is null with ``paused``."""
    return {
        "limits": [
            {
                "limit": each.id,
                "rates": [written(rate) for rate in each.limit.rates] if each.limit else [],
                "burst": each.limit.burst if each.limit else None,
                "concurrency": each.limit.concurrency if each.limit else None,
                "set": {"rates": [written(rate) for rate in each.rates], "concurrency": each.concurrency},
                "free": each.free,
                "used": each.used,
                "runs_waiting": each.waiting,
                "failures": each.failures,
                "closed_s": round(each.closed - now, 3) if each.closed else None,
                "why": each.why,
                "paused": bool(each.paused),
                "paused_s": round(each.paused - now, 3) if each.paused and each.paused != math.inf else None,
            }
            for each in states
        ]
    }


def written(rate: Rate) -> str:
    """Return a rate as a file has it: ``30/1m``."""
    return f"{rate.starts}/{duration(rate.seconds)}"


def _rates(state: LimitState) -> str:
    limit = state.limit
    words = [written(rate) for rate in limit.rates] if limit else []
    if limit and limit.burst > 1:
        words.append(f"burst {limit.burst}")
    return ", ".join([*words, *(f"{written(rate)} (set)" for rate in state.rates)])


def _concurrency(state: LimitState) -> str:
    own = [str(state.limit.concurrency)] if state.limit and state.limit.concurrency is not None else []
    return ", ".join([*own, *([f"{state.concurrency} (set)"] if state.concurrency is not None else [])])


def _state(state: LimitState, now: float) -> str:
    if state.paused == math.inf:
        return "paused"
    if state.paused:
        return f"paused for {duration(state.paused - now)}"
    if state.closed:
        return f"closed for {duration(state.closed - now)}: {state.why}"
    return "open"
