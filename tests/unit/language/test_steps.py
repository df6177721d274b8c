"""The steps in a file's data, which may be malformed."""

from typing import Any

import pytest

from runner.language.steps import kind_at, misshapen, step_at, walk, with_tasks

FILE: dict[str, Any] = {
    "defaults": {"collectors": {"task": "fetch", "timeout": 5, "with": {"a": 1, "b": 2}}},
    "collectors": [{"id": "x", "with": {"b": 3}}, {"id": "y", "task": "own", "timeout": None}],
    "gather": {"task": "gather.concat"},
    "stages": [{"id": "s", "task": "work"}],
}


def test_steps_are_found_in_the_order_in_which_they_are_executed() -> None:
    assert [(step.kind, step.id, step.loc) for step in walk(FILE)] == [
        ("collector", "x", ("collectors", 0)),
        ("collector", "y", ("collectors", 1)),
        ("gather", "gather_concat", ("gather",)),
        ("stage", "s", ("stages", 0)),
    ]


def test_a_steps_value_is_its_own_or_that_of_its_defaults_with_its_place() -> None:
    x, y, gather, _ = walk(FILE)
    assert x.value("task") == ("fetch", ("defaults", "collectors", "task"))
    assert y.value("task") == ("own", ("collectors", 1, "task"))
    assert y.value("timeout") == (None, ("collectors", 1, "timeout"))
    assert gather.value("timeout") == (None, ("gather", "timeout"))


def test_with_alone_is_merged_by_name_each_with_its_place() -> None:
    assert next(walk(FILE)).arguments() == {
        "a": (1, ("defaults", "collectors", "with", "a")),
        "b": (3, ("collectors", 0, "with", "b")),
    }


def test_a_step_is_found_from_any_place_in_it() -> None:
    step = step_at(FILE, ("collectors", 1, "with", "b", 0))
    assert step is not None
    assert step.loc == ("collectors", 1)
    assert step_at(FILE, ("defaults", "collectors", "task")) is None


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"collectors": {"a": {}}, "gather": [], "stages": "s", "defaults": []},
        {"collectors": ["a", None, 1], "defaults": {"collectors": "x"}},
    ],
)
def test_what_is_no_step_is_passed_over(data: dict[str, Any]) -> None:
    assert list(walk(data)) == []
    assert with_tasks(data) == data


def test_the_keys_whose_steps_have_another_shape_are_returned() -> None:
    assert misshapen({"collectors": {}, "gather": {}}) == {"collectors", "stages"}


def test_a_step_without_a_task_has_that_of_its_defaults() -> None:
    filled = with_tasks(FILE)
    assert [step["task"] for step in filled["collectors"]] == ["fetch", "own"]
    assert "task" not in FILE["collectors"][0]


def test_the_kind_of_a_step_follows_from_its_place() -> None:
    places = [("collectors", 0), ("stages", 3), ("gather",), ("collectors",), ("inputs", 0), ("gather", "task"), ()]
    assert [kind_at(place) for place in places] == ["collector", "stage", "gather", None, None, None, None]
