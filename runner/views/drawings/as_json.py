"""A plan to JSON: its nodes and edges, for programs."""

from dataclasses import asdict
from typing import Any

from runner.language.layout import Layout, as_written
from runner.language.plan import Plan, Step
from runner.text import to_json
from runner.views.drawings.graph import edges, rows
from runner.views.screen import PLAIN, Screen


def draw_json(plan: Plan, screen: Screen = PLAIN) -> str:  # noqa: ARG001 - every drawing is given a screen
    """The steps in the order of the plan with all that the file says of them; arguments as written, so without inputs."""
    layout = as_written(plan)
    drawing = {
        "workflow": plan.name,
        "description": plan.description,
        "nodes": [_node(step, layout) for step in plan.steps],
        "edges": [
            {"from": before.step.id, "to": after.step.id}
            for before, after in edges(rows(plan))
            if before.step and after.step
        ],
        "min_success": next((fan_out.min_success for fan_out in plan.fan_outs), None),
        "deadline": next((fan_out.deadline for fan_out in plan.fan_outs), None),
        **(
            {"hooks": {end: [_node(step, layout) for step in steps] for end, steps in plan.hooks.items()}}
            if plan.hooks
            else {}
        ),
        **({"limits": {name: asdict(limit) for name, limit in plan.limits.items()}} if plan.limits else {}),
        **({"timeout": plan.timeout} if plan.timeout is not None else {}),
        **({"stop": "early"} if any(fan_out.stop for fan_out in plan.fan_outs) else {}),
    }
    return to_json(drawing)


def _node(step: Step, layout: Layout) -> dict[str, Any]:
    """Return a step as JSON.

    `foreach`, `batch`, `max_concurrency`: only of collectors that have `foreach`; `count` is null until the inputs are bound,
    but of a list. `then`: only of a collector that has it. `when`, `limits`: only where
    the file has them; of a gather it is that of its fan-out.
    """
    node = asdict(step)
    del node["item"], node["then"], node["together"]
    if step.when is None:
        del node["when"]
    if not step.limits:
        del node["limits"]
    if step.then:
        node["then"] = [{name: asdict(each)[name] for name in ("task", "arguments", "place")} for each in step.then]
    if step.foreach is None:
        del node["foreach"], node["batch"], node["max_concurrency"]
    else:
        foreach = step.foreach
        count = layout.count(step) if layout.is_counted(step) else None
        node["foreach"] = {"items": foreach.items, "as": foreach.name, "key": foreach.key, "count": count}
        if foreach.max_items is not None:
            node["foreach"]["max_items"] = foreach.max_items
    return node
