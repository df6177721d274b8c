"""The files that an exception nobody expected leaves."""

import os
from pathlib import Path

import pytest

from runner import tracebacks


@pytest.fixture
def folder(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = own_directory / "tracebacks"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_a_traceback_is_saved_whatever_is_in_it(folder: Path) -> None:
    file = Path(tracebacks.save(ValueError("half of a pair: \ud800")))
    assert file.parent == folder
    assert r"ValueError: half of a pair: \ud800" in file.read_text()


def test_the_last_tracebacks_are_kept_and_the_others_removed(folder: Path) -> None:
    """A script that met the same fault every minute filled the temporary directory."""
    saved = [Path(tracebacks.save(ValueError(str(number)))) for number in range(8)]
    kept = sorted(folder.iterdir())
    assert len(kept) == tracebacks.KEPT
    assert saved[-1] in kept


def test_nothing_but_our_own_files_is_removed(folder: Path) -> None:
    link, other = folder / "runner-traceback-x.txt", folder / "mine.txt"
    other.write_text("kept")
    link.symlink_to(other)
    os.utime(link, (0, 0), follow_symlinks=False)
    for number in range(8):
        tracebacks.save(ValueError(str(number)))
    assert link.is_symlink()
    assert other.read_text() == "kept"
