"""A plan to its result, without Celery, Redis or `runner.execute`: the oracle that the real thing is compared with."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from runner.plan import Plan, Step, arguments


def interpret(plan: Plan, tasks: Mapping[str, Callable[..., Any]], run: Mapping[str, str]) -> Any:
    """The value of the last step; every task of the plan is pure, and succeeds."""

    def value(step: Step, *before: Any) -> Any:
        if step.task is None:
            return before[0]
        found = tasks[step.task](*before, **arguments(plan, step, run))
        return asyncio.run(found) if inspect.iscoroutine(found) else found

    result = value(plan.gather, [value(step) for step in plan.collectors])
    for step in plan.stages:
        result = value(step, result)
    return result
