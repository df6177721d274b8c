"""A fault to the end of the run that it hit, on either side: `SCENES`, in the order of the table."""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from tests.faults.hostile import HOSTILE
from tests.faults.sides import Ending, Stage
from tests.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Scene:
    """A fault, and how it is made to happen.

    Args:
        play: a stage, and which try it is, to how the run ended.
        visibility: the visibility timeout in seconds; None: everything as it is by default.
    """

    id: str
    fault: str
    play: Callable[[Stage, int], Ending]
    tries: int = 3
    visibility: int | None = 10


def worker_killed(stage: Stage, _: int) -> Ending:
    stage.worker()
    stage.worker()
    run = stage.begin()
    os.killpg(os.getpgid(run.journal.await_start("three").pid), signal.SIGKILL)
    return run.end(within=30 if stage.visibility else 60)


def collectors_take_long(stage: Stage, _: int) -> Ending:
    stage.worker()
    stage.worker()
    return stage.begin("--slow", "25").end(within=60)


def child_killed(stage: Stage, _: int) -> Ending:
    stage.worker()
    stage.worker()
    run = stage.begin()
    os.kill(run.journal.await_start("three").pid, signal.SIGKILL)
    return run.end(within=30)


def worker_dies_after_the_gather(stage: Stage, _: int) -> Ending:
    stage.worker()
    stage.worker()
    return stage.begin("--slow", "1", "--gather-dies", "1").end(within=30)


def idle_worker_frozen_and_killed(stage: Stage, _: int) -> Ending:
    idle = stage.worker()
    with stage.broker.client() as client:
        while True:
            wait_until(lambda: client.info("clients")["blocked_clients"], "the worker waits for a message (BRPOP)")
            idle.send_signal(signal.SIGSTOP)
            run = stage.begin("--slow", "1")
            wait_until(lambda: client.llen("celery") >= 3, "the run is sent")
            time.sleep(0.3)  # as the case says
            if client.llen("celery") == 3:  # the idle worker has one message of it
                break
            idle.send_signal(signal.SIGCONT)  # its BRPOP, of a second at most, was over before the run was sent
            run.end(within=30)
    os.killpg(idle.pid, signal.SIGKILL)
    stage.worker()
    return run.end(within=30)


def broker_killed(stage: Stage, _: int) -> Ending:
    stage.worker()
    stage.worker()
    run = stage.begin()
    run.journal.await_start("three")
    stage.broker.stop()
    time.sleep(2)  # as the case says
    stage.broker.start()
    return run.end(within=45)


def messages_doubled(stage: Stage, _: int) -> Ending:
    run = stage.begin("--slow", "1", "--gather-seconds", "1")
    with stage.broker.client() as client:
        wait_until(lambda: client.llen("celery") == 4, "every collector is queued")
        client.lpush("celery", *cast("list[str]", client.lrange("celery", 0, -1)))
        stage.worker()
        stage.worker()
        run.journal.await_start("gather")
        taken = [json.loads(text)[0] for text in cast("list[str]", client.hvals("unacked"))]
        client.lpush("celery", *(json.dumps(each) for each in taken if each["headers"]["task"].endswith(".gather")))
        ending = run.end(within=30)
        wait_until(lambda: not client.exists("celery", "unacked"), "the other messages are dealt with", 30)
    return replace(ending, executed=run.executed())


def collector_hangs(stage: Stage, _: int) -> Ending:
    return _with_a_bad_collector(stage, "faulty.stubborn")


def collector_kills_its_process(stage: Stage, _: int) -> Ending:
    return _with_a_bad_collector(stage, "faulty.die")


def collector_fails(stage: Stage, _: int) -> Ending:
    return _with_a_bad_collector(stage, "faulty.flaky")


def _with_a_bad_collector(stage: Stage, task: str) -> Ending:
    stage.worker()
    stage.worker()
    return stage.begin("--slow", "1", fourth=task).end(within=30)


def hostile_message(stage: Stage, number: int) -> Ending:
    """A worker that ends is started again, as by a supervisor."""
    worker = stage.worker()
    message = list(HOSTILE.values())[number % len(HOSTILE)]
    with stage.broker.client() as client:
        client.lpush("celery", message.replace(b"runner.collect", stage.side.task.encode()))
    run = stage.begin("--slow", "1")
    ends = 0
    while run.command.poll() is None and time.monotonic() < run.began + 30:
        if worker.poll() is not None:
            ends += 1
            worker = stage.worker()
        time.sleep(0.05)
    return replace(run.end(within=30), worker_ends=ends)


def worker_told_to_end(stage: Stage, _: int) -> Ending:
    stage.worker()
    stage.worker()
    run = stage.begin("--slow", "5")
    os.kill(os.getpgid(run.journal.await_start("three").pid), signal.SIGTERM)
    return run.end(within=30)


SCENES = (
    Scene("F01", "a worker is killed while it executes collectors", worker_killed),
    Scene("F01-defaults", "the same, visibility timeout and lease as by default", worker_killed, 2, visibility=None),
    Scene("long", "nothing, but two collectors take longer than the visibility timeout", collectors_take_long),
    Scene("F02", "a process of a worker's pool is killed", child_killed),
    Scene(
        "F04",
        "a worker dies when the gather has had its effect, before it is acknowledged",
        worker_dies_after_the_gather,
    ),
    Scene("F06", "an idle worker hangs, and is killed after messages were sent", idle_worker_frozen_and_killed, 6),
    Scene("F07", "the broker is killed and restarted from its append-only file", broker_killed),
    Scene("F13", "the messages of collectors and gather are delivered twice", messages_doubled),
    Scene("F14", "a collector ignores its timeout of 2 s", collector_hangs),
    Scene("F16", "a collector kills its process each time, 2 retries", collector_kills_its_process),
    Scene("F17", "a message that nobody can read is in the queue, ten kinds", hostile_message, len(HOSTILE)),
    Scene("partial", "one collector of four fails", collector_fails),
    Scene("F25", "a worker is terminated (SIGTERM)", worker_told_to_end),
)
