"""The costs of a fan-out, counted and not timed: messages, their bytes, and commands to the broker."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from tests.command_line import DEFAULT, runner
from tests.round_trips import counted
from tests.servers import Server
from tests.workers import working

BATCH = 500
QUEUE = "celery"


def written(folder: Path, count: int, *, stages: int = 0, batch: int = BATCH) -> str:
    """A workflow of collectors that do nothing, in batches, with this many stages after the gather."""
    collector = {
        "id": "number",
        "task": "pure.echo",
        "foreach": {"items": f"${{{{ range({count}) }}}}"},
        "batch": batch,
        "with": {"value": "${{ item }}"},
    }
    workflow = {
        "name": "wide",
        "include": ["tests.pure_tasks"],
        "collectors": [collector],
        "gather": {"task": "pure.gather_text"},
        "stages": [{"id": f"stage_{number}", "task": "pure.stage_text"} for number in range(stages)],
    }
    file = folder / "wide.yaml"
    file.write_text(json.dumps(workflow), encoding="utf-8")
    return str(file)


@pytest.fixture(autouse=True)
def broker(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    return valkey


def sent(broker: Server, file: str) -> list[str]:
    """The messages of a run, as the broker keeps them for a worker; there is none."""
    broker.client().delete(QUEUE)
    answer = runner("run", file, "--detach", "--quiet")
    assert answer.code == 0, answer.stderr
    return cast("list[str]", broker.client().lrange(QUEUE, 0, -1))


def longest(messages: list[str]) -> int:
    return max(map(len, messages))


def tail(message: str) -> list[Any]:
    """The signatures of the gather and the stages that a message carries, as any collector may be the last."""
    _, _, embedded = json.loads(base64.b64decode(json.loads(message)["body"]))
    body = embedded["chord"]
    return body["kwargs"]["tasks"] if body["task"] == "celery.chain" else [body]


@contextmanager
def asked(broker: Server) -> Iterator[list[str]]:
    """Every command that a client sends meanwhile; not what a script does inside the server."""
    commands: list[str] = []
    with broker.client().monitor() as monitor:  # type: ignore[no-untyped-call]

        def listen() -> None:
            for each in monitor.listen():
                if each["command"] == "ECHO over":
                    return
                if each["client_type"] != "lua":
                    commands.append(each["command"])

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield commands
        finally:
            broker.client().echo("over")
            thread.join()


def test_a_batch_is_one_message_and_what_follows_is_not_sent_before_its_time(broker: Server, tmp_path: Path) -> None:
    assert len(sent(broker, written(tmp_path, 4 * BATCH, stages=3))) == 4
    assert len(sent(broker, written(tmp_path, 40 * BATCH, stages=3))) == 40


def test_a_message_is_as_long_for_a_thousand_collectors_as_for_twenty_thousand(broker: Server, tmp_path: Path) -> None:
    few = longest(sent(broker, written(tmp_path, 2 * BATCH)))
    many = longest(sent(broker, written(tmp_path, 40 * BATCH)))
    assert few < 3000
    # The second digit of `number/39`: in the arguments, which are in the body and in a header.
    assert many - few <= 8


def test_a_message_grows_with_each_stage_by_one_signature(broker: Server, tmp_path: Path) -> None:
    [short, *_], [long, *_] = (sent(broker, written(tmp_path, BATCH, stages=stages)) for stages in (2, 12))
    more = tail(long)[len(tail(short)) :]
    assert len(more) == 10
    signatures = sum(len(json.dumps(each)) + len(", ") for each in more)
    assert len(long) - len(short) <= signatures * 4 / 3 + 8  # the body is in base64


def test_a_collector_of_a_batch_costs_a_small_part_of_a_round_trip(broker: Server, tmp_path: Path) -> None:
    """Two for a batch of 500 if all goes well; the first are claimed and recorded in smaller numbers, to see what they take."""
    count = 8 * BATCH
    log = tmp_path / "worker.log"
    with (
        working(log, "runner", "worker", "--concurrency", "2", "--include", "tests.pure_tasks"),
        asked(broker) as commands,
    ):
        answer = runner("run", written(tmp_path, count), "--run-id", "costs", "--json")
    assert answer.code == 0, answer.stderr
    of_the_run = [command for command in commands if "{costs}" in command]
    assert len(of_the_run) <= count / 20
    assert len(commands) <= count / 4


def test_a_small_run_takes_few_round_trips_before_and_after_it(broker: Server, tmp_path: Path) -> None:
    """At 20 ms each a run of 0.06 s took a second: 31 of them, most to open two connections, and to read what is not there.

    While it is followed it waits (XREAD), and for how often that is depends on how fast it goes. What sends its messages goes
    with the ledger's count of them: kombu asks whether the server is there and how long the queue is, and announces who listens to it.
    """
    with (
        working(tmp_path / "worker.log", "runner", "worker", "--concurrency", "2"),
        counted(broker.port) as way,
    ):
        runner("run", DEFAULT, "--topic", "x", "--quiet", "--json")  # the scripts are known to the server from here on
        way.trips.clear()
        answer = runner(
            "run", DEFAULT, "--topic", "x", "--quiet", "--json", "--broker", f"redis://127.0.0.1:{way.port}"
        )

    assert answer.code == 0, answer.stderr
    assert len([trip for trip in way.trips if b"XREAD" not in trip]) <= 11, way.trips


def test_each_message_of_a_small_run_takes_a_worker_two_round_trips_to_the_ledger(
    broker: Server, tmp_path: Path
) -> None:
    """Three collectors, a gather and two stages: six messages, and a worker waited 38 times for the broker to execute them.

    Of these 12 are kombu's, which notes what it has received and what is acknowledged; beside them it waits for the next
    message (BRPOP). Of 20 the ledger needs two for each message, to claim a step and to record it: the return to the chord,
    the message after it and what the gather works on now go with these. The other two are the plan, which a process reads
    once, and the fan-in's first message: who is the last to return to the chord only the ledger knows.
    """
    with counted(broker.port) as way:
        through = f"redis://127.0.0.1:{way.port}"
        worker = working(
            tmp_path / "worker.log",
            *("runner", "worker", "--concurrency", "1"),
            RUNNER_BROKER_URL=through,
            RUNNER_RECONCILE_EVERY="3600",
        )
        with worker:
            runner(
                "run", DEFAULT, "--topic", "x", "--quiet", "--json"
            )  # what a process asks once is known from here on
            way.trips.clear()
            answer = runner("run", DEFAULT, "--topic", "x", "--quiet", "--json", "--run-id", "costs")

    assert answer.code == 0, answer.stderr
    ledger = [trip for trip in way.trips if b"{costs}" in trip]
    sent = [trip for trip in way.trips if b"LPUSH" in trip]
    received = [trip for trip in way.trips if b"ZADD" in trip and b"unacked" in trip]
    acknowledged = [trip for trip in way.trips if b"ZREM" in trip and b"unacked" in trip]
    assert (len(ledger), len(sent)) == (1 + 2 * 6, 1), way.trips
    # A stage that was quick the last time is executed in the message of the step before it.
    assert len(received) == len(acknowledged) in {4, 5, 6}, way.trips


def test_the_first_message_that_a_process_sends_opens_one_connection(broker: Server, tmp_path: Path) -> None:
    """Celery's own takes 13 round trips to send it: two connections, each with five questions before the first command."""
    with counted(broker.port) as way:
        worker = working(
            tmp_path / "worker.log",
            *("runner", "worker", "--concurrency", "1"),
            RUNNER_BROKER_URL=f"redis://127.0.0.1:{way.port}",
        )
        with worker:
            way.trips.clear()
            answer = runner("run", DEFAULT, "--topic", "x", "--quiet", "--json")

    assert answer.code == 0, answer.stderr
    asked_first = [trip for trip in way.trips if any(word in trip for word in (b"PING", b"HELLO", b"CLIENT", b"LLEN"))]
    assert asked_first == []
