"""A path that begins with `~` to one in a home directory."""

from pathlib import Path

import pytest

from runner.system.home import at_home


@pytest.mark.parametrize("path", ["a~", "./~/a", "", "~nobody-is-called-so/a"])
def test_other_paths_stay_as_they_are(path: str) -> None:
    assert at_home(path) == path


def test_a_leading_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (at_home("~"), at_home("~/a")) == (str(tmp_path), f"{tmp_path}/a")
