"""The statuses of steps: which there are, in the order in which they are counted, and the one of many steps together."""

from collections.abc import Mapping
from typing import Literal

from runner.ledger.entries import PASSING, StepStatus

OpenStatus = Literal["pending", "running", "retrying", "limited"]
# Of a step that stands for many, also `partial`: some of them succeeded, but not all.
Status = Literal[StepStatus, OpenStatus, "partial"]

FAILED: tuple[StepStatus, ...] = ("failed", "timed_out", "late")  # the step itself is the reason, and not another
OPEN: tuple[OpenStatus, ...] = ("pending", "running", "retrying", "limited")  # the step has not ended
LEFT_OUT: frozenset[Status] = frozenset({"skipped", "not_needed"})  # nobody misses its value
ORDER: tuple[Status, ...] = (
    "succeeded",
    *FAILED,
    "cancelled",
    "not_run",
    "skipped",
    "not_needed",
    "running",
    "retrying",
    "limited",
    "pending",
)


def together(counts: Mapping[Status, int]) -> Status:
    """The status of many steps, from how many have each."""
    found = {status for status, count in counts.items() if count}
    if found == {"not_needed"}:
        return "not_needed"
    if found == {"skipped"}:
        return "skipped"
    found -= LEFT_OUT
    if found & set(OPEN):
        return "pending" if found == {"pending"} else "running"
    if found <= PASSING:
        return "succeeded"
    if "cancelled" in found:
        return "cancelled"
    if found & PASSING:
        return "partial"
    return "failed" if found & set(FAILED) else "not_run"


def count_wanted(counts: Mapping[Status, int]) -> int:
    """How many steps there are that are not skipped."""
    return sum(counts.values()) - counts.get("skipped", 0)


def count_passing(counts: Mapping[Status, int]) -> int:
    """How many steps pass, from how many have which status."""
    return sum(counts.get(status, 0) for status in PASSING)
