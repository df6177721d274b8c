"""A run to a new run, which takes over the outcomes of the steps that are not executed again."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from runner.errors import RunnerError
from runner.language import foreach
from runner.language.bind import Bound
from runner.language.layout import Layout
from runner.language.plan import FanOut, Plan, Step, end_of, segments, steps_of
from runner.ledger.entries import Outcome
from runner.ledger.ledger import Ledger
from runner.ledger.run_ids import check_run_id
from runner.ledger.run_reader import RunReader
from runner.ledger.run_record import RunRecord
from runner.messages.destination import Destination
from runner.runs.start import ended_refs, first_batches, prepare, send_rest, succeeded
from runner.text import listed
from runner.worker.begin import ItemsUnusable, batches, lay_out_later

_EARLIER = "start from an earlier step, or leave `--from` out"


class CannotKeep(RunnerError):
    """The outcomes that the new run needs from the earlier one do not exist."""

    exit_code = 3


def rerun(
    run_id: str,
    new_id: str,
    ledger: Ledger,
    *,
    start: str | None,
    edited: Bound | None,
    destination: Destination,
) -> None:
    """Start a new run that takes from an earlier one the outcomes of the steps before ``start``.

    Args:
        start: the first step that is executed again; None for the steps that did not succeed or have changed.
        edited: the plan of the new run, if the workflow has changed since.

    Raises:
        CannotKeep: there is no such step, or one before it did not succeed or is another now.
    """
    earlier = ledger.open(check_run_id(run_id))
    old = earlier.plan
    if edited is None:  # its items are those of the earlier run, in the batches that they are in
        new, first = old, segments(old)[0].fan_out
        layout = earlier.layout.only(first) if first else Layout()
        layout = replace(layout, queue=destination.queue, own=destination.own)
        items = earlier.items(first.collectors if first else ())
    else:
        new, layout = edited.plan, prepare(edited, ledger, destination)
        items = first_batches(new, layout)
    done = succeeded(old, earlier.layout, earlier.notable_outcomes(old), earlier.tally())
    kept = {step.id for step in old.steps if step.id in done and old.same(step, new)}
    if edited is not None:
        kept = _with_same_items(kept, earlier, new)
    if start is not None:
        wanted = before(new, start)
        if lacking := [step.id for step in wanted if step.id not in kept]:
            raise CannotKeep(
                f"{listed(lacking)} of run {run_id} did not succeed, or is another step now", hint=_EARLIER
            )
        kept = {step.id for step in wanted}
    kept = _unbroken(new, kept)
    later = ledger.open(check_run_id(new_id), new, layout)
    if later.accept(layout=layout, items=items, kept=_outcomes(_until_next(new), kept, earlier)):
        for part in new.parts:
            if isinstance(part, FanOut):
                if new.begins_later(part):
                    _begin(part, earlier, later, kept, edited=edited is not None)
                for step in part.collectors:
                    if step.foreach is not None and step.id != start and new.same(step, old):
                        _keep_items(step, earlier, later, everything=part.id in kept)
            if any(step.id not in kept for step in steps_of(part)):
                break
        layout, left = later.layout, set(later.left())
        send_rest(new, layout, new_id, kept | ended_refs(new, layout, left), ledger)


def _until_next(plan: Plan, fan_out: FanOut | None = None) -> list[Step]:
    """Return the steps of the segment of a fan-out; without one, of the first segment."""
    for segment in segments(plan):
        if fan_out is None or segment.fan_out is fan_out:
            return [*(steps_of(segment.fan_out) if segment.fan_out else ()), *segment.stages]
    return []


def _outcomes(steps: Sequence[Step], kept: Collection[str], earlier: RunReader) -> Collection[Outcome]:
    """Return the outcomes of those of some steps that are kept, with their values, without those of items."""
    alone = [step.id for step in steps if step.id in kept and step.foreach is None]
    return earlier.outcomes_of(alone, values=True).values()


def _begin(fan_out: FanOut, earlier: RunReader, later: RunRecord, kept: Collection[str], *, edited: bool) -> None:
    """Begin a later fan-out of a new run, every part before which is kept, if the earlier run had begun it."""
    old, new = earlier.plan, later.plan
    if fan_out not in earlier.layout.fan_outs(new) or fan_out.id not in {each.id for each in old.fan_outs}:
        return
    outcomes = _outcomes(_until_next(new, fan_out), kept, earlier)
    if not edited:
        later.begin(fan_out, earlier.layout.only(fan_out), earlier.items(fan_out.collectors), kept=outcomes)
        return
    names = _names(fan_out, earlier, new)
    try:
        layout = lay_out_later(new, fan_out, later.layout, names)
    except ItemsUnusable:  # a worker says so, as in a run from the beginning
        return
    later.begin(fan_out, layout, batches(new, fan_out, layout, names), kept=outcomes)


def _names(fan_out: FanOut, earlier: RunReader, new: Plan) -> dict[str, Any]:
    """Return what the items of a fan-out of the new run are made of, besides its inputs."""
    if not any(map(foreach.names_value, fan_out.collectors)):
        return {}
    return {"value": earlier.value(new.needs(fan_out.collectors[0]))}


def _with_same_items(kept: Collection[str], earlier: RunReader, new: Plan) -> set[str]:
    """Return the kept steps without the collectors that stand for other items in the new run."""
    same = set(kept)
    for part in new.parts:
        if isinstance(part, FanOut):
            wide = [step for step in part.collectors if step.foreach and step.id in same]
            names = _names(part, earlier, new) if wide else {}
            same -= {step.id for step in wide if not _same_items(step, earlier, new, names)}
        if any(step.id not in same for step in steps_of(part)):
            break  # nothing after it is kept
    return same


def before(plan: Plan, start: str) -> list[Step]:
    """Return the steps that a step needs; for a collector, the other collectors.

    Raises:
        CannotKeep: the plan has no such step.
    """
    step = plan.by_id.get(start)
    if step is None:
        raise CannotKeep(
            f'the workflow has no step "{start}"', hint=f"it has {listed([step.id for step in plan.steps])}"
        )
    needed: list[Step] = []
    for part in plan.parts:
        steps = steps_of(part)
        if step not in steps:
            needed += steps
        elif step.kind == "collector":
            return [*needed, *(each for each in steps if each.kind == "collector" and each is not step)]
        else:
            return [*needed, *(each for each in steps if each is not step)]
    return needed


def _unbroken(plan: Plan, kept: set[str]) -> set[str]:
    """Return the kept steps without those that come after a step that is executed again."""
    unbroken: set[str] = set()
    for part in plan.parts:
        steps = [step.id for step in steps_of(part)]
        there = {step_id for step_id in steps if step_id in kept}
        whole = len(there) == len(steps)
        # A gather is kept with all of its collectors, or not at all.
        unbroken |= there if whole else there - {end_of(part).id}
        if not whole:
            break
    return unbroken


def _same_items(collector: Step, earlier: RunReader, new: Plan, names: Mapping[str, Any]) -> bool:
    """Whether a collector of both plans stands for the same items in both."""
    now = (collector.of(item) for item in foreach.items(new, collector, names))
    return all(
        before and after and (before.id, _digest(before)) == (after.id, _digest(after))
        for before, after in zip_longest(_collectors(earlier.plan.by_id[collector.id], earlier), now)
    )


def _keep_items(step: Step, earlier: RunReader, later: RunRecord, *, everything: bool) -> None:
    """Take over the outcomes of the items of a `foreach` that both runs have.

    Args:
        everything: also of the items that did not succeed: the gather has succeeded without them.
    """
    known = {each.id: _digest(each) for each in _collectors(earlier.plan.by_id[step.id], earlier)}
    for ref in later.layout.refs(step):
        same = [each.id for each in later.steps(ref) if known.get(each.id) == _digest(each)]
        outcomes = earlier.outcomes_of(same, values=True).values()
        kept = [each for each in outcomes if everything or each.passes]
        later.finish([replace(each, ref=ref) for each in kept])


def _collectors(step: Step, run: RunReader) -> Iterator[Step]:
    for ref in run.layout.refs(step):
        yield from run.steps(ref)


def _digest(step: Step) -> bytes:
    """Return a short hash that identifies an item: there may be a million."""
    text = json.dumps(step.item and step.item.value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
