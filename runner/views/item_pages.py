"""A collector with ``foreach`` to a page of its collectors: which they are, and how each of them ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from runner import text
from runner.errors import RunnerError, echo
from runner.language.ids import written
from runner.language.plan import Plan, Step
from runner.ledger.entries import FailedAttempt, Outcome, Run, Underway
from runner.views.status import FAILED, ORDER

if TYPE_CHECKING:  # `validate` and `graph` tell their faults in `report`, and must not wait for the Redis client
    from runner.ledger.ledger import Ledger

# For each collector with `foreach`, how many have ended in which status.
Tallies = Mapping[str, Mapping[str, int]]

SIZE = 50


class NoSuchPage(RunnerError):
    """There are fewer pages."""

    exit_code = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some of the collectors of a ``foreach``.

    Args:
        step: the collector with ``foreach``.
        counts: how many there are of each status.
        number: from 1.
        last: how many pages there are; 0 if nothing is on them.
        status: the only one that is shown, or ``failed`` for all that did; empty for all.
        statuses: of those on the page, in their order.
        outcomes: of those that have ended, without values.
        underway: those that are being executed, or tried again.
        failures: the attempts before the last of those that were tried again.
    """

    step: Step
    counts: Mapping[str, int]
    number: int
    last: int
    status: str
    statuses: Mapping[str, str]
    outcomes: Mapping[str, Outcome]
    underway: Mapping[str, Underway] = field(default_factory=dict)
    failures: Mapping[str, Sequence[FailedAttempt]] = field(default_factory=dict)


def read(ledger: Ledger, run: Run, plan: Plan, step: Step, *, number: int = 1, status: str = "") -> Page:
    """A page of the collectors of a ``foreach``, and of those of one status, if it is given.

    No more is read than the page; to find those of a status, also what comes before it.

    Raises:
        NoSuchPage: there are fewer.
    """
    underway = {} if run.ended else ledger.underway(run.id)
    there = counts(run, step, ledger.tally(run.id), underway)
    last = -(-(sum(there.get(each, 0) for each in _meant(status)) if status else step.count) // SIZE)
    if number > max(last, 1):
        only = f" with status {status}" if status else ""
        raise NoSuchPage(f"{echo(step.id)} has {text.count(last, 'page')}{only}, and no page {number:,}")
    start = (number - 1) * SIZE
    if not status:
        ids = ledger.page(run.id, step, start, SIZE)
        outcomes = ledger.outcomes_of(run.id, ids)
        statuses = {each: status_of(each, run, outcomes, underway) for each in ids}
    else:
        found = dict(islice(_of(ledger, run, plan, step, status=status, underway=underway), start, start + SIZE))
        outcomes = {step_id: outcome for step_id, outcome in found.items() if outcome}
        statuses = {each: status_of(each, run, outcomes, underway) for each in found}
    failures = ledger.failures(run.id, list(statuses))
    return Page(
        step=step,
        counts=there,
        number=number,
        last=last,
        status=status,
        statuses=statuses,
        outcomes=outcomes,
        underway=underway,
        failures=failures,
    )


def counts(
    run: Run, step: Step, tallies: Tallies | None, underway: Mapping[str, Underway] | None = None
) -> dict[str, int]:
    """How many collectors of a ``foreach`` there are of each status; none is told of which there are none."""
    told = Counter((tallies or {}).get(step.id, {}))
    left = step.count - told.total()
    busy = Counter() if run.ended else _busy(step, underway or {})
    if busy.total() > left:  # some of them have ended since
        busy = Counter({"running": left})
    told += busy + Counter({_unended(run): left - busy.total()})
    return {status: told[status] for status in ORDER if told[status]}


def _busy(step: Step, underway: Mapping[str, Underway]) -> Counter[str]:
    return Counter(is_.status for step_id, is_ in underway.items() if written(step_id) == step.id)


def status_of(step_id: str, run: Run, outcomes: Mapping[str, Outcome], underway: Mapping[str, Underway]) -> str:
    """Of a step: how it ended, or what it does."""
    if step_id in outcomes:
        return outcomes[step_id].status
    return underway[step_id].status if step_id in underway and not run.ended else _unended(run)


def _meant(status: str) -> tuple[str, ...]:
    """The statuses that a user means: what was not in time has failed as well."""
    return FAILED if status == "failed" else (status,)


def _unended(run: Run) -> str:
    """Of a step without an outcome that nobody executes: a run that has ended passed it over."""
    if run.status == "cancelled":
        return "cancelled"
    return "skipped" if run.ended else "pending"


def _of(
    ledger: Ledger, run: Run, plan: Plan, step: Step, *, status: str, underway: Mapping[str, Underway]
) -> Iterator[tuple[str, Outcome | None]]:
    """Those of a status, in their order."""
    for ids in _among(ledger, run, plan, step, status=status):
        outcomes = ledger.outcomes_of(run.id, ids)
        for each in ids:
            if status_of(each, run, outcomes, underway) in _meant(status):
                yield each, outcomes.get(each)


def _among(ledger: Ledger, run: Run, plan: Plan, step: Step, *, status: str) -> Iterator[list[str]]:
    """The collectors that those of a status are among, some at a time."""
    if status in FAILED:  # few, it is hoped, and listed
        absent = (each for each in ledger.absent(run.id, plan) if written(each) == step.id)
        while some := list(islice(absent, 1000)):
            yield some
    else:
        yield from ledger.ids(run.id, [step])
