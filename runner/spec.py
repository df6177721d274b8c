"""A source to a checked workflow, or to every fault of it: the models here are the language."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError, SchemaError, SchemaValidator, core_schema

from runner import checks
from runner.catalogue import Catalogue
from runner.errors import CODES, Fault, InvalidInput, InvalidWorkflow, Place, echo, listed, nearest
from runner.source import INTEGER_LIMIT, SURROGATE, Loc, Source, found, misread

DAY = 24 * 3600.0


def read(source: Source, catalogue: Catalogue) -> "Workflow":
    """Check a file's data against the language, and against the tasks there are.

    Raises:
        InvalidWorkflow: with every fault of the file.
    """
    workflow, wrong = None, []
    try:
        workflow = Workflow.model_validate(source.data)
    except ValidationError as error:
        wrong = _model_faults(error.errors(include_url=False)[: checks.FAULT_LIMIT], source)
    told = _merged(checks.faults(source, catalogue), [*wrong, *_input_faults(source)], source.faults)
    if told or workflow is None:
        raise InvalidWorkflow(tuple(_without_secrets(told, source)))
    return workflow


def schema() -> dict[str, Any]:
    """The JSON Schema of the language, for editors."""
    described = Workflow.model_json_schema()
    for step in ("Collector", "Stage"):  # the defaults may have it
        described["$defs"][step]["required"].remove("task")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:celery-collectors:workflow",
        **described,
        "title": "celery-collectors workflow",
    }


def _expected(code: str, expected: str, hint: str = "") -> PydanticCustomError:
    """The fault of a value; what was found instead is added where the file is known."""
    return PydanticCustomError(code, "{expected}", {"expected": expected, "hint": hint})


_DURATION = re.compile(r"(?:(\d{1,9}(?:\.\d{1,9})?)(h))?" + "".join(
    rf"(?:(\d{{1,9}}(?:\.\d{{1,9}})?)({unit}))?" for unit in ("m(?!s)", "s", "ms")
))  # fmt: skip
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_SCHEMA = {
    "anyOf": [
        {
            "type": "string",
            "pattern": r"^(\d+(\.\d+)?h)?(\d+(\.\d+)?m)?(\d+(\.\d+)?s)?(\d+(\.\d+)?ms)?$",
            "minLength": 2,
        },
        {"type": "number", "minimum": 0, "maximum": DAY},
    ]
}


def _seconds(value: Any, least: float) -> float:
    """``30s``, ``5m``, ``1h30m``, ``500ms``, or a number of seconds."""
    expected = _expected(
        "E028",
        f"expected a duration from {'1ms' if least else '0s'} to 24h",
        "write 30s, 5m, 1h30m, 500ms, or a number of seconds",
    )
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        groups = match.groups() if match and value else ()
        parts = [(float(number), unit) for number, unit in zip(groups[::2], groups[1::2], strict=True) if number]
        if not parts:
            raise expected
        seconds = sum(number * _UNITS[unit] for number, unit in parts)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise _expected("E007", "expected a duration", "write 30s, 5m, 1h30m, 500ms, or a number of seconds")
    if not least <= seconds <= DAY:  # false for nan, too
        raise expected
    return seconds


def _as_retry(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"max_retries": value}
    if isinstance(value, dict):
        return value
    raise _expected("E007", "expected a number of retries, or a mapping")


def _jitter(value: Any) -> Any:
    if value in ("full", "none") or (isinstance(value, int | float) and value is not True and 0 <= value <= 1):
        return value if isinstance(value, str) else float(value)
    raise _expected("E028", "expected full, none, or a share from 0 to 1")


def _error_name(value: Any) -> Any:
    if not isinstance(value, str) or re.fullmatch(r"http_[1-5](xx|\d\d)|(?!http_)[^\W\d]\w*(\.[^\W\d]\w*)*", value):
        return value
    raise _expected("E030", "expected the name of an exception, or http_429, http_5xx")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _or_mapping(value: Any) -> Any:
    """A key with everything beneath it commented out is an empty one."""
    return {} if value is None else value


def _or_list(value: Any) -> Any:
    return [] if value is None else value


Slug = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_-]{0,62}$")]
InputName = Annotated[str, StringConstraints(pattern="^[A-Za-z][A-Za-z0-9_]{0,62}$")]
# The length apart: \w{1,255} is a regular expression of over 10 MiB to Rust.
TaskName = Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=255)]
QueueName = Annotated[str, StringConstraints(pattern=r"^[\w.:-]+$", max_length=255)]
Timeout = Annotated[float, BeforeValidator(lambda value: _seconds(value, 0.001)), WithJsonSchema(_DURATION_SCHEMA)]
Delay = Annotated[float, BeforeValidator(lambda value: _seconds(value, 0.0)), WithJsonSchema(_DURATION_SCHEMA)]
ErrorNames = Annotated[
    list[Annotated[str, BeforeValidator(_error_name)]],
    BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
]
Type = Literal["string", "integer", "number", "boolean", "array", "object"]


class _Model(BaseModel):
    # Strict, as a file that says "5" where a number is meant should hear of it.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Retry(_Model):
    """When and how a failed attempt is tried again."""

    max_retries: int = Field(3, ge=0, le=100, description="How often it is tried again; the first try does not count.")
    delay: Delay = Field(1.0, description="Time before the first retry.")
    backoff: float = Field(2.0, ge=1, le=100, description="What the delay is multiplied by after each retry.")
    max_delay: Delay = Field(300.0, description="No delay is longer than this.")
    jitter: Annotated[
        Literal["full", "none"] | float,
        BeforeValidator(_jitter),
        WithJsonSchema({"anyOf": [{"enum": ["full", "none"]}, {"type": "number", "minimum": 0, "maximum": 1}]}),
    ] = Field("full", description="How much of the delay is random: full, none, or a share from 0 to 1.")
    max_duration: Timeout | None = Field(None, description="Time from the first start after which nothing is retried.")
    on: ErrorNames = Field([], description="Retry only these: exception class names, or http_429, http_5xx.")
    not_on: ErrorNames = Field([], description="Never retry these: exception class names, or http_429, http_5xx.")


class StepKeys(_Model):
    """What any step may say, and the defaults of its kind, too. A key added here works in both."""

    with_: Annotated[dict[str, Any], BeforeValidator(_or_mapping)] = Field(
        {}, alias="with", description="Keyword arguments of the task. ${{ … }} is expanded in its strings."
    )
    timeout: Timeout | None = Field(None, description="Time that one attempt may take: 30s, 5m, 1h30m, or seconds.")
    retry: (
        Annotated[
            Retry,
            BeforeValidator(_as_retry, json_schema_input_type=Annotated[int, Field(ge=0, le=100)] | Retry),
        ]
        | None
    ) = Field(None, description="When and how a failed attempt is tried again; a number alone is max_retries.")
    queue: QueueName | None = Field(None, description="The Celery queue that the step is sent to.")
    priority: int | None = Field(None, ge=0, le=9, description="The priority of the message, 0 to 9.")


class StepDefaults(StepKeys):
    """Keys for every step of a kind. A step's own key replaces the default whole; `with` is merged by name."""

    task: TaskName | None = Field(None, description="The registered name of the Celery task.")


class Step(StepKeys):
    """One call of one Celery task."""

    task: TaskName = Field(description="The registered name of the Celery task.")


class Collector(Step):
    """A step that runs in parallel with the other collectors."""

    id: Slug = Field(description="Its name, unique in the workflow: lower-case letters, digits, _ and -.")


class Stage(Step):
    """A step that is handed the value before it as its first argument."""

    id: Slug = Field(description="Its name, unique in the workflow: lower-case letters, digits, _ and -.")


class Gather(Step):
    """The fan-in: a step that is handed the list of the collectors' values as its first argument."""

    id: Slug | None = Field(None, description="Its name, unique in the workflow; without one, the task's name.")

    @property
    def step_id(self) -> str:
        """Its id, or one made of its task's name: ``gather.concat`` as ``gather_concat``."""
        return self.id or checks.default_id(self.task)


class Defaults(_Model):
    """What steps have when they do not say otherwise."""

    collectors: StepDefaults | None = Field(None, description="Defaults of every collector.")
    stages: StepDefaults | None = Field(None, description="Defaults of every stage.")


class Input(_Model):
    """A typed parameter of the workflow: an option of `run`, and `inputs.NAME` in an expression."""

    type: Type = Field("string", description="What values it takes.")
    description: str = Field("", description="Shown in the help of `run`.")
    required: bool = Field(True, description="Whether it must be given. Without this key: unless it has a default.")
    default: Any = Field(None, description="Its value when it is not given.")
    enum: list[Any] | None = Field(None, min_length=1, description="The only values it may have.")
    pattern: str | None = Field(
        None, max_length=1000, description="A regular expression that is found in it (anchor it with ^ and $)."
    )
    minimum: float | None = Field(None, description="The least number.")
    maximum: float | None = Field(None, description="The greatest number.")
    min_length: int | None = Field(None, ge=0, description="The least number of characters, or of items.")
    max_length: int | None = Field(None, ge=0, description="The greatest number of characters, or of items.")
    secret: bool = Field(False, description="Whether its value is never shown.")

    @model_validator(mode="before")
    @classmethod
    def _required_without_default(cls, data: Any) -> Any:
        if data is None:  # `topic:` alone is a required string
            return {}
        return {"required": "default" not in data, **data} if isinstance(data, dict) else data

    def accept(self, value: Any, *, from_text: bool = True) -> Any:
        """The value of this input that a user gave.

        Args:
            value: a JSON value; or the text of one, as the command line has it.
            from_text: whether a string stands for a value of another type (``"5"`` for 5).

        Raises:
            InvalidInput: it does not fit; the message never shows a secret.
        """
        if from_text and isinstance(value, str):
            value = _from_text(value, self.type)
        if value is None and not self.required:
            return None
        if problem := _misfit(self, value):
            raise InvalidInput(problem[1] if self.secret else f"{problem[1]}, found {found(value)}")
        return int(value) if self.type == "integer" else value


class Workflow(_Model):
    """Collectors in parallel, then the gather, then stages in a row."""

    name: Slug = Field(description="Its name: lower-case letters, digits, _ and -.")
    description: str = Field("", description="Shown in help, graph and history.")
    include: Annotated[list[str], BeforeValidator(_or_list)] = Field(
        [], description="Python modules beside this file that define its tasks."
    )
    inputs: Annotated[dict[InputName, Input], BeforeValidator(_or_mapping)] = Field(
        {}, max_length=checks.INPUT_LIMIT, description="Typed parameters; each is an option of `run`."
    )
    defaults: Annotated[Defaults, BeforeValidator(_or_mapping)] = Field(
        default_factory=Defaults, description="Keys for every collector, and for every stage."
    )
    collectors: Annotated[list[Collector], BeforeValidator(_or_list)] = Field(
        min_length=1, max_length=10_000, description="Steps that run in parallel; their order is kept in the results."
    )
    gather: Gather | None = Field(None, description="The fan-in. Without it, the list of values itself is the value.")
    stages: Annotated[list[Stage], BeforeValidator(_or_list)] = Field(
        [], max_length=100, description="Steps in a row, each handed the value before it."
    )

    @model_validator(mode="before")
    @classmethod
    def _task_from_defaults(cls, data: Any) -> Any:
        """A step without a task has that of its defaults; only then can `task` be a required key."""
        if not isinstance(data, dict) or not isinstance(data.get("defaults"), dict):
            return data
        for key in ("collectors", "stages"):
            defaults, steps = data["defaults"].get(key), data.get(key)
            if isinstance(defaults, dict) and "task" in defaults and isinstance(steps, list):
                filled = [{"task": defaults["task"], **step} if isinstance(step, dict) else step for step in steps]
                data = {**data, key: filled}
        return data


# Inputs: a value against its declaration


def _from_text(text: str, type_: Type) -> Any:
    """The value that a text of the command line stands for; the text itself where it stands for none."""
    word = text.strip().lower()
    match type_:
        case "integer" if re.fullmatch(r"[+-]?[0-9]{1,20}", word):
            return int(word)
        case "number" if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", word):
            return int(word) if re.fullmatch(r"[+-]?[0-9]{1,20}", word) else float(word)
        case "boolean":
            words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False}
            return {**words, "0": False}.get(word, text)
        case "array" | "object":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return text
        case _:
            return text


_CLASSES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_EXPECTED = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}


def _misfit(declared: Input, value: Any) -> tuple[str, str] | None:
    """The code of the fault and what was expected, if a value does not fit its declaration."""
    wrong = _wrong_type(declared.type, value)
    if wrong:
        return wrong
    if declared.enum is not None and value not in declared.enum:
        good = "the values under enum" if declared.secret else listed([echo(each) for each in declared.enum])
        return "E028", f"expected one of {good}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if declared.minimum is not None and value < declared.minimum:
            return "E028", f"expected at least {declared.minimum:g}"
        if declared.maximum is not None and value > declared.maximum:
            return "E028", f"expected at most {declared.maximum:g}"
    if isinstance(value, str | list):
        unit = "characters" if isinstance(value, str) else "items"
        if declared.min_length is not None and len(value) < declared.min_length:
            return "E028", f"expected at least {declared.min_length} {unit}"
        if declared.max_length is not None and len(value) > declared.max_length:
            return "E028", f"expected at most {declared.max_length} {unit}"
    if isinstance(value, str) and declared.pattern is not None and not _matches(declared.pattern, value):
        return "E028", f"expected a match of {echo(declared.pattern)}"
    return None


def _wrong_type(type_: Type, value: Any) -> tuple[str, str] | None:
    misplaced = isinstance(value, bool) and type_ != "boolean"  # in Python, True is an int
    if misplaced or not isinstance(value, _CLASSES[type_]):
        return "E007", f"expected {_EXPECTED[type_]}"
    if isinstance(value, float) and type_ == "integer" and not value.is_integer():
        return "E007", "expected an integer"
    if not _is_json(value):
        return "E018", "expected a value that JSON can carry: text, and numbers between -2^53 and 2^53"
    return None


def _is_json(value: Any, depth: int = 0) -> bool:
    """Whether a value survives JSON: no NaN, no integer that a double cannot hold, no half of a surrogate pair."""
    match value:
        case None | bool():
            return True
        case int():
            return abs(value) < INTEGER_LIMIT
        case float():
            return math.isfinite(value)
        case str():
            return value.isascii() or not SURROGATE.search(value)
        case list():
            return depth < 100 and all(_is_json(each, depth + 1) for each in value)
        case dict():
            return depth < 100 and all(isinstance(k, str) and _is_json([k, v], depth + 1) for k, v in value.items())
        case _:
            return False


@lru_cache(maxsize=256)
def _regex(pattern: str) -> SchemaValidator:
    """Pydantic's regular expressions are Rust's: they search in linear time, whatever the pattern; Python's may not end."""
    return SchemaValidator(core_schema.str_schema(pattern=pattern))


_PIECE = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{\d+(?:,\d*)?\}|.", re.DOTALL)


def _states(pattern: str) -> int:
    """About how large a pattern becomes when its counts are written out: ``(a{10}){10}`` has a hundred of ``a``."""
    groups, last = [0], 0
    for piece in _PIECE.findall(pattern):
        if piece == "(":
            groups.append(0)
            last = 0
        elif piece == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif len(piece) > 2 and piece[0] == "{":
            times = max(int(number[:9] or 1) for number in piece[1:-1].split(","))
            groups[-1] += last * (times - 1)
            last *= times
        else:
            last = 1
            groups[-1] += 1
    return sum(groups)


def _matches(pattern: str, value: str) -> bool:
    try:
        _regex(pattern).validate_python(value)
    except (ValidationError, SchemaError):
        return False
    return True


def _input_faults(source: Source) -> Iterator[Fault]:
    """Inputs that are well formed, but whose default, enum or pattern do not fit the rest."""
    inputs = source.data.get("inputs")
    for name, written in inputs.items() if isinstance(inputs, dict) else ():
        try:
            declared = Input.model_validate(written)
        except ValidationError:
            continue
        for loc, code, message in _declaration_faults(declared):
            at = ("inputs", name, *loc)
            value = written[loc[0]] if len(loc) == 1 else written[loc[0]][loc[1]]
            if message.startswith("expected"):
                yield _value_fault(code, message, value, at, source)
            else:
                yield Fault(code, message, source.place(at))


_APPLIES = {
    "pattern": {"string"},
    "minimum": {"integer", "number"},
    "maximum": {"integer", "number"},
    "min_length": {"string", "array"},
    "max_length": {"string", "array"},
}


def _declaration_faults(declared: Input) -> Iterator[tuple[Loc, str, str]]:
    for key, types in _APPLIES.items():
        if getattr(declared, key) is not None and declared.type not in types:
            yield (key,), "E028", f"{key} is for an input of type {' or '.join(sorted(types))}, not {declared.type}"
    for least, most in (("minimum", "maximum"), ("min_length", "max_length")):
        low, high = getattr(declared, least), getattr(declared, most)
        if low is not None and high is not None and low > high:
            yield (most,), "E028", f"expected at least {low:g}, the {least}"
    if declared.pattern is not None:
        try:
            _regex(declared.pattern)
        except SchemaError as error:
            why = str(error).rpartition("error: ")[2].partition("\n")[0]
            yield ("pattern",), "E037", f"not a regular expression: {why}"
            return
    wrong: list[tuple[Loc, tuple[str, str] | None]] = [
        (("enum", at), _wrong_type(declared.type, each)) for at, each in enumerate(declared.enum or [])
    ]
    # Linear is not always short: a pattern of 100,000 states takes 2.5 s for 500 characters.
    short = not isinstance(declared.default, str) or _states(declared.pattern or "") * len(declared.default) < 1_000_000
    if declared.default is not None and short:
        wrong.append((("default",), _misfit(declared, declared.default)))
    for loc, problem in wrong:
        if problem and problem[0] != "E018":  # which the source has told
            yield loc, *problem


# Pydantic's errors to faults

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


def _model_faults(errors: list[ErrorDetails], source: Source) -> list[Fault]:
    faults, meant = [], set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            fault, suggestion = _unknown_key(error["loc"], source)
            faults.append(fault)
            meant.add((*error["loc"][:-1], suggestion))
    others = (error for error in errors if error["type"] != "extra_forbidden")
    # A misspelt required key is one fault, not two.
    faults += [
        _model_fault(error, source) for error in others if error["type"] != "missing" or error["loc"] not in meant
    ]
    return faults


def _unknown_key(loc: Loc, source: Source) -> tuple[Fault, str]:
    key, good = str(loc[-1]), _keys_at(loc[:-1])
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


def _keys_at(loc: Loc) -> tuple[str, ...]:
    """The keys that the language has at a place."""
    there: Any = Workflow
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
            name = source.data[key][index].get("id")
            return f" in {key[:-1]} {echo(name) if isinstance(name, str) else index + 1}"
        case ("gather", _, *_):
            return " in gather"
        case ("inputs", str(name), _, *_):
            return f" in input {echo(name)}"
        case ("defaults", _, *_):
            return " in defaults"
        case _:
            return ""


def _model_fault(error: ErrorDetails, source: Source) -> Fault:
    loc, value, details = error["loc"], error["input"], error.get("ctx", {})
    match error["type"]:
        case "missing":
            message = f"missing required key {echo(loc[-1])}{_owner(loc, source)}"
            return Fault("E021", message, source.first_key(loc[:-1]))
        case "too_short" if loc == ("collectors",):
            return Fault("E032", "at least one collector", source.place(loc))
        case "string_too_long":
            expected = f"expected at most {details['max_length']:,} characters"
            return _value_fault("E028", expected, value, loc, source)
        case "too_short":
            return Fault("E028", "expected at least one value", source.place(loc))
        case "too_long":
            return Fault("E033", f"{len(value):,} {loc[-1]}, limit {details['max_length']:,}", source.place(loc))
        case "string_pattern_mismatch" if loc[-1] == "[key]":
            shape = _SHAPES[str(loc[0])]
            return Fault("E030", f"expected {shape}, found {found(value)}", source.place(loc[:-1], key=True))
        case "string_pattern_mismatch":
            return _value_fault("E030", f"expected {_SHAPES[str(loc[-1])]}", value, loc, source)
        case "greater_than_equal":
            return _value_fault("E028", f"expected at least {details['ge']:g}", value, loc, source)
        case "less_than_equal":
            return _value_fault("E028", f"expected at most {details['le']:g}", value, loc, source)
        case "literal_error":
            expected = f"expected {details['expected'].replace(chr(39), '')}"
            near = nearest(value, get_args(Type)) if isinstance(value, str) else ""
            fault = _value_fault("E028", expected, value, loc, source)
            return Fault(fault.code, fault.message, fault.place, f"did you mean {near}?" if near else "")
        case kind if kind in _TYPES:
            hint = 'put "- " before each' if kind == "list_type" and isinstance(value, dict) else ""
            return _value_fault("E007", f"expected {_TYPES[kind]}", value, loc, source, hint=hint)
        case code if code in CODES:
            return _value_fault(code, details["expected"], value, loc, source, hint=details["hint"])
        case _:
            return _value_fault("E028", error["msg"].lower(), value, loc, source)


def _value_fault(code: str, expected: str, value: Any, loc: Loc, source: Source, *, hint: str = "") -> Fault:
    """The fault of a value that is not what was expected, with what it is instead, as it is written."""
    written = source.written(loc)
    if code == "E007" and expected == "expected a string" and isinstance(value, bool | int | float):
        return Fault(code, misread(value, written), source.place(loc))
    shown = echo(written).strip('"') if written and not isinstance(value, str) else found(value)
    return Fault(code, f"{expected}, found {shown}", source.place(loc), hint)


# All faults of a file together

# Codes that say what is wrong with a value by itself: where another check has told of the same value, they add nothing.
_BY_ITSELF = {"E007", "E018", "E028", "E030"}


def _merged(*layers: Iterable[Fault]) -> list[Fault]:
    """The faults of all checks, those that know most first, without what was told of the same place before."""
    told: dict[tuple[Place, str, str], Fault] = {}
    places: set[Place] = set()
    for layer in layers:
        kept = [fault for fault in layer if fault.code not in _BY_ITSELF or fault.place not in places]
        told |= {(fault.place, fault.code, fault.message): fault for fault in kept}
        places |= {fault.place for fault in kept}
    return sorted(told.values(), key=lambda fault: (fault.place.line, fault.place.column, fault.code))


def _without_secrets(faults: list[Fault], source: Source) -> Iterator[Fault]:
    """The faults, without the lines and the words that would show the default of a secret input."""
    inputs = source.data.get("inputs")
    secret: list[Loc] = [
        loc
        for name, declared in (inputs.items() if isinstance(inputs, dict) else ())
        if checks.is_secret(declared)
        for key in ("default", "enum")
        if key in declared
        for loc in _within(declared[key], ("inputs", name, key))
    ]
    lines = {line for loc in secret for line in source.lines_of(loc)}
    values = {(place.line, place.column) for loc in secret for place in [source.place(loc)]}
    for fault in faults:
        place = fault.place
        if (place.line, place.column) in values:
            yield Fault(fault.code, CODES[fault.code], replace(place, text=""))
        elif place.line in lines:
            yield replace(fault, place=replace(place, text=""))
        else:
            yield fault


def _within(value: Any, loc: Loc) -> Iterator[Loc]:
    """The place of a value, and of every value in it."""
    yield loc
    match value:
        case list():
            for index, each in enumerate(value):
                yield from _within(each, (*loc, index))
        case dict():
            for key, each in value.items():
                yield from _within(each, (*loc, key))
