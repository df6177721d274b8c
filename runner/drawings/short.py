"""A step, or a wide fan-out, to as much of it as is drawn."""

from runner import text
from runner.plan import Plan, Step

Collectors = tuple[Step, ...]


def ends(collectors: Collectors, collapse: int | None) -> tuple[Collectors, int, Collectors]:
    """The first five, how many are not drawn, and the last five; all of them if there are no more than ``collapse``."""
    if collapse is None or len(collectors) <= max(collapse, 10):
        return collectors, 0, ()
    return collectors[:5], len(collectors) - 10, collectors[-5:]


def notes(plan: Plan, step: Step) -> list[str]:
    """Its task if that is not its id, then what is not the default: ``["http.get", "timeout 30s", "3 retries"]``."""
    retries = step.retry.max_retries
    noted = [
        *(_fan_in(plan) if step.kind == "gather" else []),
        text.printable(step.task) if step.task not in {None, step.id} else "",
        _required(plan, step) if step.kind == "collector" else "",
        f"timeout {text.duration(step.timeout)}" if step.timeout is not None else "",
        f"{retries} {'retry' if retries == 1 else 'retries'}" if retries else "",
        f"queue {text.printable(step.queue)}" if step.queue is not None else "",
        f"priority {step.priority}" if step.priority is not None else "",
    ]
    return [note for note in noted if note]


def _fan_in(plan: Plan) -> list[str]:
    """``["fan-in of 5", "at least 3", "deadline 1m30s"]``."""
    return [
        f"fan-in of {len(plan.collectors):,}",
        f"at least {plan.min_success:,}" if plan.min_success is not None else "",
        f"deadline {text.duration(plan.deadline)}" if plan.deadline is not None else "",
    ]


def _required(plan: Plan, step: Step) -> str:
    """What a collector says of itself: with ``min_success`` any may fail, without it none."""
    if step.required == (plan.min_success is None):
        return ""
    return "required" if step.required else "optional"
