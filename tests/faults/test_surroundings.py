"""What a step finds in its process after another step has left it otherwise."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ROOT, runner

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


def _run(folder: Path, workflow: str) -> Any:
    """The result of a workflow, all of whose steps are executed by one process."""
    file = folder / "spoilt.yaml"
    file.write_text(f"name: spoilt\ninclude: [spoiling]\n{workflow}")
    answer = runner("run", str(file), "--json", RUNNER_CONCURRENCY="1")
    assert answer.code == 0, answer.stderr
    assert answer.json["steps"][-1]["attempts"] == 1, "no step died"
    return answer.json["result"]


@pytest.mark.parametrize("what", _EVERYTHING)
def test_a_stage_finds_its_process_as_if_no_step_had_been_there(what: str, folder: Path) -> None:
    """vt-py#46, hepdata#319: a loop that was closed, a directory that was left, failed the steps of other workflows."""
    spoilt = _run(
        folder,
        f"collectors: [{{id: a, task: spoiling.spoil, with: {{what: {what}}}}}]\nstages: [{{id: b, task: spoiling.look}}]\n",
    )
    unspoilt = _run(folder, "collectors: [{id: a, task: spoiling.look}]\n")
    assert [spoilt] == unspoilt
    assert spoilt["directory"] == str(ROOT)
    assert spoilt["exit code"] == 3


@pytest.mark.parametrize("what", ["the directory", "a closed loop"])
@pytest.mark.parametrize(
    ("spoiler", "looker"),
    [
        pytest.param("task: spoiling.spoil", "task: spoiling.look_later", id="an async step after another"),
        pytest.param("task: spoiling.spoil, batch: 1", "task: spoiling.where", id="messages"),
        pytest.param("task: spoiling.spoil, batch: 4", "task: spoiling.where", id="in turn"),
        pytest.param("task: spoiling.spoil, batch: 4", "task: spoiling.look_later, batch: 4", id="async together"),
    ],
)
def test_collectors_of_a_foreach_start_in_the_directory_of_the_run(
    what: str, spoiler: str, looker: str, folder: Path
) -> None:
    """Code from before `asyncio.run`: `get_event_loop()` and `close()`."""
    found = _run(
        folder,
        "collectors:\n"
        f"  - {{id: a, {spoiler}, foreach: [1, 2, 3, 4], with: {{what: {what}}}}}\n"
        f"  - {{id: b, {looker}, foreach: [1, 2, 3, 4]}}\n"
        "stages: [{id: c, task: spoiling.look_later}]\n",
    )
    assert found == str(ROOT)


def test_collectors_in_threads_start_in_the_directory_of_the_run(folder: Path) -> None:
    """A directory is the whole process's: a step that left it moved those that started after it in other threads."""
    found = _run(
        folder,
        "collectors:\n"
        "  - {id: a, task: spoiling.spoil, foreach: [1, 2], max_concurrency: 2, with: {what: the directory}}\n"
        "  - {id: b, task: spoiling.where, foreach: [1, 2, 3, 4], max_concurrency: 2}\n"
        "gather: {task: gather.concat}\n",
    )
    assert found == ["the directory"] * 2 + [str(ROOT)] * 4


def test_a_gather_starts_in_the_directory_of_the_run(folder: Path) -> None:
    found = _run(
        folder,
        "collectors: [{id: a, task: spoiling.spoil, with: {what: the directory}}]\ngather: {task: spoiling.where}\n",
    )
    assert found == str(ROOT)


def test_an_async_collector_that_stops_the_loop_ends_neither_itself_nor_another(folder: Path) -> None:
    found = _run(
        folder,
        "collectors:\n"
        "  - {id: a, task: spoiling.stop_the_loop}\n"
        "  - {id: b, task: spoiling.stop_the_loop, foreach: [1, 2, 3, 4], batch: 4}\n"
        "gather: {task: gather.concat}\n",
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
    found = _run(
        folder,
        "collectors:\n"
        f"  - {{id: a, task: spoiling.spoil_and_look, foreach: [1, 2, 3, 4, 5, 6], batch: 6, max_concurrency: {concurrency},"
        f" with: {{what: {what}}}}}\n"
        "gather: {task: gather.concat}\n",
    )
    assert found == [{"a third": "0.3333333333333333333333333333", "tenant": "nobody", "blocked": []}] * 6


@pytest.mark.parametrize(("how", "code"), [("returns", 0), ("exits", 3), ("raises", 1)])
@pytest.mark.parametrize(
    "step",
    [
        pytest.param("collectors: [{id: a, task: spoiling.fork, WITH}]", id="collector"),
        pytest.param("collectors: [{id: a, task: spoiling.fork_later, WITH}]", id="async collector"),
        pytest.param("collectors: [{id: a, task: spoiling.fork, foreach: [1, 2], batch: 2, WITH}]", id="in turn"),
        pytest.param(
            "collectors: [{id: a, task: spoiling.fork, foreach: [1, 2], batch: 2, max_concurrency: 2, WITH}]",
            id="in threads",
        ),
        pytest.param(
            "collectors: [{id: a, task: spoiling.fork_later, foreach: [1, 2], batch: 2, WITH}]", id="together"
        ),
        pytest.param("collectors: [{id: b, task: spoiling.where}]\ngather: {task: spoiling.fork, WITH}", id="gather"),
        pytest.param(
            "collectors: [{id: b, task: spoiling.where}]\nstages: [{id: a, task: spoiling.fork, WITH}]", id="stage"
        ),
    ],
)
def test_a_copy_of_the_process_that_leaves_its_task_ends_there(step: str, how: str, code: int, folder: Path) -> None:
    """ansible#51633: what a forked process raised was caught by the loop of its parent, which the copy went on with.

    `sys.exit` in it failed the step; a copy that returned took messages from the pool.
    """
    found = _run(folder, step.replace("WITH", f"timeout: 20s, with: {{how: {how}}}") + "\n")
    assert found in (code, [code], [code, code])


def test_a_process_whose_steps_have_left_it_no_descriptors_is_replaced(folder: Path) -> None:
    """celery#887, billiard#282: it could send nothing on, and the run did not end; its log grew by 700 lines a second."""
    found = _run(
        folder,
        "collectors:\n"
        "  - {id: a, task: spoiling.leak}\n"
        "  - {id: b, task: spoiling.leak, foreach: [1, 2], batch: 2}\n"
        "gather: {task: spoiling.leak}\n"
        "stages: [{id: c, task: spoiling.leak}, {id: d, task: spoiling.where}]\n",
    )
    assert found == str(ROOT)
