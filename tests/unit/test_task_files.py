"""files.read and files.search, on real directories."""

import os
from pathlib import Path
from typing import Any

import pytest

from runner.collectors.files import FilesFailure, read, search


def make(root: Path, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(root)


def paths(root: str, patterns: str | list[str], **arguments: Any) -> list[str]:
    return [record["path"] for record in read(patterns, root=root, format="text", **arguments)]


def failure(*args: Any, **arguments: Any) -> FilesFailure:
    with pytest.raises(FilesFailure) as raised:
        read(*args, **arguments)
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
        ("*.none", []),
    ],
)
def test_patterns_find_files_in_the_order_of_their_paths(tmp_path: Path, patterns: Any, found: list[str]) -> None:
    assert paths(make(tmp_path, TREE), patterns) == found


def test_excluded_files_and_directories_are_left_out(tmp_path: Path) -> None:
    assert paths(make(tmp_path, TREE), "**/*.py", exclude=["build", "src/deep/**"]) == ["a.py", "src/c.py"]


def test_hidden_directories_are_found_if_asked_for_and_git_never(tmp_path: Path) -> None:
    assert paths(make(tmp_path, TREE), "**/[ef].py", hidden=True) == [".hidden/e.py"]


def test_a_hidden_file_can_be_named(tmp_path: Path) -> None:
    assert paths(make(tmp_path, TREE), ".hidden/e.py") == [".hidden/e.py"]


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    assert "there is no file none.md in " in str(failure("none.md", root=str(tmp_path)))


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../x", "a/../b", "."])
def test_a_pattern_stays_below_its_root(tmp_path: Path, pattern: str) -> None:
    assert "is not a pattern below root" in str(failure(pattern, root=str(tmp_path)))


def test_a_root_that_is_not_there_is_named() -> None:
    assert "root /no/such is not a directory" in str(failure("*", root="/no/such"))


def test_a_loop_of_symbolic_links_ends(tmp_path: Path) -> None:
    root = make(tmp_path, {"a/b.txt": ""})
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert paths(root, "**/*.txt") == ["a/b.txt"]


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert paths(str(tmp_path), "*.txt") == []


def test_a_broken_symbolic_link_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "gone.txt").symlink_to("nowhere")
    assert paths(str(tmp_path), "*.txt") == []


def test_a_name_that_is_not_utf_8_still_has_json(tmp_path: Path) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff.txt")).touch()
    assert paths(str(tmp_path), "*.txt") == ["\ufffd.txt"]


def test_text_is_a_record_with_its_path(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.txt": "grüße\r\n"})
    assert read("a.txt", root=root) == [{"path": "a.txt", "text": "grüße\r\n"}]


def test_json_is_a_record_with_its_data(tmp_path: Path) -> None:
    assert read("*", root=make(tmp_path, {"a.json": "[1]"})) == [{"path": "a.json", "data": [1]}]


def test_json_lines_are_records_already(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.jsonl": '{"path": "x"}\n\n{"path": "y"}\n'})
    assert read("*", root=root, labels={"from": "a"}) == [{"from": "a", "path": "x"}, {"from": "a", "path": "y"}]


def test_csv_rows_are_records_keyed_by_the_header(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.csv": '\ufeffname,price\r\n"a, b",1\r\n\r\n"two\nlines"\r\n'})
    assert read("*", root=root) == [{"name": "a, b", "price": "1"}, {"name": "two\nlines", "price": None}]


def test_each_document_of_a_yaml_file_is_a_record(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.yaml": "x: 1\n---\n[2]\n"})
    assert read("*", root=root) == [{"path": "a.yaml", "data": {"x": 1}}, {"path": "a.yaml", "data": [2]}]


def test_yaml_dates_stay_text_and_keys_become_text(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.yml": "day: 2026-11-22\nat: 2026-11-22T10:00:00Z\n1: one\n"})
    assert read("*", root=root)[0]["data"] == {"day": "2026-11-22", "at": "2026-11-22T10:00:00Z", "1": "one"}


def test_the_format_can_be_said(tmp_path: Path) -> None:
    assert read("a", root=make(tmp_path, {"a": "{}"}), format="json") == [{"path": "a", "data": {}}]


def test_another_encoding_can_be_said(tmp_path: Path) -> None:
    root = make(tmp_path, {"a.txt": "grüße".encode("latin-1")})
    assert read("*", root=root, encoding="latin-1")[0]["text"] == "grüße"


LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))])
MERGES = "\n".join(
    ["a0: &a0 {k: 1, l: 2}", *(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\xff\xfe", "a.txt is not utf-8 text"),
        ("a.txt", b"a\0b", "a.txt is a binary file"),
        ("a.json", b"{", "a.json: not JSON"),
        ("a.json", b"NaN", "a.json: not JSON: NaN"),
        ("a.json", b"[" * 100_000, "a.json: not JSON"),
        ("a.jsonl", b"1\n{\n", "a.jsonl:2: not JSON"),
        ("a.csv", b"a,b\n1,2,3\n", "a.csv:2: 3 cells, and the header has 2"),
        ("a.csv", b"a,a\n", "a.csv:1: two columns have one name"),
        ("a.csv", b'a\n"b', "a.csv:2: not CSV"),
        ("a.yaml", b"a: [", "a.yaml: not YAML"),
        ("a.yaml", b"!!python/object/apply:os.system [id]", "a.yaml: not YAML"),
        ("a.yaml", b"a: .nan", "nan is not JSON"),
        ("a.yaml", b"a: !!binary aGk=", "a bytes is not JSON"),
        ("a.yaml", b"a: &a [*a]", "a.yaml: not YAML"),
        ("a.yaml", b"[" * 10_000, "a.yaml: not YAML"),
        ("a.yaml", LAUGHS.encode(), "more than 1,000,000 values"),
        ("a.yaml", MERGES.encode(), "merge keys make too many values"),
    ],
)
def test_a_file_that_cannot_be_read_as_its_kind_is_named(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    assert message in str(failure("*", root=make(tmp_path, {name: content})))


def test_too_many_files_are_an_error(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "", "b": ""})
    assert "2 files match *, more than 1 (max_files)" in str(failure("*", root=root, max_files=1))


def test_too_many_bytes_are_an_error_and_just_enough_are_not(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "12", "b": "345"})
    assert len(read("*", root=root, max_bytes=5)) == 2
    assert "over 4 bytes (max_bytes)" in str(failure("*", root=root, max_bytes=4))


def test_labels_need_objects(tmp_path: Path) -> None:
    assert "labels need objects" in str(failure("*", root=make(tmp_path, {"a.jsonl": "1"}), labels={"a": 1}))


def test_no_path_is_an_error() -> None:
    assert "paths names no file" in str(failure([]))


def test_lines_that_contain_the_text_are_found_with_their_place(tmp_path: Path) -> None:
    root = make(tmp_path, {"b.py": "one\ntwo (a.b)\n", "a/c.py": "a.b\r\nxaxb"})
    assert search("a.b", root=root, labels={"kind": "source"}) == [
        {"kind": "source", "path": "a/c.py", "line": 1, "text": "a.b"},
        {"kind": "source", "path": "b.py", "line": 2, "text": "two (a.b)"},
    ]


def test_a_regular_expression_is_one_if_said_so(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "a.b\naxb\nab"})
    assert [record["line"] for record in search("a.b", root=root, regex=True)] == [1, 2]


def test_case_can_be_ignored(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "Grüße\nGRÜSSE\nGRÜßE"})
    assert [record["line"] for record in search("grüße", root=root, ignore_case=True)] == [1, 3]


def test_binary_files_and_git_are_passed_over(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "x\0x", ".git/b": "x", ".c": "x", "d": b"x\xff"})
    assert [record["path"] for record in search("x", root=root, hidden=True)] == [".c", "d"]


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": "x" * 5000})
    assert search("x", root=root)[0]["text"] == "x" * 1000 + "…"


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
