"""A plan to JSON: its nodes and edges, for programs."""

from dataclasses import asdict
from itertools import pairwise
from typing import Any

from runner import text
from runner.language.plan import Plan, Step


def draw(plan: Plan) -> str:
    """The steps in the order of the plan with all that the file says of them; arguments as written, so without inputs."""
    nodes = [_node(step) for step in plan.steps]
    edges = [{"from": step.id, "to": fan_out.id} for fan_out in plan.fan_outs for step in fan_out.collectors]
    edges += [{"from": before.id, "to": after.id} for before, after in pairwise(plan.tail)]
    drawn = {
        "workflow": plan.name,
        "description": plan.description,
        "nodes": nodes,
        "edges": edges,
        "min_success": next((fan_out.min_success for fan_out in plan.fan_outs), None),
        "deadline": next((fan_out.deadline for fan_out in plan.fan_outs), None),
    }
    return text.as_json(drawn)


def _node(step: Step) -> dict[str, Any]:
    """What only a collector with ``foreach`` has, is told of one only; its count is 0 until the inputs are known."""
    node = asdict(step)
    del node["item"], node["message"]
    if step.foreach is None:
        del node["foreach"], node["batch"], node["max_concurrency"]
    else:
        foreach = step.foreach
        node["foreach"] = {"items": foreach.items, "as": foreach.name, "key": foreach.key, "count": foreach.count}
    return node
