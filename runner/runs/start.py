"""A plan to a run: started, or resumed.

Messages are sent by the Celery application of this process, whose broker the ledger is on.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from kombu.exceptions import OperationalError

from runner.errors import BrokerUnavailable, RunnerError
from runner.language.bind import Bound
from runner.language.ids import written
from runner.language.layout import Layout
from runner.language.plan import FanOut, Part, Plan, Step, end_of, segments, steps_of
from runner.language.tolerance import Verdict
from runner.ledger.entries import Outcome, Run
from runner.ledger.ledger import Ledger
from runner.ledger.run_ids import check_run_id
from runner.ledger.run_record import RunRecord
from runner.ledger.statuses import FAILED, Status, count_passing
from runner.messages.batching import is_wide, lay_out
from runner.messages.canvas import compose_open
from runner.messages.destination import Destination
from runner.messages.send import send
from runner.runs.source_file import source_path
from runner.system.crashpoints import Crashpoint, crashpoint
from runner.system.program import command_line
from runner.text import echo, listed
from runner.worker import application, process
from runner.worker.begin import batches
from runner.worker.conclude import conclude
from runner.worker.hooks import send_hook

_OTHER_ID = "another `--run-id` starts a run of its own"


class OtherRun(RunnerError):
    """The id belongs to another run."""

    exit_code = 3


def start(bound: Bound, run_id: str, ledger: Ledger, destination: Destination) -> bool:
    """Record a run in the ledger and send it on its way.

    Returns:
        False if a run of this id exists already: then nothing is changed or started.

    Raises:
        MalformedRunId: the id could not have come from us.
        ApplicationUnfit: no worker would get the messages of this process's Celery application.
        BrokerUnavailable: the run is recorded but could not be sent; `resume` sends it.
    """
    layout = prepare(bound, ledger, destination)
    crashpoint(Crashpoint.SUBMIT_BEFORE_ACCEPT)  # defence: WHOLE
    if not ledger.open(check_run_id(run_id), bound.plan).accept(layout=layout, items=first_batches(bound.plan, layout)):
        return False
    crashpoint(Crashpoint.SUBMIT_BEFORE_SEND)
    send_rest(bound.plan, layout, run_id, frozenset(), ledger)
    crashpoint(Crashpoint.SUBMIT_AFTER_SEND)
    return True


def check_same(run_id: str, plan: Plan, ledger: Ledger) -> None:
    """Return if the run of this id does what the plan does, with the same inputs.

    Raises:
        OtherRun: it does not: its result would be mistaken for this one's.
        UnknownRun: there is none.
    """
    other = ledger.open(check_run_id(run_id)).plan
    if other.name != plan.name:
        raise OtherRun(
            f"run {run_id} exists already, of another workflow: {echo(other.name)}, not {echo(plan.name)}", _OTHER_ID
        )
    names = sorted(other.inputs.keys() | plan.inputs.keys())
    # As JSON: true is not 1.
    before, now = ({name: json.dumps(each.inputs.get(name)) for name in names} for each in (other, plan))
    different = [name for name in names if before[name] != now[name]]
    changed = [f"workflow {echo(plan.name)} has changed since"] if other.hash != plan.hash else []
    if different:
        changed.append(f"it has other inputs: {listed(different)}")
    if changed:
        # Not with other inputs: `resume --file` keeps those of the run.
        words = command_line("resume", run_id, "--file", str(source_path(plan) or "FILE"))
        hint = _OTHER_ID if different else f"{_OTHER_ID}, or `{words}` takes over what has not changed"
        raise OtherRun(f"run {run_id} exists already, and {', and '.join(changed)}", hint)


def stays(run: Run, *, failed: bool = False) -> bool:
    """Whether `resume` leaves a run as it is: it has a result, with which the caller is content.

    Args:
        failed: what failed of a partial run is executed again.
    """
    return has_result(run, failed=failed) and not run.hooks


def has_result(run: Run, *, failed: bool = False) -> bool:
    """Whether a run has a result with which the caller is content; hooks may be left."""
    return run.status == "succeeded" or (run.status == "partial" and not failed)


def resume(run_id: str, ledger: Ledger, *, failed: bool = False) -> None:
    """Execute the steps of a run that have no successful outcome, also if it has failed or was cancelled.

    Steps that are being executed are leased, and not executed twice. Of a run that has succeeded, hooks that are left follow.

    Args:
        failed: also those that failed and that the run has continued without, and all that follows them: a partial run is
            executed again from there on, and its result is replaced.
    """
    record = ledger.open(check_run_id(run_id))
    run, plan, layout = record.info(), record.plan, record.layout
    if has_result(run, failed=failed):
        send_hook(record)  # if the process that had its own worker was killed before they had ended
        return
    if run.ended:
        outcomes = record.notable_outcomes(plan)
        done = succeeded(plan, layout, outcomes, record.tally())
        # Only the next step needs a missing value: the steps up to the last value that exists are kept.
        there = done - record.lost([step.id for step in plan.tail])
        parts = plan.parts
        while any(end_of(part).id in there for part in parts):
            parts = parts[1:]
        if failed:
            parts = max(parts, _from_first_failure(plan, outcomes), key=len)
        first = parts[0] if parts else None
        # What follows is handed another value now: it begins anew.
        for part in parts[1:]:
            if isinstance(part, FanOut) and record.has_begun(part):
                record.forget(part)
        again = [step for part in parts for step in _alone(part, record)]
        # Of one that has ended early, what was not needed stays so, and what had failed before.
        begun = isinstance(first, FanOut) and record.has_begun(first) and not record.is_stopped(first)
        fan_out = first if begun and isinstance(first, FanOut) else None
        record.reopen(fan_out=fan_out, tail=again, lost=_lost(record, fan_out) if fan_out else ())
        layout = record.layout
    left = record.left()
    ended = record.ended([step.id for step in plan.tail])
    send_rest(plan, layout, run_id, ended | ended_refs(plan, layout, left), ledger)


def _from_first_failure(plan: Plan, outcomes: Mapping[str, Outcome]) -> tuple[Part, ...]:
    """Return the parts from the first on of which a step failed."""
    failed = {written(step) for step, outcome in outcomes.items() if outcome.status in {*FAILED, "cancelled"}}
    places = (place for place, part in enumerate(plan.parts) if any(step.id in failed for step in steps_of(part)))
    return plan.parts[next(places, len(plan.parts)) :]


def ended_refs(plan: Plan, layout: Layout, left: Collection[str]) -> set[str]:
    """Return the refs whose collectors have all ended.

    Args:
        left: the others.
    """
    return {ref for fan_out in layout.fan_outs(plan) for ref in layout.refs_of(fan_out) if ref not in left}


def _alone(part: Part, record: RunRecord) -> Iterator[Step]:
    """Yield the steps of a part whose outcomes a run that is resumed forgets: all but the collectors of a fan-out that has begun."""
    if isinstance(part, FanOut) and not record.has_begun(part):
        yield from (step for step in part.collectors if step.foreach is None)
    yield end_of(part)


def _lost(record: RunRecord, fan_out: FanOut) -> Iterator[tuple[str, str]]:
    """Yield the collectors of a fan-out that ended and whose value or outcome the ledger has lost, each with its ref."""
    left, absent = record.left(), set(record.absent(fan_out))
    for step in fan_out.collectors:
        for ref in record.layout.refs(step):
            ids = [each.id for each in record.steps(ref) if each.id not in absent]
            lost, ended = record.lost(ids), record.ended(ids)
            unended = [each for each in ids if each not in ended]
            # Collectors that have not been executed have no outcome either: they are counted as left.
            again = [*unended[left.get(ref, 0) :], *(each for each in ids if each in lost & ended)]
            yield from ((each, ref) for each in again)


def prepare(bound: Bound, ledger: Ledger, destination: Destination) -> Layout:
    """Return the layout of the first part; later fan-outs are laid out when they begin."""
    application.check(process.app(), process.settings())
    first = segments(bound.plan)[0].fan_out
    if first is None or not is_wide(first):
        return replace(bound.layout, queue=destination.queue, own=destination.own)
    return lay_out(first, bound.layout, destination.slots or ledger.slots(), destination)


def first_batches(plan: Plan, layout: Layout) -> Iterator[tuple[str, str]]:
    """Yield every batch of the items of the first part, as the ledger stores them."""
    first = segments(plan)[0].fan_out
    return batches(plan, first, layout) if first else iter(())


def succeeded(
    plan: Plan, layout: Layout, outcomes: Mapping[str, Outcome], tally: Mapping[str, Mapping[Status, int]]
) -> set[str]:
    """Return the steps whose outcomes are kept: those that succeeded, and every collector of a gather that did.

    One with ``foreach`` is among them if all of its collectors succeeded.
    """
    done = {step.id for step in plan.steps if step.id in outcomes and outcomes[step.id].passes}
    done |= {
        step.id
        for step in plan.collectors
        if step.foreach and step.id in layout.sizes and count_passing(tally.get(step.id, {})) == layout.count(step)
    }
    for fan_out in plan.fan_outs:
        if fan_out.id in done:
            done |= {step.id for step in fan_out.collectors}
    return done


def mark_lost(run_id: str, plan: Plan, layout: Layout, ledger: Ledger) -> None:
    """Record as failed a run that the broker has lost: `show` finds it again, and `resume` executes it again."""
    record = ledger.open(run_id, plan)
    if record.accept(layout=layout, items=first_batches(plan, layout)):
        conclude(record, Verdict("failed", "the broker lost its data"))


def send_rest(plan: Plan, layout: Layout, run_id: str, done: Collection[str], ledger: Ledger) -> None:
    rest = compose_open(plan, run_id, layout, done)
    if rest is None:
        return
    try:
        send(rest, process.app(), ledger)
    except OperationalError as error:
        raise BrokerUnavailable(
            f"run {run_id} is recorded, but could not be sent: {error}",
            hint=f"`{command_line('resume', run_id)}` sends it",
        ) from error
