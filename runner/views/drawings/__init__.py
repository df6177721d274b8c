"""A plan to a drawing of it: one file a format, each with ``draw(plan) -> str``."""

from collections.abc import Callable

from runner.language.plan import Plan
from runner.views.drawings import as_json, dot, mermaid, tree

Draw = Callable[[Plan], str]

FORMATS: dict[str, Draw] = {"tree": tree.draw, "mermaid": mermaid.draw, "dot": dot.draw, "json": as_json.draw}
