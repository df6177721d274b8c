"""The least that it could cost: one process, no messages, the same functions, and the ledger's writes in pipelines.

`python -m tests.benchmarks.floor` (client.py).
"""

import json
import os
import time
import uuid
from collections.abc import Iterator

import redis

from runner.brokers import connect
from tests.benchmarks.client import expect, main, sum_below, timed
from tests.benchmarks.tasks import number, total

SOME = 1000  # collectors whose writes share a pipeline


def numbers(count: int) -> float:
    server = connect(os.environ["RUNNER_BROKER_URL"])
    key = f"floor:{uuid.uuid4()}"
    with timed() as watch:
        for first in range(0, count, SOME):
            with server.pipeline(transaction=False) as pipe:
                for n in range(first, min(first + SOME, count)):
                    _execute(pipe, key, n)
                pipe.execute()
        value = total.run(_values(server, key, count))
    expect(value, sum_below(count))
    server.delete(f"{key}:outcomes", f"{key}:values")
    return watch.seconds


def _execute(pipe: "redis.client.Pipeline", key: str, n: int) -> None:
    began = time.time()
    value = number.run(n)
    outcome = ("succeeded", 1, began, time.time(), "floor@localhost", None)
    pipe.hsetnx(f"{key}:outcomes", f"number[{n}]", json.dumps(outcome, separators=(",", ":")))
    pipe.hset(f"{key}:values", f"number[{n}]", json.dumps(value))


def _values(server: redis.Redis, key: str, count: int) -> Iterator[int]:
    for first in range(0, count, SOME):
        names = [f"number[{n}]" for n in range(first, min(first + SOME, count))]
        yield from map(int, server.hmget(f"{key}:values", names))  # type: ignore[arg-type]


if __name__ == "__main__":
    main({"numbers": numbers})
