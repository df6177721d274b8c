"""Every drawing names every step once, and nothing that a step is called is read as the drawing's own syntax."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from runner.language.layout import Layout
from runner.language.plan import Foreach, Plan, Retry, Step
from runner.language.steps import Kind
from runner.text import block, printable, width
from runner.views.drawings.as_json import draw_json
from runner.views.drawings.dot import draw_dot
from runner.views.drawings.mermaid import draw_mermaid
from runner.views.drawings.tree import draw_tree
from runner.views.screen import Screen
from tests.plans import make_gather, make_plan, make_step

IDS = st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True)
WILD = st.text(max_size=40)
ONE: st.SearchStrategy[Foreach | None] = st.none()
FOREACH = st.builds(
    Foreach,
    items=st.one_of(WILD, WILD.map(lambda path: {"file": path, "format": None}), st.lists(WILD)),
)


@st.composite
def plans(draw: st.DrawFn, ids: st.SearchStrategy[str] = IDS, foreach: st.SearchStrategy[Foreach | None] = ONE) -> Plan:
    names = iter(draw(st.lists(ids, min_size=2, max_size=40, unique_by=printable)))
    stages = draw(st.integers(0, 3))

    def step(kind: Kind, step_id: str) -> Step:
        return make_step(
            kind,
            step_id,
            draw(st.one_of(st.just(step_id), WILD)),
            timeout=draw(st.none() | st.floats(0.1, 1e5)),
            retry=Retry(max_retries=draw(st.integers(0, 9))),
            queue=draw(st.none() | WILD),
            foreach=draw(foreach) if kind == "collector" else None,
        )

    gather = step("gather", next(names))
    if draw(st.booleans()):
        gather = make_gather("gather ", None)
    rest = list(names)
    after = tuple(step("stage", step_id) for step_id in rest[1 : 1 + stages])
    collectors = tuple(step("collector", step_id) for step_id in [rest[0], *rest[1 + stages :]])
    return make_plan(draw(WILD), description=draw(WILD), collectors=collectors, gather=gather, stages=after)


def below_heading(drawn: str) -> list[str]:
    return drawn.split("\n\n", 1)[1].splitlines()


def undotted(label: str) -> str:
    """The first line of a label, as Graphviz reads it."""
    parts = re.findall(r"\\.|[^\\]", label)
    first = parts[: parts.index(r"\n")] if r"\n" in parts else parts
    return "".join(part[-1] for part in first).replace("&amp;", "&")


@given(plans())
def test_the_tree_names_every_step_once(plan: Plan) -> None:
    lines = below_heading(draw_tree(plan, screen=Screen(1_000), collapse=None))
    named = [found[1] for line in lines if (found := re.match(r"[ ●─╭├╰┼┬│]{5,}─? ([a-z][\w-]*) ", f"{line} "))]
    spine = [found[1] for line in lines if (found := re.match(r" {5}([a-z][\w-]*) ", f"{line} "))]
    assert [*named, *spine] == [step.id.strip() for step in plan.steps]


@given(plans(foreach=st.none() | FOREACH), st.integers(40, 200), st.none() | st.integers(0, 10**6))
def test_the_tree_is_no_wider_than_its_screen(plan: Plan, columns: int, count: int | None) -> None:
    counts = {step.id: count for step in plan.collectors if step.foreach and count is not None}
    drawn = draw_tree(plan, screen=Screen(columns), layout=Layout(counts=counts))
    assert max(map(width, drawn.splitlines())) <= columns


@given(plans(ids=st.text(min_size=1, max_size=20)))
def test_mermaid_names_every_step_once_and_connects_it(plan: Plan) -> None:
    drawn = draw_mermaid(plan, collapse=None)
    labels = re.findall(r'^    n\d+[(\[{]+"(.*)"[)\]}]+:::', drawn, flags=re.MULTILINE)
    read = [re.sub(r"#(\d+);", lambda found: chr(int(found[1])), label.split("<br/>")[0]) for label in labels]
    arrows = next(line for line in drawn.splitlines() if line.startswith("    start --> "))
    assert read == [printable(step.id) for step in plan.steps]
    assert re.findall(r"n\d+", arrows) == [f"n{at}" for at in range(len(plan.steps))]


@given(plans(ids=st.text(min_size=1, max_size=20)))
def test_dot_names_every_step_once_and_connects_it(plan: Plan) -> None:
    drawn = draw_dot(plan, collapse=None)
    labels = re.findall(r'^    n\d+ \[.*, label="((?:[^"\\]|\\.)*)"\]$', drawn, flags=re.MULTILINE)
    assert [undotted(label) for label in labels] == [printable(step.id) for step in plan.steps]
    arrows = next(line for line in drawn.splitlines() if line.startswith("    start -> "))
    assert re.findall(r"n\d+", arrows) == [f"n{at}" for at in range(len(plan.steps))]


@given(plans(ids=st.text(min_size=1, max_size=20)))
def test_json_names_every_step_once_and_connects_it(plan: Plan) -> None:
    drawn = json.loads(draw_json(plan))
    assert [node["id"] for node in drawn["nodes"]] == [step.id for step in plan.steps]
    assert [(edge["from"], edge["to"]) for edge in drawn["edges"]] == [
        *((step.id, plan.fan_outs[0].gather.id) for step in plan.collectors),
        *((before.id, after.id) for before, after in zip(plan.tail, plan.tail[1:], strict=False)),
    ]


@given(plans(ids=st.text(min_size=1, max_size=20), foreach=st.none() | FOREACH))
def test_no_drawing_moves_the_cursor(plan: Plan) -> None:
    drawn = "".join([draw_tree(plan), draw_mermaid(plan), draw_dot(plan)])
    assert printable(drawn.replace("\n", "")) == drawn.replace("\n", "")


@given(plans(ids=st.text(min_size=1, max_size=20), foreach=st.none() | FOREACH))
def test_json_moves_no_cursor_either_though_its_spaces_are_as_they_were(plan: Plan) -> None:
    drawn = draw_json(plan)
    assert block(drawn) == drawn
