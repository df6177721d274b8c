"""The references and the values of ``${{ }}``."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from runner.language import expressions
from runner.language.faults import InvalidExpression

NAMES = {"inputs": {"topic": "tea", "n": 5, "xs": [1, 2], "none": None, "thing": {"a": {"b": 1}}}, "run": {"id": "r1"}}
KNOWN = {"inputs": ["topic", "n", "xs"], "run": ["id"]}


def problem(text: str) -> str:
    found = expressions.check(text, KNOWN)
    return f"{found.code} {found.message}" if found else ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no expression, {{ or }}", "no expression, {{ or }}"),
        ("${{ inputs.n }}", 5),
        ("${{inputs.xs}}", [1, 2]),
        ("${{ inputs.thing.a.b }}", 1),
        ("${{ inputs.none }}", None),
        ("n=${{ inputs.n }}, ${{ inputs.xs }}, ${{ inputs.none }}.", "n=5, [1, 2], ."),
        ("${{ inputs.n }}\n", "5\n"),
        ("${{ inputs.n + 1 }}", 6),
        ("${{ inputs['n'] > 3 && inputs.topic.startsWith('t') }}", True),
        ("${{ inputs.xs.map(x, x * inputs.n) }}", [5, 10]),
        ("${{ '}}' + \"}}\" }}", "}}}}"),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ('${{ "${{" }}', "${{"),
        ("${{ timestamp('2020-01-01T00:00:00Z') }}", "2020-01-01T00:00:00+00:00"),
        ("${{ 'a' // a comment }}", "a"),
        ("${{ true }}", True),
        ("${{ range(3) }}", [0, 1, 2]),
        ("${{range( 1 , inputs.n - 1 )}}", [1, 2, 3]),
        ("${{ range(inputs.xs[1], inputs.n > 3 ? int('4') : 0) }}", [2, 3]),
        ("${{ range(-2, 0) + range(0) + range(5, 1) }}", [-2, -1]),
        ("${{ range(2).map(i, 'p' + string(i)) }}", ["p0", "p1"]),
        ("${{ range(2) }}/${{ size(range(2)) }}", "[0, 1]/2"),
    ],
)
def test_an_expression_comes_to_its_value(text: str, value: Any) -> None:
    result = expressions.expand(text, NAMES)
    assert (result, type(result)) == (value, type(value))


def test_every_string_of_a_value_is_expanded_and_no_key() -> None:
    value = {"${{ run.id }}": ["${{ run.id }}", {"a": "x ${{ run.id }}"}, 5, None]}
    assert expressions.expand(value, NAMES) == {"${{ run.id }}": ["r1", {"a": "x r1"}, 5, None]}


def test_the_value_of_an_expression_is_not_expanded_again() -> None:
    assert expressions.expand("${{ inputs.x }}", {"inputs": {"x": "${{ run.id }}"}}) == "${{ run.id }}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${{ inputs.other }}", 'there is no "other"'),
        ("${{ inputs['other'] + 1 }}", "there is no 'other'"),
        ("${{ 1 / 0 }}", "division by zero"),
        ("${{ 1 + 'a' }}", "No such overload"),
        ("${{ 9223372036854775807 + 1 }}", "overflow"),
        ("${{ duration('3s') }}", "is not a JSON value"),
        ("${{ b'a' }}", "is not a JSON value"),
        ("${{ 1.0 / 0.0 }}", "is not a JSON value"),
        ("${{ {1: 2} }}", "keys of a map must be strings"),
        ("${{ [1][5] }}", "out of bounds"),
        ("${{ 'a'.matches('(') }}", "not a valid regex"),
        ("${{ range('3') }}", "range takes one integer or two"),
        ("${{ range(1.5).size() }}", "range takes one integer or two"),
        ("${{ range(true) }}", "range takes one integer or two"),
        ("${{ range(0, 10, 2) }}", "range takes one integer or two"),
        ("${{ range() }}", "range takes one integer or two"),
        ("${{ range(1000001) }}", "a range of 1,000,001, limit 1,000,000"),
        ("${{ range(-9223372036854775807, 9223372036854775807) }}", "limit 1,000,000"),
        ("${{ size(range(1000001)) }}", "limit 1,000,000"),
        ("${{ range(5001).map(i, i) }}", "a range of 5,001, limit 5,000"),
        ("${{ [1].map(a, range(293).map(b, b)) }}", "a range of 293, limit 292"),
    ],
)
def test_an_expression_that_cannot_be_evaluated_is_reported_in_one_line(text: str, told: str) -> None:
    with pytest.raises(InvalidExpression) as raised:
        expressions.expand(text, NAMES)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "${{ inputs.topic }} ${{ run.id }}",
        "${{ inputs }}",
        "${{ inputs.xs.map(x, x + inputs.n).filter(y, y > 1) }}",
        "${{ inputs.xs.map(inputs, inputs.whatever) }}",
        "${{ has(inputs.n) && type(inputs.n) == int }}",
        "${{ 'inputs.nothing' + r'\\' + \"it's\" }}",
        "${{ 0x1F in [1, 2] }}",
    ],
)
def test_a_good_expression_has_no_problem(text: str) -> None:
    assert problem(text) == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${{ inputs.topik }}", "E024 inputs.topik"),
        ('a ${{ run.id }} ${{ inputs["topik"].size() }}', "E024 inputs.topik"),
        ("${{ topic }}", "E024 topic"),
        ("${{ inputs.xs.map(x, y) }}", "E024 y"),
        ("${{ inputs.xs.map(x, x) + x }}", "E024 x"),
        ("${{ nothing() }}", "E024 unknown function"),
        ("${{ 1 + }}", "E025 ${{ 1 + }} does not parse: it ends too early"),
        ("${{ inputs.topic", "E025"),
        ("${{ 'a }}", "E025"),
        ("${{}}", "E025 empty expression"),
        ("${{ \ud800 }}", "E025"),
        (f"${{{{ {'1+' * 600}1 }}}}", "E025 expression longer than 1,000 characters"),
        (f"${{{{ {'[1].map(a, ' * 4}1{')' * 4} }}}}", "E025 more than 3 nested macros"),
        (f"${{{{ {'(' * 400}1{')' * 400} }}}}", "E025"),
        ("${{" * 20_000, "E025"),
    ],
)
def test_a_bad_expression_is_reported_before_a_run(text: str, told: str) -> None:
    assert problem(text).startswith(told)


def test_the_name_nearest_to_a_misspelt_one_in_an_expression_is_suggested() -> None:
    found = expressions.check("${{ inputs.topik }}", KNOWN)
    assert found is not None
    assert found.hint == "did you mean inputs.topic? names are inputs.n, inputs.topic, inputs.xs, run.id"


def test_the_names_of_a_value_are_those_its_expressions_refer_to() -> None:
    value = {
        "a": ["${{ inputs.topic }} ${{ run.id }}", 1],
        "b": "${{ inputs.xs.map(x, x + inputs['n']) }}",
        "c": "${{ broken",
    }
    assert expressions.references(value) == {"inputs.topic", "run.id", "inputs.xs", "inputs.n"}
    assert expressions.references("${{ inputs }} ${{ inputs[run.id] }}") == {"inputs", "run.id"}


def test_macros_over_a_long_list_are_refused_before_they_take_minutes() -> None:
    """A triple macro over 100 items took 10.7 s, and 300 items more than ten minutes, and nothing can stop it."""
    names = {"inputs": {"xs": list(range(300))}}
    with pytest.raises(InvalidExpression, match="a list of 300 is too long for 3 nested macros"):
        expressions.expand("${{ inputs.xs.map(a, inputs.xs.map(b, inputs.xs.map(c, c))) }}", names)


@pytest.mark.parametrize(
    "text",
    [
        "${{ inputs.big.map(x, inputs.big) }}",
        "${{ range(290).map(x, range(290).map(y, ['a long text, and a long text', 'another long text', y])) }}",
        "${{ ['a long text'] CHAIN }}".replace("CHAIN", ".map(a, a + a + a)" * 30),
    ],
)
def test_an_expression_whose_value_would_be_too_large_is_stopped(text: str) -> None:
    """Found by an adversary: a list of 1,000 in a list of 1,000 took 55 s, another 1.75 GB, and nothing could end it."""
    big = [{"id": number, "text": "a text of some length"} for number in range(1_000)]
    ended = r"takes more than 5 s of the processor|takes more than 1,024 MiB|comes to|was ended after 60 s"
    with pytest.raises(InvalidExpression, match=ended):  # the last where a busy machine gives it no 5 s in a minute
        expressions.expand(text, {"inputs": {"big": big}})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ inputs.big.filter(x, x.id > 997).map(x, x.text + 'é') }}", ["t998é", "t999é"]),
        ("${{ size(inputs.big) + inputs.n }}", 1005),
        ("${{ range(100).map(i, i * inputs.n)[99] }}", 495),
        ("${{ {'b': inputs.big.map(x, x.id).size(), 'a': 1} }}", {"a": 1, "b": 1000}),
    ],
)
def test_an_expression_evaluated_in_the_sandbox_has_the_same_value(text: str, value: Any) -> None:
    big = [{"id": number, "text": f"t{number}"} for number in range(1_000)]
    assert expressions.expand(text, {"inputs": {"big": big, "n": 5}}) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${{ inputs.big.map(x, x.id / 0) }}", "division by zero"),
        ("${{ inputs.big.map(x, x.nothing) }}", "there is no"),
        ("${{ range(100).map(x, 1 + 'a') }}", "No such overload"),
        ("${{ inputs.big.map(x, range(5001)) }}", "a range of 5,001, limit 5,000"),
    ],
)
def test_an_expression_that_fails_in_the_sandbox_is_reported_as_without_it(text: str, told: str) -> None:
    with pytest.raises(InvalidExpression) as raised:
        expressions.expand(text, {"inputs": {"big": [{"id": 1}] * 1_000}})
    assert told in str(raised.value)


def test_a_small_expression_is_evaluated_without_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process takes 0.3 s to start, which most workflows need not wait for."""
    monkeypatch.setattr(expressions, "_SANDBOX", None)
    tags = [f"tag {number}" for number in range(30)]
    names = {"inputs": {"tags": tags, "topic": "tea" * 1_000}, "item": {"id": 5, "name": "n" * 100}}
    assert expressions.expand("${{ inputs.tags.map(t, inputs.topic + t).size() }}", names) == 30
    assert expressions.expand("${{ range(20).map(i, i + item.id)[19] }}", names) == 24
    assert expressions.expand("${{ {'a': item, 'b': inputs.tags} }}", names)["a"]["id"] == 5


@pytest.mark.parametrize("text", ["${{ a.b }}", "${{ range(1, a.b) }}"])
def test_a_path_is_looked_up_without_cel(text: str) -> None:
    """Importing cel takes 0.16 s: `graph` and `validate` promise an answer within 0.5 s of CPU."""
    code = f"import sys; from runner.language import expressions as e; e.expand({text!r}, {{'a': {{'b': 1}}}}); sys.exit('cel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_map_made_by_an_expression_has_its_keys_in_order() -> None:
    """Found by the oracle: cel 0.10 gives the keys of a map in another order each time."""
    made = expressions.expand("${{ {'d': 1, 'a': 2, 'c': 3, 'b': {'z': 1, 'y': 2}} }}", {})
    assert json.dumps(made) == '{"a": 2, "b": {"y": 2, "z": 1}, "c": 3, "d": 1}'


def test_cel_is_given_no_more_than_the_expression_names() -> None:
    """It copies what it is given: with an input of 100,000 items, every item of a `foreach` would cost 10 ms."""
    names = {"inputs": {"n": 1, "cannot be copied": object()}, "item": {"a": {"b": 2}, "c": object()}}
    assert expressions.expand("${{ inputs.n + item.a.b + item['a'].b }}", names) == 5
    assert expressions.expand("${{ has(item.x) || has(inputs.n) }}", names) is True
    with pytest.raises(InvalidExpression):
        expressions.expand("${{ size(inputs) }}", names)


@pytest.mark.parametrize(
    "text",
    [
        "{{ user.name }} {{ inputs }} {{ page }}",
        "${HOME} $(ls) ${item} for i in a; do echo ${i}; done",
        '{"inputs": {"topic": 1}, "run": {"id": 2}}',
        "{{{ inputs.topic }}}",
        '${{ "{{ inputs.topic }} ${inputs.topic}" }}',
        "{{" * 20_000,
        "{{ inputs." * 5_000,
        "{{ " + "a" * 60_000,
        "{inputs" * 8_000,
    ],
)
def test_braces_that_begin_no_expression_are_text(text: str) -> None:
    assert expressions.misspelt(text, {**KNOWN, "item": None}) is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a {{ inputs.topic }} b", "write ${{ inputs.topic }}"),
        ("{{inputs.topik}}", "write ${{ inputs.topik }}"),
        ("{{- inputs.topic | lower -}}", "write ${{ inputs.topic … }}"),
        ("{{ item }}", "write ${{ item }}"),
        ("${inputs.topic}", "write ${{ inputs.topic }}"),
        ("${ item.url }", "write ${{ item.url }}"),
        ("$(run.id)", "write ${{ run.id }}"),
        ("https://example.org/{inputs.topic}?a=${{ run.id }}", "write ${{ inputs.topic }}"),
    ],
)
def test_an_expression_in_other_braces_is_reported_with_the_right_ones(text: str, hint: str) -> None:
    """Found in use: `{{ inputs.topic }}` was valid, and sent as it stands."""
    found = expressions.misspelt(text, {**KNOWN, "item": None})
    assert found is not None
    assert (found.code, found.hint) == ("E042", hint)


@pytest.mark.parametrize(
    ("text", "one"),
    [("${{ a }}", True), ("${{ a", True), ("x${{ a }}", False), ("${{ a }}${{ b }}", False), ("", False)],
)
def test_a_string_that_is_one_expression_is_distinguished_from_one_that_contains_it(text: str, one: bool) -> None:  # noqa: FBT001
    assert expressions.is_one(text) == one


@pytest.mark.parametrize(
    ("written", "change"),
    [
        ("${{ inputs.xs }}", lambda value: value.append(2)),
        ({"deep": ["${{ inputs.thing }}"]}, lambda value: value["deep"][0]["a"]["b"].clear()),
        ("${{ inputs.rows }}", lambda value: value[0].update(a=2)),
        ("${{ inputs.thing.a }}", lambda value: value.clear()),
    ],
)
def test_what_a_task_does_to_an_argument_changes_no_input(written: Any, change: Callable[[Any], None]) -> None:
    """airflow#977, ploomber#17: each collector of a `foreach` found what those before it had appended to the input."""
    names = {"inputs": {"xs": [1], "thing": {"a": {"b": [1]}}, "rows": [{"a": 1}]}}
    before = json.dumps(names)
    change(expressions.expand(written, names))
    assert json.dumps(names) == before


TYPES = {
    "inputs.topic": ("a",),
    "inputs.note": ("a", None),
    "inputs.n": (1,),
    "inputs.share": (1, 1.5),
    "inputs.deep": (True, False),
    "run.id": ("a",),
}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("${{ inputs.topic || 'x' }}", "a choice is written a ? b : c"),
        ("${{ inputs.note || 'x' }}", "a choice is written a ? b : c"),
        ("${{ inputs.deep && 'b' || 'c' }}", "a choice is written a ? b : c"),
        ("${{ contains(inputs.topic, 'a') }}", 'it is called on the text: inputs.NAME.contains("a")'),
        ("at ${{ run.id }}/${{ inputs.n / 2.0 }}", "types do not mix: convert with double(…)"),
        ("${{ run.id + inputs.n }}", "types do not mix"),
    ],
)
def test_types_that_do_not_mix_are_reported_without_values(text: str, hint: str) -> None:
    """Found in use: the commonest habits of GitHub's expressions were valid, and ended at the run as "No such overload"."""
    found = expressions.mistyped(text, TYPES)
    assert found is not None
    assert (found.code, found.hint.startswith(hint)) == ("E038", True)


@pytest.mark.parametrize(
    "text",
    [
        "${{ inputs.n * 2 }}",
        "${{ inputs.share * 2 }}",
        "${{ inputs.share * 2.0 }}",
        "${{ inputs.note + 'x' }}",
        "${{ inputs.topic == null || inputs.deep }}",
        "${{ inputs.deep && inputs.n > 1.0 }}",
        "${{ int(inputs.topic) + 1 }}",
        "${{ inputs.deep ? inputs.n / 2.0 : 1.0 }}",
        "${{ [1].map(x, x + inputs.topic) }}",
        "${{ item + 1 }}",
        "${{ item || 'x' }}",
        "${{ inputs.other || 'x' }}",
        "${{ inputs['topic'] + '||' }}",
        "${{ inputs.topic.contains('a') }}",
        "${{ 1 / (inputs.n - 1) }}",
    ],
)
def test_an_expression_that_may_have_a_value_is_not_refused(text: str) -> None:
    assert expressions.mistyped(text, TYPES) is None


def test_a_run_reports_how_an_expression_is_written_that_does_not_fit_its_values() -> None:
    with pytest.raises(InvalidExpression) as raised:
        expressions.expand("${{ inputs.xs[0] / 2.0 }}", NAMES)
    assert raised.value.hint == "types do not mix: convert with double(…), int(…) or string(…)"
