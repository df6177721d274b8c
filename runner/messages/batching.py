"""Which collectors share a message: few enough to keep every worker busy, and to make sending cheap.

A message costs the sender, the broker and the worker about 3 ms (Celery 5.7 on 2 cores), a collector of a batch 0.05 ms.
"""

import math
from dataclasses import replace

from runner.language.plan import FanOut, Plan, Step, change_steps
from runner.language.steps import BATCH_LIMIT

EACH = 4  # messages for each step that the workers execute at once, so that the last are not waited for long
UNKNOWN = 8  # slots, if no worker is there yet


def sized(plan: Plan, slots: int) -> Plan:
    """The plan with a batch for every `foreach`, and with the messages that other collectors share.

    Args:
        slots: how many steps all workers together execute at once, as far as is known.
    """
    shared = {step_id: number for fan_out in plan.fan_outs for step_id, number in _shared(fan_out, slots).items()}
    return change_steps(plan, lambda step: replace(_sized(step, slots), message=shared.get(step.id)))


def is_wide(plan: Plan) -> bool:
    """Whether it matters to a plan how many steps are executed at once."""
    return any(step.foreach or step.max_concurrency for step in plan.collectors)


def _shared(fan_out: FanOut, slots: int) -> dict[str, int]:
    """For each collector that has its message with others: which message that is.

    Those that only wait (``async``) share a process, which executes them together, as those of a ``foreach``: thirty of
    them took as long as the slots took to execute four at a time. They have the queue and the priority of their message.
    """
    alike: dict[tuple[str | None, int | None], list[Step]] = {}
    for step in fan_out.collectors:
        if step.foreach is None and step.max_concurrency:
            alike.setdefault((step.queue, step.priority), []).append(step)
    shared: dict[str, int] = {}
    number = 0
    for steps in alike.values():
        messages = _messages(len(steps), slots, steps[0].max_concurrency or 1)
        size = -(-len(steps) // messages)
        for at in range(0, len(steps), size):
            some = steps[at : at + size]
            if len(some) > 1:
                shared |= {step.id: number for step in some}
                number += 1
    return shared


def _sized(step: Step, slots: int) -> Step:
    if step.foreach is None:
        return step
    count = step.foreach.count
    size = step.batch or -(-count // max(1, _messages(count, slots, step.max_concurrency or 1)))
    return replace(step, foreach=replace(step.foreach, batch=max(1, min(size, BATCH_LIMIT))))


def _messages(count: int, slots: int, together: int) -> int:
    """How many messages so many collectors are worth.

    The power balances what grows with the messages (sending) against what grows with the size of a batch (what is waited
    for at the end, and what a lost worker had taken). Of those that a slot executes many of at once (``together``) it is
    to have so many that it need not wait for the last of each message.
    """
    enough = EACH * (slots or UNKNOWN)
    if together > 1:
        return min(count, max(slots, min(enough, -(-count // together))))
    return min(count, max(enough, round(2 * math.pow(count, 0.35))))
