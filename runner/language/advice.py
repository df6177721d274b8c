"""A valid workflow to warnings about keys that have no effect, or another one than they seem to have."""

import builtins
import re
import signal
from collections.abc import Iterator

from runner.language import checks, expressions
from runner.language.faults import Fault
from runner.language.source import Source
from runner.language.steps import calls, mapping, walk
from runner.language.task_index import Task, TaskIndex, words_in
from runner.text import echo, listed, nearest

# The errors that any step may fail with, besides the exceptions of its task.
_OF_ANY_STEP = {"timed_out", "StepTimedOut", "ProcessDied", "WorkerLost", "NotJSON", "ValueTooLarge"}
_OF_PYTHON = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
}


def warnings(source: Source, tasks: TaskIndex) -> list[Fault]:
    """Return the warnings about a workflow that has no fault, by position."""
    kinds = (_retry_warnings, _choice_warnings, _celery_warnings)
    found = [
        *(each for kind in kinds for each in kind(source, tasks)),
        *_item_warnings(source),
        *_limit_warnings(source),
    ]
    return sorted(found, key=lambda each: (each.place.line, each.place.column))


def _celery_warnings(source: Source, tasks: TaskIndex) -> Iterator[Fault]:
    """Warn of a task's options for Celery that have no effect in a step: its rate, its own retries, replacing itself."""
    reported = set()
    for step in calls(source.data):
        name, loc = step.value("task")
        task = tasks.get(name)
        if task is None or name in reported:
            continue
        retry, _ = step.value("retry")
        for said, hint in _without_effect(task, is_retried=retry is not None):
            reported.add(name)
            yield Fault("W003", f"task {echo(name)}: {said} has no effect in a workflow", source.place(loc), hint)


def _without_effect(task: Task, *, is_retried: bool) -> Iterator[tuple[str, str]]:
    if "rate_limit" in task.options:
        yield "rate_limit", "limits bound how many steps start in a time, of all workers: limits: {shop: {rate: 10/1m}}"
    retries = sorted(_RETRIES & task.options) + sorted(f"self.{each}()" for each in {"retry"} & task.calls)
    if retries and not is_retried:
        yield listed(retries), "give the step a retry"
    for method in sorted({"replace", "add_to_chord"} & task.calls):
        yield f"self.{method}()", "it fails; call the other function, or make it a step"


_RETRIES = {"autoretry_for", "max_retries", "retry_backoff", "retry_kwargs", "default_retry_delay"}


def _choice_warnings(source: Source, tasks: TaskIndex) -> Iterator[Fault]:
    """Warn of tasks that two modules define under one name: the file does not show which is executed."""
    for step in calls(source.data):
        name, loc = step.value("task")
        if isinstance(name, str) and (choice := tasks.choice(name)):
            yield Fault("W002", choice, source.place(loc), "rename yours, unless it should replace the other")


def _item_warnings(source: Source) -> Iterator[Fault]:
    """Warn of collectors that are repeated for items which their task does not get: each of them does the same."""
    reported = set()
    for step in walk(source.data):
        foreach, loc = step.value("foreach")
        given = step.arguments() if step.kind == "collector" and foreach is not None else None
        if given is None or loc in reported:
            continue
        name = checks.item_name(foreach)
        values = [value for call in (step, *step.thens()) for value, _ in (call.arguments() or {}).values()]
        used = {each.partition(".")[0] for each in expressions.references(values)}
        if not used & {name, "item_index"}:
            reported.add(loc)
            message = f"{name} is not used under `with`: every collector of the foreach does the same"
            yield Fault("W004", message, source.place(loc), f"write ${{{{ {name} }}}} where the task needs it")


def _limit_warnings(source: Source) -> Iterator[Fault]:
    """Warn of limits that no step names: they hold back nothing."""
    named = {name for step in walk(source.data) for name in checks.named_limits(step)}
    for name in mapping(source.data.get("limits")):
        if name not in named:
            hint = f"name it in a step, limits: [{name}], or under defaults"
            yield Fault("W005", f"no step names the limit {echo(name)}", source.place(("limits", name), key=True), hint)


def _retry_warnings(source: Source, tasks: TaskIndex) -> Iterator[Fault]:
    """Warn of exceptions under ``retry`` that the task does not raise: nothing is retried, or everything is."""
    reported = set()
    for step in walk(source.draft):
        name, _ = step.value("task")
        retry, loc = step.value("retry")
        task = tasks.get(name)
        if task is None or not isinstance(retry, dict):
            continue
        for key in ("on", "not_on"):
            written = retry.get(key)
            names = enumerate(written) if isinstance(written, list) else [(None, written)]
            for index, each in names:
                where = (*loc, key) if index is None else (*loc, key, index)
                if isinstance(each, str) and (where, name) not in reported and not _raises(task, each):
                    reported.add((where, name))
                    near = nearest(each, sorted(_OF_PYTHON | _OF_ANY_STEP | _classes(task)))
                    message = f"task {echo(name)} raises nothing that is called {echo(each)}"
                    yield Fault("W001", message, source.place(where), f"did you mean {near}?" if near else "")


def _raises(task: Task, name: str) -> bool:
    """Whether the task may raise an exception of this name, as far as can be known without running it.

    The built-in tasks raise the exceptions in their modules. A user's task may call anything: only a name that no exception
    would have, or one that is nearly another's, is sure to be a mistake there.
    """
    last = name.rpartition(".")[2]
    words = words_in(task.file)
    if last in words | _OF_PYTHON | _OF_ANY_STEP:
        return True
    if re.fullmatch(r"http_\d(xx|\d\d)", name):
        return "status_code" in words or not task.is_ours
    if re.fullmatch(r"exit_\d+", name):
        return "exit_" in words
    if name in signal.Signals.__members__:
        return "Signals" in words
    if task.is_ours or name == name.lower():
        return False
    return name.lower() not in {each.lower() for each in _OF_PYTHON} and not _slip(name)


def _classes(task: Task) -> set[str]:
    """Return the classes that the task's module mentions."""
    return {word for word in words_in(task.file) if re.fullmatch(r"[A-Z]\w*(Error|Failure|Exception|Timeout)", word)}


def _slip(name: str) -> bool:
    """Whether a name differs from one of Python's exceptions by one letter: ``ConectionError``."""
    return any(name in _with_a_letter_less(each) or each in _with_a_letter_less(name) for each in _OF_PYTHON)


def _with_a_letter_less(name: str) -> set[str]:
    return {name[:at] + name[at + 1 :] for at in range(len(name))}
