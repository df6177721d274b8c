"""Properties of the items of any `foreach`: the items that are written are read, and no others."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.language.bind import Bound
from runner.language.faults import InvalidItems
from runner.language.foreach import items, names_value
from runner.language.ids import written
from runner.language.plan import Foreach, Plan, Step, arguments, dump_plan, load_plan
from runner.language.source import parse_source
from runner.language.task_index import read_tasks
from runner.language.workflow_file import check
from runner.views.drawings import FORMATS
from runner.views.screen import PLAIN
from tests.command_line import ROOT
from tests.plans import make_collector, make_gather, make_plan
from tests.strategies import TEXTS, VALUES, as_yaml, workflows

TASKS = read_tasks(["pure_tasks"], [ROOT / "tests"])
FORMAT_NAMES = st.sampled_from(["lines", "jsonl", "csv"])
NO_DEADLINE = settings(deadline=None)
ONE_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def bound(data: dict[str, Any]) -> Bound:
    return check(parse_source(as_yaml(data), "generated.yaml"), TASKS).bind({})


BOUND = workflows().map(bound)
PLANS = BOUND.map(lambda made: made.plan)


# The value of the part before, in a plan that is not executed: any value would do.
NAMES = {"value": [1, "b", None]}


def wide(plan: Plan) -> Iterator[Step]:
    return (step for step in plan.collectors if step.foreach)


@NO_DEADLINE
@given(BOUND)
def test_counting_the_items_of_a_foreach_gives_their_number(made: Bound) -> None:
    known = [step for step in wide(made.plan) if not names_value(step)]
    assert made.layout.counts == {step.id: len(list(items(made.plan, step))) for step in known}


@NO_DEADLINE
@given(PLANS)
def test_every_item_of_a_foreach_has_a_collector_that_is_found_again(plan: Plan) -> None:
    made = [(step, step.of(item).id) for step in wide(plan) for item in items(plan, step, NAMES)]
    assert len({name for _, name in made}) == len(made)
    assert [plan.by_id[written(name)] for _, name in made] == [step for step, _ in made]


@NO_DEADLINE
@given(PLANS)
def test_a_plan_with_items_survives_the_ledger(plan: Plan) -> None:
    assert load_plan(dump_plan(plan)) == plan
    made = [step.of(item) for step in wide(plan) for item in items(plan, step, NAMES)]
    assert [arguments(load_plan(dump_plan(plan)), step, {}, NAMES) for step in made] == [
        arguments(plan, step, {}, NAMES) for step in made
    ]


@NO_DEADLINE
@given(PLANS)
def test_every_drawing_names_every_collector_once_however_many_items_it_has(plan: Plan) -> None:
    drawings = [draw(plan, PLAIN) for draw in FORMATS.values()]
    assert [step.id for drawing in drawings for step in plan.steps if step.id not in drawing] == []


def read(path: Path, content: str | bytes, format_: str) -> list[Any]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    step = make_collector("page", foreach=Foreach(items={"file": str(path), "format": format_}))
    return [item.value for item in items(make_plan("p", collectors=(step,), gather=make_gather(task=None)), step)]


@ONE_FILE
@given(st.lists(VALUES))
def test_items_of_json_lines_are_read_as_they_were_written(tmp_path: Path, values: list[Any]) -> None:
    assert read(tmp_path / "x", "".join(f"{json.dumps(value)}\n" for value in values), "jsonl") == values


@ONE_FILE
@given(st.lists(TEXTS.filter(lambda text: text.strip() and "\n" not in text and not text.endswith("\r"))))
def test_items_of_lines_are_read_as_they_were_written(tmp_path: Path, lines: list[str]) -> None:
    assert read(tmp_path / "x", "".join(f"{line}\n" for line in ["first", *lines]), "lines") == ["first", *lines]


@ONE_FILE
@given(st.lists(TEXTS, min_size=2, max_size=3, unique=True), st.data())
def test_items_of_csv_rows_are_read_as_they_were_written(
    tmp_path: Path, header: list[str], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.lists(TEXTS, min_size=len(header), max_size=len(header))))
    with (tmp_path / "source").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    expected = [dict(zip(header, row, strict=True)) for row in rows]
    assert read(tmp_path / "x", (tmp_path / "source").read_bytes(), "csv") == expected


@ONE_FILE
@given(st.binary(max_size=100), FORMAT_NAMES)
def test_any_bytes_are_items_of_json_or_one_of_our_errors(tmp_path: Path, content: bytes, format_: str) -> None:
    values = read_or_told(tmp_path / "x", content, format_)
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def read_or_told(path: Path, content: bytes, format_: str) -> Any:
    try:
        return read(path, content, format_)
    except InvalidItems as error:
        return error.code
