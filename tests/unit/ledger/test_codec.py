"""The texts that the ledger stores, written and read; a damaged one is an error, not a value."""

import json
from typing import Any

import pytest

from runner.language.plan import Foreach, Item
from runner.ledger import codec
from runner.ledger.entries import Error, FailedAttempt, Postponed, Underway
from tests.plans import make_collector, make_outcome

PAGE = make_collector("page", foreach=Foreach(items="…"))


@pytest.mark.parametrize("keys", [("2", "3"), ("rome", "oslo")])
def test_a_batch_of_items_is_unpacked_as_it_was_packed(keys: tuple[str, str]) -> None:
    items = [Item({"n": number}, key, number, 1) for number, key in enumerate(keys, 2)]
    ref, text = codec.packed(items, "page/1")
    assert ref == "page/1"
    assert [step.item for step in codec.unpacked(PAGE, ref, text)] == items
    assert codec.ids(PAGE, text) == [f"page[{key}]" for key in keys]


@pytest.mark.parametrize("text", ["[0, null]", '["0", null, []]', "[0, null, {}]", '[0, ["a"], [1, 2]]', "[0"])
def test_a_damaged_batch_of_items_is_an_error(text: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        codec.ids(PAGE, text)


def stored(group: dict[str, Any], at: int = 0) -> str:
    """An outcome as the scripts store it (prelude.py)."""
    over, valued = int(group["over"]), int("values" in group)
    return f"{group['status']} {over} {valued} {group['attempt']} {group['worker']}\n{group['texts'][at]}"


def test_an_outcome_is_read_as_it_was_stored() -> None:
    error = Error("OSError", "no", "Traceback")
    failed = make_outcome(
        "a", "failed", error=error, attempts=2, started_at=1.5, finished_at=2.5, worker="w", notes={"n": 1}
    )
    [group] = codec.dumped([failed])
    assert (group["passes"], "values" in group, group["messages"]) == (False, False, ["OSError: no"])
    assert codec.read_outcome("a", stored(group)) == failed


def test_the_value_of_an_outcome_is_stored_beside_it() -> None:
    [group] = codec.dumped([make_outcome("a", value=[1])])
    [value] = group["values"]
    assert json.loads(value) == [1]
    assert codec.read_outcome("a", stored(group)).value is None
    assert codec.read_outcome("a", stored(group), value).value == [1]


def test_outcomes_that_have_most_in_common_are_one_group() -> None:
    pages = [make_outcome(f"page[{n}]", value=n, ref="page/0", finished_at=2.5) for n in range(3)]
    [some, late, rest] = codec.dumped([*pages[:2], make_outcome("page[x]", "late", ref="page/0"), pages[2]])
    assert (some["steps"], some["values"], some["ref"]) == (["page[0]", "page[1]"], ["0", "1"], "page/0")
    assert (late["steps"], late["status"], late["over"]) == (["page[x]"], "late", False)
    assert rest["steps"] == ["page[2]"]


@pytest.mark.parametrize(
    "text",
    [
        "done 1 0 1 w\n[null,null,null]",
        "failed 1 0 one w\n[null,null,null]",
        'failed 1 0 1 w\n["now",null,null]',
        "failed 1 0 1\n[null,null,null]",
        'failed 1 0 1 w\n[null,null,["OSError",5,""]]',
        "failed 1 0 1 w\n[null,null,null,[]]",
        "failed 1 0 1 w\n[null]",
        "failed",
        '["failed",1,null,null,"w",null]',
    ],
)
def test_a_damaged_outcome_is_an_error(text: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        codec.read_outcome("a", text)


def test_the_failed_attempts_of_a_step_are_read_in_their_order() -> None:
    failures = [
        Postponed(
            step="a",
            error=Error("OSError", f"no {number}\nmore"),
            attempt=number,
            seconds=1,
            started_at=1,
            finished_at=2,
        )
        for number in (1, 2)
    ]
    text = "".join(f"{codec.dumped_attempt(each)['failure']}," for each in failures)
    assert codec.read_failures(text) == [
        FailedAttempt(attempt=number, started_at=1, finished_at=2, worker="", error=Error("OSError", f"no {number}"))
        for number in (1, 2)
    ]


@pytest.mark.parametrize(
    ("text", "underway"),
    [
        ("30 token 2 1 0 a w 1", Underway(status="running", attempts=2, seconds=20, worker="w 1")),
        ("30 - 2 1 0 a w 1", Underway(status="retrying", attempts=2, seconds=20, worker="w 1")),
        ("10 token 2 1 0 a w 1", None),
        ("0 - 2 1 0 a w 1", None),
    ],
    ids=["leased", "postponed", "lease run out", "released"],
)
def test_a_step_is_underway_while_its_lease_lasts_or_its_retry_is_due(text: str, underway: Underway | None) -> None:
    assert codec.read_underway(text, now=10) == underway


def test_an_event_with_an_unknown_status_is_an_error() -> None:
    fields = {"event": "finished", "at": "1.5", "step": "a", "status": "succeeded"}
    assert codec.read_event("1-0", fields).at == 1.5
    with pytest.raises(ValueError, match="unknown word 'done'"):
        codec.read_event("1-0", {**fields, "status": "done"})
