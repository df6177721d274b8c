"""Where a secret is recognized, and where not."""

import base64
import html
import json
import re
import string
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.language.plan import Plan
from runner.language.redact import redact, redact_inputs, redact_line
from tests.plans import make_gather, make_plan

SECRET = "p4ss/w'ord\n&é"


def plan(secret: Any, **inputs: Any) -> Plan:
    gather = make_gather(task=None)
    return make_plan(collectors="hn", gather=gather, inputs={"key": secret, **inputs}, secrets=("key",))


def test_inputs_are_shown_but_for_the_secret_ones() -> None:
    assert redact_inputs(plan("hunter22", topic="tea")) == {"key": "***", "topic": "tea"}


@pytest.mark.parametrize(
    "text",
    [
        f"it is {SECRET}!",
        f"KeyError: {SECRET!r}",
        f'{{"key": {json.dumps(SECRET)}}}',
        "https://x.org/?key=p4ss%2Fw%27ord%0A%26%C3%A9",
        "https://x.org/p4ss/w%27ord%0A%26%C3%A9/list",
        str(httpx.URL("https://x.org", params={"key": SECRET})),
        f"https://x.org/?next={quote(quote(SECRET, safe=''))}",
        json.dumps(json.dumps({"key": SECRET})),
        repr(repr({"key": SECRET})),
        f"<b>{html.escape(SECRET)}</b>",
    ],
)
def test_a_secret_is_found_however_it_is_written(text: str) -> None:
    redacted = redact(text, plan(SECRET))
    assert "***" in redacted
    assert "p4ss" not in redacted


ODD = string.punctuation + " \t\r\né集🎉"


@given(st.text(sorted({*string.ascii_letters, *ODD} - {*"#%?\\\t\r\n"}), min_size=8).map(lambda secret: f"p{secret}4"))
@example("p4ss w'ord|<é>!")
def test_a_secret_in_the_url_of_a_yaml_is_found_in_what_httpx_makes_of_it(secret: str) -> None:
    """Httpx leaves more characters as they are than `urllib.parse.quote` does: a secret in its messages was shown."""
    url = str(httpx.URL(f"https://x.org/list?key={secret}"))
    assert redact(url, plan(secret)) == "https://x.org/list?key=***"


@given(st.text(string.ascii_letters + ODD, min_size=8).filter(lambda secret: len(secret.strip()) >= 8))
def test_a_secret_given_to_httpx_as_a_parameter_is_found(secret: str) -> None:
    url = str(httpx.URL("https://x.org/", params={"key": secret}))
    assert redact(url, plan(secret)) == "https://x.org/?key=***"


@given(st.text(string.ascii_letters + ODD, min_size=8).filter(lambda secret: "\\\\" not in secret))
@example("\\n12345\n")
def test_a_secret_with_any_characters_is_found_quoted_and_quoted_again(secret: str) -> None:
    quoted = [json.dumps(secret), repr(secret), json.dumps(json.dumps(secret)), html.escape(secret), quote(secret)]
    assert [re.sub(r"[\\\"']", "", redact(each, plan(secret))) for each in quoted] == ["***"] * 5


@pytest.mark.parametrize("user", ["", "u", "me", "bob"])
def test_a_secret_in_basic_authentication_is_found_whatever_the_user_is_called(user: str) -> None:
    header = base64.b64encode(f"{user}:p4ssw0rd-1234".encode()).decode()
    redacted = redact(f"Authorization: Basic {header}", plan("p4ssw0rd-1234"))
    assert re.fullmatch(r"Authorization: Basic \w{0,6}\*\*\*\w?=*", redacted)


def test_each_line_of_a_secret_is_redacted_alone() -> None:
    """A key of several lines came out where a message or a log had one line of it."""
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n"
    assert redact("bad base64: 'hkiG9w0BAQEFAASC'", plan(key)) == "bad base64: '***'"


def test_a_long_row_of_backslashes_is_redacted_in_linear_time() -> None:
    """Both are a server's and a user's to choose; what took forever would hang `show`, and the worker."""
    rows = "\\" * 1_000_000
    assert redact(rows + "x", plan("\\" * 20 + "!" + "\\" * 9 + "secret")) == rows + "x"


def test_a_redacted_line_has_no_secret_and_no_escape_sequence() -> None:
    assert redact_line("hunter22\n\x1b[2Jforged", plan("hunter22")) == r"***\n\x1b[2Jforged"


def test_a_secret_is_found_anywhere_in_a_value() -> None:
    value = {"a": [{"b": "x hunter22 y"}], "hunter22": 1}
    assert redact(value, plan("hunter22")) == {"a": [{"b": "x *** y"}], "***": 1}


def test_what_a_secret_object_holds_is_secret() -> None:
    assert redact("ann, s3cret", plan({"user": "ann", "password": ["s3cret"]})) == "ann, ***"


def test_a_short_secret_is_masked_only_where_it_is_the_whole_value() -> None:
    assert redact(["no", "not now", "no"], plan("no")) == ["***", "not now", "***"]


def test_a_secret_number_is_masked_as_a_number_and_in_text() -> None:
    assert redact([12345, "pin 12345", 123456, True], plan(12345)) == ["***", "pin ***", 123456, True]


@pytest.mark.parametrize("secret", [None, "", True, [], {}])
def test_a_secret_without_content_masks_nothing(secret: Any) -> None:
    assert redact(["", None, True, "text"], plan(secret)) == ["", None, True, "text"]


def test_of_two_secrets_one_within_the_other_nothing_is_left() -> None:
    assert redact("hunter22-and-more", plan(["hunter22", "hunter22-and-more"])) == "***"


def test_a_value_without_secrets_is_returned_as_it_is() -> None:
    value = {"a": ("b",)}
    gather = make_gather(task=None)
    assert redact(value, make_plan(collectors="", gather=gather, inputs={"key": "b"})) is value
