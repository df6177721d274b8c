"""A checked workflow to a plan: every step in order, its defaults applied, frozen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from runner.language import expressions
from runner.language.ids import batch_ref, item_id, written
from runner.language.limits import Limit, Rate, read_rate
from runner.language.steps import HOOKS, Kind, WrittenStep, fan_outs, walk

if TYPE_CHECKING:  # a worker loads plans, and need not wait 0.1 s for the models of the language
    from runner.language import spec
    from runner.language.conditions import Condition
    from runner.language.source import Loc, Source
    from runner.language.task_index import TaskIndex

Thing = TypeVar("Thing")
NO_NAMES: Mapping[str, Any] = {}
Jitter = Literal["full", "none"] | float

# Seconds after its timeout until a step that nothing interrupts is killed with its process.
HARD_LIMIT_AFTER = 1.0
# What the file calls each end of a run.
_HOOK_OF = {
    "succeeded": "on_success",
    "partial": "on_partial",
    "failed": "on_failure",
    "cancelled": "on_cancelled",
}
# The version of a stored plan. A worker of a lower version would execute the plan wrongly, and leaves it to others. A new
# key needs no new version: a worker that does not know the key leaves the plan as well, and a plan without it is unchanged.
VERSION = 1


class NewerVersion(ValueError):
    """A stored plan that a newer version of this program has written.

    Args:
        needs: what a worker must read, in words: ``plans of version 2``.
    """

    def __init__(self, reason: str, needs: str) -> None:
        super().__init__(reason)
        self.needs = needs


def plans_of(version: int) -> str:
    """Return the words by which a worker offers to read such plans."""
    return f"plans of version {version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """When and how a failed attempt is tried again.

    Args:
        max_retries: tries after the first.
        delay: seconds before the first retry.
        backoff: what the delay is multiplied by after each.
        max_delay: seconds that no delay exceeds.
        jitter: ``full`` draws from 0 to the delay, ``none`` keeps it, a share keeps all but that share.
        max_duration: seconds from the first start after which nothing is tried again.
        on: exception class names, or ``http_429``, ``http_5xx``: only these are tried again; empty for all.
        not_on: the same, never tried again.
    """

    max_retries: int = 0
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 300.0
    jitter: Jitter = "full"
    max_duration: float | None = None
    on: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreach:
    """The items that a collector is repeated for: one collector for each item.

    Args:
        items: as written: a list, an expression that gives one, or ``{"file": …}``.
        name: the item's name in expressions: the key ``as``.
        key: an expression that gives an item its key; None for its place in the list.
        max_items: how many there may be; None for as many as the language allows.
    """

    items: Any
    name: str = "item"
    key: str | None = None
    max_items: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One of the items of a ``foreach``.

    Args:
        value: anything JSON.
        key: identifies it among the others: the collector's id is ``page[key]``.
        index: its place among them, from 0.
        batch: the number of its batch, if it was read from the ledger.
    """

    value: Any
    key: str
    index: int
    batch: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One call of one task.

    A collector with ``foreach`` stands for all of its items; ``of`` makes the collector of one of them.

    Args:
        task: its registered name; None for a gather left out, whose value is the list itself.
        arguments: the step's ``with``, its ``${{ }}`` not yet expanded: only the run knows its id.
        timeout: seconds an attempt may take; None for no limit.
        queue: the Celery queue that the file says; `Layout.queue_of` is the one that it is sent to.
        required: whether the run fails if it does; of a gather, if its fan-out does.
        when: whether it is executed, as written: an expression, or a boolean; None for always. Of a gather, whether its fan-out is.
        place: ``file:line:col`` of the step in the YAML.
        batch: how many of a ``foreach`` share a message; None to derive it from their number.
        max_concurrency: how many collectors of a ``foreach`` are executed at once, in all batches of a run together; None
            for no limit.
        together: how many of one message a process executes at once, as the source of the task shows; None if it is unknown.
        then: of a collector, the calls that follow in the same attempt, each handed the value before it.
        limits: names of the limits that must allow a start.
        item: the item of this collector of a ``foreach``.
    """

    id: str
    kind: Kind
    task: str | None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    retry: Retry = Retry()
    queue: str | None = None
    priority: int | None = None
    required: bool = True
    when: Condition | None = None
    place: str = ""
    foreach: Foreach | None = None
    batch: int | None = None
    max_concurrency: int | None = None
    together: int | None = None
    then: tuple[Step, ...] = ()
    limits: tuple[str, ...] = ()
    item: Item | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that an attempt calls: its own, and those under ``then``."""
        return tuple(each.task for each in (self, *self.then) if each.task is not None)

    @property
    def at_once(self) -> int:
        """How many of one message a process executes at once, as far as is known before it does."""
        return self.max_concurrency or self.together or 1

    @property
    def ref(self) -> str:
        """Its name in its message: its id, or its batch; empty for a step that is no collector."""
        if self.kind != "collector":
            return ""
        return self.id if self.item is None else batch_ref(written(self.id), self.item.batch)

    @property
    def item_names(self) -> Mapping[str, Any]:
        """What an expression of the collector of one item may name besides: the item, and its place."""
        if self.foreach is None or self.item is None:
            return NO_NAMES
        return {self.foreach.name: self.item.value, "item_index": self.item.index}

    def of(self, item: Item) -> Step:
        """Return the collector of one of its items."""
        return replace(self, id=item_id(self.id, item.key), item=item)


@dataclass(frozen=True, kw_only=True, slots=True)
class FanOut:
    """Collectors in parallel, and the gather that gets their values: one chord.

    Args:
        min_success: as written, how many collectors must succeed, besides those that are required: a number, or ``60%``.
        deadline: seconds from the start of the fan-out; a collector that has not ended by then is late. None for no limit.
        stop: ``early`` if the fan-out ends once ``min_success`` have succeeded, and the rest is not needed.
    """

    collectors: tuple[Step, ...]
    gather: Step
    min_success: int | str | None = None
    deadline: float | None = None
    stop: str | None = None

    @property
    def id(self) -> str:
        """Its id: that of its gather."""
        return self.gather.id

    @property
    def tolerant(self) -> bool:
        """Whether the run may continue if a collector fails."""
        return self.min_success is not None or not all(step.required for step in self.collectors)


Part = FanOut | Step


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parts of a run, one after the other; each gets the value of the part before.

    Args:
        parts: a fan-out, whose value is its gather's, or a stage.
        include: modules with its tasks, for the worker that `run` starts.
        directory: of the YAML, where those modules are searched first.
        secrets: names of the inputs whose values are never shown.
        hooks: for each end of a run, as the file calls it, the steps that follow it.
        timeout: seconds from its first step after which a run fails.
        limits: by their names.
        version: the least version of the program that can read it from the ledger.
    """

    name: str
    description: str
    parts: tuple[Part, ...]
    include: tuple[str, ...] = ()
    directory: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    hooks: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    timeout: float | None = None
    limits: Mapping[str, Limit] = field(default_factory=dict)
    version: int = VERSION

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Every step, in the order of the parts."""
        return tuple(step for part in self.parts for step in steps_of(part))

    @cached_property
    def hook_steps(self) -> tuple[Step, ...]:
        """The steps under every hook."""
        return tuple(step for name in HOOKS for step in self.hooks.get(name, ()))

    def hooks_of(self, status: str, *, recovered: bool) -> tuple[Step, ...]:
        """Return the hooks of an end, in their order.

        Args:
            status: of the run.
            recovered: whether it has succeeded, and the run before it had not.
        """
        ends = [_HOOK_OF[status], *(["on_recovered"] if recovered else []), "finally"]
        return tuple(step for end in ends for step in self.hooks.get(end, ()))

    @cached_property
    def fan_outs(self) -> tuple[FanOut, ...]:
        return tuple(part for part in self.parts if isinstance(part, FanOut))

    @cached_property
    def collectors(self) -> tuple[Step, ...]:
        """The collectors of every fan-out."""
        return tuple(step for fan_out in self.fan_outs for step in fan_out.collectors)

    @cached_property
    def tail(self) -> tuple[Step, ...]:
        """The steps that make the value of a part, one at a time: every gather and stage."""
        return tuple(map(end_of, self.parts))

    @cached_property
    def dispensable(self) -> tuple[Step, ...]:
        """The gathers and stages that may fail: the value before them is handed on."""
        return tuple(step for step in self.tail if not step.required)

    @property
    def hash(self) -> str:
        """Twelve characters that change with the workflow, but not with the inputs, nor with the places and queues of its steps.

        They stay the same if the language gets a new key: a key with its default is left out. Hooks and the timeout change
        no result.
        """
        deeds = [_deed(step) for step in self.steps]
        tolerances = [each for fan_out in self.fan_outs for each in (fan_out.min_success, fan_out.deadline)]
        tolerances += [fan_out.stop for fan_out in self.fan_outs if fan_out.stop]
        text = json.dumps([self.name, deeds, *tolerances], sort_keys=True, default=_stated)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def same(self, step: Step, other: Plan) -> bool:
        """Whether the other plan has the same step; its place, its queue, and whether it may fail are ignored."""
        there = other.by_id.get(step.id)
        return there is not None and replace(_deed(step), required=True) == replace(_deed(there), required=True)

    @cached_property
    def by_id(self) -> Mapping[str, Step]:
        """The steps of the file by their ids, hooks too: ``by_id[written("page[42]")]`` is ``page``."""
        return {step.id: step for step in (*self.steps, *self.hook_steps)}

    def fan_out_of(self, step: Step) -> FanOut:
        """Return the fan-out of a gather, or of a collector, also of one item.

        Raises:
            ValueError: it is a stage.
        """
        part = self.parts[self._place(step)]
        if not isinstance(part, FanOut):
            raise ValueError(f"{step.id} is a stage")  # noqa: TRY004 - it is the step's value that is wrong
        return part

    def begins_later(self, fan_out: FanOut) -> bool:
        """Whether a fan-out begins while the run is executed, because parts precede it."""
        return self.parts[0] is not fan_out

    def needs(self, step: Step) -> str:
        """Return what must have ended before a step is executed: nothing (empty), a fan-out (``*`` and its id), or a step (its id)."""
        if step.kind == "gather":
            return f"*{step.id}"
        if step.kind == "hook":  # the end of the run, which is no step
            return ""
        at = self._place(step)
        return end_of(self.parts[at - 1]).id if at else ""

    def before(self, step: Step) -> Step | None:
        """Return the step that makes the value before the part of a step; None for those of the first part."""
        at = self._place(step)
        return end_of(self.parts[at - 1]) if at else None

    def fan_out_before(self, step: Step) -> FanOut | None:
        """Return the last fan-out before the part of a step; None if there is none."""
        earlier = reversed(self.parts[: self._place(step)])
        return next((part for part in earlier if isinstance(part, FanOut)), None)

    def after(self, step: Step) -> tuple[Step, ...]:
        """Return the steps of the parts that run once this gather or stage has ended."""
        rest = self.parts[self._places[step.id] + 1 :]
        return tuple(each for part in rest for each in steps_of(part))

    def _place(self, step: Step) -> int:
        """Return the number of the part that has a step, or the collector of an item."""
        at = self._places.get(step.id)
        return self._places[written(step.id)] if at is None else at

    @cached_property
    def _places(self) -> Mapping[str, int]:
        """The number of each step's part, by the step's id."""
        return {step.id: at for at, part in enumerate(self.parts) for step in steps_of(part)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """The content of one canvas: a fan-out, and the stages up to the next one.

    Args:
        workflow: the name of the plan.
        fan_out: None of a plan that begins with a stage.
        following: the fan-out that begins once the last of these steps has ended.
    """

    workflow: str
    fan_out: FanOut | None
    stages: tuple[Step, ...] = ()
    following: FanOut | None = None


def segments(plan: Plan) -> tuple[Segment, ...]:
    """Cut the plan before each fan-out; exactly one of its segments is open at a time."""
    cut: list[Segment] = []
    for part in plan.parts:
        if isinstance(part, FanOut):
            cut[-1:] = [replace(last, following=part) for last in cut[-1:]]
            cut.append(Segment(workflow=plan.name, fan_out=part))
        else:
            *cut, last = cut or [Segment(workflow=plan.name, fan_out=None)]
            cut.append(replace(last, stages=(*last.stages, part)))
    return tuple(cut)


def steps_of(part: Part) -> tuple[Step, ...]:
    """Return the steps of a part, in the order in which they may be executed."""
    return (*part.collectors, part.gather) if isinstance(part, FanOut) else (part,)


def end_of(part: Part) -> Step:
    """Return the step whose value is that of the part."""
    return part.gather if isinstance(part, FanOut) else part


def change_steps(plan: Plan, change: Callable[[Step], Step]) -> Plan:
    """Return the plan with each of its steps changed."""

    def changed(part: Part) -> Part:
        if isinstance(part, FanOut):
            return replace(part, collectors=tuple(map(change, part.collectors)), gather=change(part.gather))
        return change(part)

    hooks = {name: tuple(map(change, steps)) for name, steps in plan.hooks.items()}
    return replace(plan, parts=tuple(map(changed, plan.parts)), hooks=hooks)


def _deed(step: Step) -> Step:
    """Return a step without the fields that its value does not depend on."""
    same = replace(step, place="", queue=None, batch=None, max_concurrency=None, together=None, limits=())
    return replace(same, then=tuple(map(_deed, step.then))) if step.then else same


def make(workflow: spec.Workflow, source: Source) -> Plan:
    """Lay out a workflow's steps; the inputs are not bound yet (see `bind`), which is enough to draw it."""
    steps: dict[Loc, list[Step]] = {}  # by the place of their part
    hooks: dict[str, tuple[Step, ...]] = {}
    for each in walk(source.data):
        if each.kind == "hook":
            name = str(each.loc[1])
            hooks[name] = (*hooks.get(name, ()), _step(workflow, each, source))
            continue
        steps.setdefault(each.loc[:2] if each.loc[0] == "stages" else (), []).append(_step(workflow, each, source))
    fanned = {each.loc for each in fan_outs(source.data)}
    parts = (_fan_out(workflow, loc, some, source) if loc in fanned else some[0] for loc, some in steps.items())
    return Plan(
        name=workflow.name,
        description=workflow.description,
        parts=tuple(parts),
        include=tuple(workflow.include),
        directory=str(Path(source.name).absolute().parent),
        secrets=tuple(name for name, declared in workflow.inputs.items() if declared.secret),
        hooks=hooks,
        timeout=workflow.timeout,
        limits={name: _limit(said) for name, said in workflow.limits.items()},
    )


def _limit(said: spec.Limit) -> Limit:
    rates = [rate for text in said.rate or [] if (rate := read_rate(text))]
    limit = Limit(
        rates=tuple(sorted(rates, key=lambda rate: rate.seconds)),
        burst=said.burst,
        concurrency=said.concurrency,
        key=said.key,
        cooldown_on=tuple(said.cooldown.on),
        cooldown=said.cooldown.default,
        cooldown_max=said.cooldown.max,
    )
    if said.breaker is None:
        return limit
    return replace(limit, failures=said.breaker.failures, open_for=said.breaker.open_for)


def _fan_out(workflow: spec.Workflow, loc: Loc, steps: Sequence[Step], source: Source) -> FanOut:
    """Return the fan-out at a place; the values themselves are its value if the file names no gather."""
    gather: spec.StageGather | None = _model_at(workflow, (*loc, "gather"))
    stated = next((step for step in steps if step.kind == "gather"), None)
    stage: spec.FanOutStage | None = _model_at(workflow, loc) if loc else None
    alone = Step(
        id=stage.id if stage else "gather",
        kind="gather",
        task=None,
        place=str(source.place(loc)) if loc else "",
    )
    end = stated or alone
    if stage:
        end = replace(end, **_stage_keys(stage, workflow.defaults.stages))
    return FanOut(
        collectors=tuple(step for step in steps if step.kind == "collector"),
        gather=end,
        min_success=gather.min_success if gather else None,
        deadline=gather.deadline if gather else None,
        stop=gather.stop if gather else None,
    )


def _stage_keys(stage: spec.FanOutStage, defaults: spec.StageDefaults | None) -> dict[str, Any]:
    """Return the fields of the gather that its stage has the keys of."""
    layers = [each for each in (stage, defaults) if each]
    keys = {
        name: getattr(each, name)
        for each in reversed(layers)
        for name in ("when", "required")
        if name in each.model_fields_set
    }
    return {"when": keys.get("when"), "required": keys.get("required") is not False}


def _step(workflow: spec.Workflow, written: WrittenStep, source: Source) -> Step:
    """Return a step with its defaults applied; the models have checked both, each at its place."""
    stated: spec.Step = _model_at(workflow, written.loc)
    defaults: spec.StepDefaults | None = _model_at(workflow, written.defaults_loc) if written.defaults else None
    values = {name: getattr(defaults, name) for name in defaults.model_fields_set} if defaults else {}
    values |= {name: getattr(stated, name) for name in stated.model_fields_set if name not in {"id", "with_"}}
    # With min_success, a collector may fail without `required: false`.
    tolerant = False
    if written.kind == "collector":
        gather = _model_at(workflow, (*written.loc[:-2], "gather"))
        tolerant = gather is not None and gather.min_success is not None
    required = not tolerant if values.get("required") is None else values["required"]
    foreach = _foreach(values.get("foreach"))
    batch = values.get("batch")
    return Step(
        id=written.id,
        kind=written.kind,
        task=values["task"],
        arguments={**(defaults.with_ if defaults else {}), **stated.with_},
        timeout=values.get("timeout"),
        retry=_retry(values.get("retry")),
        queue=values.get("queue"),
        priority=values.get("priority"),
        required=required,
        when=values.get("when"),
        place=str(source.place(written.loc)),
        foreach=foreach,
        batch=None if foreach is None or batch == "auto" else batch,
        max_concurrency=values.get("max_concurrency") if foreach else None,
        then=tuple(_then(workflow, each, source) for each in written.thens()),
        limits=tuple(dict.fromkeys(values.get("limits", ()))),
    )


def _then(workflow: spec.Workflow, written: WrittenStep, source: Source) -> Step:
    stated: spec.Then = _model_at(workflow, written.loc)
    return Step(
        id=stated.task, kind="then", task=stated.task, arguments=stated.with_, place=str(source.place(written.loc))
    )


def _model_at(workflow: spec.Workflow, loc: Loc) -> Any:
    """Return the models' value at a place of the file."""
    there: Any = workflow
    for key in loc:
        there = there[key] if isinstance(key, int) else getattr(there, f"{key}_" if iskeyword(key) else key)
    return there


def arguments(plan: Plan, step: Step, run: Mapping[str, str], more: Mapping[str, Any] = NO_NAMES) -> dict[str, Any]:
    """Return a step's keyword arguments, with its ``${{ }}`` expanded.

    Args:
        step: for a collector with ``foreach``, that of one of its items.
        run: the values of ``run.*``: ``id``, ``name``, ``started_at``.
        more: what else expressions may name: the ``value`` of the part before.
    """
    names: dict[str, Any] = {"inputs": plan.inputs, "run": run, **more, **step.item_names}
    expanded: dict[str, Any] = expressions.expand(dict(step.arguments), names)
    return expanded


def equip(plan: Plan, tasks: TaskIndex) -> Plan:
    """Return the plan with the facts that its tasks' source shows.

    They are every module that a worker of its own must import, besides those it includes, and how many collectors are
    executed at once in one process: a task that awaits can wait 64 times.
    """
    used = [tasks[task].module for step in (*plan.steps, *plan.hook_steps) for task in step.tasks if task in tasks]

    def equipped(step: Step) -> Step:
        if step.kind != "collector":
            return step
        task = tasks.get(step.task) if step.task else None
        if task is None or not (step.foreach or task.is_async):
            return step
        return replace(step, together=64 if task.is_async else 1)

    return replace(change_steps(plan, equipped), include=tuple(dict.fromkeys([*plan.include, *used])))


def dump_plan(plan: Plan) -> str:
    """Return the plan as the ledger stores it."""
    return json.dumps({"version": plan.version, **_stated(plan)}, separators=(",", ":"), default=_stated)


def _stated(thing: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults.

    Without the deep copies of ``asdict``: a plan takes a third of the time.
    """
    return {name: value for name, default in _DEFAULTS[type(thing)] if (value := getattr(thing, name)) != default}


# The fields of each dataclass that is stored, with their defaults; ``MISSING`` equals no value.
_DEFAULTS: Mapping[type, Sequence[tuple[str, Any]]] = {
    kind: [
        (each.name, each.default if each.default_factory is MISSING else each.default_factory())
        for each in fields(kind)
    ]
    for kind in (Plan, FanOut, Step, Retry, Foreach, Item, Limit, Rate)
}


def load_plan(text: str) -> Plan:
    """Return the plan that ``dump_plan`` wrote; a field that is not stored, or that an earlier version lacked, has its default.

    Raises:
        NewerVersion: it is of a newer version, or has a key that this one does not know.
        Exception: of any kind: the text is cut short, or no plan.
    """
    data = json.loads(text)
    version = data.get("version", 1)
    if version > VERSION:
        reason = f"its plan is of version {version}, and this program reads version {VERSION}"
        raise NewerVersion(reason, plans_of(version))
    plan = _read(Plan, data, parts=_read_parts, include=tuple, secrets=tuple, hooks=_read_hooks, limits=_read_limits)
    _check(plan)
    return plan


def _read_parts(stored: list[Any]) -> tuple[Part, ...]:
    return tuple(_read_fan_out(part) if "collectors" in part else _read_step(part) for part in stored)


def _read_hooks(stored: Mapping[str, list[Any]]) -> dict[str, tuple[Step, ...]]:
    return {name: _read_steps(steps) for name, steps in stored.items()}


def _read_limits(stored: Mapping[str, Any]) -> dict[str, Limit]:
    return {name: _read(Limit, each, rates=_read_rates, cooldown_on=tuple) for name, each in stored.items()}


def _read_rates(stored: list[Any]) -> tuple[Rate, ...]:
    return tuple(_read(Rate, each) for each in stored)


def _read_fan_out(stored: Any) -> FanOut:
    return _read(FanOut, stored, collectors=_read_steps, gather=_read_step)


def _read_steps(stored: list[Any]) -> tuple[Step, ...]:
    return tuple(map(_read_step, stored))


def _read_step(stored: Any) -> Step:
    return _read(
        Step, stored, retry=_read_retry, foreach=_read_foreach, item=_read_item, then=_read_steps, limits=tuple
    )


def _read_retry(stored: Any) -> Retry:
    return _read(Retry, stored, on=tuple, not_on=tuple)


def _read_foreach(stored: Any) -> Foreach | None:
    return stored and _read(Foreach, stored)


def _read_item(stored: Any) -> Item | None:
    return stored and _read(Item, stored)


def _read(kind: type[Thing], stored: Mapping[str, Any], **readers: Callable[[Any], Any]) -> Thing:
    """Return a dataclass from its `_stated` fields; ``readers`` convert some of their values."""
    if more := stored.keys() - {name for name, _ in _DEFAULTS[kind]}:
        key = f"{min(more)!r:.80}"
        raise NewerVersion(f"its plan has {key}, which this program does not know", f"plans that have {key}")
    return kind(**{name: readers[name](value) if name in readers else value for name, value in stored.items()})


def _check(plan: Plan) -> None:
    """Raise if a value has a type that the program cannot use."""
    texts = (plan.name, plan.description, plan.directory, *plan.include, *plan.secrets)
    if not all(isinstance(each, str) for each in texts) or not isinstance(plan.inputs, Mapping):
        raise TypeError("it has another shape")
    for each in plan.fan_outs:
        if not isinstance(each.deadline, int | float | None) or not isinstance(each.min_success, int | str | None):
            raise TypeError("a fan-out has another shape")
    if not isinstance(plan.timeout, int | float | None):
        raise TypeError("it has another shape")
    for step in (call for each in (*plan.steps, *plan.hook_steps) for call in (each, *each.then)):
        shaped = (
            isinstance(step.id, str)
            and step.kind in get_args(Kind)
            and isinstance(step.task, str | None)
            and isinstance(step.arguments, Mapping)
            and isinstance(step.timeout, int | float | None)
            and isinstance(step.queue, str | None)
            and isinstance(step.retry.max_retries, int)
            and isinstance(step.when, str | bool | None)
        )
        if not shaped:
            raise TypeError("a step has another shape")


def _retry(said: spec.Retry | None) -> Retry:
    if said is None:
        return Retry()
    stated: dict[str, Any] = said.model_dump()
    return Retry(**{**stated, "on": tuple(said.on), "not_on": tuple(said.not_on)})


def _foreach(said: spec.Foreach | None) -> Foreach | None:
    if said is None:
        return None
    items = said.items
    return Foreach(
        items=items if isinstance(items, list | str) else items.model_dump(),
        name=said.as_,
        key=said.key,
        max_items=said.max_items,
    )
