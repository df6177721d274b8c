"""The names that an application imports from `runner`."""

import subprocess
import sys

import pytest

import runner
from tests.command_line import DEFAULT


def test_importing_runner_imports_nothing_else() -> None:
    """`python -m runner` does it before anything is taken off the path: a json.py in the current directory was imported."""
    code = "import sys; before = {*sys.modules}; import runner; print({*sys.modules} - before)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "{'runner'}"


def test_a_workflow_file_is_loaded_from_python() -> None:
    assert runner.load(DEFAULT).plan().name == "default"


def test_what_load_and_bind_raise_is_imported_from_runner_too() -> None:
    """The guide named `InvalidWorkflow`, and `from runner import InvalidWorkflow` was an ImportError."""
    with pytest.raises(runner.InvalidWorkflow) as raised:
        runner.load("no such file.yaml")
    assert [fault.code for fault in raised.value.faults] == ["E100"]
    with pytest.raises(runner.InvalidInputs, match='input "topci" is unknown'):
        runner.load(DEFAULT).bind({"topci": "tea"})


def test_every_public_name_of_runner_can_be_imported() -> None:
    assert [name for name in runner.__all__ if not hasattr(runner, name)] == []


def test_a_name_that_runner_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'runner' has no attribute 'unload'"):
        _ = runner.unload  # type: ignore[attr-defined]
