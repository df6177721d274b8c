"""gather.concat and gather.merge."""

from typing import Any

import pytest

from runner.collectors.gather import NotGatherable, concat, merge


def test_gather_concat_makes_one_list_in_the_order_of_the_collectors() -> None:
    assert concat([[2, 1], [], [3]]) == [2, 1, 3]


def test_gather_concat_takes_an_object_as_an_item_and_null_as_none() -> None:
    assert concat([{"a": 1}, None, [[1]]]) == [{"a": 1}, [1]]


def test_gather_concat_takes_texts_and_numbers_as_items_where_all_values_are_such() -> None:
    assert concat(["text", None, 0]) == ["text", 0]


@pytest.mark.parametrize(("value", "shown"), [("<html>", 'the string "<html>"'), (5, "5"), (True, "true")])
@pytest.mark.parametrize("other", [[{"a": 1}], {"a": 1}, []])
def test_gather_concat_of_a_text_beside_lists_and_objects_names_its_place(value: Any, shown: str, other: Any) -> None:
    """A page to log in stood between the records of the other collectors, and the run had succeeded."""
    with pytest.raises(NotGatherable, match=f"value 2 of 3 is {shown}, neither a list nor an object") as raised:
        concat([None, value, other])
    assert raised.value.retryable is False


def test_gather_merge_makes_one_object_and_the_later_value_stands() -> None:
    assert merge([{"a": 1, "b": 1}, None, {"b": 2}]) == {"a": 1, "b": 2}


def test_a_gather_of_nothing_is_empty() -> None:
    assert (concat([]), merge([])) == ([], {})


def test_gather_merge_of_what_is_no_object_names_its_place() -> None:
    with pytest.raises(NotGatherable, match=r"value 2 of 2 is a list, and gather\.merge puts objects together"):
        merge([{}, [1]])


@pytest.mark.parametrize("task", [concat, merge])
def test_a_gather_takes_a_list(task: Any) -> None:
    with pytest.raises(NotGatherable, match="takes a list of values, not a mapping"):
        task({})
