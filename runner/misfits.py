"""Pydantic's errors to faults: each at its place in the file, with what was expected and what was found."""

import re
from collections.abc import Sequence
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails, PydanticCustomError

from runner.errors import CODES, Fault, echo, listed, nearest
from runner.source import Loc, Source, found, misread

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
_FAN_OUT = "a workflow is collectors (in parallel) → gather → stages (in a row); a stage is handed the value before it"
_SHAPES = {
    "name": "a name of lower-case letters, digits, _ and -, starting with a letter, at most 63",
    "id": "an id of lower-case letters, digits, _ and -, starting with a letter, at most 63",
    "inputs": "a name of letters, digits and _, starting with a letter, at most 63",
    "task": "the name of a task, without spaces, at most 255 characters",
    "queue": "the name of a queue: letters, digits, _ . : and -",
}
# What other systems call it.
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


def faults(errors: Sequence[ErrorDetails], source: Source, language: type[BaseModel]) -> list[Fault]:
    """The faults of a file's data, given the model that it was validated against."""
    told, meant = [], set()
    for each in errors:
        if each["type"] == "extra_forbidden":
            unknown, suggestion = _unknown_key(each["loc"], source, language)
            told.append(unknown)
            meant.add((*each["loc"][:-1], suggestion))
    others = (each for each in errors if each["type"] != "extra_forbidden")
    # A misspelt required key is one fault, not two.
    told += [_translated(each, source) for each in others if each["type"] != "missing" or each["loc"] not in meant]
    return told


def fault(code: str, expected: str, value: Any, loc: Loc, source: Source, *, hint: str = "") -> Fault:
    """The fault of a value that is not what was expected, with what it is instead, as it is written."""
    written = source.written(loc)
    if code == "E007" and expected == "expected a string" and isinstance(value, bool | int | float):
        return Fault(code, misread(value, written), source.place(loc))
    shown = echo(written).strip('"') if written and not isinstance(value, str) else found(value)
    return Fault(code, f"{expected}, found {shown}", source.place(loc), hint)


def error(code: str, expected: str, hint: str = "") -> PydanticCustomError:
    """An error for a validator to raise; what was found instead is added where the file is known."""
    return PydanticCustomError(code, "{expected}", {"expected": expected, "hint": hint})


def _unknown_key(loc: Loc, source: Source, language: type[BaseModel]) -> tuple[Fault, str]:
    key, good = str(loc[-1]), _keys_at(loc[:-1], language)
    place = source.place(loc, key=True)
    message = f"unknown key {echo(key)}{_owner(loc, source)}"
    if key in {"needs", "depends_on"}:
        return Fault("E020", message, place, _FAN_OUT), ""
    synonym = _SYNONYMS.get(key, "")
    near = synonym if synonym in good else nearest(key, good)
    hint = f"did you mean {echo(near)}?" if near else f"keys are {listed(good)}"
    return Fault("E020", message, place, hint), near


@lru_cache(maxsize=256)
def _keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _keys_at(loc: Loc, language: type[BaseModel]) -> tuple[str, ...]:
    """The keys that the language has at a place."""
    there: Any = language
    for step in loc:
        if isinstance(there, type) and issubclass(there, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in there.model_fields.items()}
            there = fields[str(step)]
        else:
            there = get_args(there)[-1]
        while get_origin(there) in (Annotated, Union, UnionType):
            there = get_args(there)[0]
    return _keys_of(there)


def _owner(loc: Loc, source: Source) -> str:
    """Of which step or input a key is, in words."""
    match loc:
        case (("collectors" | "stages") as key, int(index), _, *_):
            name = source.draft[key][index].get("id")
            return f" in {key[:-1]} {echo(name) if isinstance(name, str) else index + 1}"
        case ("gather", _, *_):
            return " in gather"
        case ("inputs", str(name), _, *_):
            return f" in input {echo(name)}"
        case ("defaults", _, *_):
            return " in defaults"
        case _:
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
            return fault("E030", f"expected {_SHAPES[str(loc[-1])]}", value, loc, source)
        case "greater_than_equal":
            return fault("E028", f"expected at least {details['ge']:g}", value, loc, source)
        case "less_than_equal":
            return fault("E028", f"expected at most {details['le']:g}", value, loc, source)
        case "literal_error":
            expected = f"expected {details['expected'].replace(chr(39), '')}"
            near = nearest(value, re.findall(r"'(\w+)'", details["expected"])) if isinstance(value, str) else ""
            return fault("E028", expected, value, loc, source, hint=f"did you mean {near}?" if near else "")
        case kind if kind in _TYPES:
            hint = 'put "- " before each' if kind == "list_type" and isinstance(value, dict) else ""
            return fault("E007", f"expected {_TYPES[kind]}", value, loc, source, hint=hint)
        case code if code in CODES:
            return fault(code, details["expected"], value, loc, source, hint=details["hint"])
        case _:
            return fault("E028", one["msg"].lower(), value, loc, source)
