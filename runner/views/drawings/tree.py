"""A plan to lines with box characters, for a terminal."""

from runner.language.layout import Layout, as_written
from runner.language.plan import Plan, Step
from runner.text import cut, cut_middle, pad, printable, width, wrap
from runner.views.drawings.graph import Node, rows
from runner.views.drawings.labels import hooks, more, name, notes
from runner.views.screen import PLAIN, Screen

_SPINE = 5  # columns to the left of the gather and the stages; a collector's name stands three further in


def draw_tree(plan: Plan, screen: Screen = PLAIN, *, collapse: int | None = 12, layout: Layout | None = None) -> str:
    """Draw the fan-out, the fan-in and the stages.

    Args:
        layout: of a plan whose inputs are bound.
        collapse: a fan-out of more collectors than this shows the first and the last five; None shows all.

    Example::

             ╭─ collector_1 ───╮  timeout 30s · 3 retries
          ●──┼─ collector_2 ───┤  timeout 30s · 3 retries
             ╰─ collector_3 ───┤  timeout 30s · 3 retries
             ╭─────────────────╯
             ▼
             collector_gathering  fan-in of 3
             │
             cleanup
    """
    layout = as_written(plan) if layout is None else layout
    drawn = rows(plan, collapse)
    fanned = {node.name for row in drawn for node in row if node.step is None or node.step.kind == "collector"}
    # Names may take all but what the notes need, and the notes may need no more than a quarter.
    longest = max(width(_notes(plan, step, layout)) for step in plan.steps)
    room = max(12, screen.width - _SPINE - 6 - min(longest + 2, screen.width // 4))
    names = {node.name: cut_middle(_name(node, layout), room) for row in drawn for node in row}
    column = _SPINE + max((6 if each in fanned else 0) + width(text) for each, text in names.items())

    lines = [*_heading(plan, screen), ""]
    for number, row in enumerate(drawn):
        if row[0].name not in fanned:
            [node] = row
            lines += [" " * _SPINE + ("▼" if node.step and node.step.kind == "gather" else "│")] if number else []
            lines += [pad(" " * _SPINE + names[node.name], column) + _noted(plan, node, layout, screen, column)]
            continue
        lines += [" " * _SPINE + "│"] if number else []
        for at, node in enumerate(row):
            rails = _rails(at, len(row), names[node.name], column, is_collector=node.step is not None, later=number > 0)
            lines.append(rails + _noted(plan, node, layout, screen, column))
        lines += ["     ╭" + "─" * (column - _SPINE - 2) + "╯"]
    lines += [""] if plan.hooks else []
    lines += [cut(f"{' ' * _SPINE}{end}: {' · '.join(words)}", screen.width) for end, words in hooks(plan)]
    return "\n".join(line.rstrip() for line in lines)


def _heading(plan: Plan, screen: Screen) -> list[str]:
    title = screen.paint(cut_middle(printable(plan.name), screen.width), "bold")
    return [title, *wrap(printable(" ".join(plan.description.split())), min(screen.width, 80))]


def _name(node: Node, layout: Layout) -> str:
    if node.step is None:
        return f" {more(node)}"
    return name(node.step, layout) + (" (the list itself)" if node.step.task is None else "")


def _rails(at: int, of: int, name: str, column: int, *, is_collector: bool, later: bool) -> str:
    """A name between the line that fans out, from the beginning or from the step above, and the line that fans in."""
    middle = at == (of - 1) // 2
    fork = "╭" if at == 0 else "╰" if at == of - 1 else "├"
    if later:
        middle, fork = False, "╰" if at == of - 1 else "├"
    elif of == 1:
        fork = "─"
    elif middle:
        fork = "┬" if at == 0 else "┼"
    room = column - _SPINE - 4
    start = "  ●──" if middle else "     "
    if not is_collector:
        return f"{start}{'┼' if middle else '│'}  {pad(name, room)}│"
    return f"{start}{fork}─ {pad(name + ' ', room, '─')}{'╮' if at == 0 else '┤'}"


def _noted(plan: Plan, node: Node, layout: Layout, screen: Screen, column: int) -> str:
    if node.step is None:
        return ""
    return "  " + screen.paint(cut(_notes(plan, node.step, layout), screen.width - column - 2), "dim")


def _notes(plan: Plan, step: Step, layout: Layout) -> str:
    return " · ".join(notes(plan, step, layout))
