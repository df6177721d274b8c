"""files.read and files.search, on real directories."""

import os
from pathlib import Path
from typing import Any

import pytest

from runner.collectors.files import FilesFailure, read, search
from runner.worker.notes import kept


def make(root: Path, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(root)


def paths(root: str, patterns: str | list[str], **arguments: Any) -> list[str]:
    return [record["path"] for record in read(paths=patterns, root=root, format="text", **arguments)]


def failure(**arguments: Any) -> FilesFailure:
    with pytest.raises(FilesFailure) as raised:
        read(**arguments)
    return raised.value


TREE: dict[str, str | bytes] = {
    "a.py": "",
    "b.md": "",
    "src/c.py": "",
    "src/deep/d.py": "",
    ".hidden/e.py": "",
    ".git/f.py": "",
    "build/g.py": "",
}


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ("*.py", ["a.py"]),
        ("**/*.py", ["a.py", "build/g.py", "src/c.py", "src/deep/d.py"]),
        ("src/**", ["src/c.py", "src/deep/d.py"]),
        ("src/**/d.py", ["src/deep/d.py"]),
        ("./src/*.py", ["src/c.py"]),
        (["b.md", "[ab].py"], ["a.py", "b.md"]),
        (["*.none", "*.md"], ["b.md"]),
    ],
)
def test_patterns_find_files_in_the_order_of_their_paths(tmp_path: Path, patterns: Any, found: list[str]) -> None:
    assert paths(make(tmp_path, TREE), patterns) == found


def test_excluded_files_and_directories_are_left_out(tmp_path: Path) -> None:
    assert paths(make(tmp_path, TREE), "**/*.py", exclude=["build", "src/deep/**"]) == ["a.py", "src/c.py"]


def test_hidden_directories_are_found_if_asked_for_and_git_never(tmp_path: Path) -> None:
    assert paths(make(tmp_path, TREE), "**/[ef].py", hidden=True) == [".hidden/e.py"]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (".hidden/*.py", [".hidden/e.py"]),
        (".h*/*.py", [".hidden/e.py"]),
        (".git/*", [".git/f.py"]),
        ([".hidden/*.none", "**/*.py"], ["a.py", "build/g.py", "src/c.py", "src/deep/d.py"]),
    ],
)
def test_a_pattern_that_begins_with_a_dot_finds_hidden_files_as_in_a_shell(
    tmp_path: Path, patterns: Any, found: list[str]
) -> None:
    """`paths: .github/*.yaml` found nothing, and nothing said why."""
    assert paths(make(tmp_path, TREE), patterns) == found


@pytest.mark.parametrize("arguments", [{"hidden": True}, {}])
def test_excluded_hidden_directories_are_left_out(tmp_path: Path, arguments: dict[str, Any]) -> None:
    assert paths(make(tmp_path, TREE), ["a.py", ".*/*.py"], exclude=".hidden", **arguments) == ["a.py"]


def test_a_hidden_file_can_be_named(tmp_path: Path) -> None:
    assert paths(make(tmp_path, TREE), ".hidden/e.py") == [".hidden/e.py"]


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    assert "there is no file none.md in " in str(failure(paths="none.md", root=str(tmp_path)))


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../x", "a/../b", ".", "~/x"])
def test_a_pattern_stays_below_its_root(tmp_path: Path, pattern: str) -> None:
    assert "is not a pattern below root" in str(failure(paths=pattern, root=str(tmp_path)))


def test_a_leading_tilde_of_the_root_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {"src/c.py": "tea"})
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [each["path"] for each in read(root="~/src", paths="*.py")] == ["c.py"]
    assert [each["path"] for each in search(root="~", pattern="tea")] == ["src/c.py"]


def test_a_root_of_files_that_is_not_there_is_named() -> None:
    assert "root /no/such is not a directory" in str(failure(paths="*", root="/no/such"))


def test_a_search_for_files_in_a_loop_of_symbolic_links_ends(tmp_path: Path) -> None:
    root = make(tmp_path, {"a/b.txt": ""})
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert paths(root, "**/*.txt") == ["a/b.txt"]


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert paths(str(tmp_path), "*.txt", allow_none=True) == []


def test_a_broken_symbolic_link_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "gone.txt").symlink_to("nowhere")
    assert paths(str(tmp_path), "*.txt", allow_none=True) == []


def test_a_pattern_that_matches_nothing_is_a_failure(tmp_path: Path) -> None:
    """`files.read` of `*.typo` succeeded with nothing."""
    root = make(tmp_path, TREE)
    assert f"no file in {root} matches *.typo, docs/**" in str(failure(paths=["*.typo", "docs/**"], root=root))


def test_a_pattern_of_several_that_matches_nothing_is_noted(tmp_path: Path) -> None:
    with kept() as notes:
        read(paths=["*.typo", "*.md", "a.py"], root=make(tmp_path, TREE))
    assert notes == {"matched_nothing": ["*.typo"]}


def test_a_search_in_no_file_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(FilesFailure, match=r"no file in .* matches \*\.typo; with allow_none: true"):
        search(pattern="x", paths="*.typo", root=make(tmp_path, TREE))


def test_a_search_that_finds_no_line_is_none(tmp_path: Path) -> None:
    assert search(pattern="x", paths="*.py", root=make(tmp_path, TREE)) == []


@pytest.mark.parametrize("pattern", ["*.typo", "none.md"])
def test_no_file_is_found_if_that_is_allowed(tmp_path: Path, pattern: str) -> None:
    root = make(tmp_path, TREE)
    assert read(paths=pattern, root=root, allow_none=True) == []
    assert search(pattern="x", paths=pattern, root=root, allow_none=True) == []


def test_a_file_name_that_exists_goes_before_the_pattern_that_it_is_too(tmp_path: Path) -> None:
    """ilastik#2391: a file called `part[1].txt` was not found, and `part1.txt` was read in its place."""
    root = make(tmp_path, {"part[1].txt": "this", "part1.txt": "another", "part2.txt": ""})
    assert paths(root, "part[1].txt") == ["part[1].txt"]
    assert paths(root, "part[12].txt") == ["part1.txt", "part2.txt"]


def test_a_file_name_that_is_not_utf_8_still_has_json(tmp_path: Path) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff.txt")).touch()
    assert paths(str(tmp_path), "*.txt") == ["\ufffd.txt"]


def test_a_text_file_is_a_record_with_its_path(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.txt": "grüße\r\n"})
    assert read(paths="a.txt", root=root) == [{"path": "a.txt", "text": "grüße\r\n"}]


def test_a_json_file_is_a_record_with_its_data(tmp_path: Path) -> None:
    assert read(paths="*", root=make(tmp_path, {"a.json": "[1]"})) == [{"path": "a.json", "data": [1]}]


def test_lines_of_a_json_lines_file_are_records(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.jsonl": '{"path": "x"}\n\n{"path": "y"}\n'})
    assert read(paths="*", root=root, labels={"from": "a"}) == [{"from": "a", "path": "x"}, {"from": "a", "path": "y"}]


def test_rows_of_a_csv_file_are_records_keyed_by_the_header(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.csv": '\ufeffname,price\r\n"a, b",1\r\n\r\n"two\nlines",\r\n'})
    assert read(paths="*", root=root) == [{"name": "a, b", "price": "1"}, {"name": "two\nlines", "price": ""}]


def test_each_document_of_a_yaml_file_is_a_record(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.yaml": "x: 1\n---\n[2]\n"})
    assert read(paths="*", root=root) == [{"path": "a.yaml", "data": {"x": 1}}, {"path": "a.yaml", "data": [2]}]


def test_yaml_dates_stay_text_and_keys_become_text(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.yml": "day: 2026-11-22\nat: 2026-11-22T10:00:00Z\n1: one\n"})
    assert read(paths="*", root=root)[0]["data"] == {"day": "2026-11-22", "at": "2026-11-22T10:00:00Z", "1": "one"}


YAML = """
on: off
country: NO
answer: yes
mode: 0755
octal: 0o755
hex: 0xff
zip: 01067
time: 1:30
big: 1_000
version: 3.10
text: "3.10"
exponent: 1e3
empty:
tilde: ~
right: TRUE
day: 2026-11-22
3.10: key
0755: key
true: key
"""


def test_a_yaml_file_of_records_is_read_as_version_1_2(tmp_path: Path) -> None:
    """home-assistant#12787, pyyaml#107: as YAML 1.1, `on` is true, `NO` false, `0755` is 493, `1:30` is 90."""
    [record] = read(paths="a.yaml", root=make(tmp_path, {"a.yaml": YAML}))
    assert record["data"] == {
        "on": "off",
        "country": "NO",
        "answer": "yes",
        "mode": 755,
        "octal": 0o755,
        "hex": 255,
        "zip": 1067,
        "time": "1:30",
        "big": "1_000",
        "version": 3.1,
        "text": "3.10",
        "exponent": 1000.0,
        "empty": None,
        "tilde": None,
        "right": True,
        "day": "2026-11-22",
        "3.10": "key",
        "0755": "key",
        "true": "key",
    }


def test_tags_of_the_types_of_json_may_be_written_out(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.yaml": "[!!str 1, !!int '2', !!float 3, !!null '', !!bool 'true', !!seq [5], !!map {}]"})
    assert read(paths="*", root=root)[0]["data"] == ["1", 2, 3.0, None, True, [5], {}]


def test_merge_keys_of_a_yaml_file_are_merged_and_the_mappings_own_keys_stand(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd: {x: 4, <<: *a}\n"
    data = read(paths="*", root=make(tmp_path, {"a.yaml": text}))[0]["data"]
    assert (data["c"], data["d"]) == ({"x": 1, "y": 1, "z": 3}, {"x": 4, "y": 1})


def test_the_format_of_a_file_can_be_given(tmp_path: Path) -> None:
    assert read(paths="a", root=make(tmp_path, {"a": "{}"}), format="json") == [{"path": "a", "data": {}}]


def test_the_encoding_of_a_file_can_be_given(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.txt": "grüße".encode("latin-1")})
    assert read(paths="*", root=root, encoding="latin-1")[0]["text"] == "grüße"


LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))])
MERGES = "\n".join(
    ["a0: &a0 {k: 1, l: 2}", *(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\xff\xfe", "a.txt is not utf-8 text"),
        ("a.txt", b"a\0b", "a.txt is a binary file"),
        ("a.json", b'{"a": "\xff"}', "a.json is not utf-8 text"),
        ("a.json", b"{", "a.json: not JSON"),
        ("a.json", b"NaN", "a.json: not JSON: NaN"),
        ("a.json", b"[" * 100_000, "a.json: not JSON"),
        ("a.jsonl", b"1\n{\n", "a.jsonl:2: not JSON"),
        ("a.csv", b"a,b\n1,2,3\n", "a.csv:2: 3 cells, and the header has 2"),
        ("a.csv", b"a,b\n1,2\n\n3\n", "a.csv:4: 1 cell, and the header has 2"),
        ("a.csv", b"a,a\n", "a.csv:1: two columns have one name"),
        ("a.csv", b'a\n"b', "a.csv:2: not CSV"),
        ("a.yaml", b"a: [", "a.yaml: not YAML"),
        ("a.yaml", b"!!python/object/apply:os.system [id]", "a.yaml: not YAML"),
        ("a.yaml", b"a: .nan", ".nan is not JSON"),
        ("a.yaml", b"a: -.INF", "-.INF is not JSON"),
        ("a.yaml", b"a: 1e999", "1e999 is not JSON"),
        ("a.yaml", b"a: !!int x", "'x' is no int"),
        ("a.yaml", b"a: !!bool yes", "'yes' is no bool"),
        ("a.yaml", b"a: !!binary aGk=", "no type of JSON has the tag tag:yaml.org,2002:binary"),
        ("a.yaml", b"a: !Ref b", "no type of JSON has the tag !Ref"),
        ("a.yaml", b"a: !!set {b}", "no type of JSON has the tag tag:yaml.org,2002:set"),
        ("a.yaml", b"a: 1\n'a': 2", "the key 'a' is there twice"),
        ("a.yaml", b"? [a]\n: 1", "a key that is a list or a mapping"),
        ("a.yaml", b"<<: 1", "a merge key needs a mapping"),
        ("a.yaml", b"9" * 5000, "a.yaml: not YAML"),
        ("a.yaml", b"a: &a [*a]", "an alias inside its own anchor"),
        ("a.yaml", b"a: &a\n  <<: *a", "an alias inside its own anchor"),
        # With PyYAML 6.0.4 half a minute, and more than an hour: its scanner is quadratic in the depth.
        ("a.yaml", b"[" * 10_000, "nested deeper than 100"),
        ("a.yaml", b"{a: " * 200_000, "nested deeper than 100"),
        ("a.yaml", b"- " * 200_000, "nested deeper than 100"),
        ("a.yaml", LAUGHS.encode(), "more than 1,000,000 values"),
        ("a.yaml", MERGES.encode(), "more than 1,000,000 values"),
    ],
)
def test_a_file_that_cannot_be_read_as_its_kind_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    assert message in str(failure(paths="*", root=make(tmp_path, {name: content})))


@pytest.mark.parametrize("encoding", ["punycode", "idna", "unicode_escape", "hex", "nothing", "utf-8\0", 5])
def test_an_encoding_of_a_file_that_is_none_of_texts_is_an_error(tmp_path: Path, encoding: Any) -> None:
    """`punycode` takes hours for some megabytes."""
    error = failure(paths="*", root=make(tmp_path, {"a": "x"}), encoding=encoding)
    assert f"there is no encoding {encoding!r}" in str(error)


def test_too_many_files_are_an_error(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "", "b": ""})
    assert "2 files match *, more than 1 (max_files)" in str(failure(paths="*", root=root, max_files=1))


def test_too_many_bytes_are_an_error_and_just_enough_are_not(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "12", "b": "345"})
    assert len(read(paths="*", root=root, max_bytes=5)) == 2
    assert "over 4 bytes (max_bytes)" in str(failure(paths="*", root=root, max_bytes=4))


def test_labels_of_files_need_objects(tmp_path: Path) -> None:
    assert "labels need objects" in str(failure(paths="*", root=make(tmp_path, {"a.jsonl": "1"}), labels={"a": 1}))


def test_files_read_without_a_path_is_an_error() -> None:
    assert "paths names no file" in str(failure(paths=[]))


def test_lines_that_contain_the_text_are_found_with_their_place(tmp_path: Path) -> None:
    root = make(tmp_path, {"b.py": "one\ntwo (a.b)\n", "a/c.py": "a.b\r\nxaxb"})
    assert search(pattern="a.b", root=root, labels={"kind": "source"}) == [
        {"kind": "source", "path": "a/c.py", "line": 1, "text": "a.b"},
        {"kind": "source", "path": "b.py", "line": 2, "text": "two (a.b)"},
    ]


def test_the_text_of_a_search_is_a_regular_expression_if_said_so(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "a.b\naxb\nab"})
    assert [record["line"] for record in search(pattern="a.b", root=root, regex=True)] == [1, 2]


def test_the_case_of_a_search_can_be_ignored(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "Grüße\nGRÜSSE\nGRÜßE"})
    assert [record["line"] for record in search(pattern="grüße", root=root, ignore_case=True)] == [1, 3]


def test_a_search_passes_over_binary_files_and_git(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "x\0x", ".git/b": "x", ".c": "x", "d": b"x\xff"})
    assert [record["path"] for record in search(pattern="x", root=root, hidden=True)] == [".c", "d"]


def test_a_long_line_of_a_search_is_cut(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "x" * 5000})
    assert search(pattern="x", root=root)[0]["text"] == "x" * 1000 + "…"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pattern": ""}, "pattern is empty"),
        ({"pattern": "(", "regex": True}, "is not a regular expression"),
        ({"pattern": "x", "max_matches": 2}, "more than 2 lines match 'x'"),
    ],
)
def test_a_search_that_cannot_be_answered_says_why(tmp_path: Path, arguments: Any, message: str) -> None:
    root = make(tmp_path, {"a": "x\nx\nx"})
    with pytest.raises(FilesFailure, match=message.replace("(", r"\(")):
        search(root=root, **arguments)


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbftea\n")
    assert search(pattern="^tea", root=str(tmp_path), regex=True) == [{"path": "a.txt", "line": 1, "text": "tea"}]
