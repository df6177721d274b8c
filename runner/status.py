"""A status, of a step or a run, to what a person sees: an icon, a word, a colour."""

from typing import NamedTuple


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
}
FAILED = ("failed", "timed_out", "late")  # what a step ends with when it, and not another, is to blame
LONGEST = max(len(sign.word) for sign in _SIGNS.values())


def sign(status: str) -> Sign:
    return _SIGNS[status]
