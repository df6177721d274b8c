"""Steps that hang, that want too much memory, and that cannot write what they should."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.ledger.ledger import Ledger
from tests import http_server
from tests.command_line import Answer, runner
from tests.faults import flow, invariants
from tests.faults.conftest import fill
from tests.faults.journal import Journal


@pytest.mark.usefixtures("workers")
def test_a_collector_that_runs_out_of_memory_fails_alone(tmp_path: Path, ledger: Ledger) -> None:
    """F03. Proves the door around the task: a MemoryError is an outcome like another."""
    answer = _run(tmp_path, "{id: greedy, task: faulty.greedy}")

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
    long = ", seconds: 60" if task == "faulty.collect" else ""
    retry = f"retry: {{max_retries: {retries}, delay: 100ms}}"

    answer = _run(tmp_path, f"{{id: bad, task: {task}, timeout: 2s, {retry}}}", long)

    assert answer.code == 1
    assert flow.statuses(answer.json)["good"] == "succeeded"
    bad = next(step for step in answer.json["steps"] if step["id"] == "bad")
    assert (bad["status"], bad["attempts"]) == ("timed_out", 1 + retries)
    assert bad["duration_s"] <= 4, "the bound that the case promises"
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
    file = tmp_path / "bad.yaml"
    file.write_text(
        f"name: bad\ncollectors:\n  - {{id: bad, task: http.get, timeout: 2s, with: {{url: '{site.url(page)}'}}}}\n"
    )

    answer = runner("run", str(file), "--run-id", "bad", "--json")

    bad = next(step for step in answer.json["steps"] if step["id"] == "bad")
    assert bad["status"] == "timed_out"
    assert bad["duration_s"] <= 4, "the bound that the case promises"
    invariants.check("bad", ledger, Journal(tmp_path / "j"), told=answer)


@pytest.mark.usefixtures("workers")
def test_a_file_that_does_not_fit_on_the_disk_leaves_the_one_before(tmp_path: Path, disk: Path, ledger: Ledger) -> None:
    """F20. Proves that a file is moved to its place when it is complete."""
    target = disk / "out.json"
    target.write_text("before\n")
    fill(disk)
    file = tmp_path / "bad.yaml"
    file.write_text(
        "name: bad\ninclude: [faulty]\n"
        "collectors: [{id: large, task: faulty.large, with: {size: 100000}}]\n"
        f"stages: [{{id: write, task: write.json, with: {{path: '{target}'}}}}]\n"
    )

    answer = runner("run", str(file), "--run-id", "bad", "--json")

    assert answer.code == 1
    error = next(step for step in answer.json["steps"] if step["id"] == "write")["error"]["message"]
    assert str(target) in error
    assert "No space left" in error
    assert target.read_text() == "before\n"
    assert {path.name for path in disk.iterdir()} == {"out.json", "filler"}
    invariants.check("bad", ledger, Journal(tmp_path / "j"), told=answer)


def _run(folder: Path, step: str, more: str = "") -> Answer:
    """Run a workflow of a good collector and this one, given `journal`, `step`, and whatever more."""
    step = step.removesuffix("}")
    journal = folder / "j"
    file = folder / "bad.yaml"
    file.write_text(
        "name: bad\ninclude: [faulty]\ncollectors:\n"
        f"  - {step}, with: {{journal: {journal}, step: bad{more}}}}}\n"
        f"  - {{id: good, task: faulty.collect, with: {{journal: {journal}, step: good}}}}\n"
    )
    return runner("run", str(file), "--run-id", "bad", "--json")
