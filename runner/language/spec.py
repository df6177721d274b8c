"""A source to a checked workflow, or to all its faults: the models here are the language."""

import re
from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StringConstraints,
    Tag,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from runner.language import checks, expressions, inputs, schema_errors
from runner.language.faults import Fault, InvalidWorkflow, Place
from runner.language.inputs import Input
from runner.language.limits import read_rate
from runner.language.source import Loc, Source
from runner.language.steps import BATCH_LIMIT, default_id, fans_out, mapping, with_tasks
from runner.language.task_index import TaskIndex

DAY = 24 * 3600.0


def read_workflow(source: Source, tasks: TaskIndex) -> "Workflow":
    """Check a file's data against the language and the tasks.

    Raises:
        InvalidWorkflow: with every fault of the file.
    """
    workflow, wrong, unknown = None, list[Fault](), set[Loc]()
    try:
        workflow = Workflow.model_validate(source.draft)
    except ValidationError as error:
        errors = [_untagged(each) for each in error.errors(include_url=False)[: checks.FAULT_LIMIT]]
        wrong = schema_errors.faults(errors, source, Workflow, partial(checks.takes, source, tasks))
        unknown = {each["loc"] for each in errors if each["type"] == "extra_forbidden"}
    all_faults = _merged(checks.faults(source, tasks, unknown), [*wrong, *inputs.faults(source)], source.faults)
    if all_faults or workflow is None:
        raise InvalidWorkflow(tuple(_without_secrets(all_faults, source)))
    return workflow


def _untagged(error: ErrorDetails) -> ErrorDetails:
    """Return an error with its place in the file: Pydantic's has the tag of the model after the index of a stage."""
    match error["loc"]:
        case ("stages", int(index), "step" | "fan-out", *rest):
            return {**error, "loc": ("stages", index, *rest)}
    return error


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
    outside = schema_errors.error(
        "E028",
        f"expected a duration from {'1ms' if least else '0s'} to 24h",
        "write 30s, 5m, 1h30m, 500ms, or a number of seconds",
    )
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        groups = match.groups() if match and value else ()
        parts = [(float(number), unit) for number, unit in zip(groups[::2], groups[1::2], strict=True) if number]
        if not parts:
            raise outside
        seconds = sum(number * _UNITS[unit] for number, unit in parts)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise schema_errors.error("E007", "expected a duration", "write 30s, 5m, 1h30m, 500ms, or a number of seconds")
    if not least <= seconds <= DAY:  # nan fails here, too
        raise outside
    return seconds


def read_duration(value: Any) -> float:
    """Return a duration in seconds, as it is written in a file.

    Raises:
        ValueError: it is none, or longer than a day.
    """
    return _seconds(value, 0.001)


def _as_retry(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"max_retries": value}
    if isinstance(value, dict):
        return value
    raise schema_errors.error(
        "E007", "expected a number of retries, or a mapping", "write retry: 3, or {max_retries: 3, delay: 2s}"
    )


def _jitter(value: Any) -> Any:
    if value in ("full", "none") or (isinstance(value, int | float) and value is not True and 0 <= value <= 1):
        return value if isinstance(value, str) else float(value)
    raise schema_errors.error("E028", "expected full, none, or a share from 0 to 1")


def _error_name(value: Any) -> Any:
    if (status := str(value)) in _STATUSES and not isinstance(value, bool):
        raise schema_errors.error(
            "E030", "expected the name of an exception, or http_429, http_5xx", f"write http_{status}"
        )
    if not isinstance(value, str) or re.fullmatch(r"http_[1-5](xx|\d\d)|(?!http_)[^\W\d]\w*(\.[^\W\d]\w*)*", value):
        return value
    raise schema_errors.error("E030", "expected the name of an exception, or http_429, http_5xx")


def _condition(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, str) and "${{" in value and expressions.is_one(value)):
        return value
    hint = (
        f"write ${{{{ {value} }}}}" if isinstance(value, str) and "${{" not in value else "write ${{ size(value) > 0 }}"
    )
    raise schema_errors.error("E007", "expected true, false or one expression", hint)


_STATUSES = {*map(str, range(100, 600)), "1xx", "2xx", "3xx", "4xx", "5xx"}
_FILE_NAME = re.compile(r"[\w./-]{1,80}\.[^\W\d]\w{0,7}")
_FROM_TO = re.compile(r"(\d{1,7}) ?(?:\.\.\.?|-) ?(\d{1,7})")
_IN_BRACES = re.compile(r"range\([^{}]{1,80}\)|inputs\.\w{1,63}")
_PERCENTAGE = "^(100|[1-9]?[0-9])%$"


def _min_success(value: Any) -> Any:
    """A number of collectors, or a percentage of them; `checks` compares it with the number of collectors."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value >= 0:
            return value
        raise schema_errors.error("E028", "expected at least 0")
    if isinstance(value, str):
        if re.fullmatch(_PERCENTAGE, value):
            return value
        raise schema_errors.error(
            "E028", "expected a number of collectors, or a percentage from 0% to 100%", "write 3 or 60%"
        )
    raise schema_errors.error("E007", "expected a number of collectors, or a percentage", "write 3 or 60%")


def _as_foreach(value: Any) -> Any:
    if isinstance(value, str) and not expressions.is_one(value):
        hint = f"write {{items: {{file: {value}}}}}" if _is_file(value) else _items_hint(value)
        raise schema_errors.error(
            "E007", "expected a list of items, an expression whose value is one, or a mapping", hint
        )
    if isinstance(value, list | str):
        return {"items": value}
    if isinstance(value, dict) and "items" not in value and isinstance(value.get("file"), str):
        hint = f"write {{items: {{file: {value['file']}}}}}"
        raise schema_errors.error(
            "E007", "expected a list of items, an expression, or a mapping with the key items", hint
        )
    if isinstance(value, dict):
        return value
    raise schema_errors.error("E007", "expected a list of items, an expression, or a mapping", _items_hint(value))


def _is_file(text: str) -> bool:
    return bool(_FILE_NAME.fullmatch(text)) and not text.startswith("inputs.")


def _items_hint(value: Any) -> str:
    """Return the hint for ``1..10``, ``range(10)``, ``inputs.pages`` or ``10``."""
    text = value.strip() if isinstance(value, str) else ""
    if ends := _FROM_TO.fullmatch(text):
        return f"write ${{{{ range({int(ends[1])}, {int(ends[2]) + 1}) }}}}"
    if _IN_BRACES.fullmatch(text):
        return f"write ${{{{ {text} }}}}"
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return f"write ${{{{ range({value}) }}}}"
    return "write ${{ inputs.NAME }}, or a list"


def _items(value: Any) -> Any:
    if isinstance(value, list) or (isinstance(value, str) and expressions.is_one(value)):
        return value
    if isinstance(value, dict):
        return ItemsFile.model_validate(value)
    raise schema_errors.error(
        "E007",
        "expected a list of items, one expression whose value is a list, or a file",
        f"write {{file: {value}}}" if isinstance(value, str) and _is_file(value) else _items_hint(value),
    )


def _item_name(value: Any) -> Any:
    if not isinstance(value, str) or (re.fullmatch(_IDENTIFIER, value) and value not in expressions.RESERVED):
        return value
    raise schema_errors.error(
        "E030", "expected a name of letters, digits and _, and none that expressions have already"
    )


def _item_key(value: Any) -> Any:
    if not isinstance(value, str) or "${{" in value:
        return value
    raise schema_errors.error("E028", "expected an expression, as every item has a key of its own", "write ${{ item }}")


def _batch(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= BATCH_LIMIT):
        return value
    if isinstance(value, int | str) and not isinstance(value, bool):
        raise schema_errors.error("E028", f"expected auto, or a number of collectors from 1 to {BATCH_LIMIT:,}")
    raise schema_errors.error("E007", "expected auto, or a number of collectors")


def _rate(value: Any) -> Any:
    if isinstance(value, str) and read_rate(value):
        return value
    if not isinstance(value, str):
        raise schema_errors.error("E007", "expected a number of starts and a time", "write 30/1m, 5/s or 5000/1h")
    raise schema_errors.error(
        "E028", "expected 1 to 1,000,000 starts, and a time from 1ms to 24h", "write 30/1m, 5/s or 5000/1h"
    )


def _limit_key(value: Any) -> Any:
    if not isinstance(value, str) or expressions.is_one(value):
        return value
    raise schema_errors.error("E028", "expected one expression, each of whose values has a limit", "write ${{ item }}")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | int) else value


def _or_mapping(value: Any) -> Any:
    """Null is an empty mapping: everything beneath the key may be commented out."""
    return {} if value is None else value


def _or_list(value: Any) -> Any:
    return [] if value is None else value


Slug = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_-]{0,62}$")]
InputName = Annotated[str, StringConstraints(pattern="^[A-Za-z][A-Za-z0-9_]{0,62}$")]
# The length is checked apart: \w{1,255} is a regular expression of over 10 MiB to Rust.
TaskName = Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=255)]
QueueName = Annotated[str, StringConstraints(pattern=r"^[\w.:-]+$", max_length=255)]
Timeout = Annotated[float, BeforeValidator(lambda value: _seconds(value, 0.001)), WithJsonSchema(_DURATION_SCHEMA)]
Delay = Annotated[float, BeforeValidator(lambda value: _seconds(value, 0.0)), WithJsonSchema(_DURATION_SCHEMA)]
MinSuccess = Annotated[
    int | str,
    BeforeValidator(_min_success),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _PERCENTAGE}]}),
]
_IDENTIFIER = "^[A-Za-z_][A-Za-z0-9_]{0,62}$"
Batch = Annotated[
    int | Literal["auto"],
    BeforeValidator(_batch),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": BATCH_LIMIT}]}),
]
ErrorNames = Annotated[
    list[Annotated[str, BeforeValidator(_error_name)]],
    BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
]


class _Model(BaseModel):
    # Strict: "5" where a number is meant is a fault.
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


class Cooldown(_Model):
    """What closes a limit for a while."""

    on: ErrorNames = Field(
        ["http_429", "http_503"],
        description="Errors that close it, besides those that say how long to wait: exception class names, or http_429.",
    )
    default: Timeout = Field(30.0, description="For how long, if the error does not say (Retry-After).")
    max: Timeout = Field(
        900.0,
        description="A step that is told to wait longer fails at once; so does one after a row of errors as long.",
    )


class Breaker(_Model):
    """After so many final failures in a row the source is left alone for a while."""

    failures: int = Field(5, ge=1, le=1000, description="How many in a row.")
    open_for: Timeout = Field(300.0, description="For how long; then one step tries.")


class Limit(_Model):
    """How politely a source is treated, by the steps of all runs, workflows and workers that name the limit."""

    rate: (
        Annotated[
            list[Annotated[str, BeforeValidator(_rate)]],
            BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
            Field(min_length=1, max_length=10),
        ]
        | None
    ) = Field(None, description="How many may start in a time: 30/1m, 5/s; of a list, all must allow it.")
    burst: int = Field(1, ge=1, le=10_000, description="How many may start at once after a pause.")
    concurrency: int | None = Field(None, ge=1, le=10_000, description="How many are executed at once.")
    key: Annotated[str, BeforeValidator(_limit_key)] | None = Field(
        None, description="An expression; each of its values has a limit of its own."
    )
    cooldown: Annotated[Cooldown, BeforeValidator(_or_mapping)] = Field(
        default_factory=Cooldown, description="What closes it for everybody until a time."
    )
    breaker: Breaker | None = Field(None, description="After how many failures it is closed, and for how long.")


class ItemsFile(_Model):
    """A file of items, one after the other."""

    file: str = Field(min_length=1, description="Its path, relative to where `run` was started.")
    format: Literal["lines", "jsonl", "csv"] | None = Field(
        None, description="Without this key what the suffix says: .jsonl, .ndjson, .csv, and lines for any other."
    )


class Foreach(_Model):
    """A collector for each of many items."""

    items: Annotated[
        ItemsFile | list[Any] | str,
        PlainValidator(_items, json_schema_input_type=ItemsFile | list[Any] | str),
    ] = Field(description="A list, one expression whose value is a list, or a file.")
    as_: Annotated[
        str, BeforeValidator(_item_name, json_schema_input_type=Annotated[str, Field(pattern=_IDENTIFIER)])
    ] = Field("item", alias="as", description="What the expressions of the collector call the item.")
    key: Annotated[str, BeforeValidator(_item_key)] | None = Field(
        None, description="An expression that tells an item from the others; without it, its place in the list."
    )
    max_items: int | None = Field(
        None, ge=1, le=expressions.ITEM_LIMIT, description="The most items that there may be, if not a million."
    )


class StepKeys(_Model):
    """The keys of any step, and of the defaults of its kind. A key added here works in both."""

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
    limits: Annotated[list[Slug], BeforeValidator(_as_list, json_schema_input_type=str | list[str])] = Field(
        [], max_length=10, description="Names of limits, all of which must allow a start of the step."
    )


class Then(_Model):
    """One call of one Celery task, whose first argument is the value of the call before."""

    task: TaskName = Field(description="The registered name of the Celery task.")
    with_: Annotated[dict[str, Any], BeforeValidator(_or_mapping)] = Field(
        {}, alias="with", description="Keyword arguments of the task. ${{ … }} is expanded in its strings."
    )


class _Conditional(_Model):
    """The key of every step that may be skipped."""

    when: Annotated[bool | str, BeforeValidator(_condition)] | None = Field(
        None, description="Whether it is executed: true, false, or one expression whose value is one of them."
    )


class _CollectorKeys(_Conditional):
    """The keys that only a collector has, and the defaults of collectors."""

    required: bool | None = Field(
        None, description="Whether the run fails if it does; without this key, if the gather has no min_success."
    )
    foreach: (
        Annotated[
            Foreach,
            BeforeValidator(_as_foreach, json_schema_input_type=list[Any] | str | Foreach),
        ]
        | None
    ) = Field(None, description="The collector is repeated for each of these items.")
    batch: Batch | None = Field(
        None, description="How many collectors of a foreach share a message: auto, or a number."
    )
    max_concurrency: int | None = Field(
        None, ge=1, le=1000, description="How many collectors of the foreach are executed at once, by all workers."
    )
    then: Annotated[list[Then], BeforeValidator(_or_list)] = Field(
        [], max_length=20, description="Tasks that are handed the value before them, in the same attempt."
    )


class StepDefaults(StepKeys):
    """Keys for every step of a kind. A step's own key replaces the default whole; `with` is merged by name."""

    task: TaskName | None = Field(None, description="The registered name of the Celery task.")


class CollectorDefaults(_CollectorKeys, StepDefaults):
    """Keys for every collector."""


class Step(StepKeys):
    """One call of one Celery task."""

    task: TaskName = Field(description="The registered name of the Celery task.")


class Collector(_CollectorKeys, Step):
    """A step that runs in parallel with the other collectors."""

    id: Slug = Field(description="Its name, unique in the workflow: lower-case letters, digits, _ and -.")


class _StageKeys(_Conditional):
    """The keys that only a stage has, and the defaults of stages."""

    required: bool | None = Field(
        None, description="Whether the run fails if it does; if not, the value before it is handed on."
    )


class StageDefaults(_StageKeys, StepDefaults):
    """Keys for every stage."""


class Stage(_StageKeys, Step):
    """A step whose first argument is the value before it; the first part of a file has none."""

    id: Slug = Field(description="Its name, unique in the workflow: lower-case letters, digits, _ and -.")


class StageGather(Step):
    """The fan-in: a step whose first argument is the list of the collectors' values."""

    min_success: MinSuccess | None = Field(
        None, description="How many collectors must succeed: a number, or a percentage of them, 60%."
    )
    deadline: Timeout | None = Field(
        None, description="Time from the start of the fan-out; a collector that has not ended by then is late."
    )

    stop: Literal["early"] | None = Field(
        None, description="early: the fan-out ends as soon as min_success have succeeded, and the rest is cancelled."
    )


class Gather(StageGather):
    """The fan-in of the first part of the file, which has an id of its own."""

    id: Slug | None = Field(None, description="Its name, unique in the workflow; without one, the task's name.")

    @property
    def step_id(self) -> str:
        """Its id, or one made of its task's name: ``gather.concat`` as ``gather_concat``."""
        return self.id or default_id(self.task)


class FanOutStage(_StageKeys):
    """Collectors in parallel and their gather, once the value before them is there."""

    id: Slug = Field(description="Its name, unique in the workflow, and that of its gather.")
    collectors: Annotated[list[Collector], BeforeValidator(_or_list)] = Field(
        min_length=1, max_length=10_000, description="Steps that run in parallel; their order is kept in the results."
    )
    gather: StageGather | None = Field(
        None, description="The fan-in. Without it, the list of values itself is the value."
    )


class Hook(_Conditional, Step):
    """A step that is executed once the run has ended, whose status it does not change."""

    id: Slug = Field(description="Its name, unique in the workflow: lower-case letters, digits, _ and -.")


HookList = Annotated[list[Hook], BeforeValidator(_or_list)]


class Hooks(_Model):
    """Steps that are executed once the run has ended, one after the other."""

    on_success: HookList = Field([], max_length=20, description="If it has succeeded.")
    on_partial: HookList = Field([], max_length=20, description="If it has a result, and something is missing.")
    on_failure: HookList = Field([], max_length=20, description="If it has failed.")
    on_cancelled: HookList = Field([], max_length=20, description="If it was cancelled.")
    on_recovered: HookList = Field(
        [], max_length=20, description="If it has succeeded, and the run of the workflow before it had not."
    )
    finally_: HookList = Field(
        [], alias="finally", max_length=20, description="However it has ended, after the others."
    )


class Defaults(_Model):
    """Keys that apply to steps without a key of their own."""

    collectors: CollectorDefaults | None = Field(None, description="Defaults of every collector.")
    stages: StageDefaults | None = Field(None, description="Defaults of every stage.")


class Workflow(_Model):
    """Collectors in parallel, then the gather, then stages in a row."""

    name: Slug = Field(description="Its name: lower-case letters, digits, _ and -.")
    description: str = Field("", description="Shown by `run FILE --help` and in the drawing.")
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
        [],
        min_length=1,
        max_length=10_000,
        description="Steps that run in parallel; their order is kept in the results. They may be left out before stages.",
    )
    gather: Gather | None = Field(None, description="The fan-in. Without it, the list of values itself is the value.")
    stages: Annotated[
        list[
            Annotated[
                Annotated[Stage, Tag("step")] | Annotated[FanOutStage, Tag("fan-out")],
                Discriminator(lambda stage: "fan-out" if fans_out(stage) else "step"),
            ]
        ],
        BeforeValidator(_or_list),
    ] = Field([], max_length=100, description="Steps or fan-outs in a row; each gets the value before it.")

    hooks: Annotated[Hooks, BeforeValidator(_or_mapping)] = Field(
        default_factory=Hooks, description="Steps that are executed once the run has ended."
    )
    timeout: Timeout | None = Field(None, description="Time from the run's first step after which the run fails.")
    limits: Annotated[dict[Slug, Annotated[Limit, BeforeValidator(_or_mapping)]], BeforeValidator(_or_mapping)] = Field(
        {}, max_length=100, description="How politely each source is treated; steps name the limits that they need."
    )

    @model_validator(mode="before")
    @classmethod
    def _task_from_defaults(cls, data: Any) -> Any:
        """Fill in the task of the defaults, so that `task` can be a required key."""
        return with_tasks(data) if isinstance(data, dict) else data


# All faults of a file together

# Codes of faults in a value by itself: if another check has reported the same value, they add nothing.
_BY_ITSELF = {"E007", "E018", "E028", "E030"}


def _merged(*layers: Iterable[Fault]) -> list[Fault]:
    """Merge the faults of all checks, the most specific first; a place that is reported already is left out."""
    merged: dict[tuple[Place, str, str], Fault] = {}
    places: set[Place] = set()
    for layer in layers:
        kept = [fault for fault in layer if fault.code not in _BY_ITSELF or fault.place not in places]
        merged |= {(fault.place, fault.code, fault.message): fault for fault in kept}
        places |= {fault.place for fault in kept}
    return sorted(merged.values(), key=lambda fault: (fault.place.line, fault.place.column, fault.code))


def _without_secrets(faults: list[Fault], source: Source) -> list[Fault]:
    """Return the faults without the words that would show the default of a secret input."""
    names = [name for name, declared in mapping(source.draft.get("inputs")).items() if checks.is_secret(declared)]
    return source.hide(faults, [("inputs", name, key) for name in names for key in ("default", "enum")])
