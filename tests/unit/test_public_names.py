"""What an application imports from `runner`."""

import subprocess
import sys

import pytest

import runner
from tests.command_line import DEFAULT


def test_importing_runner_imports_neither_celery_nor_pydantic_nor_redis() -> None:
    code = "import sys, runner; print(sorted({'celery', 'kombu', 'pydantic', 'redis', 'yaml'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_workflow_file_is_loaded_from_python() -> None:
    assert runner.load(DEFAULT).plan().name == "default"


def test_a_name_that_runner_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'runner' has no attribute 'unload'"):
        _ = runner.unload  # type: ignore[attr-defined]
