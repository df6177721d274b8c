"""A file to its data and the places in it."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from runner.language import source
from runner.language.faults import Fault, InvalidWorkflow, Place
from runner.language.source import parse_source, read_source
from tests.command_line import runner


def faults(text: str | bytes) -> tuple[Fault, ...]:
    with pytest.raises(InvalidWorkflow) as raised:
        parse_source(text, "bad.yaml")
    return raised.value.faults


def faults_kept(text: str) -> tuple[Fault, ...]:
    return parse_source(text, "bad.yaml").faults


def unreadable(path: str) -> str:
    with pytest.raises(InvalidWorkflow) as raised:
        read_source(path)
    return str(raised.value)


def test_a_yaml_file_is_read_as_plain_data() -> None:
    read = parse_source("a: [1, 2.5, x, true, null]\nb: {c: 'd'}\n", "good.yaml")
    assert read.data == {"a": [1, 2.5, "x", True, None], "b": {"c": "d"}}
    assert read.faults == ()


def test_keys_of_a_yaml_file_are_strings_as_written() -> None:
    read = parse_source("on: 1\n5: 2\n~: 3\nNO: 4\n1.50: 5\n", "good.yaml")
    assert list(read.data) == ["on", "5", "~", "NO", "1.50"]


def test_scalars_of_a_yaml_file_resolve_as_in_yaml_1_1() -> None:
    read = parse_source("a: [NO, 0755, 0x1F, 1_000, 1e3, 1.0e+3, 2020-01-01, =, '5', off, 0b_]", "good.yaml")
    assert read.draft["a"] == [False, 493, 31, 1000, "1e3", 1000.0, "2020-01-01", "=", "5", False, "0b_"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("NO", "NO is read as a boolean; quote it"),
        ("on", "on is read as a boolean; quote it"),
        ("Yes", "Yes is read as a boolean; quote it"),
        ("01067", "01067 is read as the integer 567; quote it"),
        ("0755", "0755 is read as the integer 493; quote it"),
        ("+4912345", "+4912345 is read as the integer 4912345; quote it"),
        ("1_000", "1_000 is read as the integer 1000; quote it"),
        ("0x1F", "0x1F is read as the integer 31; quote it"),
        ("0b11", "0b11 is read as the integer 3; quote it"),
        ("-0", "-0 is read as the integer 0; quote it"),
        ("1.10", "1.10 is read as the number 1.1; quote it"),
        ("2.00", "2.00 is read as the number 2.0; quote it"),
        (".5", ".5 is read as the number 0.5; quote it"),
        ("5.", "5. is read as the number 5.0; quote it"),
        ("0.12345678901234567890", "0.12345678901234567890 is read as the number 0.12345678901234568; quote it"),
        ("1:30", "1:30 is read as the number 90, in base 60"),
    ],
)
@pytest.mark.parametrize("around", ["a: {}", "a: [[{}]]", "a: {{b: {}}}"])
def test_a_scalar_that_yaml_reads_as_something_else_is_refused_where_it_stands(
    written: str, told: str, around: str
) -> None:
    """home-assistant#12787, pyyaml#107: `{country: NO, zip: 01067, version: 1.10}` became false, 567 and 1.1."""
    text = around.format(written)
    (fault,) = faults_kept(text)
    assert (fault.code, fault.message, fault.place.column) == ("E007", told, text.index(written) + 1)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(("true", True), ("False", False), ("TRUE", True), ("null", None), ("~", None), ("Null", None)),
        *(
            ("0", 0),
            ("5", 5),
            ("-5", -5),
            ("1.5", 1.5),
            ("-0.5", -0.5),
            ("1.0", 1.0),
            ("1.5e+3", 1500.0),
            ("0.001", 0.001),
        ),
        *(("2026-01-01", "2026-01-01"), ("1.2.3", "1.2.3"), ("v1.10", "v1.10"), ("y", "y"), ("10.0.0.1", "10.0.0.1")),
        *(
            ("1e3x", "1e3x"),
            ("-", "-"),
            (".", "."),
            ("0x", "0x"),
            ("08:30", "08:30"),
            ("'1.10'", "1.10"),
            ('"NO"', "NO"),
        ),
    ],
)
def test_a_scalar_that_yaml_reads_as_it_is_written_is_kept(written: str, value: object) -> None:
    read = parse_source(f"a: {{b: {written}}}", "good.yaml").data["a"]["b"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("written", "value"), [("1.10", 1.1), ("1e3", 1000.0), ("-0", 0), ("1E-2", 0.01), ("0.50", 0.5)]
)
def test_numbers_of_a_json_file_are_read_as_json_does(written: str, value: float) -> None:
    read = parse_source(f'{{"a": {written}}}', "good.json").data["a"]
    assert (read, type(read)) == (value, type(value))


def test_taking_the_data_of_a_faulty_text_raises_its_faults() -> None:
    """A file of inputs was taken with the first of two equal keys, a tag passed over, and a number out of range cut."""
    read = parse_source("a: 1\na: 2\nb: !t 3\n", "bad.yaml")
    with pytest.raises(InvalidWorkflow) as raised:
        _ = read.data
    assert raised.value.faults == read.faults
    assert read.draft == {"a": 1, "b": "3"}


def test_the_written_form_is_kept_of_plain_scalars_only() -> None:
    read = parse_source("a: NO\nb: 'NO'\nc: [0755]\n", "good.yaml")
    assert [read.written(loc) for loc in (("a",), ("b",), ("c", 0), ("c",), ("d",))] == ["NO", None, "0755", None, None]


def test_a_value_and_its_key_have_their_places() -> None:
    read = parse_source("a:\n  - b: é\n    key: 'two words'\n", "good.yaml")
    loc = ("a", 0, "key")
    line = "    key: 'two words'"
    assert read.place(loc) == Place("good.yaml", 3, 10, 11, line)
    assert read.place(loc, key=True) == Place("good.yaml", 3, 5, 3, line)


def test_a_key_that_does_not_exist_has_the_place_of_its_mapping() -> None:
    read = parse_source("x: 1\na:\n  - b: 1\n", "good.yaml")
    assert str(read.place(("a", 0, "missing", 5))) == "good.yaml:3:5"
    assert str(read.first_key(("a", 0))) == "good.yaml:3:5"
    assert str(read.first_key(())) == "good.yaml:1:1"


def test_an_anchor_is_not_part_of_its_value() -> None:
    read = parse_source("a: &name  text\nb: *name\n", "good.yaml")
    assert read.place(("a",)).column == 11
    assert read.place(("b",)) == read.place(("a",))
    assert read.data["b"] == "text"


def test_an_alias_stands_for_its_value_fifty_times() -> None:
    read = parse_source("a: &a [1]\nb: [" + ", ".join(["*a"] * 50) + "]\n", "good.yaml")
    assert read.data["b"] == [[1]] * 50


def test_a_byte_order_mark_takes_no_column() -> None:
    assert str(parse_source(b"\xef\xbb\xbfa: 1", "good.yaml").place(("a",), key=True)) == "good.yaml:1:1"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_a_yaml_file_end_as_editors_count_them(end: str) -> None:
    read = parse_source(f"a: 1{end}b: '\u2028'{end}c: 2{end}", "good.yaml")
    assert str(read.place(("c",))) == "good.yaml:3:4"


def test_the_lines_of_a_block_scalar_are_those_of_its_value() -> None:
    read = parse_source("a:\n  b: |\n    one\n    two\n  # a comment\n\nc: 1\n", "good.yaml")
    assert read.lines_of(("a", "b")) == range(2, 5)
    assert read.lines_of(("c",)) == range(7, 8)
    assert read.lines_of(("d",)) == range(0)


def test_a_yaml_file_may_be_nested_32_levels_deep() -> None:
    assert parse_source("a: " + "[" * 31 + "]" * 31, "good.yaml").data


def test_a_yaml_string_may_have_64_kib() -> None:
    assert parse_source(f"a: {'é' * 32 * 1024}", "good.yaml").faults == ()


def test_a_yaml_file_of_1_mib_is_read_and_one_byte_more_is_not() -> None:
    assert parse_source(b"a: 1\n".ljust(1024 * 1024, b"\n"), "good.yaml").data == {"a": 1}
    assert faults(b"a: 1\n".ljust(1024 * 1024 + 1, b"\n"))[0].message == "file is over 1 MiB, limit 1 MiB"


def test_faults_that_leave_the_rest_readable_are_kept_with_it() -> None:
    read = parse_source("a: 1\na: 2\nb: !t 3\nc: .nan\n", "bad.yaml")
    assert [(str(fault.place), fault.code) for fault in read.faults] == [
        ("bad.yaml:2:1", "E006"),
        ("bad.yaml:3:4", "E005"),
        ("bad.yaml:4:4", "E018"),
    ]
    assert read.draft["a"] == 1


def test_a_syntax_error_is_reported_alone() -> None:
    assert [fault.code for fault in faults("a: 1\na: 2\nb: [\n")] == ["E014"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a [*a]", "1:8 E003"),
        ("[" * 40, "1:33 E002"),
        ('a: "\\UFFFFFFFF"', "1:2 E014"),
        ("a: b: c", "1:5 E014"),
        ("a:\n\tb: 1\n", "2:1 E010"),
        ("", "1:1 E012"),
    ],
)
def test_the_yaml_scanner_in_python_reports_the_same_faults(
    text: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_Loader", yaml.SafeLoader)
    first = faults(text)[0]
    assert f"{first.place.line}:{first.place.column} {first.code}" == told


_DEEP = {
    "brackets": ("[" * 500_000, "1:33 E002"),
    "brackets in a value": ("a: " + "[" * 500_000, "1:35 E002"),
    "brackets that are closed": ("a: " + "[" * 100_000 + "]" * 100_000, "1:35 E002"),
    "braces": ("{" * 500_000, "1:2 E019"),
    "lists in a line": ("- " * 300_000, "1:65 E002"),
    "lists with a value each": ("[a, " * 200_000, "1:129 E002"),
    "mappings with a key each": ("{a: " * 200_000, "1:129 E002"),
    "brackets after a good line": ("name: a\nb: " + "[" * 2_000, "2:35 E002"),
}


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@pytest.mark.parametrize("case", _DEEP)
def test_a_limit_of_our_own_is_reported_whatever_limits_the_yaml_parser_has(
    case: str, loader: type[yaml.SafeLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyYAML 6.0.4 refuses 1,001 levels before it returns the first of them, so that the fault was E014 instead of E002."""
    monkeypatch.setattr(source, "_Loader", loader)
    text, told = _DEEP[case]
    first = faults(text)[0]
    assert f"{first.place.line}:{first.place.column} {first.code}" == told


def test_a_syntax_error_in_a_long_line_of_brackets_is_reported_at_once() -> None:
    """The search for an expression between brackets began anew at each of them: minutes."""
    assert faults("a: b: c # " + "[" * 500_000)[0].code == "E014"


def test_half_a_surrogate_pair_is_refused_by_the_scanner_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_Loader", yaml.SafeLoader)
    assert [fault.code for fault in parse_source('a: "\\ud800"', "bad.yaml").faults] == ["E015"]


def test_a_yaml_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert unreadable(f"{tmp_path}/nope.yaml") == f"{tmp_path}/nope.yaml: error[E100]: no such file"
    assert unreadable("a\0b") == "a\0b: error[E100]: no such file: the path has a NUL character"


@pytest.mark.parametrize("command", ["validate", "run", "graph", "tasks"])
def test_a_named_pipe_is_no_file_and_is_not_waited_for(command: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    answer = runner(command, str(tmp_path / "pipe.yaml"))
    assert (answer.code, answer.first_line) == (
        3,
        f"{tmp_path}/pipe.yaml: error[E100]: is a named pipe, not a file: give - and let it be standard input",
    )


def test_a_pipe_of_the_shells_is_read_to_its_end() -> None:
    """As `validate <(sed … a.yaml)` has it: nothing may have been written when it is opened."""
    reader, writer = os.pipe()
    with os.fdopen(reader), subprocess.Popen(["sh", "-c", "sleep 0.2; echo a: 1"], stdout=writer):
        os.close(writer)
        assert read_source(f"/dev/fd/{reader}").data == {"a": 1}


def test_a_directory_in_place_of_a_yaml_file_is_named(tmp_path: Path) -> None:
    assert unreadable(str(tmp_path)).endswith("error[E100]: is a directory, not a file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_yaml_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.touch(mode=0)
    assert unreadable(str(path)).endswith("error[E100]: cannot be read: permission denied")


def test_a_large_yaml_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.touch()
    os.truncate(path, 5 * 1024**3)
    assert unreadable(str(path)).endswith("large.yaml:1:1: error[E001]: file is 5120.0 MiB, limit 1 MiB")


@pytest.mark.parametrize(("content", "told"), [(b"", "E012"), (b"\x80\xff", "E015"), (b"- a", "E013")])
def test_standard_input_has_a_name(content: bytes, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert unreadable("-").startswith(f"<stdin>:1:1: error[{told}]")


def test_a_closed_standard_input_is_an_empty_yaml_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert unreadable("-") == "<stdin>:1:1: error[E012]: empty workflow"
