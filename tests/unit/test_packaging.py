"""pyproject.toml, conda/base.yaml and the tree agree with one another, and with the content of a wheel."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA: dict[str, Any] = yaml.safe_load((ROOT / "conda" / "base.yaml").read_text(encoding="utf-8"))
CONDA_NAMES = {"redis-py": "redis"}  # where conda-forge calls a package otherwise than PyPI
CONDA_ONLY = {"python", "pip", "redis-server"}


def test_the_conda_environment_names_the_dependencies_and_ranges_of_the_project() -> None:
    *conda, by_pip = CONDA["dependencies"]

    ranges = dict(map(name_and_range, [*conda, *by_pip["pip"]]))

    ours = {CONDA_NAMES.get(name, name): range_ for name, range_ in ranges.items() if name not in CONDA_ONLY}
    assert ours == dict(map(name_and_range, PROJECT["project"]["dependencies"]))


def test_conda_brings_python_and_a_redis_server() -> None:
    brought = dict(name_and_range(each) for each in CONDA["dependencies"] if isinstance(each, str))

    assert brought["python"] == PROJECT["project"]["requires-python"]
    assert "redis-server" in brought


def test_the_conda_environment_is_called_as_documented() -> None:
    assert CONDA["name"] == "celery-collectors"


@pytest.mark.parametrize("module", PROJECT["project"]["entry-points"]["runner.tasks"].values())
def test_every_module_of_built_in_tasks_can_be_imported(module: str) -> None:
    import_module(module)


def test_the_top_level_of_the_repository_holds_what_it_should() -> None:
    top = {name.partition("/")[0] for name in committed()}

    assert {name for name in top if not name.startswith(".")} == {
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "conda",
        "pyproject.toml",
        "runner",
        "tests",
        "workflows",
    }


def test_every_unit_test_lies_where_its_module_does() -> None:
    unit = ROOT / "tests" / "unit"
    tested = [file.relative_to(unit) for file in unit.rglob("test_*.py")]
    places = {file: ROOT / "runner" / file.with_name(file.stem.removeprefix("test_")) for file in tested}
    ours = {
        Path(f"test_{name}.py") for name in ("packaging", "defences", "docstrings", "public_names")
    }  # of no one module
    assert {file for file, at in places.items() if not (at.is_dir() or at.with_suffix(".py").exists())} == ours


def test_a_wheel_holds_every_file_of_the_package(wheel: set[str]) -> None:
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "runner").rglob("*") if path.is_file()}

    assert {name for name in package if "__pycache__" not in name} <= wheel


def test_a_wheel_holds_the_shipped_workflows(wheel: set[str]) -> None:
    """`collector_request` runs the default one, wherever it is installed."""
    assert {f"runner/language/workflows/{path.name}" for path in (ROOT / "workflows").iterdir()} <= wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel that is built from what is committed, or would be."""
    tree, built = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("built")
    for name in committed():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name, follow_symlinks=False)
    # The build backend itself: pip would download one for the purpose.
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(built)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True)
    return set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())


def committed() -> list[str]:
    """The files of this tree that git has, and those that it does not ignore."""
    told = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in told.stdout.split("\0") if name and (ROOT / name).exists()]


def name_and_range(requirement: str) -> tuple[str, str]:
    match = re.fullmatch(r"([\w.-]+(?:\[[\w,-]+\])?)\s*(.*)", requirement)
    assert match, requirement
    return match[1].lower(), match[2].replace(" ", "")
