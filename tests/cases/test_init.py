"""`init`: from an installed package to a workflow that runs."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import ROOT, runner

RUNNER = [sys.executable, "-m", "runner"]

pytestmark = pytest.mark.usefixtures("state_dir")


@pytest.mark.parametrize("words", [(), ("news",), ("new folder/x",)])
def test_init_writes_a_workflow_that_the_next_command_runs(words: tuple[str, ...], tmp_path: Path) -> None:
    """`--help` began with `run workflows/default.yaml`, which is nowhere after `uv tool install`."""
    answer = runner("init", *words, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (answer.code, answer.stdout) == (0, "")
    next_words = shlex.split(answer.stderr.splitlines()[-1].removeprefix("next: python -m runner "))
    assert next_words[:1] == ["run"]
    checked = runner("validate", next_words[1], cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert checked.code == 0, checked.stderr
    ran = runner(*next_words, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert ran.code == 0, ran.stderr
    assert '"item_count": 12' in ran.stdout


def test_init_replaces_no_file(tmp_path: Path) -> None:
    mine = tmp_path / "default.yaml"
    mine.write_text("name: mine\n")
    answer = runner("init", str(tmp_path))
    assert answer.code == 3
    assert f"{mine} is there already" in answer.stderr
    assert "hint: `python -m runner init first` writes into the folder first/" in answer.stderr
    assert mine.read_text() == "name: mine\n"


def test_init_twice_is_no_fault(tmp_path: Path) -> None:
    assert [runner("init", str(tmp_path)).code for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/dev/null/x"])
def test_init_says_why_it_cannot_write(folder: str) -> None:
    answer = runner("init", folder)
    assert answer.code == 3
    assert folder in answer.stderr


def test_help_begins_with_a_command_that_works_everywhere(tmp_path: Path) -> None:
    done = subprocess.run([*RUNNER, "--help"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "Start with: runner init" in done.stdout
    assert "workflows/default.yaml" not in done.stdout
