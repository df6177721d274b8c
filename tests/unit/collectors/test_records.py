"""records.dedupe, records.sort and records.count."""

from typing import Any

import pytest

from runner.collectors.records import NotRecords, count, dedupe, sort
from runner.worker.notes import kept

NAMES = [{"n": "b", "at": 2}, {"n": "a"}, {"n": "b", "at": 1}, {"n": "a", "at": None}]


def test_the_first_of_equal_records_is_kept() -> None:
    assert dedupe([{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}]) == [{"a": 1, "b": 2}, {"a": 1}]


def test_records_are_equal_by_the_keys_given_and_a_missing_one_is_as_null() -> None:
    assert dedupe(NAMES, by=["n", "at"]) == NAMES[:3]


def test_records_without_their_key_are_all_kept_and_noted() -> None:
    """Nulls were taken for equal: ten records of a misspelt field became one."""
    records = [{"a": 1}, {"b": 1}, {"b": 2}, {"a": None}, {"a": 1}, {"a": None}]
    with kept() as notes:
        assert dedupe(records, by="a") == [records[0], *records[1:4], records[5]]
    assert notes == {"without_key": 4, "dropped": 1}


def test_records_with_one_of_several_keys_are_compared() -> None:
    records = [{"a": 1}, {"a": 1, "b": None}, {"b": 1}, {"c": 1}, {"c": 1}]
    assert dedupe(records, by=["a", "b?"]) == [{"a": 1}, {"b": 1}, {"c": 1}, {"c": 1}]


@pytest.mark.parametrize("task", [sort, count, dedupe])
def test_a_key_of_records_that_none_has_is_a_failure(task: Any) -> None:
    """Of records.dedupe a misspelt key kept every record, in silence."""
    with pytest.raises(
        NotRecords, match=r'no record has "titel" \(by of records\.\w+\); they have title, by'
    ) as raised:
        task([{"title": 1}, {"by": 2}], by="titel")
    assert raised.value.retryable is False


def test_a_key_of_records_that_none_need_have_may_be_missing() -> None:
    assert sort([{"a": 2}, {"a": 1}], by=["date?", "a"]) == [{"a": 1}, {"a": 2}]
    assert count([{"a": 2}], by="date?") == {"count": 1, "by": {"null": 1}}
    assert dedupe([{"a": 2}, {"a": 2}], by=["date?", "a"]) == [{"a": 2}]


def test_records_that_are_dropped_are_counted_in_the_notes_and_none_is_no_note() -> None:
    with kept() as notes:
        dedupe([1, 1, 2, 1])
    assert notes == {"dropped": 2}
    with kept() as notes:
        dedupe([1, 2])
    assert notes == {}


@pytest.mark.parametrize("task", [sort, dedupe])
def test_a_key_of_no_records_is_no_failure(task: Any) -> None:
    assert task([], by="titel") == []


def test_the_key_of_dedupe_need_not_be_a_list() -> None:
    assert dedupe(NAMES, by="n") == NAMES[:2]


def test_dedupe_takes_neither_true_for_one_nor_a_number_for_its_text() -> None:
    assert dedupe([1, True, "1", 1]) == [1, True, "1"]


def test_records_are_sorted_by_the_first_key_and_then_the_next() -> None:
    assert sort(NAMES, by=["n", "at"]) == [NAMES[1], NAMES[3], NAMES[2], NAMES[0]]


def test_records_without_the_key_are_sorted_last_also_in_reverse() -> None:
    assert sort(NAMES, by="at", reverse=True) == [NAMES[0], NAMES[2], NAMES[1], NAMES[3]]


def test_sorting_has_an_order_of_values_of_different_kinds() -> None:
    mixed: list[Any] = [{"a": 1}, [2], "b", "a", 10, 2.5, True, False]
    records = [{"k": value} for value in mixed]
    assert [record["k"] for record in sort(records, by="k")] == [False, True, 2.5, 10, "a", "b", [2], {"a": 1}]


def test_sorting_records_leaves_the_list_it_was_given() -> None:
    given = [{"k": 2}, {"k": 1}]
    sort(given, by="k")
    assert given == [{"k": 2}, {"k": 1}]


def test_records_count_counts_records() -> None:
    assert count(NAMES) == {"count": 4}


def test_records_count_counts_values_the_most_common_first() -> None:
    result = count([{"k": "x"}, {"k": 1}, {}, {"k": 1}, {"k": None}, {"k": 1}], by="k")
    assert result == {"count": 6, "by": {"1": 3, "null": 2, "x": 1}}
    assert list(result["by"]) == ["1", "null", "x"]


@pytest.mark.parametrize("task", [dedupe, sort, count])
def test_a_record_without_keys_is_named(task: Any) -> None:
    with pytest.raises(NotRecords, match="record 2 of 2 is a string, and has no keys for records"):
        task([{}, "x"], by="k")


@pytest.mark.parametrize("task", [dedupe, sort, count])
def test_records_that_come_in_no_list_are_a_failure(task: Any) -> None:
    with pytest.raises(NotRecords, match="takes a list of records, not a mapping"):
        task({}, by="k")


QUESTIONS = [{"paid?": True, "n": 1}, {"paid?": False, "n": 2}, {"paid?": True, "n": 3}]


def test_a_key_of_records_may_end_with_a_question_mark_itself() -> None:
    """Airtable and forms name columns with their questions: all of them counted as null, and were left unsorted."""
    assert count(QUESTIONS, by="paid?")["by"] == {"true": 2, "false": 1}
    assert [record["n"] for record in sort(QUESTIONS, by="paid?")] == [2, 1, 3]
    assert [record["n"] for record in dedupe(QUESTIONS, by=["paid?"])] == [1, 2]
