"""The name of the program in hints."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.system.program import command_line, program_name, set_program_name
from tests.command_line import ROOT


@pytest.fixture(autouse=True)
def same_name_afterwards() -> Iterator[None]:
    before = program_name()
    yield
    set_program_name(before if before != "python -m runner" else "__main__.py")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    script = tmp_path / "bin" / "runner"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return script


def test_a_hint_of_a_module_says_python_m_runner() -> None:
    set_program_name("/somewhere/site-packages/runner/__main__.py")
    assert command_line("show", "news-1", "--step", "page[7]") == "python -m runner show news-1 --step 'page[7]'"


def test_a_hint_of_an_installed_script_says_its_name(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `uv tool install`, there is no `python` that has us."""
    monkeypatch.setenv("PATH", str(script.parent))
    set_program_name(str(script))
    assert command_line("doctor") == "runner doctor"


def test_a_hint_of_a_script_that_is_not_on_the_path_says_where_it_is(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    set_program_name(str(script))
    assert command_line("doctor") == f"{script} doctor"


@pytest.mark.parametrize(
    "path",
    sorted({*(ROOT / "runner").rglob("*.py")} - {ROOT / "runner" / "system" / "program.py"}),
    ids=lambda path: path.stem,
)
def test_no_other_module_spells_how_we_are_called(path: Path) -> None:
    """The hint of `forget` said `python -m runner cancel`, which fails after `uv tool install`."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    docstrings = [node.value for node in nodes if isinstance(node, ast.Expr)]
    texts = [node for node in nodes if isinstance(node, ast.Constant) and node not in docstrings]
    assert not [node.lineno for node in texts if "python -m runner" in str(node.value)]


def test_a_hint_does_not_name_another_runner_on_the_path(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub's own agent, for example, is called `runner` as well."""
    monkeypatch.setenv("PATH", str(script.parent))
    set_program_name("/opt/tools/runner")
    assert program_name() == "/opt/tools/runner"
