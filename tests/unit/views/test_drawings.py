"""The content of drawings; `tests/cases/drawings` has whole ones."""

import subprocess
import sys

import pytest

from runner.language.plan import Plan, Retry, Step
from runner.views.drawings import FORMATS, Draw
from runner.views.drawings.dot import draw_dot
from runner.views.drawings.mermaid import draw_mermaid
from runner.views.drawings.tree import draw_tree
from runner.views.screen import Screen
from tests.plans import make_collector, make_gather, make_plan, make_stage


def plan(*collectors: Step, gather: Step | None = None, name: str = "news", description: str = "") -> Plan:
    return make_plan(
        name,
        description=description,
        collectors=collectors,
        gather=gather or make_gather("fan_in"),
        stages=(make_stage("end", "end"),),
    )


def collector(step_id: str, task: str = "fetch") -> Step:
    return make_collector(step_id, task)


def many(count: int) -> Plan:
    return plan(*(collector(f"page_{at:04}") for at in range(count)))


def test_the_tree_fans_out_and_in() -> None:
    drawn = draw_tree(plan(collector("hn", "hn"), collector("lobsters", "http.get"), collector("x", "x")))
    assert drawn.splitlines()[2:] == [
        "     ╭─ hn ───────╮",
        "  ●──┼─ lobsters ─┤  http.get",
        "     ╰─ x ────────┤",
        "     ╭────────────╯",
        "     ▼",
        "     fan_in          fan-in of 3 · merge",
        "     │",
        "     end",
    ]


def test_a_tree_of_one_collector_is_one_line() -> None:
    drawn = draw_tree(plan(collector("hackernews")))
    assert "  ●──── hackernews ─╮  fetch\n     ╭──────────────╯\n" in drawn


def test_two_collectors_fan_out_from_the_first() -> None:
    drawn = draw_tree(plan(collector("a"), collector("b")))
    assert "●──┬─ a " in drawn
    assert "   ╰─ b " in drawn


def test_the_tree_notes_what_is_not_the_default() -> None:
    step = make_collector("hn", "http.get", timeout=90, retry=Retry(max_retries=1), queue="slow", priority=3)
    assert "http.get · timeout 1m30s · 1 retry · queue slow · priority 3" in draw_tree(plan(step), screen=Screen(200))


def test_a_gather_left_out_is_drawn_as_the_list_itself() -> None:
    drawn = draw_tree(plan(collector("hn"), gather=make_gather(task=None)))
    assert "gather (the list itself)  fan-in of 1" in drawn


@pytest.mark.parametrize("draw", [draw_tree, draw_mermaid, draw_dot])
def test_a_wide_fan_out_shows_its_ends_and_how_many_are_between(draw: Draw) -> None:
    drawn = draw(many(1000), Screen())
    assert all(f"page_{at:04}" in drawn for at in (0, 4, 995, 999))
    assert not any(f"page_{at:04}" in drawn for at in (5, 994))
    assert "… 990 more" in drawn
    assert len(drawn.splitlines()) < 30


def test_a_tree_of_twelve_collectors_draws_them_all() -> None:
    assert "more" not in draw_tree(many(12))
    assert "… 3 more" in draw_tree(many(13))


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_tree_fits_its_screen_whatever_the_names(width: int) -> None:
    wide = plan(
        collector("a" * 63, "t" * 300),
        collector("b"),
        gather=make_gather("g" * 63, "集" * 100),
        name="n" * 63,
        description="word " * 50,
    )
    assert max(map(len, draw_tree(wide, screen=Screen(width)).splitlines())) <= width


def test_a_name_that_is_cut_in_a_drawing_keeps_both_its_ends() -> None:
    drawn = draw_tree(plan(collector("page_" + "x" * 50 + "_17")), screen=Screen(40))
    assert "page_" in drawn
    assert "_17 " in drawn
    assert "…" in drawn


def test_notes_of_the_tree_are_dim_where_there_is_colour() -> None:
    assert "\x1b[2mhttp.get\x1b[0m" in draw_tree(plan(collector("hn", "http.get")), screen=Screen(80, colour=True))
    assert "\x1b" not in draw_tree(plan(collector("hn", "http.get")))


@pytest.mark.parametrize("format_", FORMATS)
def test_no_drawing_lets_an_escape_sequence_or_a_line_break_through(format_: str) -> None:
    drawn = FORMATS[format_](plan(collector("hn", "a\x1b[31m\nb\u202ec"), name="x\ny"), Screen())
    calm = FORMATS[format_](plan(collector("hn", "abc"), name="xy"), Screen())
    assert not {"\x1b", "\u202e"} & set(drawn)
    assert len(drawn.splitlines()) == len(calm.splitlines())


def test_mermaid_reads_no_name_as_its_own_syntax() -> None:
    drawn = draw_mermaid(plan(collector("hn", '"]) --> x; `<b>`#35; {[')))
    assert 'n0(["hn<br/>#34;#93;) --#62; x#59; #96;#60;b#62;#96;#35;35#59; #123;#91;"]):::collector' in drawn


def test_mermaid_takes_no_name_for_the_beginning_of_a_list() -> None:
    assert 'start(("1#46; news"))' in draw_mermaid(plan(collector("hn"), name="1. news"))


def test_dot_reads_no_name_as_its_own_syntax() -> None:
    assert r'label="hn\na\"b\\N&amp;lt;"' in draw_dot(plan(collector("hn", r'a"b\N&lt;')))


def test_drawing_a_workflow_imports_neither_celery_nor_rich() -> None:
    asked = "import sys, runner.views.drawings; print([m for m in ('celery', 'kombu', 'redis', 'rich') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
