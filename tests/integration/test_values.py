"""Values that plain JSON lacks, from collectors through a gather and stages to views and written files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ROOT, Answer, runner
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")

_AS_TEXT = {
    "at": "2024-01-02T03:04:05+00:00",
    "day": "2024-01-02",
    "price": "1.10",
    "id": "00000000-0000-0000-0000-000000000007",
    "raw": "/w==",
    "page": {"__type__": "datetime", "__value__": "what a page may say"},
}
_ITEM = {"n": "${{ item }}"}
_COLLECTORS = [
    pytest.param(yaml_step("a", "typed.record"), id="a collector"),
    pytest.param(yaml_step("a", "typed.record", _ITEM, foreach=[0]), id="in turn"),
    pytest.param(yaml_step("a", "typed.record", _ITEM, foreach=[0], max_concurrency=2), id="in threads"),
    pytest.param(yaml_step("a", "typed.record_later", _ITEM, foreach=[0]), id="async"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "workflows" / "typed.py", tmp_path)
    return tmp_path


def _run(folder: Path, collectors: list[dict[str, Any]], *words: str, **keys: Any) -> Answer:
    file = write_workflow(folder / "typed.yaml", include=["typed"], collectors=collectors, **keys)
    return runner("run", str(file), "--json", *words)


@pytest.mark.parametrize("gather", ["typed.pick", "typed.stream", "gather.concat"])
@pytest.mark.parametrize("collector", _COLLECTORS)
def test_a_value_that_json_lacks_is_handed_on_as_what_it_was(
    collector: dict[str, Any], gather: str, folder: Path
) -> None:
    """Tasks of Django applications return datetimes and Decimals; here they failed as NotJSON."""
    answer = _run(folder, [collector], gather={"task": gather}, stages=[yaml_step("b", "typed.names")])
    assert answer.json["result"] == [["datetime", "date", "Decimal", "UUID", "bytes", "dict"]], answer.stderr


def test_a_value_that_json_lacks_is_shown_as_text(folder: Path) -> None:
    answer = _run(folder, [yaml_step("a", "typed.record")], "--run-id", "shown")
    assert answer.json["result"] == [{"n": 0, **_AS_TEXT}]
    assert runner("show", "shown", "--step", "a", "--json").json["value"] == {"n": 0, **_AS_TEXT}


def test_a_value_that_json_lacks_is_written_as_text(folder: Path) -> None:
    answer = _run(
        folder,
        [yaml_step("a", "typed.record"), yaml_step("b", "typed.record")],
        stages=[
            yaml_step("sort", "records.sort", {"by": ["at", "price"]}),
            yaml_step("dedupe", "records.dedupe"),
            yaml_step("write", "write.json", {"path": f"{folder}/out.json"}),
        ],
    )
    assert answer.code == 0, answer.stderr
    assert json.loads((folder / "out.json").read_text()) == [{"n": 0, **_AS_TEXT}]


def test_a_resumed_run_hands_on_what_the_first_one_stored(folder: Path) -> None:
    """What is taken from another run is copied as it is stored, and not as it is shown."""
    stages = [yaml_step("b", "typed.stream")]
    _run(folder, [yaml_step("a", "typed.record")], "--run-id", "first", stages=stages)
    file = folder / "typed.yaml"
    file.write_text(file.read_text().replace("typed.stream", "typed.names"))
    answer = runner("resume", "first", "--file", str(file), "--json")
    assert answer.json["result"] == [["datetime", "date", "Decimal", "UUID", "bytes", "dict"]], answer.stderr


@pytest.mark.parametrize("foreach", [{}, {"foreach": [0]}, {"foreach": [0, 1], "max_concurrency": 2}])
def test_a_key_that_is_not_text_is_a_failure_that_names_it(foreach: dict[str, Any], folder: Path) -> None:
    """Celery #2703: of `{1: "a", "1": "b"}` one value was lost, and the step had succeeded."""
    answer = _run(folder, [yaml_step("a", "typed.colliding", **foreach)])
    assert answer.code == 1
    assert (
        "NotJSON: returned dict, which is not JSON: the key 1 is of type int, and a key must be text" in answer.stderr
    )
