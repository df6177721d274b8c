"""A step to the words of its node: its name, its task, and what is not the default."""

from runner.language.layout import Layout
from runner.language.plan import FanOut, Plan, Step
from runner.text import cut, duration, printable
from runner.views.drawings.graph import Node


def name(step: Step, layout: Layout) -> str:
    """Its id; of a collector with ``foreach``, ``page[…] × 100,000`` once its items are counted."""
    if step.foreach is None:
        return printable(step.id)
    return f"{printable(step.id)}[…]" + (f" × {layout.count(step):,}" if layout.is_counted(step) else "")


def more(node: Node) -> str:
    """What stands in place of the collectors that are not drawn."""
    return f"… {node.hidden:,} more"


def label(node: Node, layout: Layout) -> list[str]:
    """The lines of a node: a step's name, its task if that is not its id, and its items while they are not counted."""
    step = node.step
    if step is None:
        return [more(node)]
    task = "(the list itself)" if step.task is None else printable(step.task)
    lines = (name(step, layout), task if task != step.id else "", _then(step), _when(step), _each(step, layout))
    return [line for line in lines if line]


def notes(plan: Plan, step: Step, layout: Layout) -> list[str]:
    """Its task if that is not its id, then what is not the default: ``["http.get", "timeout 30s", "3 retries"]``."""
    retries = step.retry.max_retries
    noted = [
        *(_fan_in(plan.fan_out_of(step), layout) if step.kind == "gather" else []),
        _each(step, layout),
        printable(step.task) if step.task not in {None, step.id} else "",
        _then(step),
        _when(step),
        _required(plan.fan_out_of(step), step) if step.kind == "collector" else "" if step.required else "optional",
        f"timeout {duration(step.timeout)}" if step.timeout is not None else "",
        f"{retries} {'retry' if retries == 1 else 'retries'}" if retries else "",
        f"queue {printable(step.queue)}" if step.queue is not None else "",
        f"priority {step.priority}" if step.priority is not None else "",
        f"batch {step.batch:,}" if step.batch is not None else "",
        f"{step.max_concurrency:,} at once" if step.foreach and step.max_concurrency is not None else "",
        ("shares a process" if step.at_once > 1 else "shares a message") if step.id in layout.shared else "",
    ]
    return [note for note in noted if note]


def _then(step: Step) -> str:
    """The tasks that follow its own in the same attempt: ``then html.select, records.sort``."""
    return f"then {', '.join(printable(each.task) for each in step.then)}" if step.then else ""


def hooks(plan: Plan) -> list[tuple[str, list[str]]]:
    """Return each hook in the order of the file: the end of a run that it follows; its name, its task, its condition."""
    return [
        (end, list(filter(None, [printable(step.id), printable(step.task or ""), _when(step)])))
        for end, steps in plan.hooks.items()
        for step in steps
    ]


def _when(step: Step) -> str:
    """Its condition, as written: ``when inputs.deep``."""
    if step.when is None:
        return ""
    written = (
        str(step.when).lower() if isinstance(step.when, bool) else step.when.removeprefix("${{").removesuffix("}}")
    )
    return cut(f"when {printable(written.strip())}", 60)


def _each(step: Step, layout: Layout) -> str:
    """Its items, as written: ``for each of ${{ inputs.pages }}``; empty once they are counted."""
    if step.foreach is None or layout.is_counted(step):
        return ""
    items = step.foreach.items
    return cut(f"for each of {printable(items['file'] if isinstance(items, dict) else items)}", 60)


def _fan_in(fan_out: FanOut, layout: Layout) -> list[str]:
    """``["fan-in of 5", "at least 3", "deadline 1m30s"]``; as written where the collectors are not counted yet."""
    counted = all(map(layout.is_counted, fan_out.collectors))
    least = layout.least(fan_out) if counted else fan_out.min_success
    return [
        f"fan-in of {layout.total(fan_out):,}" if counted else "fan-in",
        f"at least {least:,}" if isinstance(least, int) else f"at least {least}" if least is not None else "",
        "stops early" if fan_out.stop else "",
        f"deadline {duration(fan_out.deadline)}" if fan_out.deadline is not None else "",
    ]


def _required(fan_out: FanOut, step: Step) -> str:
    """``required`` or ``optional``, where it is not the default: with ``min_success`` any collector may fail."""
    if step.required == (fan_out.min_success is None):
        return ""
    return "required" if step.required else "optional"
