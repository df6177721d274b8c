"""`max_concurrency`: how many collectors of a `foreach` are executed at once, in all batches and by all workers of a run."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ROOT, Answer, runner
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "workflows" / "crowded.py", tmp_path)
    return tmp_path


def run(folder: Path, collector: dict[str, Any], **keys: Any) -> Answer:
    file = write_workflow(folder / "crowded.yaml", include=["crowded"], collectors=[collector], **keys)
    words = ("--json", "--concurrency", "4")
    return runner("run", str(file), *words, CROWDED_JOURNAL=str(folder / "journal"))


def most_at_once(folder: Path) -> int:
    """The most tasks that were executed at the same time, as they wrote it down."""
    lines = sorted(
        (folder / "journal").read_text(encoding="utf-8").splitlines(), key=lambda line: float(line.split()[0])
    )
    now, most = 0, 0
    for line in lines:
        now += 1 if line.split()[1] == "begin" else -1
        most = max(most, now)
    return most


def begun(folder: Path) -> Counter[str]:
    lines = (folder / "journal").read_text(encoding="utf-8").splitlines()
    return Counter(line.split()[2] for line in lines if line.split()[1] == "begin")


def crowd(task: str, number: int, **keys: Any) -> dict[str, Any]:
    arguments = {"name": "${{ string(item) }}", "seconds": 0.05, **keys.pop("arguments", {})}
    return yaml_step("a", task, arguments, foreach=f"${{{{ range({number}) }}}}", **keys)


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("task", ["crowded.work", "crowded.work_later"])
@pytest.mark.parametrize("batch", [1, 5])
def test_no_more_are_executed_at_once_than_asked_for_and_all_of_them_once(
    task: str, limit: int, batch: int, folder: Path
) -> None:
    """Two asked for, eight batches, four processes: it was two of each batch, eight at once."""
    answer = run(folder, crowd(task, 8 * batch, batch=batch, max_concurrency=limit))
    names = [str(number) for number in range(8 * batch)]
    assert answer.json["result"] == names, answer.stderr
    assert most_at_once(folder) == limit
    assert begun(folder) == Counter(names)


def test_each_collector_has_a_limit_of_its_own(folder: Path) -> None:
    file = write_workflow(
        folder / "crowded.yaml",
        include=["crowded"],
        collectors=[
            crowd("crowded.work", 8, batch=1, max_concurrency=1),
            {**crowd("crowded.work", 8, batch=1, max_concurrency=1), "id": "b"},
        ],
    )
    words = ("--json", "--concurrency", "4")
    answer = runner("run", str(file), *words, CROWDED_JOURNAL=str(folder / "journal"))
    assert answer.json["status"] == "succeeded", answer.stderr
    assert most_at_once(folder) == 2


def test_a_step_that_waits_for_its_retry_takes_no_slot(folder: Path) -> None:
    """Else two that fail would keep all others waiting for half a minute."""
    then = [{"task": "crowded.fail_once", "with": {"folder": str(folder)}}]
    step = crowd(
        "crowded.work", 12, batch=3, max_concurrency=1, retry={"max_retries": 1, "delay": "3s", "jitter": "none"}
    )
    answer = run(folder, {**step, "then": then})
    assert answer.json["status"] == "succeeded", answer.stderr
    ends = [line.split()[2] for line in (folder / "journal").read_text().splitlines() if line.split()[1] == "begin"]
    assert ends.count("0") == 2
    assert ends.index("11") < len(ends) - 1 - ends[::-1].index("0"), "the others did not wait for it"


def test_a_process_that_dies_gives_its_slot_back(folder: Path) -> None:
    arguments = {"marker": str(folder / "died")}
    answer = run(folder, crowd("crowded.die_once", 8, batch=2, max_concurrency=1, arguments=arguments))
    assert answer.json["status"] == "succeeded", answer.stderr
    assert most_at_once(folder) == 1
