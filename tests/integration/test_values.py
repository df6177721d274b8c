"""Values that JSON alone does not have, from collectors through a gather and stages to what is shown and written."""

import json
import shutil
from pathlib import Path

import pytest

from tests.command_line import ROOT, Answer, runner

pytestmark = pytest.mark.usefixtures("state_dir")

_AS_TEXT = {
    "at": "2024-01-02T03:04:05+00:00",
    "day": "2024-01-02",
    "price": "1.10",
    "id": "00000000-0000-0000-0000-000000000007",
    "raw": "/w==",
    "page": {"__type__": "datetime", "__value__": "what a page may say"},
}
_COLLECTORS = [
    pytest.param("task: typed.record", id="a collector"),
    pytest.param("task: typed.record, foreach: [0], with: {n: '${{ item }}'}", id="in turn"),
    pytest.param("task: typed.record, foreach: [0], max_concurrency: 2, with: {n: '${{ item }}'}", id="in threads"),
    pytest.param("task: typed.record_later, foreach: [0], with: {n: '${{ item }}'}", id="async"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "workflows" / "typed.py", tmp_path)
    return tmp_path


def _run(folder: Path, workflow: str, *words: str) -> Answer:
    file = folder / "typed.yaml"
    file.write_text(f"name: typed\ninclude: [typed]\n{workflow}")
    return runner("run", str(file), "--json", *words)


@pytest.mark.parametrize("gather", ["typed.pick", "typed.stream", "gather.concat"])
@pytest.mark.parametrize("collector", _COLLECTORS)
def test_a_value_is_handed_on_as_what_it_was(collector: str, gather: str, folder: Path) -> None:
    """Tasks of Django applications return datetimes and Decimals; here they failed as NotJSON."""
    answer = _run(
        folder,
        f"collectors: [{{id: a, {collector}}}]\ngather: {{task: {gather}}}\nstages: [{{id: b, task: typed.names}}]\n",
    )
    assert answer.json["result"] == [["datetime", "date", "Decimal", "UUID", "bytes", "dict"]], answer.stderr


def test_a_value_is_shown_as_text(folder: Path) -> None:
    answer = _run(folder, "collectors: [{id: a, task: typed.record}]\n", "--run-id", "shown")
    assert answer.json["result"] == [{"n": 0, **_AS_TEXT}]
    assert runner("show", "shown", "--step", "a", "--json").json["value"] == {"n": 0, **_AS_TEXT}


def test_a_value_is_written_as_text(folder: Path) -> None:
    answer = _run(
        folder,
        "collectors: [{id: a, task: typed.record}, {id: b, task: typed.record}]\n"
        "stages:\n"
        "  - {id: sort, task: records.sort, with: {by: [at, price]}}\n"
        "  - {id: dedupe, task: records.dedupe}\n"
        f"  - {{id: write, task: write.json, with: {{path: '{folder}/out.json'}}}}\n",
    )
    assert answer.code == 0, answer.stderr
    assert json.loads((folder / "out.json").read_text()) == [{"n": 0, **_AS_TEXT}]


def test_a_resumed_run_hands_on_what_the_first_one_stored(folder: Path) -> None:
    """What is taken from another run is copied as it is stored, and not as it is shown."""
    collectors = "collectors: [{id: a, task: typed.record}]\n"
    _run(folder, collectors + "stages: [{id: b, task: typed.stream}]\n", "--run-id", "first")
    file = folder / "typed.yaml"
    file.write_text(file.read_text().replace("typed.stream", "typed.names"))
    answer = runner("resume", "first", "--file", str(file), "--json")
    assert answer.json["result"] == [["datetime", "date", "Decimal", "UUID", "bytes", "dict"]], answer.stderr


@pytest.mark.parametrize("foreach", ["", ", foreach: [0]", ", foreach: [0, 1], max_concurrency: 2"])
def test_a_key_that_is_not_text_is_a_failure_that_names_it(foreach: str, folder: Path) -> None:
    """Celery #2703: of `{1: "a", "1": "b"}` one value was lost, and the step had succeeded."""
    answer = _run(folder, f"collectors: [{{id: a, task: typed.colliding{foreach}}}]\n")
    assert answer.code == 1
    assert (
        "NotJSON: returned dict, which is not JSON: the key 1 is of type int, and a key must be text" in answer.stderr
    )
