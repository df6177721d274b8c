"""Pydantic's errors to faults: each at its place in the file, with what was expected and what was found."""

import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from itertools import repeat
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails, PydanticCustomError

from runner.language.faults import CODES, Fault
from runner.language.source import Loc, Source, found, misread
from runner.language.steps import LISTS, fans_out, kind_at, step_at
from runner.text import echo, listed, nearest

_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_FAN_OUT = "a workflow is collectors (in parallel) → gather → stages (in a row); a stage gets the value before it"
_SLUG = "[a-z][a-z0-9_-]*"
_SHAPES = {
    "name": "a name of lower-case letters, digits, _ and -, starting with a letter, at most 63",
    "id": "an id of lower-case letters, digits, _ and -, starting with a letter, at most 63",
    "inputs": "a name of letters, digits and _, starting with a letter, at most 63",
    "task": "the name of a task, without spaces, at most 255 characters",
    "limits": "a name of lower-case letters, digits, _ and -, starting with a letter, at most 63",
    "queue": "the name of a queue: letters, digits, _ . : and -",
}
_NO_SCHEDULE = "a run starts when `run` is called: let cron or a systemd timer call it"
_ARGV = "task: command.run, with: {argv: [program, argument]}"
_FOR_EACH = "a collector is repeated with foreach: [a, b]"
_NO_OUTPUTS = "leave it out: the value of the last step is the result"
_LIMITED = "declare limits: {shop: {rate: 30/1m, concurrency: 4}} at the top, and name it in the step: limits: [shop]"
_OF_COLLECTORS = "it is for collectors only"
# Keys of other systems, and how they are written here: in a file, and in a step.
_HINTS = {
    **dict.fromkeys(("schedule", "schedules", "cron", "on", "triggers", "trigger", "timetable"), _NO_SCHEDULE),
    **dict.fromkeys(
        ("vars", "variables", "env", "environment", "params", "parameters", "args"),
        "declare inputs, and write ${{ inputs.NAME }}",
    ),
    **dict.fromkeys(("secrets", "secret"), "declare an input that is secret: true, and write ${{ inputs.NAME }}"),
    **dict.fromkeys(("needs", "depends_on", "depends", "edges", "flow", "dependencies"), _FAN_OUT),
    **dict.fromkeys(("outputs", "output", "results", "result", "return", "returns"), _NO_OUTPUTS),
    **dict.fromkeys(
        ("version", "kind", "apiVersion", "hosts"), "leave it out: the file has name, collectors, gather and stages"
    ),
}
_STEP_HINTS = {
    **dict.fromkeys(
        ("needs", "depends_on", "depends", "dependencies", "after", "outputs", "output", "register"), _FAN_OUT
    ),
    **dict.fromkeys(
        ("if", "unless", "only"),
        "write when: ${{ … }}, of a collector or a stage",
    ),
    **dict.fromkeys(("run", "command", "cmd", "script", "shell"), _ARGV),
    **dict.fromkeys(("loop", "with_items", "matrix", "strategy", "for_each", "each", "expand"), _FOR_EACH),
    **dict.fromkeys(
        ("env", "environment"), "with: {env: {NAME: value}}, for a task that takes it, as command.run does"
    ),
    **dict.fromkeys(
        ("continue-on-error", "continue_on_error", "ignore_errors", "on_failure", "on_error", "allow_failure"),
        "a collector that may fail says required: false",
    ),
    **dict.fromkeys(("timeout-minutes", "timeout_minutes", "timeout_seconds", "time_limit"), "write timeout: 5m"),
    **dict.fromkeys(("retries", "max_retries", "attempts"), "write retry: 3, or retry: {max_retries: 3, delay: 2s}"),
    **dict.fromkeys(
        ("retry_delay", "retry-delay", "delay", "backoff", "max_delay", "jitter"),
        "write it under retry: retry: {delay: 2s, backoff: 2}",
    ),
    **dict.fromkeys(("schedule", "cron"), _NO_SCHEDULE),
    **dict.fromkeys(("rate_limit", "rate", "throttle", "rate_limits", "pool"), _LIMITED),
    **dict.fromkeys(("min_success", "deadline", "stop"), "it is for the gather"),
    **dict.fromkeys(("foreach", "batch", "max_concurrency", "required"), _OF_COLLECTORS),
    "then": _OF_COLLECTORS,
    "name": "a step has an id: lower-case letters, digits, _ and -",
}
# The required keys that a key with such a hint stands for: they are not reported as missing, too.
_MEANT = {_ARGV: {"task"}, _STEP_HINTS["name"]: {"id"}}
# Names of other languages for the type of an input, and how they are written here.
_INPUT_TYPES = {
    **dict.fromkeys(("date", "day"), r"write type: string, pattern: '^\d{4}-\d\d-\d\d$'"),
    **dict.fromkeys(
        ("datetime", "time", "timestamp", "duration", "url", "uri", "email"), "write type: string, pattern: …"
    ),
    **dict.fromkeys(("path", "file", "text", "str", "uuid"), "write string"),
    **dict.fromkeys(("password", "secret", "token"), "write type: string, secret: true"),
    **dict.fromkeys(("choice", "enum", "select", "options"), "write type: string, enum: [a, b]"),
    **dict.fromkeys(("list", "strings", "set", "tuple", "sequence"), "write array"),
    **dict.fromkeys(("dict", "map", "mapping", "json", "record"), "write object"),
    **dict.fromkeys(("float", "double", "decimal"), "write number"),
    **dict.fromkeys(("int", "long"), "write integer"),
}
# Names of other systems.
_SYNONYMS = {
    "args": "with",
    "kwargs": "with",
    "params": "with",
    "parameters": "with",
    "jobs": "collectors",
    "steps": "collectors",
    "uses": "task",
    "retries": "retry",
    "imports": "include",
}


def faults(
    errors: Sequence[ErrorDetails],
    source: Source,
    language: type[BaseModel],
    takes: Callable[[Loc], Collection[str]] = lambda _: (),
) -> list[Fault]:
    """Translate the errors of a file's data, given the model that it was validated against.

    Args:
        takes: returns the names that the task of the step at a place takes under ``with``.
    """
    unknown_keys, meant = [], set()
    for each in errors:
        if each["type"] == "extra_forbidden":
            unknown, suggestion = _unknown_key(each["loc"], source, language, takes)
            unknown_keys.append(unknown)
            meant |= {(*each["loc"][:-1], key) for key in suggestion}
    others = (each for each in errors if each["type"] != "extra_forbidden")
    # A misspelt required key is one fault, not two.
    return unknown_keys + [
        _translated(each, source) for each in others if each["type"] != "missing" or each["loc"] not in meant
    ]


def fault(code: str, expected: str, value: Any, loc: Loc, source: Source, *, hint: str = "") -> Fault:
    """Return the fault of an unexpected value: what was expected, and what was found, as it is written."""
    text = source.written(loc)
    if code == "E007" and expected == "expected a string" and isinstance(value, bool | int | float):
        return Fault(code, misread(value, text), source.place(loc))
    shown = echo(text).strip('"') if text and not isinstance(value, str) else found(value)
    return Fault(code, f"{expected}, found {shown}", source.place(loc), hint)


def error(code: str, expected: str, hint: str = "") -> PydanticCustomError:
    """Return an error for a validator to raise; what was found is added by `faults`, which knows the file."""
    return PydanticCustomError(code, "{expected}", {"expected": expected, "hint": hint})


def _unknown_key(
    loc: Loc, source: Source, language: type[BaseModel], takes: Callable[[Loc], Collection[str]]
) -> tuple[Fault, Collection[str]]:
    """Return the fault of an unknown key, and the keys that it may stand for."""
    key, good = str(loc[-1]), _keys_at(loc[:-1], language, source)
    place = source.place(loc, key=True)
    message = f"unknown key {echo(key)}{_owner(loc, source)}"
    if key in takes(loc[:-1]):
        return Fault("E020", message, place, "put it under `with`"), ()
    if nested := _nested(loc, source):
        return Fault("E020", message, place, f'write "- id: {key}", and its keys below'), nested
    if kind_at(loc[:-1]) == "then" and key in _keys_at(loc[:-3], language, source):
        hint = (
            "the collector's holds for all of its calls together"
            if key != "id"
            else "leave it out: only the collector has one"
        )
        return Fault("E020", message, place, hint), ()
    if kind_at(loc[:-1]) == "gather" and key in {"when", "required"}:
        return Fault("E020", message, place, "it is for collectors and stages"), ()
    if loc[0] == "stages" and len(loc) == 3 and (hint := _stage_hint(key, fans_out=good[-1] == "gather")):
        return Fault("E020", message, place, hint), ()
    translation = (_STEP_HINTS if "task" in good else _HINTS if len(loc) == 1 else {}).get(key)
    if translation:
        return Fault("E020", message, place, translation), _MEANT.get(translation, ())
    synonym = _SYNONYMS.get(key, "")
    near = synonym if synonym in good else nearest(key, good)
    hint = f"did you mean {echo(near)}?" if near else f"keys are {listed(good)}"
    return Fault("E020", message, place, hint), (near,)


def _stage_hint(key: str, *, fans_out: bool) -> str:
    """Return the hint for a key that is for the other kind of stage, or for another place in it."""
    if fans_out and key in {"min_success", "deadline"}:
        return "it is for the gather"
    if key in {"task", "gather"}:
        return "a stage is a task, or collectors and their gather"
    if key in {"foreach", "batch", "max_concurrency"}:
        return "it is for a collector: a stage fans out with collectors: [{id: …, foreach: …, task: …}]"
    return ""


def _nested(loc: Loc, source: Source) -> tuple[str, ...]:
    """Return the required keys of a step whose name is a key: ``- one: {task: …}``; none for any other step."""
    step, name = step_at(source.draft, loc), str(loc[-1])
    if step is None or step.kind in {"gather", "then"} or step.loc != loc[:-1] or not re.fullmatch(_SLUG, name):
        return ()
    data = step.data
    if next(iter(data)) == name and "id" not in data and isinstance(data[name], dict | None):
        return ("id",) if data[name] is None else ("id", "task")
    return ()


@lru_cache(maxsize=256)
def _keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _keys_at(loc: Loc, language: type[BaseModel], source: Source) -> tuple[str, ...]:
    """Return the keys that the language has at a place."""
    there: Any = language
    data: Any = source.draft
    for step in loc:
        data = data[step]
        if isinstance(there, type) and issubclass(there, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in there.model_fields.items()}
            there = fields[str(step)]
        else:
            there = get_args(there)[-1]
        while get_origin(there) in (Annotated, Union, UnionType):
            stage = loc[:1] == ("stages",) and get_origin(there) in (Union, UnionType) and fans_out(data)
            there = get_args(there)[1 if stage else 0]
    return _keys_of(there)


def _owner(loc: Loc, source: Source) -> str:
    """Name the step or the input that a key belongs to."""
    step = step_at(source.draft, loc)
    if step is not None and step.kind == "gather":
        return " in gather"
    if step is not None:
        name, index = step.data.get("id"), step.loc[-1]
        return f" in {step.kind} {echo(name if isinstance(name, str) else int(index) + 1)}"
    match loc:
        case ("inputs", str(name), _, *_):
            return f" in input {echo(name)}"
        case ("defaults", _, *_):
            return " in defaults"
        case _:
            return ""


def _slug_hint(loc: Loc, value: str) -> str:
    """Return the hint for a name with other characters: the nearest name that is allowed."""
    slug = re.sub("[^a-z0-9_]+", "-", value.lower()).strip("-_")[:63].rstrip("-_")
    return f"write {slug}" if loc[-1] in {"name", "id"} and re.fullmatch(_SLUG, slug) else ""


def _shape_hint(loc: Loc, value: Any) -> str:
    """Return the hint for a list or a text where a mapping is expected."""
    match loc, value:
        case ("inputs",), [str(name), *_] if name.isidentifier():
            return f"write {{{name}: {{type: string}}}}"
        case ("gather",), [_, _, *_]:
            return "there is one gather: what comes after it is a stage, under stages"
        case _, [dict(), *_]:
            return 'leave out the "- " before its keys'
        case _, str(name) if (kind := kind_at(loc)) and re.fullmatch(r"[\w.:-]{1,80}", name):
            return f"write {{task: {name}}}" if kind in {"gather", "then"} else f"write {{id: …, task: {name}}}"
    return ""


def _list_hint(loc: Loc, value: Any) -> str:
    """Return the hint for a mapping or a text where a list is expected."""
    match loc, value:
        case (str(key),), dict() if key in LISTS and any(map(isinstance, value.values(), repeat(dict))):
            name = next(iter(value))
            return f'write "- id: {name if re.fullmatch(_SLUG, name) else "NAME"}", and its keys below'
        case _, dict():
            return 'put "- " before each'
        case ("include",), str(name) if re.fullmatch(r"[\w.-]{1,80}", name):
            return f"write [{name.removesuffix('.py')}]"
        case _, str(name) if re.fullmatch(r"[\w.-]{1,80}", name):
            return f"write [{name}]"
    return ""


def _translated(one: ErrorDetails, source: Source) -> Fault:
    loc, value, details = one["loc"], one["input"], one.get("ctx", {})
    match one["type"]:
        case "missing":
            message = f"missing required key {echo(loc[-1])}{_owner(loc, source)}"
            return Fault("E021", message, source.first_key(loc[:-1]))
        case "too_short" if loc == ("collectors",):
            return Fault("E032", "at least one collector", source.place(loc))
        case "string_too_long":
            return fault("E028", f"expected at most {details['max_length']:,} characters", value, loc, source)
        case "too_short":
            return Fault("E028", "expected at least one value", source.place(loc))
        case "too_long":
            return Fault("E033", f"{len(value):,} {loc[-1]}, limit {details['max_length']:,}", source.place(loc))
        case "string_pattern_mismatch" if loc[-1] == "[key]":
            shape = _SHAPES[str(loc[0])]
            return Fault("E030", f"expected {shape}, found {found(value)}", source.place(loc[:-1], key=True))
        case "string_pattern_mismatch":
            key = next(str(each) for each in reversed(loc) if isinstance(each, str))  # a list has a number last
            return fault("E030", f"expected {_SHAPES[key]}", value, loc, source, hint=_slug_hint(loc, value))
        case "greater_than_equal":
            return fault("E028", f"expected at least {details['ge']:g}", value, loc, source)
        case "less_than_equal":
            return fault("E028", f"expected at most {details['le']:g}", value, loc, source)
        case "model_type" if hint := _shape_hint(loc, value):
            return fault("E007", "expected a mapping", value, loc, source, hint=hint)
        case "literal_error":
            expected = f"expected {details['expected'].replace(chr(39), '')}"
            near = nearest(value, re.findall(r"'(\w+)'", details["expected"])) if isinstance(value, str) else ""
            hint = _INPUT_TYPES.get(value.lower(), "") if isinstance(value, str) and loc[-1] == "type" else ""
            return fault("E028", expected, value, loc, source, hint=hint or (f"did you mean {near}?" if near else ""))
        case kind if kind in _TYPES:
            hint = (
                _list_hint(loc, value)
                if kind == "list_type"
                else _shape_hint(loc, value)
                if kind == "dict_type"
                else ""
            )
            return fault("E007", f"expected {_TYPES[kind]}", value, loc, source, hint=hint)
        case code if code in CODES:
            return fault(code, details["expected"], value, loc, source, hint=details["hint"])
        case _:
            return fault("E028", one["msg"].lower(), value, loc, source)
