"""What a user types after `run FILE`, to the inputs of FILE."""

from typing import Any

import click
import pytest

from runner.commands.options.inputs import find_file, input_options, typed_inputs
from runner.language.inputs import Input

INPUTS = {
    "n": Input.model_validate({"type": "integer"}),
    "topic": Input.model_validate({"type": "string"}),
    "list": Input.model_validate({"type": "array"}),
    "dry": Input.model_validate({"type": "boolean"}),
}


def typed(*words: str) -> dict[str, Any]:
    command = click.Command("run", params=list(input_options(INPUTS, ())))
    return typed_inputs(INPUTS, command.make_context("run", list(words)).params, ())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--n", "-5"), {"n": "-5"}),
        (("--n=-5",), {"n": "-5"}),
        (("--topic", "-x"), {"topic": "-x"}),
        (("--topic=-x",), {"topic": "-x"}),
        (("--topic=--n",), {"topic": "--n"}),
        (("--list", "-1", "--list=-2"), {"list": ["-1", "-2"]}),
    ],
)
def test_the_value_of_an_input_may_begin_with_a_dash(words: tuple[str, ...], expected: dict[str, Any]) -> None:
    """Click 8.5 reads `flag_value=None` as "the value is optional": `--n -5` was "No such option '-5'"."""
    assert typed(*words) == expected


@pytest.mark.parametrize("words", [("--n",), ("--topic",), ("--list",), ("--dry", "--n")])
def test_an_input_that_is_no_boolean_needs_a_value(words: tuple[str, ...]) -> None:
    """`--n` alone was null, which no declaration had allowed, and `--list` alone ended with exit code 70."""
    with pytest.raises(click.UsageError, match="requires an argument"):
        typed(*words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--dry",), {"dry": "true"}),
        (("--dry", "--n", "1"), {"dry": "true", "n": "1"}),
        (("--dry", "no"), {"dry": "no"}),
        (("--dry=no",), {"dry": "no"}),
    ],
)
def test_a_boolean_input_alone_is_true(words: tuple[str, ...], expected: dict[str, Any]) -> None:
    assert typed(*words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--list", "[1, 2]"), "[1, 2]"),
        (("--list", "a"), ["a"]),
        (("--list", "a", "--list", "b"), ["a", "b"]),
        (("--list", "[draft] a", "--list", "b"), ["[draft] a", "b"]),
    ],
)
def test_an_array_is_json_or_the_option_repeated(words: tuple[str, ...], expected: Any) -> None:
    assert typed(*words) == {"list": expected}


@pytest.mark.parametrize("words", [("--list", "[1]", "--list", "[2]"), ("--list", "a", "--list", '["b"]')])
def test_an_array_given_as_json_and_again_is_refused(words: tuple[str, ...]) -> None:
    """Of `--list '[1]' --list '[2]'` the second was dropped, and nothing said so."""
    with pytest.raises(click.UsageError, match="pass one JSON list"):
        typed(*words)


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["w.yaml", "--n", "-5"], "w.yaml"),
        (["--n", "-5", "w.yaml"], "w.yaml"),
        (["--n=-5", "w.yaml"], "w.yaml"),
        (["--n", "-5", "--", "-w.yaml"], "-w.yaml"),
        (["-", "--n", "-5"], "-"),
        (["--n", "-5"], None),
    ],
)
def test_the_workflow_file_is_found_among_values_that_begin_with_a_dash(words: list[str], file: str | None) -> None:
    assert find_file(words, ()) == file
