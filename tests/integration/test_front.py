"""`validate` and `graph` answer at once: no broker, no Celery, no user's module, nothing written."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import DEFAULT, ROOT

IMPORTED = """
import atexit, sys
from runner.cli import main
atexit.register(lambda: print(sorted({"celery", "kombu", "redis"} & set(sys.modules)), file=sys.stderr))
main(sys.argv[1:])
"""


@pytest.mark.parametrize("command", ["validate", "graph"])
def test_validate_and_graph_import_neither_celery_nor_redis(command: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", IMPORTED, command, DEFAULT], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert answer.stderr.splitlines()[-1] == "[]"


def test_a_users_module_is_read_and_not_imported(tmp_path: Path) -> None:
    mark = tmp_path / "imported"
    (tmp_path / "mine.py").write_text(
        f"from celery import shared_task\nopen({str(mark)!r}, 'w')\n\n@shared_task\ndef words() -> list:\n    return []\n"
    )
    workflow = tmp_path / "mine.yaml"
    workflow.write_text("name: mine\ninclude: [mine]\ncollectors: [{id: a, task: mine.words}]\n")
    for command in ("validate", "graph"):
        subprocess.run(
            [sys.executable, "-m", "runner", command, str(workflow)], check=True, capture_output=True, cwd=ROOT
        )
    assert not mark.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.py", "mine.yaml"]
