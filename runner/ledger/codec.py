"""Entries and batches of items to the text that the ledger stores, and its answers back to entries."""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import groupby
from typing import Any, Literal, get_args

from runner.language.ids import batch_number, item_id, of_ref
from runner.language.plan import Item, Step
from runner.ledger.entries import (
    Claim,
    Error,
    Event,
    EventName,
    FailedAttempt,
    Granted,
    Outcome,
    Postponed,
    Refusal,
    Refused,
    Run,
    RunStatus,
    StepStatus,
    Sweep,
    Underway,
)
from runner.ledger.exceptions import TRACEBACK_LIMIT, valid_text


def packed(items: Iterable[Item], ref: str) -> tuple[str, str]:
    """Return a batch of items as the ledger stores it: the ref, and JSON of their places, the keys, and the values.

    Of the places only the first, unless others between them are skipped.
    """
    some = list(items)
    first = some[0].index
    whole = some[-1].index - first == len(some) - 1
    # Most have no key of their own, and need none here.
    plain = all(item.key == str(item.index) for item in some)
    keys = None if plain else [item.key for item in some]
    places = first if whole else [item.index for item in some]
    return ref, json.dumps([places, keys, [item.value for item in some]], separators=(",", ":"))


def unpacked(step: Step, ref: str, text: str) -> list[Step]:
    """Return the collectors of the batch with this ref, in their order."""
    batch = batch_number(ref)
    places, keys, values = _batch(text)
    keys = keys or [str(index) for index in places]
    return [step.of(Item(value, key, index, batch)) for index, key, value in zip(places, keys, values, strict=True)]


def ids(step: Step, text: str) -> list[str]:
    """Return their ids alone, which is faster."""
    places, keys, _ = _batch(text)
    return [item_id(step.id, key) for key in keys or places]


def _batch(text: str) -> tuple[Sequence[int], list[str] | None, list[Any]]:
    places, keys, values = json.loads(text)
    if not (isinstance(values, list) and isinstance(keys, list | None)):
        raise TypeError("a batch of items has another shape")
    if isinstance(places, int):
        places = range(places, places + len(values))
    elif not isinstance(places, list) or not all(isinstance(place, int) for place in places):
        raise TypeError("a batch of items has another shape")
    for some, name in ((places, "places"), (keys or places, "keys")):
        if len(some) != len(values):
            raise ValueError(f"{len(some)} {name} of {len(values)} items")
    return places, keys, values


def is_json(text: str | None) -> bool:
    try:
        json.loads(text or "")
    except ValueError:
        return False
    return True


_REFUSALS: Mapping[str, Refusal] = {
    "d": "done",
    "c": "cancelled",
    "n": "not ready",
    "u": "unknown",
    "l": "later",
    "f": "full",
}


def read_claims(steps: Sequence[Step], answer: Sequence[Any], handed: Sequence[str]) -> Iterator[Claim]:
    """Yield the ledger's answer to the claim of each step.

    Args:
        handed: the steps whose values a gather gets with its claim.
    """
    now, began, letters, more, before, texts = answer
    values = dict(zip(handed, texts, strict=True)) if texts else {}
    at, run_started_at, rest = float(now), float(began), iter(more)
    for step, letter in zip(steps, letters, strict=True):
        match letter:
            case "y" | "Y":
                attempt, first, lost, delay = next(rest).split() if letter == "Y" else (1, at, 0, 0)
                yield Granted(
                    step=step.id,
                    attempt=int(attempt),
                    started_at=at,
                    first_started_at=float(first),
                    lost=int(lost),
                    delay=float(delay),
                    run_started_at=run_started_at,
                    before=before,
                    handed=values,
                )
            case "b" | "x":
                why: Refusal = "busy" if letter == "b" else "limited"
                yield Refused(step=step.id, why=why, wait=float(next(rest)))
            case _:
                yield Refused(step=step.id, why=_REFUSALS[letter])


def read_sweep(answer: Sequence[Any]) -> Sweep | None:
    """Return what has gone wrong in a run; None if it has ended, or does not exist."""
    if len(answer) == 1:
        return None
    _, lost, overdue, held, silent, collectors_left, left, idle, time_left, hook = answer
    return Sweep(
        lost=frozenset(lost),
        overdue=frozenset(overdue),
        held=frozenset(held),
        idle=frozenset(idle),
        silent=bool(silent),
        collectors_left=int(collectors_left),
        left=float(left),
        time_left=float(time_left),
        hook=hook,
    )


def read_run(run_id: str, fields: Mapping[str, str]) -> Run:
    """Return a run from its hash."""
    inputs = json.loads(fields["inputs"])
    if not isinstance(inputs, dict):
        raise TypeError("inputs have another shape")
    return Run(
        id=run_id,
        workflow=fields["workflow"],
        status=_one_of(RunStatus, fields["status"]),
        hash=fields["hash"],
        submitted_at=float(fields["submitted_at"]),
        started_at=float(fields["started_at"]) if "started_at" in fields else None,
        finished_at=float(fields["finished_at"]) if "finished_at" in fields else None,
        cause=fields.get("cause", ""),
        waits_for=fields.get("waits_for", ""),
        stopped=frozenset(name.partition(":")[2] for name in fields if name.startswith("stopped:")),
        inputs=inputs,
        resumed_at=float(fields["resumed_at"]) if "resumed_at" in fields else None,
        attempt=1 + int(fields.get("resumes", "0")),
        hooks=tuple(fields.get("hooks", "").split()),
    )


# The keys of a value that plain JSON lacks, and the type of a mapping that only looks like one (values.py).
MARKS = frozenset({"__type__", "__value__"})
PAIRS = "pairs"


def shown(text: str) -> Any:
    """Return a stored value as plain JSON, to show it. ``values.decode_value`` returns the task's value."""
    return json.loads(text, object_hook=as_text) if '"__type__"' in text else json.loads(text)


def as_text(mapping: Any) -> Any:
    """Return a value of another type as its text; anything else unchanged."""
    if not isinstance(mapping, dict) or mapping.keys() != MARKS:
        return mapping
    match mapping["__type__"], mapping["__value__"]:
        case "pairs", list(pairs):
            return dict(pairs)
        case "uuid", {"hex": str(digits)}:
            return str(uuid.UUID(digits))
        case _, value:  # of an application's own type, too: how it encodes it is all that is known here
            return value


def _one_of(words: Any, word: str) -> Any:
    """Return the word, if it is one of a Literal's."""
    if word not in get_args(words):
        raise ValueError(f"unknown word {word!r:.80}")
    return word


LATE = 5.0  # seconds by which a step may be late that is to ask a limit again; after that it waits for a worker
FAILURE_LIMIT = 300  # characters of the message of an attempt that is tried again
_compact = json.JSONEncoder(separators=(",", ":")).encode


def dumped(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return outcomes as the scripts take them: the fields that they read, once for each group, and text that they only store.

    A batch is mostly one group: fields for each outcome took a fourth of the time of its record.
    """
    return [_group(common, list(some)) for common, some in groupby(outcomes, _in_common)]


def _in_common(outcome: Outcome) -> tuple[str, StepStatus, bool, int, str, bool]:
    over = outcome.finished_at is not None
    return outcome.ref, outcome.status, over, outcome.attempts, outcome.worker, outcome.handed_on


def _group(common: tuple[str, StepStatus, bool, int, str, bool], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    ref, status, over, attempts, worker, _ = common
    group: dict[str, Any] = {
        "ref": ref,
        "status": status,
        "passes": outcomes[0].passes,
        "over": over,
        "attempt": attempts,
        "worker": worker.replace("\n", " "),
        "steps": [each.step for each in outcomes],
        "texts": [_text(each) for each in outcomes],
    }
    if outcomes[0].passes:
        group["values"] = [each.json or _compact(each.value) for each in outcomes]
    if any(each.error for each in outcomes):
        group["messages"] = [_message(each.error) for each in outcomes]
    return group


def _text(outcome: Outcome) -> str:
    error = [valid_text(each, TRACEBACK_LIMIT) for each in astuple(outcome.error)] if outcome.error else None
    fields: list[Any] = [outcome.started_at, outcome.finished_at, error]
    if outcome.notes:
        fields.append(outcome.notes)
    return _compact(fields)


def _message(error: Error | None) -> str:
    return f"{error.type}: {valid_text(error.message, TRACEBACK_LIMIT)}" if error else ""


def read_outcome(step: str, text: str, value: str | None = None) -> Outcome:
    """Return an outcome, with its value if that was read as well."""
    line, _, rest = text.partition("\n")
    status, _, valued, attempts, worker = line.split(" ", 4)
    started_at, finished_at, error, *more = json.loads(rest)
    if not isinstance(error, list | None):
        raise TypeError("an outcome has another shape")
    for at in (started_at, finished_at):
        if not isinstance(at, int | float | None):
            raise TypeError("an outcome has another shape")
    if error is not None and not all(isinstance(each, str) for each in error):
        raise TypeError("an error has another shape")
    notes = more[0] if more else {}
    if not isinstance(notes, dict):
        raise TypeError("notes have another shape")
    return Outcome(
        step=step,
        status=_one_of(StepStatus, status),
        value=shown(value) if value is not None else None,
        error=Error(*error) if error else None,
        attempts=int(attempts),
        started_at=started_at,
        finished_at=finished_at,
        worker=worker,
        json=value or "",
        notes=notes,
        # One that answered too late has a value as well, which nobody gets.
        handed_on=valued == "1" and status not in {"succeeded", "late"},
    )


def dumped_attempt(postponed: Postponed) -> dict[str, Any]:
    """Return a failed attempt as the scripts take it, with the first line of its message: there may be a million."""
    error = postponed.error
    message = error.message.strip().partition("\n")[0][:FAILURE_LIMIT]
    times = (round(postponed.started_at, 3), round(postponed.finished_at, 3))
    return {
        "step": postponed.step,
        "seconds": postponed.seconds,
        "attempt": postponed.attempt,
        "message": f"{error.type}: {error.message}",
        "failure": _compact((postponed.attempt, *times, postponed.worker, error.type, message)),
    }


def read_failures(text: str) -> list[FailedAttempt]:
    """Return the failed attempts of a step from their JSON, each with a comma after it."""
    failures = json.loads(f"[{text.removesuffix(',')}]")
    return [
        FailedAttempt(
            attempt=attempt, started_at=started_at, finished_at=finished_at, worker=worker, error=Error(type_, message)
        )
        for attempt, started_at, finished_at, worker, type_, message in failures
    ]


def read_underway(text: str, now: float) -> Underway | None:
    """Return the state of a step without an outcome; None if its lease has expired or was released."""
    until, holder, attempts, _, _, _, worker = text.split(" ", 6)
    seconds = float(until) - now
    if holder == "-":
        # It was postponed; or its process died, or it was claimed with others and did not begin: then it may be claimed at once.
        return (
            Underway(status="retrying", attempts=int(attempts), seconds=seconds, worker=worker)
            if float(until)
            else None
        )
    return Underway(status="running", attempts=int(attempts), seconds=seconds, worker=worker) if seconds > 0 else None


def read_limited(waits: Mapping[str, str], left: Mapping[str, str], now: float) -> dict[str, Underway]:
    """Return the steps that a limit holds back; of the items of a ``foreach`` their collector, with their number.

    Args:
        waits: for each ref or step that waits, since when, until when, and of a limit when it may allow the start, and its name.
        left: for each ref of collectors how many have no outcome.
    """
    found: dict[str, Underway] = {}
    for name, text in waits.items():
        collector, many = of_ref(name)
        _, ask, *limit = text.split(" ", 3)
        if len(limit) != 2 or float(ask) < now - LATE or (many and name not in left):
            continue
        seconds, count = float(limit[0]) - now, int(left[name]) if many else 1
        before = found.get(collector)
        found[collector] = Underway(
            status="limited",
            attempts=0,
            seconds=min(seconds, before.seconds) if before else seconds,
            limit=limit[1],
            count=count + (before.count if before else 0),
        )
    return found


def read_event(event_id: str, fields: Mapping[str, str]) -> Event:
    """Return an event from its entry of the stream."""
    words: dict[str, Any] = {name: fields[name] for name in ("step", "status", "worker", "message") if name in fields}
    numbers: dict[str, Any] = {
        "attempt": int(fields.get("attempt") or 0),
        "seconds": float(fields.get("seconds") or 0),
        "count": int(fields.get("count") or 1),
        "hooks": int(fields.get("hooks") or 0),
    }
    name = _one_of(EventName, fields["event"])
    event = Event(id=event_id, event=name, at=float(fields["at"]), **words, **numbers)
    if event.status:
        _one_of(Literal[StepStatus, RunStatus], event.status)
    return event
