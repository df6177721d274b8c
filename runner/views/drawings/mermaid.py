"""A plan to a Mermaid flowchart, which GitHub draws in any Markdown file."""

import re

from runner import text
from runner.language.plan import Plan, Step
from runner.views.drawings import short

_BRACKETS = {"collector": ('(["', '"])'), "gather": ('{{"', '"}}'), "stage": ('["', '"]')}
# Dark text on light fills, so that it reads the same on GitHub's light and dark pages.
_CLASSES = {
    "collector": "fill:#dbeafe,stroke:#2563eb,color:#111827",
    "gather": "fill:#fef3c7,stroke:#d97706,color:#111827",
    "stage": "fill:#dcfce7,stroke:#16a34a,color:#111827",
}


def draw(plan: Plan, *, collapse: int | None = 12) -> str:
    """Draw from left to right. Nodes are called n0, n1, … in the order they are drawn, whatever the steps are called.

    Args:
        collapse: as in the tree. GitHub draws no more than 500 arrows.
    """
    first, hidden, last = short.ends(plan.collectors, collapse)
    shapes = [
        *map(_shape, first),
        *([f'["… {hidden:,} more"]'] if hidden else []),
        *map(_shape, last),
    ]
    fan_out = " & ".join(f"n{at}" for at in range(len(shapes)))
    tail = [f"n{at}" for at in range(len(shapes), len(shapes) + len(plan.tail))]
    shapes += map(_shape, plan.tail)
    lines = ["flowchart LR", f'    start(("{_escaped(plan.name)}"))']
    lines += [f"    n{at}{shape}" for at, shape in enumerate(shapes)]
    lines += [f"    start --> {fan_out} --> {' --> '.join(tail)}"]
    lines += [f"    classDef {kind} {style}" for kind, style in _CLASSES.items()]
    return "\n".join(lines)


def _shape(step: Step) -> str:
    opening, closing = _BRACKETS[step.kind]
    return f"{opening}{_label(step)}{closing}:::{step.kind}"


def _label(step: Step) -> str:
    return "<br/>".join(map(_escaped, short.label(step)))


def _escaped(name: str) -> str:
    """Letters, digits and what means nothing to Mermaid as they are; the rest as its decimal entities, ``#34;``."""
    line = text.printable(name)
    # "1. x" and "- x" at the beginning of a label are a list to Mermaid 11, which it then refuses to draw.
    list_mark = re.match(r"\s*(\d+[.)]|[-+*])", line)
    safe = r"[^\w .,:/()=-]" if list_mark is None else r"[^\w ]"
    return re.sub(safe, lambda found: f"#{ord(found[0])};", line)
