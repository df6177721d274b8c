"""A plan to Graphviz's language: `runner graph FILE --format dot | dot -Tsvg`."""

from runner import text
from runner.language.plan import Plan, Step
from runner.views.drawings import short

_SHAPES = {
    "collector": 'shape=box, style="rounded,filled", fillcolor="#dbeafe", color="#2563eb"',
    "gather": 'shape=hexagon, style=filled, fillcolor="#fef3c7", color="#d97706"',
    "stage": 'shape=box, style=filled, fillcolor="#dcfce7", color="#16a34a"',
}


def draw(plan: Plan, *, collapse: int | None = 12) -> str:
    """Draw from left to right. Nodes are called n0, n1, … in the order they are drawn, whatever the steps are called.

    Args:
        collapse: as in the tree.
    """
    first, hidden, last = short.ends(plan.collectors, collapse)
    more = [f'shape=plaintext, label="… {hidden:,} more"'] if hidden else []
    shapes = [*map(_shape, first), *more, *map(_shape, last)]
    fan_out = " ".join(f"n{at}" for at in range(len(shapes)))
    tail = [f"n{at}" for at in range(len(shapes), len(shapes) + len(plan.tail))]
    shapes += map(_shape, plan.tail)
    lines = [
        f"digraph {_quoted(plan.name)} {{",
        "    rankdir=LR",
        '    node [fontname="sans-serif"]',
        f"    start [shape=circle, label={_quoted(plan.name)}]",
        *[f"    n{at} [{shape}]" for at, shape in enumerate(shapes)],
        f"    start -> {{{fan_out}}} -> {' -> '.join(tail)}",
        "}",
    ]
    return "\n".join(lines)


def _shape(step: Step) -> str:
    return f"{_SHAPES[step.kind]}, label={_label(step)}"


def _label(step: Step) -> str:
    return _quoted(*short.label(step))


def _quoted(*lines: str) -> str:
    r"""A string of DOT, whose labels also read ``\N``-like escapes and HTML entities; lines are parted by ``\n``."""
    return '"' + r"\n".join(map(_escaped, lines)) + '"'


def _escaped(line: str) -> str:
    return text.printable(line).replace("\\", r"\\").replace('"', r"\"").replace("&", "&amp;")
