"""The tasks that `task:` may name to words for people and to JSON for programs."""

from collections.abc import Iterable
from typing import Any

from runner.language.examples import example
from runner.language.task_index import Task, TaskIndex
from runner.text import block, printable
from runner.views.screen import PLAIN, Screen


def task_list(tasks: Iterable[Task], *, screen: Screen = PLAIN) -> str:
    """List the tasks by name, each with the first line of its docstring and its parameters."""
    return "\n\n".join(_task(task, screen) for task in sorted(tasks, key=lambda task: task.name))


def task_details(task: Task, *, screen: Screen = PLAIN) -> str:
    """Describe a task: its parameters, all of its docstring, and an example."""
    rest = block(task.doc.partition("\n")[2].strip())
    where = f"{task.file}:{task.line}" if task.file else task.module
    header = f"{_task(task, screen)}\n    {screen.paint(printable(where), 'dim')}"
    return "\n\n".join(filter(None, [header, rest, _example(task, screen)]))


def tasks_document(tasks: Iterable[Task], index: TaskIndex) -> dict[str, Any]:
    """Return the tasks by name, each as `task_details` describes it, as an object for JSON.

    Args:
        tasks: those to describe.
        index: all of them; it knows which names several modules define, and the names of tasks that workers elsewhere offer.
    """
    return {
        "tasks": [_document(task) for task in sorted(tasks, key=lambda task: task.name)],
        "elsewhere": list(index.declared),
        "warnings": [index.choice(name) for name in sorted(index.replaced)],
    }


def _document(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "module": task.module,
        "file": task.file,
        "line": task.line,
        "async": task.is_async,
        "parameters": [
            {
                "name": each.name,
                "annotation": each.annotation,
                "required": each.required,
                "default": each.default,
                "choices": list(each.choices),
                "keyword_only": each.keyword_only,
                "positional_only": each.positional_only,
            }
            for each in task.parameters
        ],
        "any_other_name": task.takes_any,
        "summary": task.summary,
        "doc": task.doc,
        "example": example(task),
    }


def _example(task: Task, screen: Screen) -> str:
    lines = block(example(task)).splitlines()
    return "\n".join([screen.paint("example", "bold"), *(f"    {line}" for line in lines)])


def _task(task: Task, screen: Screen) -> str:
    lines = [f"{screen.paint(printable(task.name), 'bold')}  {printable(task.summary)}".rstrip()]
    for each in task.parameters:
        annotation = f": {each.annotation}" if each.annotation else ""
        default = "" if each.required else f" = {each.default}"
        lines += [f"    {printable(each.name)}{screen.paint(printable(annotation + default), 'dim')}"]
    if task.takes_any:
        lines += [f"    {screen.paint('and any other name', 'dim')}"]
    return "\n".join(lines)
