"""The status of a step or a run to its sign: an icon, a word, a colour."""

from typing import NamedTuple

from runner.ledger.entries import RunStatus
from runner.ledger.statuses import ORDER, Status


class Sign(NamedTuple):
    icon: str
    word: str
    style: str


_SIGNS: dict[Status | RunStatus, Sign] = {
    "pending": Sign("·", "waiting", "dim"),
    "running": Sign("●", "running", "cyan"),
    "retrying": Sign("↻", "retrying", "yellow"),
    "limited": Sign("◔", "limited", "yellow"),
    "succeeded": Sign("✓", "succeeded", "green"),
    "partial": Sign("!", "partial", "yellow"),
    "failed": Sign("✗", "failed", "red"),
    "timed_out": Sign("✗", "timed out", "red"),
    "late": Sign("!", "late", "yellow"),
    "not_run": Sign("○", "not run", "dim"),
    "skipped": Sign("○", "skipped", "dim"),
    "not_needed": Sign("○", "unneeded", "dim"),
    "cancelled": Sign("■", "cancelled", "yellow"),
    "unreadable": Sign("?", "unreadable", "red"),
}
LONGEST = max(len(_SIGNS[status].word) for status in (*ORDER, "partial"))  # columns of the longest word of a step


def sign(status: Status | RunStatus) -> Sign:
    return _SIGNS[status]
