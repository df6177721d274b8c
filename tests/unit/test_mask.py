"""Where a secret is found, and where not."""

import json
from typing import Any

import pytest

from runner import mask
from runner.plan import Plan, Step

SECRET = "p4ss/w'ord\n&é"


def plan(secret: Any, **inputs: Any) -> Plan:
    gather = Step("gather", "gather", None)
    return Plan(
        "news", "", (Step("hn", "collector", "fetch"),), gather, inputs={"key": secret, **inputs}, secrets=("key",)
    )


def test_inputs_are_shown_but_for_the_secret_ones() -> None:
    assert mask.inputs(plan("hunter22", topic="tea")) == {"key": "***", "topic": "tea"}


@pytest.mark.parametrize(
    "text",
    [
        f"it is {SECRET}!",
        f"KeyError: {SECRET!r}",
        f'{{"key": {json.dumps(SECRET)}}}',
        "https://x.org/?key=p4ss%2Fw%27ord%0A%26%C3%A9",
        "https://x.org/p4ss/w%27ord%0A%26%C3%A9/list",
    ],
)
def test_a_secret_is_found_however_it_is_written(text: str) -> None:
    masked = mask.mask(text, plan(SECRET))
    assert "***" in masked
    assert "p4ss" not in masked


def test_a_secret_is_found_anywhere_in_a_value() -> None:
    value = {"a": [{"b": "x hunter22 y"}], "hunter22": 1}
    assert mask.mask(value, plan("hunter22")) == {"a": [{"b": "x *** y"}], "***": 1}


def test_what_a_secret_object_holds_is_secret() -> None:
    assert mask.mask("ann, s3cret", plan({"user": "ann", "password": ["s3cret"]})) == "ann, ***"


def test_a_short_secret_is_masked_only_where_it_is_the_whole_value() -> None:
    assert mask.mask(["no", "not now", "no"], plan("no")) == ["***", "not now", "***"]


def test_a_secret_number_is_masked_as_a_number_and_in_text() -> None:
    assert mask.mask([12345, "pin 12345", 123456, True], plan(12345)) == ["***", "pin ***", 123456, True]


@pytest.mark.parametrize("secret", [None, "", True, [], {}])
def test_a_secret_without_content_masks_nothing(secret: Any) -> None:
    assert mask.mask(["", None, True, "text"], plan(secret)) == ["", None, True, "text"]


def test_of_two_secrets_one_within_the_other_nothing_is_left() -> None:
    assert mask.mask("hunter22-and-more", plan(["hunter22", "hunter22-and-more"])) == "***"


def test_without_secrets_a_value_is_the_same() -> None:
    value = {"a": ("b",)}
    gather = Step("gather", "gather", None)
    assert mask.mask(value, Plan("news", "", (), gather, inputs={"key": "b"})) is value
