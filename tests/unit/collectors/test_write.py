"""write.json, write.jsonl and write.csv, on a real disk."""

import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.collectors.files import read
from runner.collectors.write import NotWritable, NotWritten, to_csv, to_json, to_jsonl
from runner.worker.notes import kept


@contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """A write past `size` bytes of a file fails, as it does on a full disk (EFBIG instead of ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def noted(task: Any, *args: Any, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    """What a task returns, and what it notes of its step."""
    with kept() as notes:
        return task(*args, **arguments), notes


@pytest.mark.parametrize("task", [to_json, to_jsonl, to_csv])
def test_a_written_value_is_handed_on_and_noted(task: Any, tmp_path: Path) -> None:
    """Of two writing stages the second wrote the receipt of the first."""
    path, records = str(tmp_path / "a"), [{"a": 1}, {"a": 2}]
    assert noted(task, records, path) == (records, {"path": path, "count": 2})


@pytest.mark.parametrize("task", [to_json, to_jsonl, to_csv])
def test_a_receipt_of_a_written_file_is_returned_if_it_is_asked_for(task: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    assert noted(task, [{"a": 1}], path, receipt=True) == ({"path": path, "count": 1}, {"path": path, "count": 1})


def test_write_json_writes_json(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.json"
    to_json([1, {"ü": None}], str(path))
    assert json.loads(path.read_text()) == [1, {"ü": None}]
    assert "ü" in path.read_text()


def test_a_written_value_that_is_no_list_counts_one(tmp_path: Path) -> None:
    assert noted(to_json, {"a": 1, "b": 2}, str(tmp_path / "a"), indent=None)[1]["count"] == 1
    assert (tmp_path / "a").read_text() == '{"a": 1, "b": 2}\n'


def test_write_jsonl_writes_an_item_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    to_jsonl([{"a": "x\ny"}, 2], str(path))
    assert path.read_text() == '{"a": "x\\ny"}\n2\n'


def test_writing_no_records_makes_an_empty_file(tmp_path: Path) -> None:
    assert noted(to_jsonl, [], str(tmp_path / "a"))[1]["count"] == 0
    assert (tmp_path / "a").read_text() == ""


def test_write_csv_has_all_columns_in_the_order_in_which_they_appear(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    records = [{"b": 'say "x", y', "a": 1.5}, {"c": ["l"], "a": None, "b": True}]
    to_csv(records, str(path))
    assert path.read_text() == 'b,a,c\n"say ""x"", y",1.5,\ntrue,,"[""l""]"\n'


def test_write_csv_has_the_columns_asked_for(tmp_path: Path) -> None:
    to_csv([{"a": 1, "b": 2}, {"c": 3}], str(tmp_path / "a.csv"), columns=["c", "b"])
    assert (tmp_path / "a.csv").read_text() == "c,b\n,2\n3,\n"


def test_a_csv_column_that_no_record_has_is_a_failure_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(NotWritable, match=r'no record has "titel" \(columns\); they have title, by'):
        to_csv([{"title": 1}, {"by": 2}], str(tmp_path / "a.csv"), columns=["by", "titel"])
    assert list(tmp_path.iterdir()) == []


def test_a_csv_column_that_no_record_need_have_is_empty(tmp_path: Path) -> None:
    to_csv([{"a": 1}], str(tmp_path / "a.csv"), columns=["a", "note?"])
    assert (tmp_path / "a.csv").read_text() == "a,note\n1,\n"


def test_writing_the_csv_columns_of_no_records_makes_a_header(tmp_path: Path) -> None:
    to_csv([], str(tmp_path / "a.csv"), columns=["a"])
    assert (tmp_path / "a.csv").read_text() == "a\n"


def test_half_a_surrogate_pair_is_still_written_as_json(tmp_path: Path) -> None:
    to_json("\ud800", str(tmp_path / "a"))
    assert json.loads((tmp_path / "a").read_text()) == "\ud800"


def test_writing_on_a_full_disk_leaves_the_file_before(tmp_path: Path) -> None:
    """F20."""
    path = tmp_path / "a.jsonl"
    path.write_text("before")
    with disk_full_after(10_000), pytest.raises(NotWritten) as raised:
        to_jsonl(["x" * 100] * 1000, str(path))
    assert str(raised.value) == f"cannot write {path}: File too large"
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_a_value_that_is_no_json_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        to_jsonl([1, object()], str(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_written_again_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(mode=0o600)
    to_json(1, str(path))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_symbolic_link_that_is_written_to_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    to_json(1, str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "1\n"


@pytest.mark.parametrize("place", ["", "a\0b", "file/below"])
def test_a_path_that_cannot_hold_a_file_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotWritten, match="cannot write "):
        to_json(1, f"{tmp_path}/{place}")


@pytest.mark.parametrize("write", [to_json, to_jsonl, to_csv])
def test_a_leading_tilde_of_a_path_is_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any
) -> None:
    """`path: ~/x.csv` made a directory `~` in the worker's directory, and the step succeeded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", f"{tmp_path}/home")
    assert write([{"a": 1}], "~/x.csv", receipt=True) == {"path": f"{tmp_path}/home/x.csv", "count": 1}
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.csv")] == ["home/x.csv"]


def test_a_home_directory_of_nobody_is_refused_and_no_directory_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotWritable, match=r"cannot write ~tea/x\.csv: there is no user tea; write \./~tea/x\.csv"):
        to_csv([], "~tea/x.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_called_as_a_home_is_can_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    to_json(1, "./~/x.json")
    assert (tmp_path / "~" / "x.json").read_text() == "1\n"


def test_a_device_that_is_written_to_is_not_replaced() -> None:
    with pytest.raises(NotWritable, match="cannot write /dev/null: it exists and is not a regular file"):
        to_json(1, "/dev/null")


@pytest.mark.parametrize(
    ("task", "value", "message"),
    [
        (to_jsonl, {}, "write.jsonl takes a list, and the value is a mapping"),
        (to_csv, {}, "write.csv takes a list of objects, and the value is a mapping"),
        (to_csv, [{}, 1], "record 2 of 2 is an integer, not an object"),
        (to_csv, [{}, {}, "x"], "record 3 of 3 is a string, not an object"),
        (to_csv, [None], "record 1 of 1 is nothing, not an object"),
        (to_csv, [{1}], "record 1 of 1 is a set, not an object"),
    ],
)
def test_a_value_that_csv_cannot_hold_is_named(tmp_path: Path, task: Any, value: Any, message: str) -> None:
    with pytest.raises(NotWritable, match=message):
        task(value, str(tmp_path / "a"))


@pytest.mark.parametrize(
    "cell",
    ["a\rb", "a\r", "\r\n", "\n", 'a "b"', "a,b", "\u2028", "\x85", "\x1a", " a ", "01", "1e5", "x" * 200_000, ""],
)
def test_records_written_as_csv_are_read_as_they_were(cell: str, tmp_path: Path) -> None:
    """pandas#10018, cpython#67044: a carriage return was not quoted, and its row became two.

    csvkit#812: "field larger than field limit (131072)".
    """
    records = [{"a": cell, "b": "1"}, {"a": "2", "b": cell}]
    to_csv(records, str(tmp_path / "a.csv"))
    assert read(root=str(tmp_path), paths="a.csv") == records


def test_write_csv_ends_its_lines_with_a_line_feed(tmp_path: Path) -> None:
    to_csv([{"a": "1\r\n2", "b\r": 3}], str(tmp_path / "a.csv"))
    assert (tmp_path / "a.csv").read_bytes() == b'a,"b\r"\n"1\r\n2",3\n'


def test_a_csv_column_may_end_with_a_question_mark_itself(tmp_path: Path) -> None:
    to_csv([{"paid?": "yes"}], str(tmp_path / "a.csv"), columns=["paid?", "note?"])
    assert (tmp_path / "a.csv").read_text() == "paid?,note\nyes,\n"
