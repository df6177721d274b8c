"""A step, or a wide fan-out, to as much of it as is drawn."""

from runner import text
from runner.language.plan import FanOut, Plan, Step

Collectors = tuple[Step, ...]


def ends(collectors: Collectors, collapse: int | None) -> tuple[Collectors, int, Collectors]:
    """The first five, how many are not drawn, and the last five; all of them if there are no more than ``collapse``."""
    if collapse is None or len(collectors) <= max(collapse, 10):
        return collectors, 0, ()
    return collectors[:5], len(collectors) - 10, collectors[-5:]


def name(step: Step) -> str:
    """Its id; of a collector with ``foreach``, which stands for many, ``page[…] × 100,000`` once they are counted."""
    if step.foreach is None:
        return text.printable(step.id)
    return f"{text.printable(step.id)}[…]" + (f" × {step.count:,}" if _counted(step) else "")


def label(step: Step) -> list[str]:
    """The lines of its node: its name, its task if that is not its id, and what it is repeated for if that is not counted."""
    task = "(the list itself)" if step.task is None else text.printable(step.task)
    return [line for line in (name(step), task if task != step.id else "", _each(step)) if line]


def notes(plan: Plan, step: Step) -> list[str]:
    """Its task if that is not its id, then what is not the default: ``["http.get", "timeout 30s", "3 retries"]``."""
    retries = step.retry.max_retries
    noted = [
        *(_fan_in(plan.fan_out_of(step)) if step.kind == "gather" else []),
        _each(step),
        text.printable(step.task) if step.task not in {None, step.id} else "",
        _required(plan.fan_out_of(step), step) if step.kind == "collector" else "",
        f"timeout {text.duration(step.timeout)}" if step.timeout is not None else "",
        f"{retries} {'retry' if retries == 1 else 'retries'}" if retries else "",
        f"queue {text.printable(step.queue)}" if step.queue is not None else "",
        f"priority {step.priority}" if step.priority is not None else "",
        f"batch {step.batch:,}" if step.batch is not None else "",
        f"{step.max_concurrency:,} at once" if step.foreach and step.max_concurrency is not None else "",
        "shares a process" if step.message is not None else "",
    ]
    return [note for note in noted if note]


def _counted(step: Step) -> bool:
    """Whether it is known for how many items it stands; only of a list in the YAML may that be none."""
    return step.foreach is None or step.count > 0 or isinstance(step.foreach.items, list)


def _each(step: Step) -> str:
    """What it is repeated for, as far as that fits: ``for each of ${{ inputs.pages }}``; empty once that is counted."""
    if step.foreach is None or _counted(step):
        return ""
    items = step.foreach.items
    return text.cut(f"for each of {text.printable(items['file'] if isinstance(items, dict) else items)}", 60)


def _fan_in(fan_out: FanOut) -> list[str]:
    """``["fan-in of 5", "at least 3", "deadline 1m30s"]``; as written where the collectors are not counted yet."""
    counted = all(map(_counted, fan_out.collectors))
    least = fan_out.least if counted else fan_out.min_success
    return [
        f"fan-in of {fan_out.total:,}" if counted else "fan-in",
        f"at least {least:,}" if isinstance(least, int) else f"at least {least}" if least is not None else "",
        f"deadline {text.duration(fan_out.deadline)}" if fan_out.deadline is not None else "",
    ]


def _required(fan_out: FanOut, step: Step) -> str:
    """What a collector says of itself: with ``min_success`` any may fail, without it none."""
    if step.required == (fan_out.min_success is None):
        return ""
    return "required" if step.required else "optional"
