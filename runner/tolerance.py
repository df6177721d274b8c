"""A plan and how its collectors ended to a verdict: whether the gather runs without those that are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from runner import text
from runner.errors import listed
from runner.plan import Plan

if TYPE_CHECKING:  # what is told of a run needs no Redis client
    from runner.store import Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a run whose collectors have all ended.

    Args:
        gather: whether the gather may run.
        status: what the run will be, if the gather and the stages succeed.
        cause: who is missing, and why that is too many; empty if nobody is.
    """

    gather: bool
    status: Literal["succeeded", "partial", "failed"]
    cause: str = ""


def verdict(plan: Plan, outcomes: Mapping[str, Outcome]) -> Verdict:
    """Judge the collectors' outcomes.

    A collector that was late, skipped or cancelled, or has no outcome at all, is missing like one that failed.
    """
    absent = missing(plan, outcomes)
    if not absent:
        return Verdict(gather=True, status="succeeded")
    cause = f"{len(absent):,} of {len(plan.collectors):,} collectors did not succeed: {listed(absent)}"
    gone = set(absent)
    needed = [step.id for step in plan.collectors if step.required and step.id in gone]
    too_few = plan.min_success is not None and len(plan.collectors) - len(absent) < plan.min_success
    if not needed and not too_few:
        return Verdict(gather=True, status="partial", cause=cause)
    reasons = [f"min_success is {plan.min_success:,}"] if too_few else []
    if needed and plan.tolerant:
        reasons += [f"{listed(needed)} {'is' if len(needed) == 1 else 'are'} required"]
    return Verdict(gather=False, status="failed", cause="; ".join([cause, *reasons]))


def missing(plan: Plan, outcomes: Mapping[str, Outcome]) -> list[str]:
    """The ids of the collectors that did not succeed, in the order of the YAML."""
    return [step.id for step in plan.collectors if step.id not in outcomes or outcomes[step.id].status != "succeeded"]


def lateness(plan: Plan) -> str:
    """What is told of a collector that was late."""
    return f"had not answered when the deadline of {text.duration(plan.deadline or 0)} passed"
