"""A snapshot of a run to JSON for programs: the objects of ``--json``.

Times are ISO 8601 in UTC, durations seconds. A snapshot has no secrets.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from runner.language.plan import Step
from runner.ledger.entries import PASSING, FailedAttempt, Run
from runner.ledger.item_pages import Page
from runner.ledger.snapshot import Snapshot, StepSnapshot
from runner.ledger.statuses import LEFT_OUT, OPEN, Status, count_passing, count_wanted, together


def snapshot_document(snapshot: Snapshot) -> dict[str, Any]:
    """Return a run with its steps and its result."""
    fields = run_document(snapshot.run)
    return {
        **{name: fields.pop(name) for name in ("run_id", "workflow", "status")},
        "result": snapshot.result,
        **{name: fields.pop(name) for name in ("inputs", "started_at", "finished_at", "duration_s")},
        "coverage": _coverage(snapshot),
        "steps": [_step(each) for each in snapshot.steps],
        **fields,
        **({"cause": snapshot.run.cause} if snapshot.run.cause else {}),
        **({"note": snapshot.note} if snapshot.note else {}),
    }


def run_document(run: Run) -> dict[str, Any]:
    """Return the fields of a run in `snapshot_document`, without its steps: an entry of the history."""
    return {
        "run_id": run.id,
        "workflow": run.workflow,
        "status": run.status,
        "inputs": run.inputs,
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "duration_s": run.seconds,
        "hash": run.hash,
        **({"cause": run.cause} if run.status == "unreadable" else {}),
    }


def step_document(step: StepSnapshot) -> dict[str, Any]:
    """Return the fields of a step in `snapshot_document`, its earlier attempts, its item, and its value or its traceback."""
    fields = _step(step)
    if step.outcome and step.outcome.error:
        fields["error"]["traceback"] = step.outcome.error.traceback
    if step.failures:
        fields["failed_attempts"] = [_attempt(each) for each in step.failures]
    if step.step.item:
        fields["item"] = step.step.item.value
    return {**fields, "value": step.outcome.value if step.outcome else None}


def page_document(page: Page) -> dict[str, Any]:
    """Return a page of the items of a ``foreach``, each with the fields of a step in `snapshot_document`."""
    return {
        **_many(page.step, together(page.counts), page.counts),
        "page": page.number,
        "pages": page.last,
        "items": [_step(each) for each in page.items],
    }


def _step(step: StepSnapshot) -> dict[str, Any]:
    if step.counts is not None:
        return _many(step.step, step.status, step.counts)
    latest = step.outcome or step.running
    fields: dict[str, Any] = {
        "id": step.id,
        "kind": step.step.kind,
        "task": step.step.task,
        **_then(step.step),
        "status": step.status,
        "attempts": latest.attempts if latest else 0,
        "duration_s": step.outcome.seconds if step.outcome else None,
        "worker": latest.worker if latest else "",
        "place": step.step.place,
    }
    if latest and latest.error:
        fields["error"] = {"type": latest.error.type, "message": latest.error.message}
    if step.outcome and step.outcome.notes:
        fields["notes"] = dict(step.outcome.notes)
    return fields


def _then(step: Step) -> dict[str, Any]:
    """Return the tasks that follow its own in the same attempt; nothing if there are none."""
    return {"then": [each.task for each in step.then]} if step.then else {}


def _many(step: Step, status: Status, counts: Mapping[Status, int]) -> dict[str, Any]:
    """Return the fields that only a collector with ``foreach`` has: its items together."""
    return {
        "id": step.id,
        "kind": step.kind,
        "task": step.task,
        **_then(step),
        "status": status,
        "count": sum(counts.values()),
        "statuses": dict(counts),
        "place": step.place,
    }


def _attempt(failure: FailedAttempt) -> dict[str, Any]:
    return {
        "attempt": failure.attempt,
        "started_at": _time(failure.started_at),
        "duration_s": round(failure.finished_at - failure.started_at, 3),
        "worker": failure.worker,
        "error": {"type": failure.error.type, "message": failure.error.message},
    }


def _coverage(snapshot: Snapshot) -> dict[str, Any]:
    """Return how many collectors are in the result, and which are missing."""
    counts = snapshot.counts
    coverage: dict[str, Any] = {
        "succeeded": count_passing(counts),
        "total": count_wanted(counts),
        "missing": [each.id for each in snapshot.missing],
    }
    if any(each.counts for each in snapshot.steps):
        # Not every missing item of a `foreach` is named.
        coverage["missing_count"] = sum(
            number for status, number in counts.items() if status not in {*PASSING, *OPEN, *LEFT_OUT}
        )
    return coverage


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
