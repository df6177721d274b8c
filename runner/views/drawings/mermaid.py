"""A plan to a Mermaid flowchart, which GitHub draws in any Markdown file."""

import re

from runner.language.layout import Layout, as_written
from runner.language.plan import Plan
from runner.text import printable
from runner.views.drawings.graph import Node, Row, rows
from runner.views.drawings.labels import hooks, label
from runner.views.screen import PLAIN, Screen

_BRACKETS = {"collector": ('(["', '"])'), "gather": ('{{"', '"}}'), "stage": ('["', '"]')}
# Dark text on light fills, so that it reads the same on GitHub's light and dark pages.
_CLASSES = {
    "collector": "fill:#dbeafe,stroke:#2563eb,color:#111827",
    "gather": "fill:#fef3c7,stroke:#d97706,color:#111827",
    "stage": "fill:#dcfce7,stroke:#16a34a,color:#111827",
}


def draw_mermaid(plan: Plan, screen: Screen = PLAIN, *, collapse: int | None = 12) -> str:  # noqa: ARG001 - as every drawing
    """Draw from left to right.

    Args:
        collapse: as in the tree. GitHub draws no more than 500 arrows.
    """
    drawn, layout = rows(plan, collapse), as_written(plan)
    lines = [
        "flowchart LR",
        f'    start(("{_escaped(plan.name)}"))',
        *(f"    {node.name}{_shape(node, layout)}" for row in drawn for node in row),
        f"    start --> {' --> '.join(map(_names, drawn))}",
        *(
            f'    {drawn[-1][0].name} -.->|{end}| hook{at}["{"<br/>".join(map(_escaped, words))}"]'
            for at, (end, words) in enumerate(hooks(plan))
        ),
        *(f"    classDef {kind} {style}" for kind, style in _CLASSES.items()),
    ]
    return "\n".join(lines)


def _shape(node: Node, layout: Layout) -> str:
    if node.step is None:
        return f'["{"".join(label(node, layout))}"]'
    opening, closing = _BRACKETS[node.step.kind]
    return f"{opening}{'<br/>'.join(map(_escaped, label(node, layout)))}{closing}:::{node.step.kind}"


def _names(row: Row) -> str:
    return " & ".join(node.name for node in row)


def _escaped(name: str) -> str:
    """Letters, digits and what means nothing to Mermaid as they are; the rest as its decimal entities, ``#34;``."""
    line = printable(name)
    # "1. x" and "- x" at the beginning of a label are a list to Mermaid 11, which it then refuses to draw.
    list_mark = re.match(r"\s*(\d+[.)]|[-+*])", line)
    safe = r"[^\w .,:/()=-]" if list_mark is None else r"[^\w ]"
    return re.sub(safe, lambda found: f"#{ord(found[0])};", line)
