"""Names of steps to a plan, and to the outcomes of its steps: the one place in the tests that knows the fields of both."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from runner.language.limits import Limit
from runner.language.plan import FanOut, Foreach, Plan, Retry, Step
from runner.language.steps import Kind
from runner.ledger.entries import Claim, Error, Granted, Outcome, StepStatus


class StepFields(TypedDict, total=False):
    """Fields of a step that have a default."""

    arguments: Mapping[str, Any]
    timeout: float | None
    retry: Retry
    queue: str | None
    priority: int | None
    required: bool
    place: str
    foreach: Foreach | None
    batch: int | None
    max_concurrency: int | None
    together: int | None
    then: tuple[Step, ...]
    limits: tuple[str, ...]


class FanOutFields(TypedDict, total=False):
    """Fields of a fan-out that have a default."""

    min_success: int | str | None
    deadline: float | None


class PlanFields(TypedDict, total=False):
    """Fields of a plan that have a default."""

    include: tuple[str, ...]
    directory: str
    inputs: Mapping[str, Any]
    secrets: tuple[str, ...]
    limits: Mapping[str, Limit]
    version: int


class OutcomeFields(TypedDict, total=False):
    """Fields of an outcome that have a default, but its value."""

    error: Error | None
    attempts: int
    started_at: float | None
    finished_at: float | None
    worker: str
    ref: str
    json: str
    notes: Mapping[str, Any]


def make_plan(
    name: str = "news",
    *,
    description: str = "",
    collectors: str | Iterable[Step] = "a",
    gather: str | Step = "gather",
    stages: str | Iterable[Step] = "",
    min_success: int | str | None = None,
    deadline: float | None = None,
    **fields: Unpack[PlanFields],
) -> Plan:
    """A plan of steps, or of what they are called: ``make_plan(collectors="a b", stages="count")``."""
    fan_out = FanOut(
        collectors=_steps(make_collector, collectors),
        gather=make_gather(gather) if isinstance(gather, str) else gather,
        min_success=min_success,
        deadline=deadline,
    )
    return Plan(name=name, description=description, parts=(fan_out, *_steps(make_stage, stages)), **fields)


def make_step(kind: Kind, step_id: str, task: str | None, **fields: Unpack[StepFields]) -> Step:
    return Step(id=step_id, kind=kind, task=task, **fields)


def make_collector(step_id: str, task: str = "fetch", **fields: Unpack[StepFields]) -> Step:
    return make_step("collector", step_id, task, **fields)


def make_gather(step_id: str = "gather", task: str | None = "merge", **fields: Unpack[StepFields]) -> Step:
    """A gather; without a task, one that the file leaves out."""
    return make_step("gather", step_id, task, **fields)


def make_stage(step_id: str, task: str = "work", **fields: Unpack[StepFields]) -> Step:
    return make_step("stage", step_id, task, **fields)


def make_outcome(
    step_id: str, status: StepStatus = "succeeded", value: Any = None, **fields: Unpack[OutcomeFields]
) -> Outcome:
    return Outcome(step=step_id, status=status, value=value, **fields)


def answer_of(claim: Claim) -> str:
    """What the ledger has answered to a claim, as a word."""
    return "granted" if isinstance(claim, Granted) else claim.why


def granted(claim: Claim) -> Granted:
    """The claim, which the ledger has granted."""
    assert isinstance(claim, Granted), claim
    return claim


class Changes(PlanFields, FanOutFields, total=False):
    """What `change_plan` takes."""

    name: str
    description: str
    collectors: tuple[Step, ...]
    gather: Step


def change_plan(plan: Plan, **fields: Unpack[Changes]) -> Plan:
    """The plan, which has one fan-out, with other values of these fields, as `make_plan` names them."""
    first, *rest = plan.parts
    assert isinstance(first, FanOut)
    values = dict(fields)
    of_fan_out: dict[str, Any] = {name: values.pop(name) for name in FAN_OUT & values.keys()}
    of_plan: dict[str, Any] = values
    return replace(plan, parts=(replace(first, **of_fan_out), *rest), **of_plan)


FAN_OUT = {each.name for each in dataclass_fields(FanOut)}


def _steps(make: Callable[[str], Step], steps: str | Iterable[Step]) -> tuple[Step, ...]:
    return tuple(map(make, steps.split()) if isinstance(steps, str) else steps)
