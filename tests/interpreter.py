"""A plan to its result, without Celery, Redis or `runner.worker.execute`: the oracle that the real thing is compared with."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from runner.language import foreach
from runner.language.conditions import holds
from runner.language.plan import NO_NAMES, FanOut, Part, Plan, Step, arguments, end_of


def interpret(plan: Plan, tasks: Mapping[str, Callable[..., Any]], run: Mapping[str, str]) -> Any:
    """The value of the last step; every task of the plan is pure, and succeeds."""
    return values(plan, tasks, run)[plan.steps[-1].id]


def values(plan: Plan, tasks: Mapping[str, Callable[..., Any]], run: Mapping[str, str]) -> dict[str, Any]:
    """The value of every step, by its id; of a ``foreach``, that of the collector of each item."""
    known: dict[str, Any] = {}
    names: dict[str, Any] = {}

    def value(step: Step, *before: Any) -> Any:
        if step.task is None:
            return before[0]
        found = called(step.task, *before, **arguments(plan, step, run, names))
        for then in step.then:
            found = called(
                then.task or "", found, **arguments(plan, replace(step, arguments=then.arguments), run, names)
            )
        return found

    def called(task: str, *args: Any, **kwargs: Any) -> Any:
        found = tasks[task](*args, **kwargs)
        return asyncio.run(found) if inspect.iscoroutine(found) else found

    for part in plan.parts:
        before = [names["value"]] if names else []
        if is_skipped(plan, part, run, names):
            known[end_of(part).id] = names.get("value")
            names = {"value": known[end_of(part).id], "coverage": 1.0}
            continue
        if isinstance(part, FanOut):
            collected = {step.id: value(step) for each in part.collectors for step in repeated(plan, each, names)}
            known |= collected
            before = [list(collected.values())]
        end = end_of(part)
        known[end.id] = value(end, *before)
        names = {"value": known[end.id], "coverage": 1.0}
    return known


def is_skipped(plan: Plan, part: Part, run: Mapping[str, str], names: Mapping[str, Any]) -> bool:
    """Whether a stage, or one that fans out, hands on the value before it."""
    condition = end_of(part).when
    return condition is not None and not holds(condition, {"inputs": plan.inputs, "run": run, **names})


def repeated(plan: Plan, step: Step, names: Mapping[str, Any] = NO_NAMES) -> list[Step]:
    """A collector, or those that its ``foreach`` makes of it; none that is skipped."""
    if step.foreach is not None:
        return [step.of(item) for item in foreach.items(plan, step, names)]
    return [step] if step.when is None or holds(step.when, {"inputs": plan.inputs, **names}) else []
