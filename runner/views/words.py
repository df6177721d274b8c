"""A snapshot of a run to words for people.

Nothing here prints. Control characters are escaped; a snapshot has no secrets.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest

from runner.language.ids import written
from runner.language.plan import Step
from runner.ledger.entries import PASSING, FailedAttempt, Outcome, Run, StepStatus
from runner.ledger.item_pages import Page
from runner.ledger.snapshot import Snapshot, StepSnapshot
from runner.ledger.statuses import FAILED, Status, count_passing, count_wanted, together
from runner.system.program import command_line
from runner.text import block, count, duration, listed, printable, to_json
from runner.views.layout import header, hint, how_long, json_line, local_time, one_line, table
from runner.views.screen import PLAIN, Screen
from runner.views.signs import sign

_MANY = 20  # failures that a summary names, and succeeded collectors that `show` lists; --json has all


def result(snapshot: Snapshot) -> str:
    """Return a run's final value as JSON, on one line if it is short."""
    line = to_json(snapshot.result, indent=None)
    return line if len(line) <= 120 else to_json(snapshot.result)


def summary(snapshot: Snapshot, *, screen: Screen = PLAIN) -> str:
    """Summarize a run that has ended: its status, the missing collectors, each failure and its cause, and the command for more."""
    run, plan = snapshot.run, snapshot.plan
    icon, word, style = sign(run.status)
    name = screen.paint(printable(run.workflow), "bold")
    took = "" if run.seconds is None else f" in {duration(run.seconds)}"
    lines = [
        f"{screen.paint(icon, style)} {name} {screen.paint(word, style)}{took}: {_coverage(snapshot)} · run {run.id}"
    ]
    warning = screen.paint("warning:", "yellow", "bold")
    failed = snapshot.failed
    if run.status == "partial":
        if snapshot.missing:
            lines += [f"{warning} the result is without {listed([each.id for each in snapshot.missing])}"]
        lines += [
            f"{warning} {printable(each.id)} did not succeed: the value before it is handed on"
            for each in snapshot.replaced
        ]
    # If no collector may fail, the failures below say it, each with its cause.
    elif run.cause and (any(each.tolerant for each in plan.fan_outs) or not (failed and failed[0].id in run.cause)):
        lines += [f"  {one_line(run.cause)}"]
    if empty := [step.id for step in snapshot.steps if step.counts is not None and not step.counts]:
        lines += [f"{warning} no items: {listed(empty)}"]
    lines += [
        f"  {printable(each.id)}: {_notes(each.outcome)}"
        for each in snapshot.steps
        if each.step.kind != "collector" and each.outcome and each.outcome.notes
    ]
    return "\n".join([*lines, *_failures(snapshot, screen)])


def resumable(run: Run, *, screen: Screen = PLAIN) -> str:
    """Return the hint for a run without a result: how to resume it."""
    return hint(f"`{command_line('resume', run.id)}` executes what did not succeed", screen)


def nothing_to_resume(snapshot: Snapshot, *, screen: Screen = PLAIN) -> str:
    """Say that a run with a result stays as it is, and how to execute again what failed of it, or its last step."""
    run, plan = snapshot.run, snapshot.plan
    missing = [each.id for each in snapshot.missing]
    failed = missing or [each.id for each in snapshot.failed]
    if failed:
        line = f"run {run.id} has ended {sign(run.status).word}, without {listed(failed)}"
        first = next(place for place, step in enumerate(plan.steps) if step.id == written(failed[0]))
        follows = [step.id for step in plan.steps[first + 1 :] if step.kind != "collector" and step.task is not None]
        then = f", then {listed(follows)}," if follows else ""
        again = f"`{command_line('resume', run.id, '--failed')}` executes again what failed{then} as the same run"
    else:
        line = f"run {run.id} has ended {sign(run.status).word}: nothing is left to execute"
        last = plan.steps[-1].id
        again = (
            f"`{command_line('resume', run.id, '--from', last)}` executes {last} and what follows again, as a new run"
        )
    return f"{line}\n{hint(again, screen)}"


def file_has_changed(run_id: str, file: str, *, start: str | None = None, screen: Screen = PLAIN) -> str:
    """That a run is continued as it was recorded, though its file has changed since, and how it continues with the file.

    Args:
        start: the step that the user has named with ``--from``.
    """
    again = command_line("resume", run_id, "--file", file, *(["--from", start] if start else []))
    warning = screen.paint("warning:", "yellow", "bold")
    line = (
        f"{warning} {printable(file)} has changed since run {run_id} was started; the run continues without the change"
    )
    return f"{line}\n{hint(f'`{again}` executes what has changed, as a new run', screen)}"


def history(runs: Iterable[Run], *, now: float | None = None, screen: Screen = PLAIN) -> str:
    """Return a table of runs, a line each.

    Args:
        now: seconds since the epoch; by default this machine's clock.
    """
    at = time.time() if now is None else now
    rows = [
        (
            run.id,
            printable(run.workflow),
            run.status,
            f"{duration(max(0, round(at - run.submitted_at)))} ago",
            how_long(run.seconds),
        )
        for run in runs
    ]
    return table(("RUN", "WORKFLOW", "STATUS", "STARTED", "DURATION"), rows, screen) if rows else "no runs"


def details(snapshot: Snapshot, *, screen: Screen = PLAIN) -> str:
    """Describe a run: how it ended, its inputs, and every step; of a wide fan-out, only the collectors that did not succeed."""
    run = snapshot.run
    fields = {
        "run": run.id,
        "workflow": f"{printable(run.workflow)} ({run.hash})",
        "status": screen.paint(sign(run.status).word, sign(run.status).style),
        "note": printable(snapshot.note),
        "cause": one_line(run.cause),
        "coverage": _coverage(snapshot),
        "started": local_time(run.started_at),
        "duration": how_long(run.seconds),
        "inputs": f"\n{' ' * 10}".join(f"{name} = {json_line(value)}" for name, value in (run.inputs or {}).items()),
    }
    steps = [each for each in snapshot.steps if not each.is_item]
    collectors = [each for each in steps if each.is_collector]
    hidden = [each for each in collectors if each.status in PASSING] if len(collectors) > _MANY else []
    rows = [(f"… {count(len(hidden), 'collector')}", "succeeded", "", "", "", "")] if hidden else []
    rows += [_row(each) for each in steps if not (hidden and each.is_collector and each.status in PASSING)]
    steps_table = table(("STEP", "STATUS", "SUCCEEDED", "ATTEMPTS", "DURATION", "WORKER"), rows, screen)
    failures = [*_retrying(snapshot, screen), *_failures(snapshot, screen)]
    return "\n".join([header(fields, screen), "", steps_table, *(["", *failures] if failures else [])])


def page_details(page: Page, *, screen: Screen = PLAIN) -> str:
    """Describe a page of the items of a ``foreach``: the counts by status, a line for each item, the command for the next page."""
    icon, word, style = sign(together(page.counts))
    counts = " · ".join(f"{number:,} {sign(status).word}" for status, number in page.counts.items())
    fields = {
        "step": f"{printable(page.step.id)} ({count(sum(page.counts.values()), 'collector')})",
        "task": _tasks(page.step),
        "place": printable(page.step.place),
        "status": f"{screen.paint(f'{icon} {word}', style)}{': ' if counts else ''}{counts}",
    }
    headings = ("STEP", "STATUS", "SUCCEEDED", "ATTEMPTS", "DURATION", "WORKER", "ERROR")
    rows = [(*_row(each), one_line(each.reason) if each.status in {*FAILED, "retrying"} else "") for each in page.items]
    items = table(headings, rows, screen) if rows else ""
    if page.last:
        only = f", {sign(page.status).word} only" if page.status else ""
        lines = [screen.paint(f"page {page.number:,} of {page.last:,}{only}", "dim")]
    else:
        lines = [screen.paint(f"none {sign(page.status).word}" if page.status else "no items", "dim")]
    if page.number < page.last:
        words = ["show", page.run.id, "--step", page.step.id, *(["--status", page.status] if page.status else [])]
        lines += [hint(f"`{command_line(*words, '--page', str(page.number + 1))}` is the next", screen)]
    return "\n".join([header(fields, screen), "", *([items, ""] if items else []), *lines])


def _tasks(step: Step) -> str:
    """The task of a step, and those that follow it in the same attempt: ``http.get, then html.select``."""
    return ", then ".join(map(printable, step.tasks))


def step_details(step: StepSnapshot, *, screen: Screen = PLAIN) -> str:
    """Describe a step of a run: how it ended, its attempts, then its value as JSON, or its error with the traceback."""
    fields = {
        "step": f"{printable(step.id)} ({step.step.kind})",
        "task": _tasks(step.step),
        "place": printable(step.step.place),
        "item": json_line(step.step.item.value) if step.step.item else "",
    }
    earlier = "\n".join(_attempts(step.failures, screen))
    outcome = step.outcome
    if outcome is None:
        fields["status"] = _open_words(step)
        if step.running:
            fields |= {"attempts": str(step.running.attempts), "worker": printable(step.running.worker)}
        return "\n\n".join(filter(None, [header(fields, screen), earlier]))
    icon, word, style = sign(outcome.status)
    fields |= {
        "status": screen.paint(f"{icon} {word}", style),
        "attempts": str(outcome.attempts),
        "started": local_time(outcome.started_at),
        "duration": how_long(outcome.seconds),
        "worker": printable(outcome.worker),
        "notes": _notes(outcome),
    }
    if outcome.error is None and (outcome.passes or outcome.value is not None):
        body = to_json(outcome.value)
    else:
        body = outcome.error.traceback if outcome.error and outcome.error.traceback else step.reason
    return "\n\n".join(filter(None, [header(fields, screen), earlier, block(body)]))


def _row(step: StepSnapshot) -> tuple[str, Status, str, str, str, str]:
    if step.counts is not None:
        succeeded = f"{count_passing(step.counts):,} of {sum(step.counts.values()):,}"
        return printable(step.id), step.status, succeeded, "", "", ""
    latest = step.outcome or step.running
    attempts, worker = (str(latest.attempts or ""), printable(latest.worker)) if latest else ("", "")
    took = how_long(step.outcome.seconds) if step.outcome else ""
    return printable(step.id), step.status, "", attempts, took, worker


def _retrying(snapshot: Snapshot, screen: Screen) -> Iterator[str]:
    """Yield the first steps that wait for their next attempt, why the last one failed, or for a limit, and when that is due."""
    retrying = [each for each in snapshot.running if each.status in {"retrying", "limited"}]
    for each in retrying[:_MANY]:
        icon, _, style = sign(each.status)
        yield f"  {screen.paint(f'{icon} {printable(each.id)}', style)} {_open_words(each)}"
        if each.reason:
            yield f"      {one_line(each.reason)}"
    if len(retrying) > _MANY:
        yield f"  … {len(retrying) - _MANY:,} more retrying or limited"


def _open_words(step: StepSnapshot) -> str:
    """Return the status of a step without an outcome: ``retrying after 2 attempts, the next in 40s``."""
    running = step.running
    if running is not None and running.status == "limited":
        wait = f", for at least {duration(running.seconds)}" if running.seconds >= 1 else ""
        many = f"{count(running.count, 'collector')} " if running.count > 1 else ""
        return f"{many}{sign(step.status).word} by {printable(running.limit)}{wait}"
    if running is None or running.status != "retrying":
        return sign(step.status).word
    when = f"in {duration(running.seconds)}" if running.seconds > 0 else "as soon as a worker is free"
    return f"{sign(step.status).word} after {count(running.attempts, 'attempt')}, the next {when}"


def _attempts(failures: Sequence[FailedAttempt], screen: Screen) -> Iterator[str]:
    """Yield the attempts before the last, a line each."""
    if failures:
        yield screen.paint("earlier attempts", "dim")
    for each in failures:
        took = duration(each.finished_at - each.started_at)
        reason = one_line(f"{each.error.type}: {each.error.message}")
        yield f"  {each.attempt}  failed after {took} on {printable(each.worker)}: {reason}"


def _notes(outcome: Outcome) -> str:
    """Return the facts that the task has noted, on one line."""
    return printable(", ".join(f"{name} = {json_line(value)}" for name, value in outcome.notes.items()))


def _coverage(snapshot: Snapshot) -> str:
    return f"{count_passing(snapshot.counts):,} of {count(count_wanted(snapshot.counts), 'collector')} succeeded"


def _failures(snapshot: Snapshot, screen: Screen) -> list[str]:
    """Return the first steps that failed, each with its cause and place; then the command for more."""
    run = snapshot.run
    # First those that the run could not do without: of forty others that may be late, twenty are not in front of them.
    failed = sorted(snapshot.failed, key=lambda each: not each.step.required)
    shown = failed[:_MANY]
    # The items of one `foreach` share a place, which is shown once, below the last of them.
    places = [each.step.place for each in shown[1:]]
    lines = [
        line
        for each, next_place in zip_longest(shown, places)
        for line in _failure(each, screen, with_place=each.step.place != next_place)
    ]
    many = {
        each.id: {status: each.counts[status] for status in FAILED if each.counts.get(status)}
        for each in snapshot.steps
        if each.counts
    }
    number = sum(not each.is_item for each in failed) + sum(sum(counts.values()) for counts in many.values())
    if number > _MANY:
        lines += [f"  … {number - _MANY:,} more"]
    lines += [
        _listing(run, step_id, counts, screen) for step_id, counts in many.items() if sum(counts.values()) > _MANY
    ]
    traced = [each for each in failed if each.outcome and each.outcome.error and each.outcome.error.traceback]
    if traced:
        lines += [hint(f"`{command_line('show', run.id, '--step', traced[0].id)}` shows the traceback", screen)]
    return lines


def _listing(run: Run, step_id: str, counts: Mapping[StepStatus, int], screen: Screen) -> str:
    """The command that lists the items that failed of a ``foreach``; of one status, by its name."""
    status = next(iter(counts)) if len(counts) == 1 else "failed"
    command = command_line("show", run.id, "--step", step_id, "--status", status)
    return hint(f"`{command}` lists the {sum(counts.values()):,} of {printable(step_id)}", screen)


def _failure(step: StepSnapshot, screen: Screen, *, with_place: bool) -> Iterator[str]:
    icon, word, style = sign(step.status)
    attempts = step.outcome.attempts if step.outcome else 0
    after = f" after {count(attempts, 'attempt')}" if attempts > 1 else ""
    yield f"  {screen.paint(f'{icon} {printable(step.id)}', style)} {word}{after}"
    if step.reason:
        yield f"      {one_line(step.reason)}"
    if step.step.place and with_place:
        yield f"      {screen.paint(printable(step.step.place), 'dim')}"
