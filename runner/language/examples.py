"""A task to a piece of YAML that uses it, with its required arguments and values to replace."""

import ast
import json
import re
from typing import Any

from runner.language.task_index import Parameter, Task

# Names of the first parameter of a task for gathers and stages, which gets the value before.
_HANDED = {"values", "results", "collected", "gathered", "records", "rows", "items", "value"}
_BY_NAME: dict[str, Any] = {
    "argv": ["echo", "hello"],
    "by": "name",
    "host": "smtp.example.org",
    "keys": "name",
    "path": "result.json",
    "paths": "*.txt",
    "pattern": "TODO",
    "sender": "runner@example.org",
    "to": "ann@example.org",
    "topic": "python",
    "url": "https://example.org/items.json",
}
_BY_TYPE: dict[str, Any] = {
    "str": "text",
    "int": 1,
    "float": 1.5,
    "bool": True,
    "list": ["text"],
    "dict": {"name": "text"},
}


def example(task: Task) -> str:
    """Return a collector, or a gather or a stage if the task is meant for one, without arguments that have a default."""
    handed = role(task) != "collector"
    filled = {task.first.name if task.first else "", "outcomes"} if handed else set()
    given = [each for each in task.parameters if each.required and each.name not in filled]
    # An id may not have a dot or a colon.
    step_id = re.sub(r"[^A-Za-z0-9_]+", "_", task.name).strip("_")
    words = [f"id: {step_id}", f"task: {_scalar(task.name)}"]
    if given:
        words += ["with:", *(f"  {_scalar(each.name)}: {_scalar(_value(each, task))}" for each in given)]
    if role(task) == "gather":
        return "\n".join(["gather:", *(f"  {line}" for line in words)])
    first, *rest = words
    return "\n".join([f"{role(task)}s:", f"  - {first}", *(f"    {line}" for line in rest)])


def role(task: Task) -> str:
    """Guess the kind of step that a task is for from its name and its first parameter: a user's may be for several."""
    family = task.name.partition(".")[0]
    first = task.first
    if family == "notify" and task.is_ours:
        return "stage"
    if family == "gather" or (first and re.match(r"(\w+\.)*Itera(tor|ble)\b", first.annotation)):
        return "gather"
    if first and first.required and first.name in _HANDED:
        return "gather" if first.name == "results" else "stage"
    return "collector"


def _value(parameter: Parameter, task: Task) -> Any:
    family, _, kind = task.name.partition(".")
    if family == "write" and parameter.name == "path":
        return f"result.{kind}"
    if family == "notify" and parameter.name == "url":
        return "https://example.org/webhook"
    if choices := re.match(r"Literal\[('[^']*'|\d+)", parameter.annotation):
        return ast.literal_eval(choices[1])
    if parameter.name in _BY_NAME:
        return _BY_NAME[parameter.name]
    return _BY_TYPE.get(re.split(r"\W", parameter.annotation)[0], "text")


def _scalar(value: Any) -> str:
    """Return a value as unambiguous YAML; JSON is YAML."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./:-]*[\w/]", value)
    return value if plain and not _is_other(value) else json.dumps(value, ensure_ascii=False)


def _is_other(text: str) -> bool:
    return text.lower() in {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
