"""A plan's collectors to their layout: enough messages to keep every worker busy, and few enough to make sending cheap.

A message costs the sender, the broker and the worker about 3 ms (Celery 5.7 on 2 cores), a collector of a batch 0.05 ms.
"""

import math
from dataclasses import replace

from runner.language.layout import Layout
from runner.language.plan import FanOut, Step
from runner.language.steps import BATCH_LIMIT
from runner.messages.destination import Destination

EACH = 4  # messages for each step that the workers execute at once, so that the last ones do not delay the end
ALONE = (
    1_000  # collectors without `foreach` in a fan-out, up to which each has a message of its own if it does not wait
)
UNKNOWN = 8  # slots, if no worker has started yet


def lay_out(fan_out: FanOut, counted: Layout, slots: int, destination: Destination) -> Layout:
    """Return the batch size of every `foreach` of a fan-out, and the messages that its other collectors share.

    Args:
        counted: how many collectors each stands for, and which are skipped.
        slots: steps that all workers together execute at once; 0 if unknown.
        destination: where the run's steps go.
    """
    to = replace(counted, queue=destination.queue, own=destination.own)
    sizes = {step.id: _size(step, to.counts[step.id], slots) for step in fan_out.collectors if step.foreach}
    return replace(to, sizes=sizes, shared=_shared(fan_out, slots, to))


def is_wide(fan_out: FanOut) -> bool:
    """Whether the batches of a fan-out depend on how many steps are executed at once."""
    return len(fan_out.collectors) > ALONE or any(step.foreach or step.together for step in fan_out.collectors)


def _shared(fan_out: FanOut, slots: int, to: Layout) -> dict[str, int]:
    """Return the number of the message for each collector that shares one.

    Those that only wait (``async``) share a process, which executes them together, as those of a ``foreach``: thirty of
    them took as long as the slots took to execute four at a time. They have the queue and the priority of their message.
    Others have one each, unless there are so many that their messages would cost more than they: 10,000 took 21 s, and 1 s now.
    """
    alike: dict[tuple[bool, str | None, int | None], list[Step]] = {}
    for step in to.executed(fan_out.collectors):
        if step.foreach is None and (step.together or len(fan_out.collectors) > ALONE):
            waits = step.at_once > 1
            alike.setdefault((waits, to.queue_of(step), step.priority), []).append(step)
    shared: dict[str, int] = {}
    number = 0
    for steps in alike.values():
        messages = _messages(len(steps), slots, steps[0].at_once)
        size = -(-len(steps) // messages)
        for at in range(0, len(steps), size):
            some = steps[at : at + size]
            if len(some) > 1:
                shared |= {step.id: number for step in some}
                number += 1
    return shared


def _size(step: Step, count: int, slots: int) -> int:
    """Return the most items of ``count`` that share a message."""
    messages = _messages(count, slots, step.at_once)
    if step.max_concurrency:  # the messages of others wait, and come back again and again
        messages = min(messages, EACH * step.max_concurrency)
    size = step.batch or -(-count // max(1, messages))
    return max(1, min(size, BATCH_LIMIT))


def _messages(count: int, slots: int, together: int) -> int:
    """Return how many batches to cut `count` items into.

    The power balances the cost of sending, which grows with the messages, against what grows with the size of a batch: the
    wait for the last one, and the work that a lost worker had taken. A slot that executes several items at once
    (``together``) gets enough of them in a message that it does not wait for the last of each.
    """
    enough = EACH * (slots or UNKNOWN)
    if together > 1:
        return min(count, max(slots, min(enough, -(-count // together))))
    return min(count, max(enough, round(2 * math.pow(count, 0.35))))
