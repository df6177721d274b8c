"""A plan to lines with box characters, for a terminal."""

from runner import text
from runner.language.plan import Plan, Step
from runner.views.drawings import short
from runner.views.screen import PLAIN, Screen

_SPINE = 5  # columns to the left of the gather and the stages; a collector's name stands three further in


def draw(plan: Plan, *, screen: Screen = PLAIN, collapse: int | None = 12) -> str:
    """Draw the fan-out, the fan-in and the stages.

    Args:
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
    first, hidden, last = short.ends(plan.collectors, collapse)
    shown: list[Step | str] = [*first, *([f" … {hidden:,} more"] if hidden else []), *last]
    # Names may take all but what the notes need, and the notes may need no more than a quarter.
    most = max(text.width(_notes(plan, step)) for step in plan.steps)
    room = max(12, screen.width - _SPINE - 6 - min(most + 2, screen.width // 4))
    names = [text.cut_middle(_name(each), room) for each in shown]
    tail = [text.cut_middle(_name(step), room) for step in plan.tail]
    column = _SPINE + max(6 + max(map(text.width, names)), *map(text.width, tail))

    lines = [*_heading(plan, screen), ""]
    for at, (each, name) in enumerate(zip(shown, names, strict=True)):
        rails = _rails(at, len(shown), name, column, collector=isinstance(each, Step))
        lines.append(rails + (_noted(plan, each, screen, column) if isinstance(each, Step) else ""))
    lines += ["     ╭" + "─" * (column - _SPINE - 2) + "╯"]
    for step, name in zip(plan.tail, tail, strict=True):
        lines += [" " * _SPINE + ("▼" if step.kind == "gather" else "│")]
        lines += [text.pad(" " * _SPINE + name, column) + _noted(plan, step, screen, column)]
    return "\n".join(line.rstrip() for line in lines)


def _heading(plan: Plan, screen: Screen) -> list[str]:
    title = screen.paint(text.cut_middle(text.printable(plan.name), screen.width), "bold")
    return [title, *text.wrap(text.printable(" ".join(plan.description.split())), min(screen.width, 80))]


def _name(each: Step | str) -> str:
    if isinstance(each, str):
        return each
    return short.name(each) + (" (the list itself)" if each.task is None else "")


def _rails(at: int, of: int, name: str, column: int, *, collector: bool) -> str:
    """A name between the line that fans out and the line that fans in."""
    middle = at == (of - 1) // 2
    fork = "╭" if at == 0 else "╰" if at == of - 1 else "├"
    if of == 1:
        fork = "─"
    elif middle:
        fork = "┬" if at == 0 else "┼"
    room = column - _SPINE - 4
    start = "  ●──" if middle else "     "
    if not collector:
        return f"{start}{'┼' if middle else '│'}  {text.pad(name, room)}│"
    return f"{start}{fork}─ {text.pad(name + ' ', room, '─')}{'╮' if at == 0 else '┤'}"


def _noted(plan: Plan, step: Step, screen: Screen, column: int) -> str:
    return "  " + screen.paint(text.cut(_notes(plan, step), screen.width - column - 2), "dim")


def _notes(plan: Plan, step: Step) -> str:
    return " · ".join(short.notes(plan, step))
