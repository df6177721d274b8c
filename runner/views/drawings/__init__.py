"""A plan to a drawing of it: one file a format."""

from collections.abc import Callable

from runner.language.plan import Plan
from runner.views.drawings.as_json import draw_json
from runner.views.drawings.dot import draw_dot
from runner.views.drawings.mermaid import draw_mermaid
from runner.views.drawings.tree import draw_tree
from runner.views.screen import Screen

Draw = Callable[[Plan, Screen], str]

FORMATS: dict[str, Draw] = {"tree": draw_tree, "mermaid": draw_mermaid, "dot": draw_dot, "json": draw_json}
