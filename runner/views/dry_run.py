"""A plan and its messages to the output of a dry run, for people and for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from runner.errors import RunnerError
from runner.language.conditions import is_false
from runner.language.foreach import items
from runner.language.layout import Layout
from runner.language.limits import least_seconds
from runner.language.plan import Plan, Step, arguments
from runner.language.redact import redact, redact_inputs
from runner.text import count, duration, printable
from runner.views.drawings.tree import draw_tree
from runner.views.layout import json_line
from runner.views.screen import PLAIN, Screen

# A message that would be sent: its name in Flower, the Celery task, its arguments, the queue.
Message = tuple[str, str, Sequence[Any], str]


def dry_run_words(
    plan: Plan, layout: Layout, run_id: str, messages: Sequence[Message], *, screen: Screen = PLAIN
) -> str:
    """Return the graph, the bound inputs and arguments, and the messages that would be sent."""
    hidden = replace(plan, inputs=redact_inputs(plan))
    lines = [draw_tree(plan, screen, layout=layout), "", screen.paint("inputs", "bold")]
    lines += [f"  {printable(name)} = {json_line(value)}" for name, value in hidden.inputs.items()]
    lines += ["", screen.paint("arguments", "bold")]
    for step in _ends(plan.collectors) + list(plan.tail):
        if isinstance(step, str):
            lines += [f"  {step}"]
            continue
        first = _first(hidden, step)
        many = f"{layout.count(step):,}" if layout.is_counted(step) else "?"
        of = f", of {many}" if step.foreach else ""
        of += _skipped(step, layout)
        lines += [f"  {printable(first.id)}{of}"]
        lines += [
            f"    {printable(name)} = {json_line(value)}" for name, value in _bound(hidden, run_id, first).items()
        ]
        for then, given in _thens(hidden, run_id, first):
            lines += [f"    then {printable(then)}"]
            lines += [f"      {printable(name)} = {json_line(value)}" for name, value in given.items()]
    if least := least_seconds(plan.limits, _starts(plan, layout)):
        lines += ["", screen.paint("limits", "bold")]
        lines += [
            f"  {name}: at least {duration(seconds)} from the first start to the last"
            for name, seconds in least.items()
        ]
    lines += ["", screen.paint(f"{count(len(messages), 'message')} would be sent; nothing is started", "bold")]
    for message in _ends(messages):
        if isinstance(message, str):
            lines += [f"  {message}"]
            continue
        shadow, task, args, queue = message
        line = f"{printable(shadow)}: {task}({', '.join(json_line(arg) for arg in args)}) to queue {queue}"
        lines += [f"  {printable(line)}"]
    return redact("\n".join(lines), plan)


def dry_run_document(plan: Plan, layout: Layout, run_id: str, messages: Sequence[Message]) -> dict[str, Any]:
    """Return the same for ``--json``, with every step and message; the arguments of a ``foreach`` are those of its first item."""
    hidden = replace(plan, inputs=redact_inputs(plan))
    return redact(
        {
            "run_id": run_id,
            "workflow": plan.name,
            "inputs": dict(hidden.inputs),
            "limits": {
                name: {"least_s": round(seconds, 3)}
                for name, seconds in least_seconds(plan.limits, _starts(plan, layout)).items()
            },
            "steps": [_step_of_dry_run(hidden, layout, run_id, step) for step in hidden.steps],
            "messages": [
                {"name": name, "task": task, "args": list(args), "queue": queue} for name, task, args, queue in messages
            ],
        },
        plan,
    )


def _starts(plan: Plan, layout: Layout) -> Iterator[tuple[str, int]]:
    """Yield the limits of the steps, each with how many starts of theirs need it; what is not counted yet is none."""
    for step in plan.steps:
        number = (layout.count(step) if layout.is_counted(step) else 0) if step.foreach else 1
        yield from ((name, number) for name in step.limits)


def _step_of_dry_run(plan: Plan, layout: Layout, run_id: str, step: Step) -> dict[str, Any]:
    first = _first(plan, step)
    thens = [{"task": task, "arguments": dict(given)} for task, given in _thens(plan, run_id, first)]
    return {
        "id": step.id,
        "kind": step.kind,
        "task": step.task,
        "queue": layout.queue_of(step),
        **({"count": layout.count(step) if layout.is_counted(step) else None} if step.foreach else {}),
        **({"skipped": layout.skipped[step.id]} if step.id in layout.skipped else {}),
        "arguments": dict(_bound(plan, run_id, first)),
        **({"then": thens} if thens else {}),
    }


def _skipped(step: Step, layout: Layout) -> str:
    """Say that a collector is skipped, or how many of its items are; nothing if none is."""
    number = layout.skipped.get(step.id, 0)
    if not number or step.when is None:
        return ""
    return f", {number:,} skipped" if step.foreach else f", skipped: {is_false(step.when)}"


def _thens(plan: Plan, run_id: str, step: Step) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the task and the bound arguments of each call under ``then``."""
    for each in step.then:
        yield each.task or "", _bound(plan, run_id, replace(step, arguments=each.arguments))


def _first(plan: Plan, step: Step) -> Step:
    """Return the collector of a ``foreach``'s first item; the step itself if it has no ``foreach``, or no item can be shown."""
    try:
        item = next(items(plan, step), None)
    except RunnerError:  # items that are made of a secret, and are "***"
        return step
    return step.of(item) if item else step


def _bound(plan: Plan, run_id: str, step: Step) -> Mapping[str, Any]:
    """Return a step's arguments as far as they are known before a run; as written if they are not."""
    run = {"id": run_id, "name": plan.name, "started_at": datetime.now(UTC).isoformat()}
    try:
        return arguments(plan, step, run)
    except ValueError:  # an expression over the secret, which is "***" here
        return step.arguments


def _ends(things: Sequence[Any]) -> list[Any]:
    """Return the things; of more than twelve, the first and last five, with the number of the others between them."""
    if len(things) <= 12:
        return list(things)
    return [*things[:5], f"… {len(things) - 10:,} more", *things[-5:]]
