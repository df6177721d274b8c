"""F17: messages that no worker can read. Each is kept with its bytes, and the worker that took it continues.

They fail without the consumer of dead_letters.py. Celery 5.7 ends the worker over six of
the ten: an envelope without a body and a wrong body, which it puts back and ends over at every start, and deep JSON, what is
no JSON, a list and binary, which it loses. The other four it drops with a line in its log.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from runner.messages.dead_letters import DeadLetter, add_dead_letter, count_dead_letters, latest_dead_letters
from runner.settings import read_settings
from tests.command_line import DEFAULT, runner
from tests.faults.hostile import DEEP, HOSTILE, OTHERS, QUEUE, WELL_FORMED, body, envelope
from tests.servers import Server
from tests.waiting import wait_until
from tests.workers import working


@pytest.fixture
def worker(request: pytest.FixtureRequest, valkey: Server, tmp_path: Path) -> Iterator["Popen[bytes]"]:
    """Celery's two ways to wait for messages, and the two kinds of address."""
    url = {"prefork": valkey.url, "solo": valkey.socket_url}[request.param]
    command = ("runner", "worker", "--pool", request.param, "--concurrency", "1", "--broker", url)
    with working(tmp_path / "worker.log", *command) as process:
        yield process


def letters(server: Server) -> list[DeadLetter]:
    with server.client() as client:
        return latest_dead_letters(client, read_settings(), 1000)


def waiting(server: Server) -> int:
    """How many messages are in the queue, or taken out of it and not dealt with."""
    with server.client() as client:
        return int(client.llen(QUEUE)) + int(client.hlen("unacked"))


def kept(server: Server, *messages: bytes) -> list[DeadLetter]:
    """The letters, oldest first, once they are as many as these messages; they are these.

    A message that was just taken is for a moment in no list at all: kombu pops it before it records it.
    """
    wait_until(lambda: len(letters(server)) == len(messages), "every message is a dead letter")
    found = letters(server)[::-1]
    assert [letter.message for letter in found] == list(messages)
    return found


def send(server: Server, *messages: bytes) -> None:
    """One at a time: the next when the one before is out of the way."""
    for message in messages:
        with server.client() as client:
            client.lpush(QUEUE, message)
        wait_until(lambda: waiting(server) == 0, f"{message[:40]!r} is out of the way")


@pytest.mark.parametrize("worker", ["prefork", "solo"], indirect=True)
def test_ten_hostile_messages_are_kept_with_their_bytes_and_the_worker_works_on(
    worker: "Popen[bytes]", valkey: Server
) -> None:
    messages = (*HOSTILE.values(), *OTHERS.values())

    send(valkey, *messages)

    found = kept(valkey, *messages)
    assert {letter.queue for letter in found} == {QUEUE}
    assert all(letter.reason for letter in found)
    assert worker.poll() is None
    assert runner("run", DEFAULT, "--topic", "x", "--broker", valkey.url).code == 0


@pytest.mark.parametrize("worker", ["prefork", "solo"], indirect=True)
def test_a_message_with_any_one_value_changed_neither_ends_nor_stops_a_worker(
    worker: "Popen[bytes]", valkey: Server
) -> None:
    """One with a time limit of 5 (not a pair) took a slot of the pool, which Celery never gave back: the next waited for ever."""
    with valkey.client() as client:
        client.lpush(QUEUE, *mutations())

    wait_until(lambda: waiting(valkey) == 0 or worker.poll() is not None, "all are out of the way", 30)
    assert worker.poll() is None
    assert runner("run", DEFAULT, "--topic", "x", "--broker", valkey.url).code == 0


def mutations() -> list[bytes]:
    odd = [None, 5, -1.5, True, "x", [], ["x"], {}, {"x": 1}]
    inner = [*json.loads(body("none-22222222", ["a"]))]
    return [
        *(json.dumps(put(WELL_FORMED, path, value)).encode() for path in paths(WELL_FORMED) for value in odd),
        *(
            json.dumps(envelope(json.dumps(put(inner, path, value)).encode())).encode()
            for path in paths(inner)
            for value in odd
        ),
    ]


def paths(value: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield here
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(inner, (*here, key))


def put(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """The value with another at this path."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("worker", ["solo"], indirect=True)
def test_a_message_for_a_task_that_the_worker_lacks_is_kept(worker: "Popen[bytes]", valkey: Server) -> None:
    message = json.dumps(envelope(body(), headers=WELL_FORMED["headers"] | {"task": "no.such"})).encode()

    send(valkey, message)

    [letter] = kept(valkey, message)
    assert "no.such" in letter.reason
    assert worker.poll() is None


@pytest.mark.parametrize("worker", ["prefork"], indirect=True)
def test_a_message_for_a_run_or_a_step_that_does_not_exist_is_kept(worker: "Popen[bytes]", valkey: Server) -> None:
    runner("run", DEFAULT, "--topic", "x", "--run-id", "there", "--broker", valkey.url)
    messages = [json.dumps(envelope(body(run_id, ["nothing"]))).encode() for run_id in ("nowhere", "there")]

    send(valkey, *messages)

    assert [letter.reason for letter in kept(valkey, *messages)] == [
        'no run "nowhere", or it has expired',
        "run there has no step nothing",
    ]
    assert worker.poll() is None


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("worker", ["solo"], indirect=True)
def test_a_message_of_another_applications_task_is_checked_by_the_task_alone(valkey: Server) -> None:
    send(valkey, json.dumps(envelope(body(1, 2), headers=WELL_FORMED["headers"] | {"task": "collector_1"})).encode())

    # One at a time, in their order: when this has come to its end, that has been dealt with.
    assert runner("run", DEFAULT, "--topic", "x", "--broker", valkey.url).code == 0
    assert letters(valkey) == []


@pytest.mark.parametrize("worker", ["prefork", "solo"], indirect=True)
def test_a_hostile_broadcast_does_not_end_a_worker(worker: "Popen[bytes]", valkey: Server) -> None:
    """Those of `celery control` are published, not queued: there is nothing to keep, and nothing that comes again."""
    with valkey.client() as client:
        for message in (DEEP, *HOSTILE.values()):
            wait_until(partial(client.publish, "/0.celery.pidbox", message), "the worker is told")

    assert runner("run", DEFAULT, "--topic", "x", "--broker", valkey.url).code == 0
    assert worker.poll() is None
    assert f"worker-{worker.pid}@" in runner("doctor", "--broker", valkey.url).stdout


def test_the_list_of_dead_letters_keeps_the_latest_thousand_and_expires(valkey: Server) -> None:
    settings = read_settings()
    with valkey.client() as client:
        for number in range(1002):
            add_dead_letter(client, settings, DeadLetter(at=1.5, queue=QUEUE, reason=str(number), message=b"\xff"))

        assert count_dead_letters(client, settings) == 1000
        assert latest_dead_letters(client, settings, 1) == [
            DeadLetter(at=1.5, queue=QUEUE, reason="1001", message=b"\xff")
        ]
        assert 0 < int(client.ttl("runner:dead-letters")) <= settings.ttl
