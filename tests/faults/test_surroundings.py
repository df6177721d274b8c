"""The state of the process in which a step begins, after another step has changed it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ROOT, runner
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")

_EVERYTHING = [
    "the directory",
    "a lost directory",
    "the umask",
    "a closed loop",
    "no loop",
    "an alarm",
    "ignored children",
    "ignored SIGTERM",
    "the output",
    "blocked signals",
    "the decimals",
    "a context variable",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "workflows" / "spoiling.py", tmp_path)
    return tmp_path


def _run(folder: Path, *collectors: dict[str, Any], **keys: Any) -> Any:
    """The result of a workflow, all of whose steps are executed by one process."""
    file = write_workflow(folder / "spoilt.yaml", include=["spoiling"], collectors=collectors, **keys)
    answer = runner("run", str(file), "--json", RUNNER_CONCURRENCY="1")
    assert answer.code == 0, answer.stderr
    assert answer.json["steps"][-1]["attempts"] == 1, "no step died"
    return answer.json["result"]


@pytest.mark.parametrize("what", _EVERYTHING)
def test_a_stage_finds_its_process_as_if_no_step_had_been_there(what: str, folder: Path) -> None:
    """vt-py#46, hepdata#319: a loop that was closed, a directory that was left, failed the steps of other workflows."""
    spoilt = _run(folder, yaml_step("a", "spoiling.spoil", {"what": what}), stages=[yaml_step("b", "spoiling.look")])
    unspoilt = _run(folder, yaml_step("a", "spoiling.look"))
    assert [spoilt] == unspoilt
    assert spoilt["directory"] == str(ROOT)
    assert spoilt["exit code"] == 3


@pytest.mark.parametrize("what", ["the directory", "a closed loop"])
@pytest.mark.parametrize(
    ("spoiler", "looker"),
    [
        pytest.param({}, {"task": "spoiling.look_later"}, id="an async step after another"),
        pytest.param({"batch": 1}, {"task": "spoiling.where"}, id="messages"),
        pytest.param({"batch": 4}, {"task": "spoiling.where"}, id="in turn"),
        pytest.param({"batch": 4}, {"task": "spoiling.look_later", "batch": 4}, id="async together"),
    ],
)
def test_collectors_of_a_foreach_start_in_the_directory_of_the_run(
    what: str, spoiler: dict[str, Any], looker: dict[str, Any], folder: Path
) -> None:
    """Code from before `asyncio.run`: `get_event_loop()` and `close()`."""
    found = _run(
        folder,
        yaml_step("a", "spoiling.spoil", {"what": what}, foreach=[1, 2, 3, 4], **spoiler),
        yaml_step("b", foreach=[1, 2, 3, 4], **looker),
        stages=[yaml_step("c", "spoiling.look_later")],
    )
    assert found == str(ROOT)


def test_collectors_in_threads_start_in_the_directory_of_the_run(folder: Path) -> None:
    """A directory is the whole process's: a step that left it moved those that started after it in other threads."""
    found = _run(
        folder,
        yaml_step("a", "spoiling.spoil", {"what": "the directory"}, foreach=[1, 2], max_concurrency=2),
        yaml_step("b", "spoiling.where", foreach=[1, 2, 3, 4], max_concurrency=2),
        gather={"task": "gather.concat"},
    )
    assert found == ["the directory"] * 2 + [str(ROOT)] * 4


def test_a_gather_starts_in_the_directory_of_the_run(folder: Path) -> None:
    found = _run(folder, yaml_step("a", "spoiling.spoil", {"what": "the directory"}), gather={"task": "spoiling.where"})
    assert found == str(ROOT)


def test_an_async_collector_that_stops_the_loop_ends_neither_itself_nor_another(folder: Path) -> None:
    found = _run(
        folder,
        yaml_step("a", "spoiling.stop_the_loop"),
        yaml_step("b", "spoiling.stop_the_loop", foreach=[1, 2, 3, 4], batch=4),
        gather={"task": "gather.concat"},
    )
    assert found == ["stopped"] * 5


@pytest.mark.parametrize("what", ["blocked signals", "the decimals", "a context variable"])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_collectors_of_one_batch_find_the_context_of_none_before_them(
    what: str, concurrency: int, folder: Path
) -> None:
    """talisker#443, DataProperty#59, dramatiq#465: a logger's fields, the precision of decimals, a signal that is blocked.

    With two digits, the amounts of every step after it were other numbers.
    """
    batch = {"foreach": [1, 2, 3, 4, 5, 6], "batch": 6, "max_concurrency": concurrency}
    found = _run(
        folder, yaml_step("a", "spoiling.spoil_and_look", {"what": what}, **batch), gather={"task": "gather.concat"}
    )
    assert found == [{"a third": "0.3333333333333333333333333333", "tenant": "nobody", "blocked": []}] * 6


TWO: dict[str, Any] = {"foreach": [1, 2], "batch": 2}


@pytest.mark.parametrize(("how", "code"), [("returns", 0), ("exits", 3), ("raises", 1)])
@pytest.mark.parametrize(
    ("kind", "forks"),
    [
        pytest.param("collector", {"task": "spoiling.fork"}, id="collector"),
        pytest.param("collector", {"task": "spoiling.fork_later"}, id="async collector"),
        pytest.param("collector", {"task": "spoiling.fork", **TWO}, id="in turn"),
        pytest.param("collector", {"task": "spoiling.fork", "max_concurrency": 2, **TWO}, id="in threads"),
        pytest.param("collector", {"task": "spoiling.fork_later", **TWO}, id="together"),
        pytest.param("gather", {"task": "spoiling.fork"}, id="gather"),
        pytest.param("stage", {"task": "spoiling.fork"}, id="stage"),
    ],
)
def test_a_copy_of_the_process_that_leaves_its_task_ends_there(
    kind: str, forks: dict[str, Any], how: str, code: int, folder: Path
) -> None:
    """ansible#51633: what a forked process raised was caught by the loop of its parent, which the copy went on with.

    `sys.exit` in it failed the step; a copy that returned took messages from the pool.
    """
    step = {**forks, "timeout": "20s", "with": {"how": how}}
    workflows: dict[str, dict[str, Any]] = {
        "collector": {"collectors": [{"id": "a", **step}]},
        "gather": {"collectors": [yaml_step("b", "spoiling.where")], "gather": step},
        "stage": {"collectors": [yaml_step("b", "spoiling.where")], "stages": [{"id": "a", **step}]},
    }
    collectors, rest = workflows[kind].pop("collectors"), workflows[kind]
    found = _run(folder, *collectors, **rest)
    assert found in (code, [code], [code, code])


def test_a_process_whose_steps_have_left_it_no_descriptors_is_replaced(folder: Path) -> None:
    """celery#887, billiard#282: it could send nothing on, and the run did not end; its log grew by 700 lines a second."""
    found = _run(
        folder,
        yaml_step("a", "spoiling.leak"),
        yaml_step("b", "spoiling.leak", **TWO),
        gather={"task": "spoiling.leak"},
        stages=[yaml_step("c", "spoiling.leak"), yaml_step("d", "spoiling.where")],
    )
    assert found == str(ROOT)
