"""A module that cannot be imported to a line that says which, where and why: in `run`, `show` and a shared worker."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import runner

INSTALLED = str(Path(sys.executable).with_name("runner"))
TASK = "from celery import shared_task\n@shared_task(name='shop.prices')\ndef prices(): pass\n"
REASONS = [
    ("sys.exit('no licence')", "it calls sys.exit('no licence')"),
    ("sys.exit()", "it calls sys.exit()"),
    ("sys.exit(0)", "it calls sys.exit(0)"),
    ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    ("raise GeneratorExit('odd')", "GeneratorExit: odd"),
]

pytestmark = pytest.mark.usefixtures("state_dir")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text("name: shop\ninclude: [shop]\ncollectors: [{id: prices, task: shop.prices}]\n")
    return tmp_path


def broken(folder: Path, line: str) -> str:
    """The place of the line in a module that it breaks."""
    (folder / "shop.py").write_text(f"import sys\n{line}\n{TASK}")
    return f"{folder}/shop.py:2"


@pytest.mark.parametrize(("line", "reason"), REASONS)
def test_run_says_which_module_cannot_be_imported_and_show_says_it_again(line: str, reason: str, shop: Path) -> None:
    """With `sys.exit` there was a blank line. The installed command had a warning of runpy's first, and `show` no more."""
    said = f'the worker has ended: module "shop" ({broken(shop, line)}): {reason}'
    command = [INSTALLED, "run", str(shop / "shop.yaml"), "--run-id", "shop"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[1] == f"error: run shop has failed: {said}"
    assert f"cause     {said}\n" in runner("show", "shop").stdout


def test_a_warning_of_an_included_module_does_not_hide_its_error(shop: Path) -> None:
    place = broken(
        shop, "print(*map(str, range(90)), sep='\\n'); import warnings; warnings.warn('old ' * 100); sys.exit('no')"
    )

    answer = runner("run", str(shop / "shop.yaml"), "--run-id", "shop")

    assert f"the worker has ended: module \"shop\" ({place}): it calls sys.exit('no')\n" in answer.stderr


@pytest.mark.parametrize("words", [("worker",), ("flower", "--port", "0"), ("up", "--port", "0")])
@pytest.mark.parametrize(("line", "reason"), [REASONS[0], REASONS[3]])
def test_a_shared_worker_says_which_module_cannot_be_imported(
    line: str, reason: str, words: tuple[str, ...], shop: Path
) -> None:
    place = broken(shop, line)

    answer = runner(*words, RUNNER_INCLUDE="shop", PYTHONPATH=str(shop))

    assert f'error: module "shop" ({place}): {reason}\n' in answer.stderr
    assert answer.code == 3


def test_a_module_with_the_name_of_one_of_the_standard_library_is_a_fault(tmp_path: Path) -> None:
    """It would be found beside the YAML, and another one imported."""
    (tmp_path / "queue.py").write_text(TASK)
    (tmp_path / "shop.yaml").write_text("name: shop\ninclude: [queue]\ncollectors: [{id: prices, task: shop.prices}]\n")

    answer = runner("validate", str(tmp_path / "shop.yaml"))

    assert answer.code == 3
    assert "error[E036]" in answer.stderr
    assert "rename yours" in answer.stderr
