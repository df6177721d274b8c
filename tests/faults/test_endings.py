"""Every way in which an execution of a step may end, for every kind of step and with every pool."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.ledger.entries import Error, Outcome
from runner.ledger.exceptions import valid_text
from runner.ledger.ledger import Ledger
from tests.faults import invariants, send
from tests.faults.conftest import StartWorker
from tests.waiting import wait_until
from tests.workflow import write_workflow, yaml_step

Ended = tuple[str, str, int]  # the status, the type of the error, and how often it was executed

# What becomes of a step without `retry` that ends so.
RAISED: dict[str, Ended] = {
    "value": ("succeeded", "", 1),
    "exception": ("failed", "ValueError", 1),
    "exit": ("failed", "SystemExit", 1),
    "exit_0": ("failed", "SystemExit", 1),
    "interrupt": ("failed", "KeyboardInterrupt", 1),
    "generator_exit": ("failed", "GeneratorExit", 1),
    "cancelled": ("failed", "CancelledError", 1),
    "own": ("failed", "Stop", 1),
    "text_raises": ("failed", "TextRaises", 1),
    "status_raises": ("failed", "StatusRaises", 1),
    "not_a_number": ("failed", "SlowDown", 1),
    "half_a_pair": ("failed", "ValueError", 1),
    "huge": ("failed", "ValueError", 1),
    "too_deep": ("failed", "RecursionError", 1),
    "memory": ("failed", "MemoryError", 1),
    "no_json": ("failed", "NotJSON", 1),
}
TIMED_OUT: dict[str, Ended] = {"timeout": ("timed_out", "StepTimedOut", 1)}
# Its process may have died of something else: it is tried once more. Only where the pool has processes.
DIED: dict[str, Ended] = dict.fromkeys(("killed", "crashed", "left"), ("failed", "ProcessDied", 2))
ONE_OF_EACH = ("exit", "own", "half_a_pair")


@pytest.fixture
def worker(start_worker: StartWorker, broker: object) -> object:  # noqa: ARG001 - it must be up first
    return start_worker("--include", "ends")


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.usefixtures("worker")
def test_a_collector_ends_as_what_it_raised(pool: str, tmp_path: Path, ledger: Ledger) -> None:
    """Distributed #5958, mars #2963, arq #213, celery #298, weblate #5041: each was executed five times, or for ever."""
    ways = RAISED | TIMED_OUT | (DIED if pool == "prefork" else {})
    retry = {"max_retries": 2, "delay": "10ms", "on": ["SystemExit", "ProcessDied"]}
    collectors = [
        *(yaml_step(way, "ends.collect", {"how": way}, timeout=2) for way in ways),
        *(yaml_step(f"retried_{way}", "ends.collect", {"how": way}, retry=retry) for way in ("exit", "own")),
    ]

    ended = outcomes(tmp_path, ledger, {"each": {"collectors": collectors, "gather": TOLERANT}})["each"]

    assert told(ended, ways) == ways
    assert told(ended, ["retried_exit", "retried_own"]) == {
        "retried_exit": ("failed", "SystemExit", 3),
        "retried_own": ("failed", "Stop", 1),
    }
    assert messages(ended, RAISED) == {
        "exit": "no licence",
        "exit_0": "0",
        "own": "enough",
        "cancelled": "upstream",
        "text_raises": "TextRaises('x') (its str() raised KeyError)",
        "half_a_pair": r"half \ud83d of a pair",
        "huge": valid_text("x" * 20_000_000),
    }
    assert (tmp_path / "worker-1.log").stat().st_size < 1_000_000, "the log has the message cut, too"
    assert all("in fail" in error_of(ended[way]).traceback for way in ("own", "cancelled", "interrupt", "half_a_pair"))
    invariants.check_nothing_left(ledger)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.usefixtures("worker")
def test_a_collector_of_a_batch_ends_as_what_it_raised_and_costs_no_other(
    pool: str,  # noqa: ARG001 - the worker's
    tmp_path: Path,
    ledger: Ledger,
) -> None:
    """In turn, in threads, and in one event loop, which SystemExit and KeyboardInterrupt stop."""
    in_turn, together = RAISED | TIMED_OUT, RAISED
    files = {
        "turn": foreach("ends.collect", in_turn),
        "threads": foreach("ends.collect", together, max_concurrency=4),
        "async": foreach("ends.collect_async", in_turn),
    }

    ended = outcomes(tmp_path, ledger, files)

    assert told(ended["turn"], in_turn, "page[{}]") == in_turn
    assert told(ended["threads"], together, "page[{}]") == together
    assert told(ended["async"], in_turn, "page[{}]") == in_turn
    invariants.check_nothing_left(ledger)


@pytest.mark.parametrize(
    ("pool", "ways"),
    [
        ("prefork", [*ONE_OF_EACH, *DIED]),
        ("threads", ONE_OF_EACH),
        ("solo", ONE_OF_EACH),
        pytest.param("prefork", [*RAISED, *TIMED_OUT, *DIED], marks=pytest.mark.soak),
        pytest.param("threads", [*RAISED, *TIMED_OUT], marks=pytest.mark.soak),
        pytest.param("solo", [*RAISED, *TIMED_OUT], marks=pytest.mark.soak),
    ],
)
@pytest.mark.usefixtures("worker")
def test_a_gather_and_a_stage_end_as_what_they_raised_and_end_their_run(
    pool: str,  # noqa: ARG001 - the worker's
    ways: list[str],
    tmp_path: Path,
    ledger: Ledger,
) -> None:
    """Celery #2911: a stage without `retry` whose process died was executed again for ever, and kept a slot for good."""
    fine = [yaml_step("fine", "ends.collect", {"how": "value"})]
    after = yaml_step("after", "records.count")
    gathers = {way: yaml_step("step", "ends.gather", {"how": way}, timeout=2) for way in ways}
    stages = {way: yaml_step("step", "ends.stage", {"how": way}, timeout=2) for way in ways}
    files = {
        **{f"g_{way}": {"collectors": fine, "gather": step, "stages": [after]} for way, step in gathers.items()},
        **{f"s_{way}": {"collectors": fine, "stages": [step, after]} for way, step in stages.items()},
    }

    ended = outcomes(tmp_path, ledger, files)

    expected = {way: (RAISED | TIMED_OUT | DIED)[way] for way in ways}
    assert {way: told_one(ended[f"g_{way}"]["step"]) for way in ways} == expected
    assert {way: told_one(ended[f"s_{way}"]["step"]) for way in ways} == expected
    not_run = [each["after"].status for run_id, each in ended.items() if not run_id.endswith("_value")]
    assert set(not_run) <= {"not_run"}
    invariants.check_nothing_left(ledger)


TOLERANT = {"task": "gather.concat", "min_success": 0}


def foreach(task: str, ways: Iterable[str], **keys: Any) -> dict[str, Any]:
    items = {"items": list(ways), "key": "${{ item }}"}
    page = yaml_step("page", task, {"how": "${{ item }}"}, foreach=items, batch=50, timeout=2, **keys)
    return {"collectors": [page], "gather": TOLERANT}


def outcomes(folder: Path, ledger: Ledger, workflows: Mapping[str, Any]) -> dict[str, dict[str, Outcome]]:
    """Return the outcome of every step of a run of each workflow, once all runs have ended."""
    files = {
        run_id: write_workflow(folder / f"{run_id}.yaml", name="ends", include=["ends"], **workflow)
        for run_id, workflow in workflows.items()
    }
    send.send(*files.values())
    for run_id in files:
        wait_until(lambda run_id=run_id: ledger.open(run_id).info().ended, f"{run_id} has ended", 20)  # type: ignore[misc]
    return {run_id: ledger.open(run_id).outcomes() for run_id in files}


def told(ended: Mapping[str, Outcome], ways: Iterable[str], name: str = "{}") -> dict[str, Ended]:
    return {way: told_one(ended[name.format(way)]) for way in ways}


def told_one(outcome: Outcome) -> Ended:
    return outcome.status, outcome.error.type if outcome.error else "", outcome.attempts


def messages(ended: Mapping[str, Outcome], ways: Iterable[str]) -> dict[str, str]:
    """Of the endings whose message we keep."""
    plain = {"exit", "exit_0", "own", "cancelled", "text_raises", "half_a_pair", "huge"}
    return {way: error_of(ended[way]).message for way in ways if way in plain}


def error_of(outcome: Outcome) -> Error:
    assert outcome.error is not None
    return outcome.error
