"""A collector with ``foreach`` to a page of its items, each with its status, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from runner.errors import RunnerError
from runner.language.ids import written
from runner.language.plan import Plan, Step
from runner.ledger.snapshot import StepSnapshot, count_items, status_in, step_snapshot
from runner.ledger.statuses import FAILED, Status
from runner.text import count, echo

if TYPE_CHECKING:  # the views name a page, and not all of them need the Redis client
    from runner.ledger.entries import Outcome, Run, Underway
    from runner.ledger.ledger import Ledger
    from runner.ledger.run_reader import RunReader

SIZE = 50


class NoSuchPage(RunnerError):
    """A page number is too large."""

    exit_code = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Some of the items of a ``foreach``.

    Args:
        step: the collector with ``foreach``.
        counts: the number of items in each status.
        number: from 1.
        last: the number of pages; 0 if there are no items.
        status: the only one that is shown, ``failed`` for all of `FAILED`; empty for all.
        items: those on the page, without values.
    """

    run: Run
    step: Step
    counts: Mapping[Status, int]
    number: int
    last: int
    status: Status | None
    items: Sequence[StepSnapshot]


def read_page(
    ledger: Ledger, run: Run, plan: Plan, step: Step, *, number: int = 1, status: Status | None = None
) -> Page:
    """Return a page of the items of a ``foreach``, or of those in one status.

    Only the page is read; for the items in a status, also the items before it.

    Raises:
        NoSuchPage: the number is too large.
    """
    record = ledger.open(run.id, plan)
    running = {} if run.ended else record.underway()
    counted = record.layout.is_counted(step)
    number_of_all = record.layout.number(step) if counted else 0
    counts = count_items(run, step, number_of_all, record.tally().get(step.id, {}), running)
    # Those that are skipped were never made.
    total = record.layout.count(step) if counted else 0
    if status:
        total = sum(counts.get(each, 0) for each in _meant(status) if each != "skipped")
    last = -(-total // SIZE)
    if number > max(last, 1):
        only = f" with status {status}" if status else ""
        raise NoSuchPage(f"{echo(step.id)} has {count(last, 'page')}{only}, and no page {number:,}")
    start = (number - 1) * SIZE
    if status:
        found = _with_status(record, run, step, status=status, running=running)
        outcomes = dict(islice(found, start, start + SIZE))
    else:
        ids = record.page(step, start, SIZE)
        ended = record.outcomes_of(ids)
        outcomes = {step_id: ended.get(step_id) for step_id in ids}
    failures = record.failures(list(outcomes))
    return Page(
        run=run,
        step=step,
        counts=counts,
        number=number,
        last=last,
        status=status,
        items=[
            step_snapshot(
                run,
                plan,
                replace(step, id=step_id, foreach=None),
                outcome,
                running=running.get(step_id),
                failures=failures.get(step_id, ()),
            )
            for step_id, outcome in outcomes.items()
        ],
    )


def _meant(status: Status) -> tuple[Status, ...]:
    """Return the statuses that a user means: a late item has failed as well."""
    return FAILED if status == "failed" else (status,)


def _with_status(
    record: RunReader, run: Run, step: Step, *, status: Status, running: Mapping[str, Underway]
) -> Iterator[tuple[str, Outcome | None]]:
    """Yield the items in a status, in their order, each with its outcome."""
    for ids in _candidates(record, step, status=status):
        outcomes = record.outcomes_of(ids)
        for each in ids:
            if status_in(run, record.plan, step, outcomes.get(each), running.get(each)) in _meant(status):
                yield each, outcomes.get(each)


def _candidates(record: RunReader, step: Step, *, status: Status) -> Iterator[list[str]]:
    """Yield the items that may have a status, some at a time."""
    if status in FAILED:  # few, it is hoped, and listed
        absent = (each for each in record.absent() if written(each) == step.id)
        while some := list(islice(absent, 1000)):
            yield some
    else:
        yield from record.ids([step])
