"""Steps that hang, that want too much memory, and that cannot write what they should."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.ledger.ledger import Ledger
from tests import http_server
from tests.command_line import Answer, runner
from tests.faults import flow, invariants
from tests.faults.conftest import fill
from tests.faults.journal import Journal
from tests.workflow import write_workflow, yaml_step


@pytest.mark.usefixtures("workers")
def test_a_collector_that_runs_out_of_memory_fails_alone(tmp_path: Path, ledger: Ledger) -> None:
    """F03. Proves the door around the task: a MemoryError is an outcome like another."""
    answer = _run(tmp_path, "faulty.greedy")

    assert answer.code == 1
    assert flow.statuses(answer.json)["good"] == "succeeded"
    assert "MemoryError" in answer.stderr
    invariants.check("bad", ledger, Journal(tmp_path / "j"), told=answer)


@pytest.mark.parametrize(
    ("task", "retries"),
    [
        ("faulty.collect", 0),
        ("faulty.collect", 1),
        ("faulty.stubborn", 0),
        ("faulty.in_c", 0),
        pytest.param("faulty.in_c", 1, marks=pytest.mark.soak),
    ],
)
@pytest.mark.usefixtures("workers")
def test_an_attempt_ends_at_its_timeout_whatever_it_does(
    task: str, retries: int, tmp_path: Path, ledger: Ledger
) -> None:
    """F14: it sleeps; ignores SIGTERM and the soft limit; does not come back from C.

    The first proves the soft limit, with the hard one behind it; the others the hard one and its request.
    """
    long = {"seconds": 60} if task == "faulty.collect" else {}

    answer = _run(tmp_path, task, long, timeout="2s", retry={"max_retries": retries, "delay": "100ms"})

    assert answer.code == 1
    assert flow.statuses(answer.json)["good"] == "succeeded"
    bad = next(step for step in answer.json["steps"] if step["id"] == "bad")
    assert (bad["status"], bad["attempts"]) == ("timed_out", 1 + retries)
    assert bad["duration_s"] < 60, "its own end was not waited for"
    assert "bad timed out" in answer.stderr
    invariants.check("bad", ledger, Journal(tmp_path / "j"), told=answer, retries=retries)


@pytest.fixture
def site() -> Iterator[http_server.Server]:
    with http_server.serve() as server:
        yield server


@pytest.mark.parametrize("page", ["/drip", "/hang"])
@pytest.mark.usefixtures("workers")
def test_a_server_that_never_ends_is_left_at_the_timeout(
    page: str, tmp_path: Path, ledger: Ledger, site: http_server.Server
) -> None:
    """F15. Proves the total timeout: no timeout of a single read ends a server that drips."""
    file = write_workflow(
        tmp_path / "bad.yaml", collectors=[yaml_step("bad", "http.get", {"url": site.url(page)}, timeout="2s")]
    )

    answer = runner("run", str(file), "--run-id", "bad", "--json")

    bad = next(step for step in answer.json["steps"] if step["id"] == "bad")
    assert bad["status"] == "timed_out"
    assert bad["duration_s"] < 60, "its own end was not waited for"
    invariants.check("bad", ledger, Journal(tmp_path / "j"), told=answer)


@pytest.mark.usefixtures("workers")
def test_a_file_that_does_not_fit_on_the_disk_leaves_the_one_before(tmp_path: Path, disk: Path, ledger: Ledger) -> None:
    """F20. Proves that a file is moved to its place when it is complete."""
    target = disk / "out.json"
    target.write_text("before\n")
    fill(disk)
    file = write_workflow(
        tmp_path / "bad.yaml",
        include=["faulty"],
        collectors=[yaml_step("large", "faulty.large", {"size": 100_000})],
        stages=[yaml_step("write", "write.json", {"path": str(target)})],
    )

    answer = runner("run", str(file), "--run-id", "bad", "--json")

    assert answer.code == 1
    error = next(step for step in answer.json["steps"] if step["id"] == "write")["error"]["message"]
    assert str(target) in error
    assert "No space left" in error
    assert target.read_text() == "before\n"
    assert {path.name for path in disk.iterdir()} == {"out.json", "filler"}
    invariants.check("bad", ledger, Journal(tmp_path / "j"), told=answer)


def _run(folder: Path, task: str, more: Mapping[str, Any] | None = None, **keys: Any) -> Answer:
    """Run a workflow of a good collector and one of this task, given `journal`, `step`, and whatever more."""
    journal = {"journal": str(folder / "j")}
    file = write_workflow(
        folder / "bad.yaml",
        include=["faulty"],
        collectors=[
            yaml_step("bad", task, {**journal, "step": "bad", **(more or {})}, **keys),
            yaml_step("good", "faulty.collect", {**journal, "step": "good"}),
        ],
    )
    return runner("run", str(file), "--run-id", "bad", "--json")
