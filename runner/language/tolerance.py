"""A fan-out and which collectors are absent to a verdict: whether the gather runs without them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runner.language.ids import written
from runner.language.layout import Layout
from runner.language.plan import FanOut, Plan
from runner.text import duration, listed


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ends.

    Args:
        status: of the run; of one whose collectors have ended, if the gather and the stages succeed.
        cause: why it is not better: which collectors are missing, which step failed, who cancelled it.
    """

    status: Literal["succeeded", "partial", "failed", "cancelled"]
    cause: str = ""

    @property
    def opens_gate(self) -> bool:
        """Whether the gather may run."""
        return self.status in {"succeeded", "partial"}


def verdict(fan_out: FanOut, layout: Layout, absent: Sequence[str]) -> Verdict:
    """Judge what is left of a fan-out.

    Args:
        absent: ids of the collectors that did not succeed, in the order of the plan: one that was late, not run or
            cancelled, or has no outcome at all, is absent like one that failed.
    """
    if not absent:
        return Verdict(status="succeeded")
    total, least = layout.total(fan_out), layout.least(fan_out)
    cause = f"{len(absent):,} of {total:,} collectors did not succeed: {listed(absent)}"
    required = {step.id for step in fan_out.collectors if step.required}
    needed = [name for name in absent if written(name) in required]
    too_few = least is not None and total - len(absent) < least
    if not needed and not too_few:
        return Verdict(status="partial", cause=cause)
    reasons = [f"min_success is {_least(fan_out, layout)}"] if too_few else []
    if needed and fan_out.tolerant:
        reasons += [f"{listed(needed)} {'is' if len(needed) == 1 else 'are'} required"]
    return Verdict(status="failed", cause="; ".join([cause, *reasons]))


def run_verdict(plan: Plan, layout: Layout, absent: Sequence[str], failed: Sequence[str] = ()) -> Verdict:
    """How a run ends whose last step has a value: with every result, or without those of some collectors and stages.

    Args:
        absent: as `verdict` takes them, of every fan-out.
        failed: of each gather or stage that has failed, and that is not required, how it ended.
    """
    causes: list[str] = []
    for fan_out in plan.fan_outs:
        ids = {step.id for step in fan_out.collectors}
        found = verdict(fan_out, layout, [each for each in absent if written(each) in ids])
        if found.status == "failed" and fan_out.gather.required:
            return found
        if found.status != "succeeded":
            causes.append(found.cause)
    causes += [cause for cause in failed if cause not in causes]
    return Verdict(status="partial", cause="; ".join(causes)) if causes else Verdict(status="succeeded")


def _least(fan_out: FanOut, layout: Layout) -> str:
    """As it is written, and of a percentage how many that are: ``60% (3)``."""
    least = f"{layout.least(fan_out) or 0:,}"
    return f"{fan_out.min_success} ({least})" if isinstance(fan_out.min_success, str) else least


def lateness(fan_out: FanOut) -> str:
    """Return the error of a collector that was late."""
    return f"had not answered when the deadline of {duration(fan_out.deadline or 0)} passed"
