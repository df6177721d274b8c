"""A checked workflow to a plan: every step in order, its defaults applied, the inputs bound, frozen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from runner import expressions
from runner.errors import (
    Fault,
    InvalidExpression,
    InvalidInput,
    InvalidInputs,
    InvalidWorkflow,
    Place,
    echo,
    listed,
    nearest,
)

if TYPE_CHECKING:  # a worker loads plans, and need not wait 0.1 s for the models of the language
    from runner import spec
    from runner.catalogue import Catalogue
    from runner.source import Source

Kind = Literal["collector", "gather", "stage"]
Jitter = Literal["full", "none"] | float


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Step:
    """One call of one task.

    Args:
        task: its registered name; None for a gather left out, whose value is the list itself.
        arguments: the step's ``with``, its ``${{ }}`` not yet expanded: only the run knows its id.
        timeout: seconds an attempt may take; None for no limit.
        queue: the Celery queue it is sent to; None until the run is submitted, when it is routed.
        required: of a collector, whether the run fails if it does.
        place: ``file:line:col`` of the step in the YAML.
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
    place: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do: collectors in parallel, the gather, then the stages in a row.

    Args:
        min_success: how many collectors must succeed, besides those that are required; None if the file does not say.
        deadline: seconds from the start of the fan-out to when a collector that has not answered is late; None for no limit.
        include: modules with its tasks, for the worker that `run` starts.
        directory: of the YAML, where those modules are looked for first.
        secrets: names of the inputs whose values are never shown.
    """

    name: str
    description: str
    collectors: tuple[Step, ...]
    gather: Step
    stages: tuple[Step, ...] = ()
    min_success: int | None = None
    deadline: float | None = None
    include: tuple[str, ...] = ()
    directory: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*self.collectors, self.gather, *self.stages)

    @property
    def tail(self) -> tuple[Step, ...]:
        """The steps in a row after the collectors: the gather and the stages."""
        return (self.gather, *self.stages)

    @property
    def tolerant(self) -> bool:
        """Whether a collector may fail without the run."""
        return self.min_success is not None or not all(step.required for step in self.collectors)

    @property
    def hash(self) -> str:
        """Twelve characters that change with what the workflow does: not with the inputs, nor where its steps stand or go."""
        steps = [asdict(replace(step, place="", queue=None)) for step in self.steps]
        text = json.dumps([self.name, steps, self.min_success, self.deadline], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def same(self, step: Step, other: Plan) -> bool:
        """Whether the other plan has this step too, doing the same: wherever it stands and goes, and may fail or not."""

        def deed(step: Step) -> Step:
            return replace(step, place="", queue=None, required=True)

        return any(each.id == step.id and deed(each) == deed(step) for each in other.steps)

    def step(self, step_id: str) -> Step:
        return next(step for step in self.steps if step.id == step_id)

    def before(self, step: Step) -> Step | None:
        """The step whose value this one is handed: None for a collector, and for the gather, which has them all."""
        at = self.tail.index(step) if step in self.tail else 0
        return self.tail[at - 1] if at else None

    def after(self, step: Step) -> tuple[Step, ...]:
        """The steps that run once this one, of the tail, has ended."""
        return self.tail[self.tail.index(step) + 1 :]


def make(workflow: spec.Workflow, source: Source) -> Plan:
    """Lay out a workflow's steps; the inputs are not bound yet, which is enough to draw it."""
    gather = workflow.gather
    min_success = gather.least(len(workflow.collectors)) if gather else None

    def step(kind: Kind, written: spec.Step, step_id: str, loc: tuple[str | int, ...]) -> Step:
        defaults = {"collector": workflow.defaults.collectors, "stage": workflow.defaults.stages}.get(kind)
        chosen = {name: getattr(defaults, name) for name in defaults.model_fields_set} if defaults else {}
        chosen |= {name: getattr(written, name) for name in written.model_fields_set if name not in {"id", "with_"}}
        # Who says how many must succeed need not say of each that it may fail.
        required = min_success is None if chosen.get("required") is None else chosen["required"]
        return Step(
            id=step_id,
            kind=kind,
            task=chosen["task"],
            arguments={**(defaults.with_ if defaults else {}), **written.with_},
            timeout=chosen.get("timeout"),
            retry=_retry(chosen.get("retry")),
            queue=chosen.get("queue"),
            priority=chosen.get("priority"),
            required=kind != "collector" or required,
            place=str(source.place(loc)),
        )

    return Plan(
        name=workflow.name,
        description=workflow.description,
        collectors=tuple(
            step("collector", each, each.id, ("collectors", at)) for at, each in enumerate(workflow.collectors)
        ),
        gather=step("gather", gather, gather.step_id, ("gather",)) if gather else Step("gather", "gather", None),
        stages=tuple(step("stage", each, each.id, ("stages", at)) for at, each in enumerate(workflow.stages)),
        min_success=min_success,
        deadline=gather.deadline if gather else None,
        include=tuple(workflow.include),
        directory=str(Path(source.name).absolute().parent),
        secrets=tuple(name for name, declared in workflow.inputs.items() if declared.secret),
    )


def bind(
    plan: Plan,
    workflow: spec.Workflow,
    given: Mapping[str, Any],
    source: Source,
    *,
    words: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan with its inputs: those given, checked against their declarations, and the defaults of the others.

    Args:
        given: JSON values by the input's name.
        words: what was typed on a command line, by the input's name: ``"5"`` is a number there. They come before ``given``.

    Raises:
        InvalidInputs: one is missing, unknown or does not fit; all of them are told.
        InvalidWorkflow: an expression cannot be worked out with these inputs.
    """
    bound: dict[str, Any] = {}
    words = words or {}
    problems = [_unknown(name, workflow) for name in {**given, **words} if name not in workflow.inputs]
    for name, declared in workflow.inputs.items():
        if name in words or name in given:
            try:
                bound[name] = declared.accept({**given, **words}[name], from_text=name in words)
            except InvalidInput as problem:
                problems.append(f'input "{name}": {problem}')
        elif declared.required:
            problems.append(f'input "{name}" is missing: give --{name.replace("_", "-")} {declared.type.upper()}')
        else:
            bound[name] = declared.default
    if problems:
        raise InvalidInputs("\n".join(problems))
    plan = replace(plan, inputs=bound)
    _try_expressions(plan, source)
    return plan


def arguments(plan: Plan, step: Step, run: Mapping[str, str]) -> dict[str, Any]:
    """A step's keyword arguments, its ``${{ }}`` expanded.

    Args:
        run: what ``run.*`` means: ``id``, ``name``, ``started_at``.
    """
    expanded: dict[str, Any] = expressions.expand(dict(step.arguments), {"inputs": plan.inputs, "run": run})
    return expanded


def equip(plan: Plan, catalogue: Catalogue) -> Plan:
    """The plan with every module that a worker of its own must import: those it includes, and those of its tasks."""
    used = [catalogue[step.task].module for step in plan.steps if step.task and step.task in catalogue]
    return replace(plan, include=tuple(dict.fromkeys([*plan.include, *used])))


def route(plan: Plan, queue: str, *, everything: bool) -> Plan:
    """The plan with a queue for every step: its own, or else this one; this one for all if ``everything``."""

    def routed(step: Step) -> Step:
        return replace(step, queue=queue if everything or step.queue is None else step.queue)

    return replace(
        plan,
        collectors=tuple(map(routed, plan.collectors)),
        gather=routed(plan.gather),
        stages=tuple(map(routed, plan.stages)),
    )


def dump(plan: Plan) -> str:
    return json.dumps(asdict(plan), separators=(",", ":"))


def load(text: str) -> Plan:
    """The plan that ``dump`` wrote; what an earlier version did not know of has its default."""
    data = json.loads(text)

    def step(stored: dict[str, Any]) -> Step:
        retry = {**stored["retry"], "on": tuple(stored["retry"]["on"]), "not_on": tuple(stored["retry"]["not_on"])}
        return Step(**{**stored, "retry": Retry(**retry)})

    return Plan(
        **{
            **{each.name: data[each.name] for each in fields(Plan) if each.name in data},
            "collectors": tuple(map(step, data["collectors"])),
            "gather": step(data["gather"]),
            "stages": tuple(map(step, data["stages"])),
            "include": tuple(data["include"]),
            "secrets": tuple(data["secrets"]),
        }
    )


def _retry(written: spec.Retry | None) -> Retry:
    if written is None:
        return Retry()
    stated: dict[str, Any] = written.model_dump()
    return Retry(**{**stated, "on": tuple(written.on), "not_on": tuple(written.not_on)})


def _try_expressions(plan: Plan, source: Source) -> None:
    """Work every expression out once, so that what can be known before a run is told before it."""
    run = {"id": "0", "name": plan.name, "started_at": "1970-01-01T00:00:00+00:00"}
    faults = []
    for step in plan.steps:
        try:
            arguments(plan, step, run)
        except InvalidExpression as problem:
            faults.append(Fault("E038", str(problem), _place(source, plan, step)))
    if faults:
        raise InvalidWorkflow(tuple(faults))


def _place(source: Source, plan: Plan, step: Step) -> Place:
    loc: tuple[str | int, ...] = ("gather",)
    if step in plan.collectors:
        loc = ("collectors", plan.collectors.index(step))
    elif step in plan.stages:
        loc = ("stages", plan.stages.index(step))
    return source.place(loc)


def _unknown(name: str, workflow: spec.Workflow) -> str:
    near = nearest(name, workflow.inputs)
    told = f'did you mean "{near}"?' if near else f"the workflow has {listed(list(workflow.inputs)) or 'none'}"
    return f"input {echo(name)} is unknown: {told}"
