"""A plan to Graphviz's language: `runner graph FILE --format dot | dot -Tsvg`."""

from runner.language.layout import as_written
from runner.language.plan import Plan
from runner.text import printable
from runner.views.drawings.graph import Node, Row, rows
from runner.views.drawings.labels import hooks, label
from runner.views.screen import PLAIN, Screen

_SHAPES = {
    "collector": 'shape=box, style="rounded,filled", fillcolor="#dbeafe", color="#2563eb"',
    "gather": 'shape=hexagon, style=filled, fillcolor="#fef3c7", color="#d97706"',
    "stage": 'shape=box, style=filled, fillcolor="#dcfce7", color="#16a34a"',
}


def draw_dot(plan: Plan, screen: Screen = PLAIN, *, collapse: int | None = 12) -> str:  # noqa: ARG001 - as every drawing
    """Draw from left to right.

    Args:
        collapse: as in the tree.
    """
    drawn, layout = rows(plan, collapse), as_written(plan)
    lines = [
        f"digraph {_quoted(plan.name)} {{",
        "    rankdir=LR",
        '    node [fontname="sans-serif"]',
        f"    start [shape=circle, label={_quoted(plan.name)}]",
        *(f"    {node.name} [{_shape(node)}, label={_quoted(*label(node, layout))}]" for row in drawn for node in row),
        f"    start -> {' -> '.join(map(_names, drawn))}",
        *(f"    hook{at} [shape=plaintext, label={_quoted(*words)}]" for at, (_, words) in enumerate(hooks(plan))),
        *(
            f"    {drawn[-1][0].name} -> hook{at} [style=dashed, label={_quoted(end)}]"
            for at, (end, _) in enumerate(hooks(plan))
        ),
        "}",
    ]
    return "\n".join(lines)


def _shape(node: Node) -> str:
    return _SHAPES[node.step.kind] if node.step else "shape=plaintext"


def _names(row: Row) -> str:
    return f"{{{' '.join(node.name for node in row)}}}" if len(row) > 1 else row[0].name


def _quoted(*lines: str) -> str:
    r"""A string of DOT, whose labels also read ``\N``-like escapes and HTML entities; lines are separated by ``\n``."""
    return '"' + r"\n".join(map(_escaped, lines)) + '"'


def _escaped(line: str) -> str:
    return printable(line).replace("\\", r"\\").replace('"', r"\"").replace("&", "&amp;")
