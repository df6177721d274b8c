"""A run to a new run, which takes over the outcomes of the steps that are not executed again."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

from runner.errors import RunnerError
from runner.language import foreach
from runner.language.bind import Bound
from runner.language.plan import Plan, Step, end_of, steps_of
from runner.ledger.ledger import Ledger
from runner.ledger.run_ids import check_run_id
from runner.ledger.run_reader import RunReader
from runner.ledger.run_record import RunRecord
from runner.messages.destination import Destination
from runner.runs.start import batches, ended_refs, prepare, send_rest, succeeded
from runner.text import listed

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
        new, layout, items = destination.route(old), earlier.layout, earlier.items()
    else:
        new, layout = prepare(edited, ledger, destination)
        items = batches(new, layout)
    done = succeeded(old, earlier.layout, earlier.notable_outcomes(old), earlier.tally())
    kept = {step.id for step in old.steps if step.id in done and old.same(step, new)}
    if edited is not None:
        kept -= {step.id for step in old.collectors if step.id in kept and not _same_items(step, earlier, new)}
    if start is not None:
        wanted = before(new, start)
        if lacking := [step.id for step in wanted if step.id not in kept]:
            raise CannotKeep(
                f"{listed(lacking)} of run {run_id} did not succeed, or is another step now", hint=_EARLIER
            )
        kept = {step.id for step in wanted}
    kept = _unbroken(new, kept)
    written = [step.id for step in new.steps if step.id in kept and step.foreach is None]
    later = ledger.open(check_run_id(new_id), new, layout)
    if later.accept(layout=layout, items=items, kept=earlier.outcomes_of(written, values=True).values()):
        for step in new.collectors:
            if step.foreach is not None and step.id != start and new.same(step, old):
                everything = new.fan_out_of(step).id in kept
                _keep_items(step, earlier, later, everything=everything)
        left = set(later.left())
        send_rest(new, layout, new_id, kept | ended_refs(new, layout, left), ledger)


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


def _same_items(step: Step, earlier: RunReader, new: Plan) -> bool:
    """Whether a collector of both plans stands for the same items in both."""
    if step.foreach is None:
        return True
    collector = new.by_id[step.id]
    now = (collector.of(item) for item in foreach.items(new, collector))
    return all(
        before and after and (before.id, _digest(before)) == (after.id, _digest(after))
        for before, after in zip_longest(_collectors(step, earlier), now)
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
