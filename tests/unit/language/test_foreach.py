"""A `foreach` to its items, and to their faults."""

import json
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from runner.language import foreach
from runner.language.faults import InvalidItems, InvalidWorkflow, Place
from runner.language.foreach import count_items, items
from runner.language.plan import Foreach, Plan, make
from runner.language.source import parse_source
from runner.language.spec import read_workflow
from runner.language.task_index import read_tasks
from tests.plans import make_collector, make_gather, make_plan

PURE = read_tasks((), declared=["pure.*"])


def plan(written: Any, *, key: str | None = None, name: str = "item", **inputs: Any) -> Plan:
    step = make_collector("page", "pure.echo", foreach=Foreach(items=written, name=name, key=key))
    return make_plan(collectors=(step,), gather=make_gather(task=None), inputs=inputs)


def values(written: Any, **inputs: Any) -> list[Any]:
    made = plan(written, **inputs)
    return [item.value for item in items(made, made.collectors[0])]


def ids(written: Any, **more: Any) -> list[str]:
    made = plan(written, **more)
    page = made.collectors[0]
    return [page.of(item).id for item in items(made, page)]


def file(path: str, content: str | bytes, format_: str | None = None) -> dict[str, Any]:
    Path(path).write_bytes(content.encode() if isinstance(content, str) else content)
    return {"file": path, "format": format_}


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def told(text: str, **inputs: Any) -> list[str]:
    """What is wrong with the items of a collector, given its `foreach`: each after the text at its place."""
    declared = "{pages: {type: array, default: []}, path: {default: p}}"
    written = parse_source(
        f"name: a\ninputs: {declared}\ncollectors:\n  - {{id: page, task: pure.echo, foreach: {text}}}\n", "a.yaml"
    )
    workflow = read_workflow(written, PURE)
    made = replace(make(workflow, written), inputs={"pages": [], "path": "p", **inputs})
    with pytest.raises(InvalidWorkflow) as raised:
        count_items(made, written)
    return [f"{marked(each.place)}: {each.code} {each.message}" for each in raised.value.faults]


def marked(place: Place) -> str:
    return place.text[place.column - 1 : place.column - 1 + place.length]


# Where items come from


def test_the_items_of_a_list_are_its_elements() -> None:
    assert values([1, "b", {"c": [2]}, None]) == [1, "b", {"c": [2]}, None]


def test_expressions_in_a_list_of_items_are_expanded() -> None:
    assert values(["${{ inputs.a }}", {"b": "x${{ inputs.a }}"}], a=5) == [5, {"b": "x5"}]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${{ inputs.pages }}", [3, 4]),
        ("${{ inputs.pages.map(page, page * 2) }}", [6, 8]),
        ("${{ range(3) }}", [0, 1, 2]),
        ("${{ range(2, inputs.pages[1] + 1) }}", [2, 3, 4]),
        ("${{ [] }}", []),
    ],
)
def test_the_items_of_a_foreach_may_be_an_expression(written: str, meant: list[int]) -> None:
    assert values(written, pages=[3, 4]) == meant


def test_a_file_of_lines_has_an_item_a_line() -> None:
    content = b"\xef\xbb\xbfa b\r\n\n \t\n c\xc3\xa9\nlast"
    assert values(file("urls.txt", content)) == ["a b", " c\u00e9", "last"]


def test_a_file_of_json_lines_has_a_value_a_line() -> None:
    assert values(file("x.jsonl", '{"a": 1}\n\n "b" \r\n3\nnull\n')) == [{"a": 1}, "b", 3, None]


def test_a_csv_file_has_a_row_an_item() -> None:
    content = '\ufeffname,"a ""note"""\nx,"1,\n2"\n\ny,\n'
    assert values(file("x.csv", content)) == [
        {"name": "x", 'a "note"': "1,\n2"},
        {"name": "y", 'a "note"': ""},
    ]


def test_the_format_of_a_file_of_items_is_its_suffixs_unless_it_is_written() -> None:
    assert values(file("X.NDJSON", "1\n")) == [1]
    assert values(file("x.csv", "1\n", "lines")) == ["1"]
    assert values(file("x", '{"a": 1}\n', "jsonl")) == [{"a": 1}]


def test_the_path_of_a_file_of_items_may_be_an_input() -> None:
    file("urls.txt", "a\n")
    assert values({"file": "${{ inputs.which }}.txt", "format": None}, which="urls") == ["a"]


def test_a_leading_tilde_of_a_file_of_items_is_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "urls.txt").write_text("a\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert values({"file": "~/urls.txt", "format": None}) == ["a"]


def test_a_file_of_items_is_read_no_further_than_it_is_asked_for() -> None:
    made = plan(file("x.jsonl", "1\n2\nno JSON"))
    assert [item.value for item in islice(items(made, made.collectors[0]), 2)] == [1, 2]
    with pytest.raises(InvalidItems, match=r"x\.jsonl:3: not JSON"):
        list(items(made, made.collectors[0]))


# Keys


def test_an_item_without_a_key_is_called_by_its_place() -> None:
    assert ids(["a", "b"]) == ["page[0]", "page[1]"]


def test_the_key_of_a_foreach_is_evaluated_for_each_item() -> None:
    made = [{"n": 1, "s": "a"}, {"n": 2, "s": "b]"}]
    assert ids(made, key="${{ page.n }}", name="page") == ["page[1]", "page[2]"]
    assert ids(made, key="${{ inputs.to }}/${{ item.s }}-${{ item_index }}", to="x") == ["page[x/a-0]", "page[x/b]-1]"]


def test_the_place_of_an_item_does_not_count_empty_lines() -> None:
    assert ids(file("x", "a\n\nb\n")) == ["page[0]", "page[1]"]


@pytest.mark.parametrize("value", ["", "a\nb", "\u2028", "x" * 201, 1.5, True, None, [], "\x1b[0m"])
def test_a_key_is_short_text_that_can_be_printed_or_an_integer(value: Any) -> None:
    with pytest.raises(InvalidItems, match="expected a key of 1 to 200 printable characters") as raised:
        ids([value], key="${{ item }}")
    assert raised.value.code == "E041"


# Counting


@pytest.mark.parametrize(
    "written", [[], "${{ inputs.pages }}", "${{ range(0) }}", {"file": "none.csv", "format": None}]
)
def test_a_foreach_without_items_is_legal(written: Any) -> None:
    file("none.csv", "a,b\n")
    assert count_items(plan(written, pages=[]), parse_source("a: 1", "a.yaml")).counts == {"page": 0}


def test_counting_reads_every_item() -> None:
    pages = plan(file("x", "a\n\nb\n"), key="${{ item }}")
    assert count_items(pages, parse_source("a: 1", "a.yaml")).counts == {"page": 2}


def test_two_items_with_one_key_are_both_named_at_the_second_of_a_list() -> None:
    assert told("{items: [{n: 1}, {n: 2}, {n: 1}], key: '${{ item.n }}'}") == [
        '{n: 1}: E041 duplicate key "1": item 0 (counted from 0) has it, and item 2 (counted from 0)'
    ]


def test_two_items_with_one_key_are_both_named_by_their_lines() -> None:
    file("x.txt", "a\n\nb\na\n")
    assert told("{items: {file: x.txt}, key: '${{ item }}'}")[0].endswith(
        'E041 duplicate key "a": x.txt:1 has it, and x.txt:4'
    )


def test_an_integer_and_its_text_are_one_key() -> None:
    assert "duplicate key" in told("{items: [1, '1'], key: '${{ item }}'}")[0]


def test_an_item_without_what_its_key_is_made_of_is_named() -> None:
    assert told("{items: '${{ inputs.pages }}', key: '${{ item.n }}'}", pages=[{"n": 1}, {}]) == [
        "'${{ item.n }}': E038 item 1 (counted from 0): ${{ item.n }}: there is no \"n\""
    ]


@pytest.mark.parametrize("value", ["text", {"a": 1}, 5, None])
def test_a_foreach_over_what_is_no_list_is_a_fault(value: Any) -> None:
    assert told("'${{ inputs.pages }}'", pages=value)[0].startswith(
        "'${{ inputs.pages }}': E007 expected a list of items, found "
    )


def test_an_expression_that_cannot_be_worked_out_is_reported_at_the_items() -> None:
    assert told("{items: '${{ inputs.pages[0] }}'}")[0].startswith(
        "'${{ inputs.pages[0] }}': E038 ${{ inputs.pages[0] }}: "
    )


def test_a_fault_of_a_foreach_in_the_defaults_is_reported_there() -> None:
    text = "name: a\ncollectors: [{id: b, task: pure.echo}]\ndefaults: {collectors: {foreach: {items: '${{ 5 }}'}}}\n"
    written = parse_source(text, "a.yaml")
    with pytest.raises(InvalidWorkflow) as raised:
        count_items(make(read_workflow(written, PURE), written), written)
    assert str(raised.value.faults[0].place) == "a.yaml:3:42"


def test_every_collector_with_a_faulty_foreach_is_reported() -> None:
    assert len(told("'${{ 5 }}'}\n  - {id: b, task: pure.echo, foreach: '${{ 6 }}'")) == 2


# Limits


def test_a_list_of_more_than_a_million_items_is_refused() -> None:
    assert told("'${{ inputs.pages }}'", pages=[0] * 1_000_001) == [
        "'${{ inputs.pages }}': E040 1,000,001 items, limit 1,000,000"
    ]


def test_a_file_of_more_than_a_million_items_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreach, "ITEM_LIMIT", 3)
    file("x", "1\n2\n3\n4\n")
    assert told("{items: {file: x}}")[0].endswith("E040 over 3 items, limit 3")
    file("x", "1\n2\n3\n")
    assert len(values({"file": "x", "format": None})) == 3


def test_an_item_of_more_than_64_kib_is_refused() -> None:
    assert told("'${{ inputs.pages }}'", pages=[1, ["x" * 65_533]]) == [
        "'${{ inputs.pages }}': E040 item 1 (counted from 0) has 65,537 bytes of JSON, limit 65,536"
    ]
    assert len(values("${{ inputs.pages }}", pages=[["x" * 65_532], "\u00e9" * 32_767])) == 2


def test_a_line_of_more_than_64_kib_is_refused_before_it_is_read_to_its_end() -> None:
    huge = Path("x")
    with huge.open("wb") as sparse:
        sparse.truncate(2**33)
    assert told(f"{{items: {{file: {huge}}}}}") == ["{file: x}: E040 x:1: a line of over 65,536 bytes, the limit"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b"1\n{", "x.jsonl:2: not JSON: "),
        ("x.jsonl", b"NaN", "x.jsonl:1: not JSON: NaN is not JSON"),
        ("x.jsonl", b"[" * 5000, "x.jsonl:1: not JSON: "),
        ("x.jsonl", b"[9007199254740992]", "x.jsonl:1: a number or a text that JSON cannot carry exactly"),
        ("x.jsonl", b'"\\ud800"', "x.jsonl:1: a number or a text that JSON cannot carry exactly"),
        ("x.csv", b"a,a\n", "x.csv:1: two columns have one name"),
        ("x.csv", b"a\n1\n1,2\n", "x.csv:3: 2 cells, and the header has 1"),
        # It was a null in place of the cell, and the run a success.
        ("x.csv", b"a,b\n1,2\n\n3\n", "x.csv:4: 1 cell, and the header has 2"),
        ("x.csv", b'a\n"b', "x.csv:2: not CSV: "),
        ("x.txt", b"a\n\xff\n", "x.txt:2: not UTF-8 text"),
    ],
)
def test_an_item_that_cannot_be_read_is_reported_with_its_line(name: str, content: bytes, message: str) -> None:
    file(name, content)
    assert told(f"{{items: {{file: {name}}}}}")[0].startswith(f"{{file: {name}}}: E039 {message}")


def test_a_row_of_more_than_64_kib_is_refused() -> None:
    file(
        "x.csv",
        "a,b\n" + f'{"x" * 40_000},{"y" * 20_000}\n{"x" * 40_000},"{"y" * 20_000}\n{"z" * 20_000}"\n',
    )
    assert told("{items: {file: x.csv}}")[0].startswith("{file: x.csv}: E040 x.csv:4 has 80,017 bytes")


@pytest.mark.parametrize(
    ("path", "why"),
    [("nope.txt", "no such file"), (".", "not a regular file"), ("a\0b", "no such file: the path has a NUL character")],
)
def test_a_file_of_items_that_cannot_be_read_is_reported_at_its_name(path: str, why: str) -> None:
    text = "{items: {file: '${{ inputs.path }}'}}"
    shown = path.replace("\0", r"\x00")
    assert told(text, path=path) == [f"'${{{{ inputs.path }}}}': E039 {shown} cannot be read: {why}"]


def test_a_pipe_of_items_is_refused_before_anyone_waits_for_it() -> None:
    os.mkfifo("pipe")
    assert "not a regular file" in told("{items: {file: pipe}}")[0]


def test_a_path_of_items_that_is_no_text_is_refused() -> None:
    assert told("{items: {file: '${{ inputs.path }}'}}", path=5) == [
        "'${{ inputs.path }}': E007 expected the path of a file, found 5"
    ]


def test_every_item_of_a_foreach_is_json() -> None:
    made = values(file("x.csv", "a,b\n1,\n"))
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("format_", "lines", "expected"),
    [
        ("lines", ["a", "", "b", "c"], ["a", "b", "c"]),
        ("jsonl", ['{"a": 1}', "2", "[3]"], [{"a": 1}, 2, [3]]),
        ("csv", ["x,y", "1,2", "", "3,4"], [{"x": "1", "y": "2"}, {"x": "3", "y": "4"}]),
    ],
)
def test_lines_of_a_file_of_items_may_end_in_any_way(
    format_: str, lines: list[str], expected: list[Any], end: str
) -> None:
    """testplan#74: a table of an old spreadsheet, whose lines end in a carriage return, was one line of many columns."""
    assert values(file("a", end.join(lines), format_)) == expected
    assert values(file("a", end.join([*lines, ""]), format_)) == expected


def test_a_line_of_items_that_ends_where_a_read_ends_is_one_line() -> None:
    text = "x" * (foreach.SIZE_LIMIT - 1)
    assert values(file("a", f"{text}\r\n\r\na\r\n{text}\r\nb", "lines")) == [text, "a", text, "b"]
    assert values(file("a", f"xx\r\n{text}\r\nb", "lines")) == ["xx", text, "b"]


@pytest.mark.parametrize("shift", range(6))
def test_a_line_end_of_two_characters_may_lie_in_two_reads(shift: int) -> None:
    line = "x" * 99
    written = "y" * shift + "\r\n" + f"{line}\r\n" * 2_000
    assert len(values(file("a", written, "lines"))) == 2_000 + bool(shift)


def test_the_line_of_a_fault_is_counted_in_a_file_with_carriage_returns() -> None:
    with pytest.raises(InvalidItems, match=r"a\.csv:3: 3 cells"):
        values(file("a.csv", "x,y\r1,2\r1,2,3\r"))


def test_a_carriage_return_within_quotes_is_part_of_its_cell() -> None:
    assert values(file("a.csv", 'x,y\n"1\r2",3\n')) == [{"x": "1\r2", "y": "3"}]


def test_a_carriage_return_within_a_line_is_part_of_it_where_lines_end_in_a_newline() -> None:
    assert values(file("a", "first\na\rb\nc\n", "lines")) == ["first", "a\rb", "c"]


@pytest.mark.parametrize("key", ["item.name", "item['name'] + '!'"])
def test_a_key_of_a_column_that_the_file_does_not_have_names_the_columns_it_has(key: str) -> None:
    """A file with semicolons has one column: "there is no name" did not say so."""
    file("x.csv", "name;currency\nulm;EUR\n")
    [fault] = told(f'{{items: {{file: x.csv}}, key: "${{{{ {key} }}}}"}}')
    assert fault.endswith('; it has "name;currency"')
