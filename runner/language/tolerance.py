"""A plan and which collectors are absent to a verdict: whether the gather runs without them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runner import text
from runner.errors import listed
from runner.language.ids import written
from runner.language.plan import Plan


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


def verdict(plan: Plan, absent: Sequence[str]) -> Verdict:
    """Judge what is left of the fan-out.

    Args:
        absent: ids of the collectors that did not succeed, in the order of the plan: one that was late, skipped or
            cancelled, or has no outcome at all, is absent like one that failed.
    """
    if not absent:
        return Verdict(gather=True, status="succeeded")
    cause = f"{len(absent):,} of {plan.fan_out:,} collectors did not succeed: {listed(absent)}"
    required = {step.id for step in plan.collectors if step.required}
    needed = [name for name in absent if written(name) in required]
    too_few = plan.least is not None and plan.fan_out - len(absent) < plan.least
    if not needed and not too_few:
        return Verdict(gather=True, status="partial", cause=cause)
    reasons = [f"min_success is {_least(plan)}"] if too_few else []
    if needed and plan.tolerant:
        reasons += [f"{listed(needed)} {'is' if len(needed) == 1 else 'are'} required"]
    return Verdict(gather=False, status="failed", cause="; ".join([cause, *reasons]))


def _least(plan: Plan) -> str:
    """As it is written, and of a percentage how many that are: ``60% (3)``."""
    least = f"{plan.least or 0:,}"
    return f"{plan.min_success} ({least})" if isinstance(plan.min_success, str) else least


def lateness(plan: Plan) -> str:
    """What is told of a collector that was late."""
    return f"had not answered when the deadline of {text.duration(plan.deadline or 0)} passed"
