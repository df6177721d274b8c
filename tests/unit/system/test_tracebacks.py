"""The files that an unexpected exception leaves."""

import os
import tempfile
from pathlib import Path

import pytest

from runner import cli
from runner.system.tracebacks import KEPT_TRACEBACKS, save_traceback


@pytest.fixture
def folder(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = own_directory / "tracebacks"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def saved(error: BaseException) -> Path:
    return Path(save_traceback(error).removeprefix("the traceback is in "))


def test_a_traceback_is_saved_whatever_is_in_it(folder: Path) -> None:
    file = saved(ValueError("half of a pair: \ud800"))
    assert file.parent == folder
    assert r"ValueError: half of a pair: \ud800" in file.read_text()


def test_the_last_saved_tracebacks_are_kept_and_the_others_removed(folder: Path) -> None:
    """A script that met the same fault every minute filled the temporary directory."""
    files = [saved(ValueError(str(number))) for number in range(8)]
    kept = sorted(folder.iterdir())
    assert len(kept) == KEPT_TRACEBACKS
    assert files[-1] in kept


def test_an_error_whose_traceback_cannot_be_saved_ends_with_its_own_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full or unwritable temporary directory: the second error ended the program, with 1, which is "the run failed"."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "gone"))
    monkeypatch.setattr(cli.cli, "main", raising)
    with pytest.raises(SystemExit) as ended:
        cli.main(["runs"])
    assert ended.value.code == 70
    assert capsys.readouterr().err == (
        "error: ZeroDivisionError: no: a bug in runner; the traceback cannot be saved: No such file or directory\n"
    )


def raising(*_: object, **__: object) -> None:
    raise ZeroDivisionError("no")


def test_removing_old_tracebacks_removes_nothing_else(folder: Path) -> None:
    link, other = folder / "runner-traceback-x.txt", folder / "mine.txt"
    other.write_text("kept")
    link.symlink_to(other)
    os.utime(link, (0, 0), follow_symlinks=False)
    for number in range(8):
        save_traceback(ValueError(str(number)))
    assert link.is_symlink()
    assert other.read_text() == "kept"
