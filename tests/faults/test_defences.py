"""A defence taken out of the code to the fault test that fails then: each row of the table is tried.

    pytest -m soak tests/faults/test_defences.py -k F06

It is tried on a copy of the project, which has something else, or nothing, at the defence's marker (defences.py).
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runner.brokers import connect
from tests.command_line import ROOT
from tests.faults.defences import CHANGES, PROOFS, Proof
from tests.faults.markers import markers
from tests.servers import Server


def test_every_test_of_a_fault_case_is_in_the_table_of_defences() -> None:
    proved = {proof.test.partition("[")[0] for proofs in PROOFS.values() for proof in proofs}
    modules = [ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "tests" / "faults").glob("test_*.py")]
    written = [node for module in modules for node in module.body if isinstance(node, ast.FunctionDef)]
    cases = {node.name for node in written if re.match(r"F\d\d", ast.get_docstring(node) or "")}
    assert cases - proved == set()
    assert proved - {node.name for node in written} == set()


def test_lua_without_a_defence_is_still_lua(valkey: Server) -> None:
    """A name that nobody gives a value is no fault of Lua's; see tests/unit/test_defences.py."""
    places = {place.name: place for place in markers() if place.name in {change.marker for change in CHANGES}}
    changes = [(places[change.marker], change.instead) for change in CHANGES if not places[change.marker].is_python]
    modules = [definitions(place.replaced(instead)) for place, instead in changes if place.file.name != "command.py"]
    scripts = [value for module in modules for value in module.values() if "redis.call" in str(value)]
    with connect(valkey.url) as client:
        hashes = [client.script_load(script) for script in scripts]
    assert len(hashes) > len(modules)


def definitions(text: str) -> dict[str, object]:
    """What the module of this text defines."""
    module: dict[str, object] = {"__name__": "changed"}
    exec(text, module)  # noqa: S102 - our own module, but for a line
    return module


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("file", "proof"),
    [pytest.param(file, proof, id=proof.case) for file, proofs in PROOFS.items() for proof in proofs],
)
def test_a_fault_test_fails_without_its_defence(file: str, proof: Proof, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for part in ("runner", "tests", "workflows"):
        shutil.copytree(ROOT / part, copy / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for change in proof.without:
        [place] = [place for place in markers(copy) if place.name == change.marker]
        place.file.write_text(place.replaced(change.instead), encoding="utf-8")
    base = tmp_path / "base"
    words = ["-q", "-m", "", "--tb=short", "-o", "timeout=200", "-p", "no:cacheprovider", f"--basetemp={base}"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, f"tests/faults/test_{file}.py::{proof.test}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=copy,
        env=os.environ | proof.environment | {"TEST_SLACK": os.environ.get("TEST_SLACK", "1")},
    )

    print(done.stdout)  # noqa: T201 - pytest shows it if this test fails
    assert done.stdout.splitlines()[-1].startswith("1 failed")
    assert re.search(rf"^E .*({proof.says})", done.stdout, re.MULTILINE)
