"""A file's data to the steps that are written in it, each with its defaults: the one place that knows the shape of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # a worker reads plans, and does not need the YAML parser
    from runner.language.source import Loc

Kind = Literal["collector", "gather", "stage", "then", "hook"]

BATCH_LIMIT = 1_000  # collectors in a message: as many are repeated if their worker dies

# The keys of a file that have a list of steps; the same keys of `defaults` have what those steps share.
LISTS: Mapping[str, Kind] = {"collectors": "collector", "stages": "stage"}


# The ends of a run that have hooks, in the order in which those of one end are executed.
HOOKS = ("on_success", "on_partial", "on_failure", "on_cancelled", "on_recovered", "finally")


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenStep:
    """A step as it is written, and the defaults of its kind.

    Args:
        loc: its place.
        defaults_loc: the place of its defaults, if there are any.
        fan_out_id: of the gather of a stage that fans out, the id of the stage, which is its own.
        leads: whether nothing precedes its part: there is no value before it.
    """

    kind: Kind
    loc: Loc
    data: Mapping[str, Any]
    defaults: Mapping[str, Any]
    defaults_loc: Loc
    fan_out_id: Any = None
    leads: bool = False

    @property
    def id(self) -> Any:
        """Its id, of whatever type; for a gather without one, the id made of its task's name."""
        if self.kind == "gather" and self.loc != ("gather",):
            return self.fan_out_id
        stated, task = self.data.get("id"), self.data.get("task")
        return default_id(task) if self.kind == "gather" and stated is None and isinstance(task, str) else stated

    def value(self, key: str) -> tuple[Any, Loc]:
        """Return the value of a key in the step, or else in its defaults, and its place."""
        if key in self.data or key not in self.defaults:
            return self.data.get(key), (*self.loc, key)
        return self.defaults[key], (*self.defaults_loc, key)

    def thens(self) -> Iterator[WrittenStep]:
        """Yield the calls under ``then``, in their order; one that is no mapping is skipped."""
        value, loc = self.value("then") if self.kind == "collector" else (None, ())
        for at, each in enumerate(value if isinstance(value, list) else []):
            if isinstance(each, dict):
                yield WrittenStep(kind="then", loc=(*loc, at), data=each, defaults={}, defaults_loc=())

    def arguments(self) -> dict[str, tuple[Any, Loc]] | None:
        """Return the arguments under ``with``, each with its place; None if they cannot be read."""
        given: dict[str, tuple[Any, Loc]] = {}
        for data, loc in ((self.defaults, self.defaults_loc), (self.data, self.loc)):
            under = data.get("with") or {}
            if not isinstance(under, dict):
                return None
            given |= {name: (value, (*loc, "with", name)) for name, value in under.items()}
        return given


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFanOut:
    """Collectors and their gather, as they are written.

    Args:
        loc: the place of the stage, empty for the first part of the file.
        data: the mapping that has the keys ``collectors`` and ``gather``.
    """

    loc: Loc
    data: Mapping[str, Any]

    def value(self, key: str, data: Mapping[str, Any]) -> tuple[Any, Loc]:
        """Return the value of a key of a stage that fans out, or else of the defaults of stages, and its place.

        Args:
            data: of the file.
        """
        common = mapping(_value_at(data, ("defaults", "stages")))
        if key in self.data or key not in common:
            return self.data.get(key), (*self.loc, key)
        return common[key], ("defaults", "stages", key)


def fan_outs(data: Mapping[str, Any]) -> Iterator[WrittenFanOut]:
    """Yield the fan-outs of data that may be malformed, in the order in which they are executed."""
    if "collectors" in data:
        yield WrittenFanOut(loc=(), data=data)
    for loc in _indices(data, "stages"):
        if fans_out(stage := _value_at(data, loc)):
            yield WrittenFanOut(loc=loc, data=stage)


def fans_out(stage: Any) -> bool:
    """Whether the data of a stage are those of a fan-out, and not of a step."""
    return isinstance(stage, dict) and ("collectors" in stage or ("gather" in stage and "task" not in stage))


def walk(data: Mapping[str, Any]) -> Iterator[WrittenStep]:
    """Yield the collectors, gathers and stages of data that may be malformed; a step that is no mapping is skipped."""
    for loc in _places(data):
        step = step_at(data, loc)
        if step is not None:
            yield step


def calls(data: Mapping[str, Any]) -> Iterator[WrittenStep]:
    """Yield every call of a task: each step, and after it what is under its ``then``."""
    for step in walk(data):
        yield step
        yield from step.thens()


def step_at(data: Mapping[str, Any], loc: Loc) -> WrittenStep | None:
    """Return the step at a place, or around it; None if there is none, or if it is no mapping."""
    place = next((loc[:depth] for depth in range(len(loc), 0, -1) if kind_at(loc[:depth])), ())
    kind, step = kind_at(place), _value_at(data, place)
    if kind is None or not isinstance(step, dict) or (kind == "stage" and fans_out(step)):
        return None
    defaults_loc: Loc = ("defaults", place[-2]) if kind in LISTS.values() else ()
    defaults = mapping(_value_at(data, defaults_loc)) if defaults_loc else {}
    return WrittenStep(
        kind=kind,
        loc=place,
        data=step,
        defaults=defaults,
        defaults_loc=defaults_loc,
        fan_out_id=mapping(_value_at(data, place[:2])).get("id") if place[0] == "stages" else None,
        leads=place[0] != "stages" or (place[1] == 0 and "collectors" not in data),
    )


def kind_at(loc: Loc) -> Kind | None:
    """Return the kind of the step that belongs at exactly this place; None if none does."""
    match loc:
        case (str(key), int()):
            return LISTS.get(key)
        case ("gather",) | ("stages", int(), "gather"):
            return "gather"
        case ("stages", int(), "collectors", int()):
            return "collector"
        case (str(key), int(), "then", int()) | ("defaults", str(key), "then", int()) if LISTS.get(key) == "collector":
            return "then"
        case ("stages", int(), "collectors", int(), "then", int()):
            return "then"
        case ("hooks", str(key), int()) if key in HOOKS:
            return "hook"
    return None


def _value_at(data: Any, loc: Loc) -> Any:
    """Return the value at a place; None if there is none."""
    for key in loc:
        match key, data:
            case str(), dict():
                data = data.get(key)
            case int(), list() if key < len(data):
                data = data[key]
            case _:
                return None
    return data


def _places(data: Mapping[str, Any]) -> Iterator[Loc]:
    """Yield the places of steps, in the order in which they are executed."""
    yield from _indices(data, "collectors")
    yield ("gather",)
    for loc in _indices(data, "stages"):
        if fans_out(stage := _value_at(data, loc)):
            yield from ((*loc, *place) for place in _indices(stage, "collectors"))
            yield (*loc, "gather")
        else:
            yield loc
    hooks = mapping(data.get("hooks"))
    for key in HOOKS:
        yield from (("hooks", *place) for place in _indices(hooks, key))


def _indices(data: Mapping[str, Any], key: str) -> Iterator[Loc]:
    steps = data.get(key)
    return ((key, index) for index in range(len(steps) if isinstance(steps, list) else 0))


def defaults_places() -> Iterator[tuple[Kind, Loc]]:
    """Yield the places of defaults, with the kind of the steps that they are for."""
    return ((kind, ("defaults", key)) for key, kind in LISTS.items())


def misshapen(data: Mapping[str, Any]) -> set[str]:
    """Return the keys whose steps are not the list or the mapping they should be: values beneath are not reported again."""
    shapes: Mapping[str, type] = {**dict.fromkeys(LISTS, list), "gather": dict}
    return {key for key, shape in shapes.items() if not isinstance(data.get(key), shape)}


def with_tasks(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the data with the task of the defaults filled into the steps without one."""
    filled = {key: _copied(value) if key in LISTS else value for key, value in data.items()}
    for step in walk(data):
        if "task" in step.defaults:
            holder: Any = filled
            for key in step.loc[:-1]:
                holder = holder[key]
            holder[step.loc[-1]] = {"task": step.defaults["task"], **step.data}
    return filled


def _copied(steps: Any) -> Any:
    """Return a copy of a list of steps as far as `with_tasks` changes it."""
    if not isinstance(steps, list):
        return steps
    return [
        {**each, "collectors": _copied(each["collectors"])} if fans_out(each) and "collectors" in each else each
        for each in steps
    ]


def default_id(task: str) -> str:
    """Return the id of a gather without one, made of its task's name: ``gather.concat`` as ``gather_concat``."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in task.lower())
    return name.lstrip("_-0123456789")[-63:].lstrip("_-0123456789") or "gather"


def is_slug(name: str) -> bool:
    """Whether it may be the name of a step, a limit or a workflow."""
    return re.fullmatch("[a-z][a-z0-9_-]{0,62}", name) is not None


def strings(value: Any, loc: Loc = ()) -> Iterator[tuple[Loc, str]]:
    """Yield every string of a JSON value, but for keys, with its place below ``loc``."""
    match value:
        case str():
            yield loc, value
        case list():
            for index, each in enumerate(value):
                yield from strings(each, (*loc, index))
        case Mapping():
            for key, each in value.items():
                yield from strings(each, (*loc, key))


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the value if it is a mapping, and else an empty one."""
    return value if isinstance(value, dict) else {}
