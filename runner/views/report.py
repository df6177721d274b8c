"""A run, and whatever went wrong, to words for people and JSON for programs.

Nothing here prints. What comes from a user is escaped, and a secret comes out as ``***``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

from runner import errors, text
from runner.errors import InvalidWorkflow, RunnerError
from runner.language import examples, foreach, tolerance
from runner.language import plan as plans
from runner.language import redact as masks
from runner.language.ids import is_item, written
from runner.language.plan import Plan, Step
from runner.language.redact import mask
from runner.language.task_index import Task
from runner.ledger.entries import PASSING, Error, FailedAttempt, Outcome, Run, Underway, count_passing
from runner.system import program
from runner.text import as_json
from runner.views.drawings import tree
from runner.views.item_pages import Page, Tallies, counts, status_of
from runner.views.screen import PLAIN, Screen
from runner.views.status import FAILED, OPEN, sign, together

__all__ = [
    "as_json",
    "details",
    "document",
    "dry_run",
    "history",
    "mask",
    "nothing_to_resume",
    "page_details",
    "page_document",
    "problem",
    "result",
    "resumable",
    "run_document",
    "step_details",
    "step_document",
    "summary",
    "task_details",
    "task_list",
]

# Of the steps that stand in the YAML, and of a `foreach` the first of those that ended without success.
Outcomes = Mapping[str, "Outcome"]
# What of a sent message can be shown: its name in Flower, the Celery task, its arguments, the queue.
Message = tuple[str, str, Sequence[Any], str]

_NOTHING: Mapping[str, Underway] = {}
ITEMS = 1000  # collectors of a `foreach` that the JSON lists; `show --step` has all
_MANY = 20  # failures that a summary names, and succeeded collectors that `show` lists; --json has all


def document(
    run: Run,
    plan: Plan,
    outcomes: Outcomes,
    result: Any,
    *,
    tally: Tallies | None = None,
    unended: Sequence[str] = (),
    underway: Mapping[str, Underway] = _NOTHING,
) -> dict[str, Any]:
    """The one object of ``--json``. Times are ISO 8601 in UTC, durations seconds.

    Args:
        result: the final value; None if there is none.
        unended: collectors of a ``foreach`` that the run, which has ended, never came to.
        underway: the steps that are being executed, or tried again.
    """
    told = run_document(run)
    steps = []
    for step in _steps(plan, [each for each in (*outcomes, *unended) if is_item(each)][:ITEMS]):
        if step.foreach:
            steps.append(_many_document(step, counts(run, step, tally, underway)))
        else:
            status = status_of(step.id, run, outcomes, underway)
            steps.append(_step(step, status, outcomes.get(step.id), plan, underway.get(step.id)))
    return {
        **{name: told.pop(name) for name in ("run_id", "workflow", "status")},
        "result": mask(result, plan),
        **{name: told.pop(name) for name in ("inputs", "started_at", "finished_at", "duration_s")},
        "coverage": _coverage(plan, steps),
        "steps": steps,
        **told,
        **({"cause": mask(run.cause, plan)} if run.cause else {}),
        **({"note": note} if (note := _note(run, plan, underway)) else {}),
    }


def run_document(run: Run) -> dict[str, Any]:
    """What ``document`` says of a run without its steps: a line of the history."""
    return {
        "run_id": run.id,
        "workflow": run.workflow,
        "status": run.status,
        "inputs": run.inputs,
        "started_at": _iso(run.started_at),
        "finished_at": _iso(run.finished_at),
        "duration_s": _seconds(run),
        "hash": run.hash,
        **({"cause": run.cause} if run.status == "unreadable" else {}),
    }


def step_document(
    plan: Plan,
    step: Step,
    outcome: Outcome | None,
    *,
    status: str = "pending",
    underway: Underway | None = None,
    failures: Sequence[FailedAttempt] = (),
) -> dict[str, Any]:
    """What ``document`` says of a step, and its value, or its traceback.

    Args:
        status: if it has no outcome.
        underway: if it is being executed, or tried again.
        failures: the attempts before the last.
    """
    told = _step(step, outcome.status if outcome else status, outcome, plan, underway)
    if outcome and outcome.error:
        told["error"]["traceback"] = mask(outcome.error.traceback, plan)
    item = {"item": mask(step.item.value, plan)} if step.item else {}
    attempts = {"failed_attempts": [_attempt_document(each, plan) for each in failures]} if failures else {}
    return {**told, **attempts, **item, "value": mask(outcome.value, plan) if outcome else None}


def page_document(plan: Plan, page: Page) -> dict[str, Any]:
    """A page of the collectors of a ``foreach``, each as ``document`` says it of a step."""
    items = [
        _step(replace(page.step, id=step_id), status, page.outcomes.get(step_id), plan, page.underway.get(step_id))
        for step_id, status in page.statuses.items()
    ]
    return {**_many_document(page.step, page.counts), "page": page.number, "pages": page.last, "items": items}


def result(value: Any, plan: Plan) -> str:
    """A run's final value as JSON: on one line if it is short, as a person would write it."""
    shown = mask(value, plan)
    line = as_json(shown, indent=None)
    return line if len(line) <= 120 else as_json(shown)


def summary(run: Run, plan: Plan, outcomes: Outcomes, *, tally: Tallies | None = None, screen: Screen = PLAIN) -> str:
    """After a run: how it ended, who is missing, what failed and why, and where to read on."""
    icon, word, style = sign(run.status)
    seconds = _seconds(run)
    name = screen.paint(text.printable(run.workflow), "bold")
    took = f" in {text.duration(seconds)}" if seconds is not None else ""
    covered = _covered(plan, outcomes, tally)
    lines = [f"{screen.paint(icon, style)} {name} {screen.paint(word, style)}{took}: {covered} · run {run.id}"]
    failed = _failed(plan, outcomes)
    if run.status == "partial":
        absent = [
            _name(step, plan)
            for step in _steps(plan, outcomes)
            if step.kind == "collector" and not step.foreach and not _succeeded(outcomes, step)
        ]
        lines += [f"{screen.paint('warning:', 'yellow', 'bold')} the result is without {errors.listed(absent)}"]
    # Where nothing may fail, the failures below say it, each with its cause.
    elif run.cause and (any(each.tolerant for each in plan.fan_outs) or not (failed and failed[0].id in run.cause)):
        lines += [f"  {_cause(run, plan)}"]
    if empty := [_name(step, plan) for step in plan.collectors if step.foreach and step.count == 0]:
        lines += [f"{screen.paint('warning:', 'yellow', 'bold')} no items: {errors.listed(empty)}"]
    noted = [step for step in plan.tail if step.id in outcomes and outcomes[step.id].notes]
    lines += [f"  {_name(step, plan)}: {_notes(outcomes[step.id], plan)}" for step in noted]
    return "\n".join([*lines, *_failures(run, plan, outcomes, tally, screen)])


def resumable(run: Run, *, screen: Screen = PLAIN) -> str:
    """How a run that has no result goes on."""
    return _hint(f"`{program.command('resume', run.id)}` executes what did not succeed", screen)


def nothing_to_resume(run: Run, plan: Plan, missing: Sequence[str], *, screen: Screen = PLAIN) -> str:
    """That a run with a result stays as it is, and how what is missing from it can be collected again.

    Args:
        missing: the collectors that did not succeed.
    """
    names = [masks.name(step_id, plan) for step_id in missing]
    without = f", without {errors.listed(names)}" if names else ""
    line = f"run {run.id} has ended {sign(run.status).word}{without}: nothing is left to execute"
    start = written(missing[0]) if missing else plan.steps[-1].id
    again = program.command("resume", run.id, "--from", start)
    hint = f"`{again}` executes {start} and what follows again, as a new run"
    if len({written(step_id) for step_id in missing}) > 1:
        hint = f"run the workflow again for all of them; {hint}"
    return f"{line}\n{_hint(hint, screen)}"


def history(runs: Iterable[Run], *, now: float | None = None, screen: Screen = PLAIN) -> str:
    """A table of runs, a line each.

    Args:
        now: seconds since the epoch; by default this machine's clock.
    """
    at = time.time() if now is None else now
    rows = [
        (
            run.id,
            text.printable(run.workflow),
            run.status,
            f"{_age(at - run.submitted_at)} ago",
            _duration(_seconds(run)),
        )
        for run in runs
    ]
    return _table(("RUN", "WORKFLOW", "STATUS", "STARTED", "DURATION"), rows, screen) if rows else "no runs"


def details(
    run: Run,
    plan: Plan,
    outcomes: Outcomes,
    *,
    tally: Tallies | None = None,
    underway: Mapping[str, Underway] = _NOTHING,
    screen: Screen = PLAIN,
) -> str:
    """One run: how it ended, what it was given, and every step. Of a wide fan-out, the collectors that did not succeed."""
    given = [f"{name} = {_json(value)}" for name, value in (run.inputs or {}).items()]
    header = {
        "run": run.id,
        "workflow": f"{text.printable(run.workflow)} ({run.hash})",
        "status": screen.paint(sign(run.status).word, sign(run.status).style),
        "note": _note(run, plan, underway),
        "cause": _cause(run, plan),
        "coverage": _covered(plan, outcomes, tally),
        "started": _local(run.started_at),
        "duration": _duration(_seconds(run)),
        "inputs": f"\n{' ' * 10}".join(mask(each, plan) for each in given),
    }
    alone = [step for step in plan.collectors if not step.foreach]
    hidden = {step.id for step in alone if len(alone) > _MANY and _succeeded(outcomes, step)}
    rows = [(f"… {text.count(len(hidden), 'collector')}", "succeeded", "", "", "", "")] if hidden else []
    for step in plan.steps:
        if step.foreach:
            told = counts(run, step, tally, underway)
            rows += [(step.id, together(told), f"{count_passing(told):,} of {step.count:,}", "", "", "")]
        elif step.id not in hidden:
            rows += [_row(step.id, status_of(step.id, run, outcomes, underway), outcomes.get(step.id), underway)]
    table = _table(("STEP", "STATUS", "SUCCEEDED", "ATTEMPTS", "DURATION", "WORKER"), rows, screen)
    again = {} if run.ended else {step: is_ for step, is_ in underway.items() if is_.status == "retrying"}
    failures = [*_retrying(again, plan, screen), *_failures(run, plan, outcomes, tally, screen)]
    return "\n".join([_header(header, screen), "", table, *(["", *failures] if failures else [])])


def page_details(run: Run, plan: Plan, page: Page, *, screen: Screen = PLAIN) -> str:
    """A page of the collectors of a ``foreach``: how many there are of each status, a line for each, and what turns the page."""
    icon, word, style = sign(together(page.counts))
    told = " · ".join(f"{number:,} {sign(status).word}" for status, number in page.counts.items())
    header = {
        "step": f"{text.printable(page.step.id)} ({text.count(page.step.count, 'collector')})",
        "task": text.printable(page.step.task or ""),
        "place": text.printable(page.step.place),
        "status": f"{screen.paint(f'{icon} {word}', style)}{': ' if told else ''}{told}",
    }
    rows = [
        (
            text.printable(masks.name(step_id, plan)),
            *_row(step_id, status, page.outcomes.get(step_id), page.underway)[1:],
            _error_of(step_id, page, plan),
        )
        for step_id, status in page.statuses.items()
    ]
    headings = ("STEP", "STATUS", "SUCCEEDED", "ATTEMPTS", "DURATION", "WORKER", "ERROR")
    table = _table(headings, rows, screen) if rows else ""
    if page.last:
        only = f", {sign(page.status).word} only" if page.status else ""
        lines = [screen.paint(f"page {page.number:,} of {page.last:,}{only}", "dim")]
    else:
        lines = [screen.paint(f"none {sign(page.status).word}" if page.status else "no items", "dim")]
    if page.number < page.last:
        words = ["show", run.id, "--step", page.step.id, *(["--status", page.status] if page.status else [])]
        lines += [_hint(f"`{program.command(*words, '--page', str(page.number + 1))}` is the next", screen)]
    return "\n".join([_header(header, screen), "", *([table, ""] if table else []), *lines])


def step_details(
    plan: Plan,
    step: Step,
    outcome: Outcome | None,
    *,
    status: str = "pending",
    underway: Underway | None = None,
    failures: Sequence[FailedAttempt] = (),
    screen: Screen = PLAIN,
) -> str:
    """One step of a run: how it ended, and its attempts, then its value as JSON, or its error with the traceback.

    Args:
        status: if it has no outcome.
        underway: if it is being executed, or tried again.
        failures: the attempts before the last.
    """
    earlier = "\n".join(_attempts(failures, plan, screen))
    header = {"step": f"{_name(step, plan)} ({step.kind})", "task": text.printable(step.task or "")}
    header["place"] = text.printable(step.place)
    if step.item:
        header["item"] = _json(mask(step.item.value, plan))
    if outcome is None:
        header["status"] = _underway_words(status, underway)
        if underway:
            header |= {"attempts": str(underway.attempts), "worker": text.printable(underway.worker)}
        return "\n\n".join(filter(None, [_header(header, screen), earlier]))
    icon, word, style = sign(outcome.status)
    header |= {
        "status": screen.paint(f"{icon} {word}", style),
        "attempts": str(outcome.attempts),
        "started": _local(outcome.started_at),
        "duration": _duration(_step_seconds(outcome)),
        "worker": text.printable(outcome.worker),
        "notes": _notes(outcome, plan),
    }
    if outcome.error is None and (outcome.passes or outcome.value is not None):
        body = as_json(mask(outcome.value, plan))
    else:
        body = _why(outcome, plan)
    return "\n\n".join(filter(None, [_header(header, screen), earlier, text.block(body)]))


def dry_run(plan: Plan, run_id: str, messages: Sequence[Message], *, screen: Screen = PLAIN) -> str:
    """The graph, the inputs and arguments as they would be bound, and the messages that would be sent."""
    hidden = replace(plan, inputs=masks.inputs(plan))
    lines = [tree.draw(plan, screen=screen), "", screen.paint("inputs", "bold")]
    lines += [f"  {text.printable(name)} = {_json(value)}" for name, value in hidden.inputs.items()]
    lines += ["", screen.paint("arguments", "bold")]
    for step in _ends(plan.collectors) + list(plan.tail):
        if isinstance(step, str):
            lines += [f"  {step}"]
            continue
        first = _first(hidden, step)
        lines += [f"  {text.printable(first.id)}" + (f", of {step.count:,}" if step.foreach else "")]
        lines += [
            f"    {text.printable(name)} = {_json(value)}" for name, value in _bound(hidden, run_id, first).items()
        ]
    lines += ["", screen.paint(f"{text.count(len(messages), 'message')} would be sent; nothing is started", "bold")]
    for message in _ends(messages):
        if isinstance(message, str):
            lines += [f"  {message}"]
            continue
        shadow, task, args, queue = message
        line = f"{text.printable(shadow)}: {task}({', '.join(_json(arg) for arg in args)}) to queue {queue}"
        lines += [f"  {text.printable(line)}"]
    return mask("\n".join(lines), plan)


def dry_run_document(plan: Plan, run_id: str, messages: Sequence[Message]) -> dict[str, Any]:
    """The same for ``--json``, with every step and every message; the arguments of a ``foreach`` are those of its first item."""
    hidden = replace(plan, inputs=masks.inputs(plan))
    return mask(
        {
            "run_id": run_id,
            "workflow": plan.name,
            "inputs": dict(hidden.inputs),
            "steps": [_step_of_dry_run(hidden, run_id, step) for step in hidden.steps],
            "messages": [
                {"name": name, "task": task, "args": list(args), "queue": queue} for name, task, args, queue in messages
            ],
        },
        plan,
    )


def _step_of_dry_run(plan: Plan, run_id: str, step: Step) -> dict[str, Any]:
    count = {"count": step.count} if step.foreach else {}
    arguments = dict(_bound(plan, run_id, _first(plan, step)))
    return {"id": step.id, "kind": step.kind, "task": step.task, "queue": step.queue, **count, "arguments": arguments}


def task_list(tasks: Iterable[Task], *, screen: Screen = PLAIN) -> str:
    """What ``task:`` may name, each with the first line of its docstring and its parameters."""
    return "\n\n".join(_task(task, screen) for task in sorted(tasks, key=lambda task: task.name))


def task_details(task: Task, *, screen: Screen = PLAIN) -> str:
    """A task with its parameters, all of its docstring, and an example."""
    rest = text.block(task.doc.partition("\n")[2].strip())
    where = f"{task.file}:{task.line}" if task.file else task.module
    header = f"{_task(task, screen)}\n    {screen.paint(text.printable(where), 'dim')}"
    return "\n\n".join(filter(None, [header, rest, _example(task, screen)]))


def _example(task: Task, screen: Screen) -> str:
    lines = text.block(examples.example(task)).splitlines()
    return "\n".join([screen.paint("example", "bold"), *(f"    {line}" for line in lines)])


def problem(error: RunnerError, *, screen: Screen = PLAIN) -> str:
    """What went wrong, for a person: ``error: …``, then ``hint: …`` if there is something to do about it."""
    if isinstance(error, InvalidWorkflow):
        return errors.describe(error.faults, columns=screen.width)
    label = screen.paint("error:", "red", "bold")
    lines = [f"{label} {text.printable(line)}" for line in str(error).splitlines()]
    return "\n".join([*lines, *([_hint(error.hint, screen)] if error.hint else [])])


def _steps(plan: Plan, ids: Iterable[str]) -> list[Step]:
    """The steps of the plan, each with ``foreach`` followed by those of its collectors that are among the ids."""
    items: dict[str, list[str]] = {}
    for step_id in ids:
        items.setdefault(written(step_id), []).append(step_id)
    return [
        each
        for step in plan.steps
        for each in (
            [step, *(replace(step, id=step_id, foreach=None) for step_id in items.get(step.id, ()))]
            if step.foreach
            else [step]
        )
    ]


def _many_document(step: Step, told: Mapping[str, int]) -> dict[str, Any]:
    """A collector with ``foreach``, as all of its collectors together."""
    return {
        "id": step.id,
        "kind": step.kind,
        "task": step.task,
        "status": together(told),
        "count": step.count,
        "statuses": dict(told),
        "place": step.place,
    }


def _name(step: Step, plan: Plan) -> str:
    """A step's id, to be shown: that of an item is made of its key."""
    return text.printable(masks.name(step.id, plan))


def _row(
    name: str, status: str, outcome: Outcome | None, underway: Mapping[str, Underway]
) -> tuple[str, str, str, str, str, str]:
    is_ = outcome or underway.get(name)
    attempts, worker = (str(is_.attempts or ""), text.printable(is_.worker)) if is_ else ("", "")
    return (name, status, "", attempts, _duration(_step_seconds(outcome)), worker)


def _error_of(step_id: str, page: Page, plan: Plan) -> str:
    """Why a collector failed, on one line; of one that is tried again, why the last attempt did."""
    if outcome := page.outcomes.get(step_id):
        return _first_line(outcome, plan) if outcome.status in FAILED else ""
    failures = page.failures.get(step_id, ())
    return _told(failures[-1].error, plan) if failures and page.statuses[step_id] == "retrying" else ""


def _retrying(again: Mapping[str, Underway], plan: Plan, screen: Screen) -> Iterator[str]:
    """The first steps that are tried again, each with when, and why the last attempt failed."""
    for step_id, is_ in [*again.items()][:_MANY]:
        name = text.printable(masks.name(step_id, plan))
        yield f"  {screen.paint(f'{sign(is_.status).icon} {name}', sign(is_.status).style)} {_underway_words(is_.status, is_)}"
        if is_.error:
            yield f"      {_told(is_.error, plan)}"
    if len(again) > _MANY:
        yield f"  … {len(again) - _MANY:,} more retrying"


def _underway_words(status: str, underway: Underway | None) -> str:
    """A status, of a step without an outcome: ``retrying after 2 attempts, the next in 40s``."""
    if underway is None or underway.status != "retrying":
        return sign(status).word
    when = f"in {text.duration(underway.seconds)}" if underway.seconds > 0 else "as soon as a worker is free"
    return f"{sign(status).word} after {text.count(underway.attempts, 'attempt')}, the next {when}"


def _attempts(failures: Sequence[FailedAttempt], plan: Plan, screen: Screen) -> Iterator[str]:
    """The attempts before the last, a line each."""
    if failures:
        yield screen.paint("earlier attempts", "dim")
    for each in failures:
        took = text.duration(each.finished_at - each.started_at)
        yield f"  {each.attempt}  failed after {took} on {text.printable(each.worker)}: {_told(each.error, plan)}"


def _attempt_document(failure: FailedAttempt, plan: Plan) -> dict[str, Any]:
    return {
        "attempt": failure.attempt,
        "started_at": _iso(failure.started_at),
        "duration_s": round(failure.finished_at - failure.started_at, 3),
        "worker": failure.worker,
        "error": {"type": failure.error.type, "message": mask(failure.error.message, plan)},
    }


def _told(error: Error, plan: Plan) -> str:
    return text.cut(masks.line(f"{error.type}: {error.message}", plan), 300)


def _step(
    step: Step, status: str, outcome: Outcome | None, plan: Plan, underway: Underway | None = None
) -> dict[str, Any]:
    is_ = outcome or underway
    told: dict[str, Any] = {
        "id": masks.name(step.id, plan),
        "kind": step.kind,
        "task": step.task,
        "status": status,
        "attempts": is_.attempts if is_ else 0,
        "duration_s": _step_seconds(outcome),
        "worker": is_.worker if is_ else "",
        "place": step.place,
    }
    if is_ and is_.error:
        told["error"] = {"type": is_.error.type, "message": mask(is_.error.message, plan)}
    if outcome and outcome.notes:
        told["notes"] = mask(dict(outcome.notes), plan)
    return told


def _notes(outcome: Outcome, plan: Plan) -> str:
    """What the task has noted, on one line."""
    return masks.line(", ".join(f"{name} = {_json(value)}" for name, value in outcome.notes.items()), plan)


def _covered(plan: Plan, outcomes: Outcomes, tally: Tallies | None) -> str:
    succeeded = sum(_succeeded(outcomes, step) for step in plan.collectors if not step.foreach)
    succeeded += sum(count_passing(told) for told in (tally or {}).values())
    return f"{succeeded:,} of {text.count(plan.total, 'collector')} succeeded"


def _coverage(plan: Plan, steps: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """How much of what was asked for is in the result; missing is what has ended, or never will, without a value."""
    collectors = [step for step in steps if step["kind"] == "collector"]
    alone = Counter(step["status"] for step in collectors if "statuses" not in step and not is_item(step["id"]))
    told = sum((Counter(step["statuses"]) for step in collectors if "statuses" in step), alone)
    there = {*PASSING, *OPEN}
    missing = [step["id"] for step in collectors if "statuses" not in step and step["status"] not in there]
    return {
        "succeeded": count_passing(told),
        "total": plan.total,
        "missing": missing,
        **(
            {"missing_count": told.total() - sum(told[status] for status in there)}
            if told.total() > alone.total()
            else {}
        ),
    }


def _note(run: Run, plan: Plan, underway: Mapping[str, Underway]) -> str:
    """What a run waits for, that would go on otherwise."""
    if run.ended:
        return ""
    return run.unattended or ("" if underway else masks.line(run.waits_for, plan))


def _cause(run: Run, plan: Plan) -> str:
    """Why a run ended as it did; it may name every one of 1,000 collectors."""
    return text.cut(masks.line(run.cause, plan), 300)


def _failed(plan: Plan, outcomes: Outcomes) -> list[Step]:
    return [
        step
        for step in _steps(plan, outcomes)
        if not step.foreach and step.id in outcomes and outcomes[step.id].status in FAILED
    ]


def _failures(run: Run, plan: Plan, outcomes: Outcomes, tally: Tallies | None, screen: Screen) -> list[str]:
    failed = _failed(plan, outcomes)
    shown = failed[:_MANY]
    # Those of one `foreach` stand at one place, which is told once.
    places = [step.place for step in shown[1:]]
    lines = [
        line
        for step, place in zip_longest(shown, places)
        for line in _failure(replace(step, place="" if step.place == place else step.place), outcomes, plan, screen)
    ]
    alone = sum(not is_item(step.id) for step in failed)
    number = alone + sum(told.get(status, 0) for told in (tally or {}).values() for status in FAILED)
    if number > _MANY:
        lines += [f"  … {number - _MANY:,} more"]
    lines += [
        _hint(f"`{program.command('show', run.id, '--step', name, '--status', 'failed')}` lists them", screen)
        for name, told in (tally or {}).items()
        if sum(told.get(status, 0) for status in FAILED) > _MANY
    ]
    traced = [step for step in failed if (error := outcomes[step.id].error) and error.traceback]
    if traced:
        words = ["show", run.id, "--step", masks.name(traced[0].id, plan)]
        lines += [_hint(f"`{program.command(*words)}` shows the traceback", screen)]
    return lines


def _failure(step: Step, outcomes: Outcomes, plan: Plan, screen: Screen) -> Iterator[str]:
    outcome = outcomes[step.id]
    icon, word, style = sign(outcome.status)
    attempts = f" after {text.count(outcome.attempts, 'attempt')}" if outcome.attempts > 1 else ""
    yield f"  {screen.paint(f'{icon} {_name(step, plan)}', style)} {word}{attempts}"
    if why := _first_line(outcome, plan):
        yield f"      {why}"
    if step.place:
        yield f"      {screen.paint(text.printable(step.place), 'dim')}"


def _why(outcome: Outcome, plan: Plan) -> str:
    """Why a step did not succeed, with the traceback if there is one."""
    error = outcome.error
    return mask(error.traceback, plan) if error and error.traceback else _reason(outcome, plan)


def _reason(outcome: Outcome, plan: Plan) -> str:
    error = mask(f"{outcome.error.type}: {outcome.error.message}", plan) if outcome.error else ""
    late = tolerance.lateness(plan.fan_out_of(plan.by_id[written(outcome.step)])) if outcome.status == "late" else ""
    return "; then ".join(filter(None, [late, error]))


def _first_line(outcome: Outcome, plan: Plan) -> str:
    """A reason as one line of at most 300 columns; `show --step` has the whole."""
    return text.cut(text.printable(_reason(outcome, plan).strip()), 300)


def _first(plan: Plan, step: Step) -> Step:
    """Of a collector with ``foreach`` that of its first item; itself, if it has none that could be shown."""
    try:
        item = next(foreach.items(plan, step), None)
    except RunnerError:  # items that come from a secret, and are "***"
        return step
    return step.of(item) if item else step


def _bound(plan: Plan, run_id: str, step: Step) -> Mapping[str, Any]:
    """A step's arguments as far as they are known before there is a run; as written where they are not."""
    run = {"id": run_id, "name": plan.name, "started_at": datetime.now(UTC).isoformat()}
    try:
        return plans.arguments(plan, step, run)
    except ValueError:  # an expression that works with the secret, and meets "***"
        return step.arguments


def _ends(things: Sequence[Any]) -> list[Any]:
    """The things, or the first and last five of more than twelve, with the number of the others between them."""
    if len(things) <= 12:
        return list(things)
    return [*things[:5], f"… {len(things) - 10:,} more", *things[-5:]]


def _task(task: Task, screen: Screen) -> str:
    lines = [f"{screen.paint(text.printable(task.name), 'bold')}  {text.printable(task.summary)}".rstrip()]
    for each in task.parameters:
        annotation = f": {each.annotation}" if each.annotation else ""
        default = "" if each.required else f" = {each.default}"
        lines += [f"    {text.printable(each.name)}{screen.paint(text.printable(annotation + default), 'dim')}"]
    if task.takes_any:
        lines += [f"    {screen.paint('and any other name', 'dim')}"]
    return "\n".join(lines)


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], screen: Screen) -> str:
    """Columns as wide as they must be, what does not fit cut; the word under STATUS in its colour."""
    at = headings.index("STATUS")
    worded = [(*row[:at], sign(row[at]).word, *row[at + 1 :]) for row in rows]
    used = [column for column in range(len(headings)) if any(row[column] for row in worded)]
    widths = {column: max(text.width(row[column]) for row in [headings, *worded]) for column in used}
    lines = []
    for row, style in zip([headings, *worded], ["dim", *(sign(row[at]).style for row in rows)], strict=True):
        line, room = "", screen.width
        for column in used:
            cell = text.cut(row[column], max(room, 0))
            painted = screen.paint(cell, style) if column == at or row is headings else cell
            line += painted + " " * (widths[column] + 2 - text.width(cell))
            room -= widths[column] + 2
        lines.append(line.rstrip())
    return "\n".join(lines)


def _header(told: Mapping[str, str], screen: Screen) -> str:
    return "\n".join(f"{screen.paint(f'{name:<10}', 'dim')}{value}" for name, value in told.items() if value)


def _hint(hint: str, screen: Screen) -> str:
    return f"{screen.paint('hint:', 'cyan')} {text.printable(hint)}"


def _succeeded(outcomes: Outcomes, step: Step) -> bool:
    return step.id in outcomes and outcomes[step.id].passes


def _seconds(run: Run) -> float | None:
    """From its submission, or since it was resumed, to the run's end: also what it waited for a worker, and its fan-in."""
    if run.finished_at is None:
        return None
    return round(run.finished_at - (run.resumed_at or run.submitted_at), 3)


def _step_seconds(outcome: Outcome | None) -> float | None:
    """Of the last attempt."""
    if outcome is None or outcome.started_at is None or outcome.finished_at is None:
        return None
    return round(outcome.finished_at - outcome.started_at, 3)


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else text.duration(seconds)


def _age(seconds: float) -> str:
    return text.duration(max(0, round(seconds)))


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _local(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _json(value: Any) -> str:
    """JSON on one line, for people."""
    return text.cut(as_json(value, indent=None), 300)
