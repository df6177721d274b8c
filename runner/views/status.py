"""A status, of a step or a run, to what a person sees: an icon, a word, a colour."""

from collections.abc import Mapping
from typing import NamedTuple

from runner.ledger.entries import PASSING


class Sign(NamedTuple):
    icon: str
    word: str
    style: str


_SIGNS = {
    "pending": Sign("·", "waiting", "dim"),
    "running": Sign("●", "running", "cyan"),
    "retrying": Sign("↻", "retrying", "yellow"),
    "succeeded": Sign("✓", "succeeded", "green"),
    "partial": Sign("!", "partial", "yellow"),
    "failed": Sign("✗", "failed", "red"),
    "timed_out": Sign("✗", "timed out", "red"),
    "late": Sign("!", "late", "yellow"),
    "skipped": Sign("○", "skipped", "dim"),
    "cancelled": Sign("■", "cancelled", "yellow"),
    "unreadable": Sign("?", "unreadable", "red"),
}
FAILED = ("failed", "timed_out", "late")  # what a step ends with when it, and not another, is to blame
OPEN = ("pending", "running", "retrying")  # what a step is that has not ended
ORDER = ("succeeded", *FAILED, "cancelled", "skipped", "running", "retrying", "pending")  # of counts
LONGEST = max(len(_SIGNS[status].word) for status in (*ORDER, "partial"))  # of a step's


def sign(status: str) -> Sign:
    return _SIGNS[status]


def together(counts: Mapping[str, int]) -> str:
    """The status of many collectors, of which so many are in each: ``partial`` if some of them succeeded, but not all."""
    there = {status for status, count in counts.items() if count}
    if there & set(OPEN):
        return "pending" if there == {"pending"} else "running"
    if there <= PASSING:
        return "succeeded"
    if "cancelled" in there:
        return "cancelled"
    if there & PASSING:
        return "partial"
    return "failed" if there & set(FAILED) else "skipped"
