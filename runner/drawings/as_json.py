"""A plan to JSON: its nodes and edges, for programs."""

from dataclasses import asdict

from runner import text
from runner.plan import Plan


def draw(plan: Plan) -> str:
    """The steps in the order of the plan with all that the file says of them; arguments as written, so without inputs."""
    nodes = [asdict(step) for step in plan.steps]
    edges = [{"from": step.id, "to": plan.gather.id} for step in plan.collectors]
    edges += [{"from": a.id, "to": b.id} for a, b in zip(plan.tail, plan.stages, strict=False)]
    drawn = {
        "workflow": plan.name,
        "description": plan.description,
        "nodes": nodes,
        "edges": edges,
        "min_success": plan.min_success,
        "deadline": plan.deadline,
    }
    return text.as_json(drawn)
