"""A segment of a plan to the Celery signature that runs it: the steps that have no outcome yet, and no others.

Messages carry references only, a run's id and steps' ids; the ledger has the plan and the outcomes.
"""

from collections.abc import Collection
from typing import Any

from celery import Signature, chain, chord, signature

from runner.language.layout import Layout
from runner.language.plan import HARD_LIMIT_AFTER, FanOut, Plan, Segment, Step, segments

COLLECT, GATHER, STAGE, BEGIN, HOOK = "runner.collect", "runner.gather", "runner.stage", "runner.begin", "runner.hook"


def compose(segment: Segment, run_id: str, layout: Layout, done: Collection[str] = ()) -> Signature | None:
    """``chord(collectors, gather | stage | stage … | begin)``; None if everything of the segment is done.

    The fan-out that follows is never part of it: its items may not be known yet, and 300 messages that carry 300 more were
    96 KB each (measured). The last message has a worker begin it, which composes the next segment.

    Args:
        layout: of its fan-out, and which later ones have begun.
        done: refs of collectors, and ids of the other steps, that have ended; exactly the others are composed.

    Always an explicit chord: Celery 5.7 unrolls a group of one in ``chain(group(…), …)`` (canvas.py,
    ``maybe_unroll_group``), and the fan-in of a workflow with one collector would not be one.
    """
    fan_out = segment.fan_out
    # One that was skipped is done, and its collectors have no refs.
    messages = _messages(fan_out, layout, done) if fan_out and fan_out.id not in done else []
    collectors = [_immutable(COLLECT, (run_id, refs), segment, steps, layout) for steps, refs in messages]
    row = (
        [_immutable(GATHER, (run_id, fan_out.id), segment, [fan_out.gather], layout)]
        if fan_out and fan_out.id not in done
        else []
    )
    row += [
        _immutable(STAGE, (run_id, step.id), segment, [step], layout) for step in segment.stages if step.id not in done
    ]
    if segment.following and segment.following.id not in {*layout.begun, *done}:
        row.append(_begin(run_id, segment, segment.following, layout))
    rest = chain(*row) if len(row) > 1 else row[0] if row else None
    return chord(collectors, rest) if collectors else rest


def compose_open(plan: Plan, run_id: str, layout: Layout, done: Collection[str] = ()) -> Signature | None:
    """Compose the segment that is open: the first of the plan of which something is not done. None if everything is."""
    composed = (compose(segment, run_id, layout, done) for segment in segments(plan))
    return next((canvas for canvas in composed if canvas is not None), None)


def compose_hook(plan: Plan, run_id: str, step: Step, layout: Layout) -> Signature:
    """Compose the message of one hook; the next is sent when it has ended, as it may have another queue, or fail."""
    segment = Segment(workflow=plan.name, fan_out=None)
    return _immutable(HOOK, (run_id, step.id), segment, [step], layout)


def _messages(fan_out: FanOut, layout: Layout, done: Collection[str]) -> list[tuple[list[Step], list[str]]]:
    """Return the content of each message: the collectors, and their refs that have not ended.

    Collectors that are written out come first: a worker takes messages in order, and one of them, perhaps the longest,
    would begin only after all items of a wide `foreach`. The results keep the order of the file.
    """
    messages: dict[Any, tuple[list[Step], list[str]]] = {}
    for step in sorted(fan_out.collectors, key=lambda step: step.foreach is not None):
        for ref in layout.refs(step):
            if ref not in done:
                steps, refs = messages.setdefault(layout.shared.get(step.id, ref), ([], []))
                steps.append(step)
                refs.append(ref)
    return list(messages.values())


def _immutable(name: str, args: tuple[Any, ...], segment: Segment, steps: list[Step], layout: Layout) -> Signature:
    step = steps[0]
    # `shadow` is the name that Flower and the logs show, and a label of metrics: of all batches it is the one in the YAML,
    # and of collectors that share a message the first one's.
    shadow = f"{segment.workflow}.{step.id}"
    options: dict[str, Any] = {"queue": layout.queue_of(step), "priority": step.priority, "shadow": shadow}
    if (seconds := _time_limit(steps, layout)) is not None:
        options["time_limit"] = seconds  # defence: HARD_LIMIT
    return _signature(name, args, options)


def _begin(run_id: str, segment: Segment, fan_out: FanOut, layout: Layout) -> Signature:
    """Return the message that begins a later fan-out: in the queue of its gather, whose timeout is not its own."""
    gather = fan_out.gather
    options = {
        "queue": layout.queue_of(gather),
        "priority": gather.priority,
        "shadow": f"{segment.workflow}.{fan_out.id}.begin",
    }
    return _signature(BEGIN, (run_id, fan_out.id), options)


def _signature(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Signature:
    stated = {name: value for name, value in options.items() if value is not None}
    return signature(name, args=args, options=stated, immutable=True)


def _time_limit(steps: list[Step], layout: Layout) -> float | None:
    """Return the seconds after which the process of a message is killed: not before each of its steps has had its timeout."""
    timeouts = [step.timeout for step in steps if step.timeout is not None]
    step = steps[0]
    # A message of a collector with max_concurrency also executes what is left of other messages: its worker ends a process
    # whose step takes too long (batch.py).
    if len(timeouts) < len(steps) or step.max_concurrency:
        return None
    if len(steps) > 1 and step.at_once == 1:  # they are executed in turn, as those of a batch (batch.py)
        return None
    if len(steps) > 1:  # they are executed together; while the last one is, another may be retried
        in_turn = 2 + max(each.retry.max_retries for each in steps)
    else:
        in_turn = -(-layout.sizes[step.id] // (step.at_once)) if step.foreach else 1
    return (max(timeouts) + HARD_LIMIT_AFTER) * in_turn


def messages_of(canvas: Signature | None) -> list[tuple[str, str, tuple[Any, ...], str]]:
    """Return the messages of a canvas in order: the name shown, the Celery task, its arguments and its queue."""
    if canvas is None:
        return []
    match canvas.task:
        case "celery.chord":
            parts = [*canvas.tasks, canvas.body]
        case "celery.chain":
            parts = canvas.tasks
        case task:
            return [(canvas.options["shadow"], task, tuple(canvas.args), canvas.options.get("queue", ""))]
    return [message for part in parts for message in messages_of(part)]
