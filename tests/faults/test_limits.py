"""Limits while workers are killed, sources stay closed, and large runs wait: nothing is lost, and no figure is exceeded."""

import os
import random
import signal
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from runner.brokers import connect
from runner.language.limits import Limit, Rate
from runner.ledger.entries import Granted
from runner.ledger.ledger import Ledger
from runner.ledger.limits import Named
from tests.command_line import runner
from tests.faults import flow
from tests.http_server import serve
from tests.limited_runs import Simulation, most_in_a_window
from tests.plans import make_collector, make_outcome, make_plan
from tests.servers import Server
from tests.waiting import wait_until
from tests.workflow import write_workflow, yaml_step


def begin(folder: Path, limit: dict[str, Any], *, seconds: float) -> flow.Flow:
    """A run of eight collectors, each with a message of its own."""
    arguments = {"journal": "${{ inputs.journal }}", "step": "${{ item }}", "seconds": seconds}
    file = write_workflow(
        folder / "limited.yaml",
        include=["faulty"],
        inputs={"journal": {"type": "string"}},
        limits={"shop": limit},
        collectors=[yaml_step("each", "faulty.collect", arguments, foreach=list("abcdefgh"), batch=1, limits="shop")],
    )
    return flow.begin(folder, file=str(file), run_id="limited")


@pytest.mark.usefixtures("workers")
def test_a_killed_worker_frees_its_slot_of_a_limit_and_no_more_are_executed_than_may_be(tmp_path: Path) -> None:
    """F01, with `concurrency`: the slot is the lease of the step, and free again with it."""
    run = begin(tmp_path, {"concurrency": 1}, seconds=0.4)
    wait_until(run.journal.lines, "one has begun")
    killed = run.journal.lines()[0]
    os.killpg(os.getpgid(killed.pid), signal.SIGKILL)

    told = run.end(within=60)

    assert told.json["result"] == [[each] for each in "abcdefgh"], told.stderr
    begun = [line for line in run.journal.lines() if line.pid != killed.pid]
    at_once = accumulate(1 if line.word == "START" else -1 for line in sorted(begun, key=lambda line: line.at))
    assert max(at_once) == 1


@pytest.mark.usefixtures("workers")
def test_a_rate_holds_and_nothing_is_lost_while_a_worker_is_killed(tmp_path: Path, ledger: Ledger) -> None:
    """F01, with `rate`: what the killed worker had started counts, and is started again."""
    run = begin(tmp_path, {"rate": "2/1s"}, seconds=0.1)
    wait_until(lambda: len(run.journal.lines()) > 4, "some have begun")
    os.killpg(os.getpgid(run.journal.lines()[-1].pid), signal.SIGKILL)

    told = run.end(within=60)

    assert told.json["result"] == [[each] for each in "abcdefgh"], told.stderr
    starts = [line.at for line in run.journal.lines() if line.word == "START"]
    # A start is granted for its moment; a busy machine may begin it later, together with the one after it.
    assert most_in_a_window(starts, 0.9) <= 2 + 1
    assert {each.status for each in ledger.open("limited").outcomes().values()} == {"succeeded"}


def test_after_a_cooldown_one_step_tries_alone(ledger: Ledger) -> None:
    """And if its worker is lost, another: of a hundred that wait, a hundred would be refused again."""
    limit = Limit()
    steps = [make_collector(f"s{number}", limits=("shop",)) for number in range(5)]
    run = ledger.open("probe", make_plan("probe", collectors=tuple(steps), limits={"shop": limit}))
    assert run.accept()
    named = Named("shop", limit)

    def granted(token: str) -> list[str]:
        limits = {step.id: (named,) for step in steps}
        claims = run.claim(steps, token=token, worker="w", lease=30, limits=limits)
        return [claim.step for claim in claims if isinstance(claim, Granted)]

    ledger.limits.close(named, 60, "http_429")
    assert granted("early") == []
    ledger.server.clock_offset += 61
    assert granted("first") == ["s0"]
    assert granted("second") == []
    ledger.server.clock_offset += 31  # the lease of the one that tried has run out
    assert granted("third") == ["s0"]
    run.finish([make_outcome("s0", "succeeded", 1, ref="s0")])
    assert granted("fourth") == ["s1", "s2", "s3", "s4"]


@pytest.mark.parametrize(
    "limit",
    [Limit(rates=(Rate(10, 1.0),)), Limit(concurrency=2), Limit(rates=(Rate(50, 1.0),), burst=10, concurrency=1)],
)
def test_a_large_run_does_not_starve_a_small_one(limit: Limit, valkey: Server) -> None:
    """They take turns: of three steps that come while four hundred wait, the last starts long before these have."""
    with connect(valkey.url) as client:
        simulation = Simulation(Ledger(client), limit, 0.1, random.Random(1))
        simulation.submit("large", 400, messages=20)
        simulation.submit("small", 3, messages=1, at=5.0)
        took = simulation.go_on()
    last = max(at for at, _, run in simulation.started if run == "small") - min(at for at, _, _ in simulation.started)
    assert last <= 5 + 8
    assert took > 15


def test_a_source_that_never_stops_asking_fails_its_collectors_in_the_end(tmp_path: Path, state_dir: Path) -> None:  # noqa: ARG001
    """Each of the answers alone is short enough, and no retry is used up."""
    with serve({"/news": {}}) as source:
        address = {"url": source.url("/news?fail=5&status=429&retry_after=1")}
        file = write_workflow(
            tmp_path / "limited.yaml",
            limits={"shop": {"cooldown": {"max": "2s"}}},
            collectors=[yaml_step("page", "http.get", address, limits="shop")],
        )
        told = runner("run", str(file), "--json")
        assert told.json["status"] == "failed"
        assert "again and again" in told.stderr
        assert 2 <= len(source.requests) <= 4
