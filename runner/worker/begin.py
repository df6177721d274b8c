"""The beginning of a later fan-out: its items are worked out and stored, and its messages sent.

The first fan-out begins where a run is accepted (runs/start.py).
"""

import uuid
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from runner.errors import RunnerError
from runner.language import foreach
from runner.language.faults import InvalidExpression, InvalidItems
from runner.language.layout import Layout
from runner.language.plan import NO_NAMES, FanOut, Plan, segments
from runner.ledger.codec import packed, shown
from runner.ledger.damage import MissingData
from runner.ledger.entries import Granted, Outcome
from runner.ledger.run_record import RunRecord
from runner.messages.batching import is_wide, lay_out
from runner.messages.canvas import compose
from runner.messages.destination import Destination
from runner.messages.send import send
from runner.system.crashpoints import Crashpoint, crashpoint
from runner.worker import endings, process
from runner.worker.attempt import Attempt
from runner.worker.endings import Result
from runner.worker.leases import renewed
from runner.worker.perform import decide
from runner.worker.record import outcome_of, record


class ItemsUnusable(RunnerError):
    """What a later fan-out is repeated for cannot be used as items."""


def begin(run: RunRecord, fan_out: FanOut, *, worker: str) -> float | None:
    """Begin a later fan-out, and send its messages.

    If its ``when`` is false it is skipped, and if its items cannot be used it fails; then what follows it is sent, if anything.

    Several workers may be asked to, one after the other or at once: one begins it. It is claimed as a step is, so that
    one whose worker dies is begun by another, and one that every worker dies of fails.

    Returns:
        The seconds after which to ask again, while another worker begins it; None if there is nothing more to do.

    Raises:
        MissingData: the ledger lacks the value that the items are made of.
    """
    if run.has_begun(fan_out):
        if not run.has_started(fan_out):  # the worker that began it may have been killed before it sent them
            run.forget_layout()  # which may be older
            _send(run, fan_out)
        return None
    settings, token = process.settings(), uuid.uuid4().hex
    when = fan_out.gather.when
    value = any(map(foreach.names_value, fan_out.collectors)) or foreach.names_root(when, "value")
    with renewed(run, token=token, lease=settings.lease) as held:
        crashpoint(Crashpoint.CLAIM_BEFORE)
        claim = run.claim_beginning(fan_out, token=token, worker=worker, lease=settings.lease, value=value)
        crashpoint(Crashpoint.CLAIM_AFTER)
        if not isinstance(claim, Granted):
            return claim.wait if claim.why == "busy" else None
        held.steps.add(fan_out.id)
        attempt = Attempt(run=run, step=fan_out.gather, claim=claim, worker=worker)
        try:
            if ended := endings.lost_too_often(claim) or decide(attempt):
                _end(attempt, fan_out, ended)
                return None
            names = {"value": _value(run, fan_out, claim)} if value else {}
            layout = lay_out_later(run.plan, fan_out, run.layout, names)
            items = batches(run.plan, fan_out, layout, names)
            crashpoint(Crashpoint.BEGIN_BEFORE)
            begun = run.begin(fan_out, layout, items)
        except ItemsUnusable as error:
            _end(attempt, fan_out, endings.refused(error))
            return None
    crashpoint(Crashpoint.BEGIN_AFTER)
    if begun:
        _send(run, fan_out)
    return None


def batches(
    plan: Plan, fan_out: FanOut, layout: Layout, names: Mapping[str, Any] = NO_NAMES
) -> Iterator[tuple[str, str]]:
    """Yield every batch of a fan-out's items, as the ledger stores them.

    Args:
        names: as `foreach.items` takes them.
    """
    for step in fan_out.collectors:
        if step.foreach is not None:
            items, left = foreach.items(plan, step, names), layout.count(step)
            for ref, size in layout.batches(step).items():
                some = tuple(islice(items, size))
                left -= len(some)
                if not some:
                    break
                yield packed(some, ref)
            if left or next(items, None):
                raise InvalidItems(f"the items of {step.id} changed while they were read", "E039", hint="run it again")


def _end(attempt: Attempt, fan_out: FanOut, result: Result) -> None:
    """Record the end of a fan-out that does not begin, and send what follows it."""
    run, outcome = attempt.run, outcome_of(attempt, result)
    record(run, [outcome])
    if isinstance(outcome, Outcome) and outcome.passes:
        _send(run, fan_out, done={fan_out.id})


def _value(run: RunRecord, fan_out: FanOut, claim: Granted) -> Any:
    """Return the value of the part before, as plain JSON: items are stored so."""
    if not claim.before:
        raise MissingData(run.id, f"the value of {run.plan.needs(fan_out.collectors[0])} is missing")
    return shown(claim.before)


def lay_out_later(plan: Plan, fan_out: FanOut, earlier: Layout, names: Mapping[str, Any]) -> Layout:
    """Return the layout of a fan-out for the workers that are there now.

    Args:
        earlier: of the run so far: its messages go to the same queues.
        names: as `foreach.items` takes them.

    Raises:
        ItemsUnusable: with the place of the collector in the file.
    """
    counted: dict[str, foreach.Counted] = {}
    for step in fan_out.collectors:
        try:
            counted[step.id] = foreach.count_of(plan, step, names)
        except (InvalidItems, InvalidExpression) as problem:
            key = "when" if isinstance(problem, InvalidItems) and problem.loc == foreach.WHEN else "foreach"
            raise ItemsUnusable(f"{step.place}: {key} of {step.id}: {problem}", problem.hint) from problem
    layout = foreach.laid_out(fan_out.collectors, counted)
    if not is_wide(fan_out):
        return layout
    destination = Destination(queue=earlier.queue, own=earlier.own)
    return lay_out(fan_out, layout, process.ledger().slots(), destination)


def _send(run: RunRecord, fan_out: FanOut, done: Collection[str] = ()) -> None:
    segment = next(each for each in segments(run.plan) if each.fan_out is fan_out)
    canvas = compose(segment, run.id, run.layout, done)
    if canvas is not None:
        send(canvas, process.app(), process.ledger())
