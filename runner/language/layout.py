"""The number of collectors that each collector of the file stands for, their messages and queues: known once a fan-out begins."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from runner.language.ids import batch_ref
from runner.language.plan import VERSION, FanOut, NewerVersion, Plan, Step, plans_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The layout of the fan-outs of a run. The ledger stores it beside the plan, which does not depend on it.

    Args:
        counts: for each collector with ``foreach`` whose items have been counted, their number.
        sizes: for each of them, the most items that share a message: its batches have this size.
        shared: for each other collector that shares a message, the number of that message.
        skipped: for each collector whose ``when`` is false, 1; with ``foreach``, of how many of its items it is. They are
            not among its `counts`.
        begun: the ids of the later fan-outs that have begun; the others have no sizes yet.
        queue: of the steps that name none; empty where nothing is sent.
        own: every step goes there, because the run has a worker of its own that listens to nothing else.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    shared: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    begun: tuple[str, ...] = ()
    queue: str = ""
    own: bool = False

    def queue_of(self, step: Step) -> str | None:
        """Return the Celery queue that a step is sent to; None where nothing is sent."""
        return self.queue or None if self.own or step.queue is None else step.queue

    def is_counted(self, step: Step) -> bool:
        """Whether the items of a step are counted; before the inputs are bound they may not be."""
        return step.foreach is None or step.id in self.counts

    def count(self, step: Step) -> int:
        """Return how many collectors a step stands for; the step of an item stands for one.

        Raises:
            KeyError: its items have not been counted.
        """
        if step.foreach is None:
            return 0 if step.id in self.skipped else 1
        return 1 if step.item else self.counts[step.id]

    def number(self, step: Step) -> int:
        """Return how many collectors a step stands for, with those that are skipped.

        Raises:
            KeyError: as `count`.
        """
        return self.count(step) + self.skipped.get(step.id, 0)

    def executed(self, collectors: Iterable[Step]) -> Iterator[Step]:
        """Yield the collectors without those that are skipped."""
        return (step for step in collectors if step.foreach is not None or step.id not in self.skipped)

    def batches(self, step: Step) -> Mapping[str, int]:
        """Return the batches of a collector with ``foreach``: the ref of each, and the number of its items."""
        count, size = self.counts[step.id], self.sizes[step.id]
        return {batch_ref(step.id, at // size): min(size, count - at) for at in range(0, count, size)}

    def refs(self, step: Step) -> tuple[str, ...]:
        """Return the refs of a step's collectors in messages: its id, or with ``foreach`` its batches, ``page/0``, ``page/1`` …."""
        if step.foreach is None:
            return () if step.id in self.skipped else (step.id,)
        return tuple(self.batches(step))

    def fan_outs(self, plan: Plan) -> tuple[FanOut, ...]:
        """Return the fan-outs of a run of the plan that have begun."""
        return tuple(each for each in plan.fan_outs if not plan.begins_later(each) or each.id in self.begun)

    def with_later(self, fan_out: FanOut, layout: Layout) -> Layout:
        """Return the layout with that of a later fan-out which has begun."""
        return Layout(
            counts={**self.counts, **layout.counts},
            sizes={**self.sizes, **layout.sizes},
            shared={**self.shared, **layout.shared},
            skipped={**self.skipped, **layout.skipped},
            begun=(*self.begun, fan_out.id),
            queue=self.queue,
            own=self.own,
        )

    def only(self, fan_out: FanOut) -> Layout:
        """Return the layout of one fan-out."""
        own = {step.id for step in fan_out.collectors}
        counts, sizes, shared, skipped = (
            {name: number for name, number in each.items() if name in own}
            for each in (self.counts, self.sizes, self.shared, self.skipped)
        )
        return Layout(counts=counts, sizes=sizes, shared=shared, skipped=skipped, queue=self.queue, own=self.own)

    def refs_of(self, fan_out: FanOut) -> tuple[str, ...]:
        """Return the refs of a fan-out's collectors in messages: each once, alone or in its batch."""
        return tuple(ref for step in fan_out.collectors for ref in self.refs(step))

    def total(self, fan_out: FanOut) -> int:
        """Return the number of collectors of a fan-out, without those that are skipped."""
        return sum(map(self.count, fan_out.collectors))

    def ends(self, fan_out: FanOut) -> int:
        """Return the number of outcomes that its collectors have when all have ended: of items that are skipped there is none."""
        return self.total(fan_out) + sum(
            step.foreach is None and step.id in self.skipped for step in fan_out.collectors
        )

    def least(self, fan_out: FanOut) -> int | None:
        """Return how many of them must succeed: 60% of 4 are 3. None if the file does not say."""
        if isinstance(fan_out.min_success, str):
            return -(-self.total(fan_out) * int(fan_out.min_success.removesuffix("%")) // 100)
        return fan_out.min_success


def as_written(plan: Plan) -> Layout:
    """Return the layout that the file alone shows: the number of items in its lists. Enough for a drawing."""
    lists = {step.id: step.foreach.items for step in plan.collectors if step.foreach}
    return Layout(counts={step_id: len(items) for step_id, items in lists.items() if isinstance(items, list)})


def dump_layout(layout: Layout) -> str:
    """Return the layout as the ledger stores it."""
    stated = {name: value for name in _NAMES if (value := getattr(layout, name))}
    return json.dumps(stated, separators=(",", ":"))


def load_layout(text: str) -> Layout:
    """Return the layout that ``dump_layout`` wrote.

    Raises:
        NewerVersion: it has a key that this version does not know.
        Exception: of any kind: the text is cut short, or no layout.
    """
    stored: dict[str, Any] = json.loads(text)
    if more := stored.keys() - set(_NAMES):
        raise NewerVersion(f"its layout has {min(more)!r:.80}, which this program does not know", plans_of(VERSION + 1))
    if not isinstance(stored.get("queue", ""), str) or not isinstance(stored.get("own", False), bool):
        raise TypeError("its layout has another shape")
    for name, numbers in stored.items():
        if name in _NUMBERS and not all(isinstance(each, int) and each >= 0 for each in numbers.values()):
            raise TypeError("its layout has another shape")
    if not all(stored.get("sizes", {}).values()):
        raise ValueError("a batch of no items")
    return Layout(**stored)


_NUMBERS = {"counts", "sizes", "shared", "skipped"}
# A run's hash has the ids of the fan-outs that have begun, and a layout for each of them.
_NAMES = tuple(each.name for each in fields(Layout) if each.name != "begun")
