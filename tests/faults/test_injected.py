"""Exceptions of any kind, wherever a worker calls what it does not know: they cost no slot, no thread and no message."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.ledger.ledger import Ledger
from tests.faults import flow, invariants, send
from tests.faults.conftest import StartWorker
from tests.faults.journal import Journal
from tests.faults.workflows.injected import KINDS, OF_PROCESSES, PLACES
from tests.waiting import wait_until
from tests.workflow import write_workflow, yaml_step

SLOTS = {"prefork": 2, "threads": 2, "solo": 1}


@pytest.fixture
def armed(tmp_path: Path) -> Path:
    """The folder where places are armed."""
    folder = tmp_path / "armed"
    folder.mkdir()
    return folder


@pytest.fixture
def worker(start_worker: StartWorker, broker: object, armed: Path) -> object:  # noqa: ARG001 - it must be up first
    return start_worker("--include", "injected", INJECTED=str(armed))


@pytest.mark.parametrize("pool", ["prefork", "threads", pytest.param("solo", marks=pytest.mark.soak)])
@pytest.mark.usefixtures("worker")
def test_an_exception_at_any_place_costs_no_slot_no_thread_and_no_message(
    pool: str, tmp_path: Path, armed: Path, ledger: Ledger
) -> None:
    """Celery #2911: what a callback raised was logged, and its message neither acknowledged nor given back.

    Every place raises once while three runs are executed. Then the worker executes as many steps at once as before, and
    renews their leases, which are shorter than they are; and it reconciles.
    """
    for number, place in enumerate(places(pool)):
        (armed / f"{place}={list(KINDS)[number % len(KINDS)]}=").touch()

    injured(tmp_path, ledger, pool, ["one", "two", "three"])

    wait_until(lambda: not list(armed.iterdir()), f"each place has raised: {list(armed.iterdir())}", 25)
    is_well(tmp_path, ledger, pool)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("pool", SLOTS)
@pytest.mark.usefixtures("worker")
def test_exceptions_in_any_order_cost_no_slot_no_thread_and_no_message(
    pool: str, tmp_path: Path, armed: Path, ledger: Ledger
) -> None:
    numbers = iter(range(10_000))
    fault = st.tuples(st.sampled_from(places(pool)), st.sampled_from(list(KINDS)), st.integers(1, 3))

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(st.lists(fault, min_size=1, max_size=6))
    def ends(faults: list[tuple[str, str, int]]) -> None:
        for place, kind, times in faults:
            for time in range(times):
                (armed / f"{place}={kind}={time}").touch()
        injured(tmp_path, ledger, pool, [f"run-{next(numbers)}"])
        for left in armed.iterdir():
            left.unlink(missing_ok=True)

    ends()
    is_well(tmp_path, ledger, pool)


def places(pool: str) -> list[str]:
    return [*PLACES, *(OF_PROCESSES if pool == "prefork" else ())]


def injured(folder: Path, ledger: Ledger, pool: str, names: list[str]) -> None:
    """Have runs executed to their end, whatever that is."""
    send.send(*(injured_workflow(folder, name, has_processes=pool == "prefork") for name in names))
    for name in names:
        wait_until(lambda name=name: ledger.open(name).info().ended, f"{name} has ended", 25)  # type: ignore[misc]


def injured_workflow(folder: Path, name: str, *, has_processes: bool) -> Path:
    """Collectors of each kind; and such as only a pool of processes survives, if it has some."""
    journal = {"journal": f"{folder}/{name}.journal"}
    collectors = [
        yaml_step("plain", "faulty.collect", {**journal, "step": "plain", "seconds": 1.5}),
        yaml_step("flaky", "faulty.flaky", {**journal, "step": "flaky"}, retry={"max_retries": 3, "delay": "10ms"}),
        yaml_step("page", "faulty.collect", {**journal, "step": "page"}, foreach=["a", "b", "c"], batch=3),
    ]
    stays = {"item": "${{ item }}", "mark": f"{folder}/{name}.stayed"}
    hurts = [
        yaml_step("dies", "injected.die_once", {"mark": f"{folder}/{name}.dead"}),
        yaml_step("stays", "injected.stay_once", stays, foreach=[1, 2], batch=2, timeout=1, retry=1),
    ]
    return write_workflow(
        folder / f"{name}.yaml",
        name="injured",
        include=["faulty", "injected"],
        collectors=[*collectors, *(hurts if has_processes else [])],
        gather={"task": "gather.concat", "min_success": 0},
        stages=[yaml_step("count", "records.count")],
    )


def is_well(folder: Path, ledger: Ledger, pool: str) -> None:
    invariants.check_nothing_left(ledger)
    ledger.client.delete("runner:leader")
    wait_until(ledger.is_led, "the worker reconciles")
    arguments = {"journal": f"{folder}/well.journal", "seconds": 4}
    collectors = [yaml_step(name, "faulty.collect", {**arguments, "step": name}) for name in ("one", "two")]
    send.send(write_workflow(folder / "well.yaml", include=["faulty"], collectors=collectors))
    wait_until(lambda: ledger.open("well").info().ended, "a run after it has ended", 30)
    journal = Journal(folder / "well.journal")
    assert flow.statuses(flow.show("well")) == {"one": "succeeded", "two": "succeeded", "gather": "succeeded"}
    assert [len(journal.starts(step)) for step in ("one", "two")] == [1, 1], "the leases were renewed"
    starts = [journal.starts(step)[0].at for step in ("one", "two")]
    ends = [journal.ends(step)[0].at for step in ("one", "two")]
    assert (max(starts) < min(ends)) is (SLOTS[pool] == 2), "both slots are free"
    invariants.check_nothing_left(ledger)
