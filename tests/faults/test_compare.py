"""The comparison with plain Celery: it runs, and the documents show what it measures."""

import json
import subprocess
import sys
from pathlib import Path

from tests.command_line import ROOT
from tests.faults.compare import as_markdown, summary
from tests.faults.scenes import SCENES
from tests.faults.sides import SIDES, Ending
from tests.integration.test_documents import FAULTS, README, table


def test_celery_and_this_project_are_put_through_a_fault_and_measured(tmp_path: Path) -> None:
    """The quickest of them: a chord fails with one collector, and a workflow continues with the other three."""
    file = tmp_path / "measured.json"
    command = [sys.executable, "-m", "tests.faults.compare", "--only", "partial", "--tries", "1", "--json", str(file)]
    done = subprocess.run([*command, "--markdown"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    [by_hand], [ours] = json.loads(file.read_text(encoding="utf-8"))["partial"]
    assert (by_hand["status"], by_hand["gathered"]) == ("failed", [])
    assert (ours["status"], ours["gathered"]) == ("partial", [3])
    assert done.stdout.startswith("| fault | plain Celery | this project |\n| --- | --- | --- |\n| one collector")


def test_the_table_of_faults_has_a_line_for_each_way_in_which_tries_ended() -> None:
    endings = [
        Ending("succeeded", 4.0, {"one": 1, "two": 2, "gather": 2}, (4, 4)),
        Ending("succeeded", 6.0, {"one": 1, "two": 2, "gather": 1}, (4,)),
        Ending("partial", 3.0, {"one": 3, "two": 2}, (3,)),
        Ending(None, 30.0, {"one": 1, "two": 2}, (), worker_ends=7),
    ]
    assert summary(endings) == (
        "2 of 4 succeeded, 5.0 s; 1 of 4 partial, with 3 of the 4 collectors, 3.0 s; 1 of 4 without an end after 30 s; "
        "executed up to 3 times: one; executed twice: two; executed up to twice: gather; the worker ended in 1 of them, 7 times in all"
    )


def test_the_table_of_the_comparison_has_every_fault() -> None:
    assert [row[0] for row in table(FAULTS, "faults")] == [scene.fault for scene in SCENES]
    heading = as_markdown({}).splitlines()[0]
    assert heading in FAULTS.read_text(encoding="utf-8")
    assert all(side.name in heading for side in SIDES)


def test_the_faults_of_the_readme_are_rows_of_the_comparison() -> None:
    rows = table(FAULTS, "faults")
    assert not [row for row in table(README, "fault rows") if row not in rows]
