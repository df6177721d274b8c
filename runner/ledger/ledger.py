"""The ledger: all runs, and the workers that execute them, in Redis or Valkey.

Every key of a run lives in one hash slot and expires.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

import redis

from runner.language.layout import Layout
from runner.language.plan import Plan
from runner.ledger import codec
from runner.ledger.damage import UnreadableRun, readable
from runner.ledger.entries import Run, Sweep
from runner.ledger.limits import Limits
from runner.ledger.parts import in_parts
from runner.ledger.prelude import KEYS
from runner.ledger.run_record import RunRecord
from runner.ledger.scripts import LEAD, RETIRE, SWEEP
from runner.ledger.server import Server
from runner.settings import Settings


class Ledger:
    """The ledger on one server.

    Args:
        client: with ``decode_responses=True``.
        prefix: what every key begins with.
        ttl: seconds that a run is kept after the last thing that happened in it.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = "runner", ttl: float = 7 * 86400) -> None:
        self.client = client
        self.server = Server(client, prefix=prefix, ttl=ttl)
        self.limits = Limits(self.server)

    def open(self, run_id: str, plan: Plan | None = None, layout: Layout | None = None) -> RunRecord:
        """Return one of its runs, whether it exists or not.

        Args:
            plan: the run's own, if it is known; otherwise it is read when it is needed.
            layout: the same.
        """
        return RunRecord(self.server, run_id, plan, layout)

    @classmethod
    def of(cls, client: "redis.Redis", settings: Settings) -> "Ledger":
        return cls(client, prefix=settings.key_prefix, ttl=settings.ttl)

    def sweeps(self, run_ids: Iterable[str], *, grace: float) -> dict[str, Sweep | UnreadableRun]:
        """Return what has gone wrong in each of these runs, a hundred a round trip, without those that have ended or expired.

        For a run that cannot be read, the error is returned in its place.
        """
        sweeps: dict[str, Sweep | UnreadableRun] = {}
        for some in in_parts(run_ids, 100):
            with self.client.pipeline(transaction=False) as pipe:
                for run_id in some:
                    self.server.do(SWEEP, run_id, grace=grace, client=pipe)
                answers = pipe.execute(raise_on_error=False)  # defence: TOGETHER
            for run_id, answer in zip(some, answers, strict=True):
                try:
                    with readable(run_id):
                        if isinstance(answer, Exception):
                            raise answer
                        sweep = codec.read_sweep(answer)
                except UnreadableRun as error:
                    sweeps[run_id] = error
                else:
                    if sweep is not None:
                        sweeps[run_id] = sweep
        return sweeps

    def note_unreadable(self, run_id: str, reason: str) -> None:
        """Record that a run cannot be read, for `runs` and `doctor`."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hset(self.server.shared("unreadable"), run_id, reason)
            pipe.expire(self.server.shared("unreadable"), self.server.ttl)
            pipe.execute()

    def forget_unreadable(self, run_ids: Iterable[str]) -> None:
        """Forget that these runs could not be read: they can be read again, or are gone."""
        if names := list(run_ids):
            self.client.hdel(self.server.shared("unreadable"), *names)

    def unreadable(self) -> dict[str, str]:
        """Return the runs that a reconciler could not read, each with the reason."""
        return cast("dict[str, str]", self.client.hgetall(self.server.shared("unreadable")))

    def active(self) -> dict[str, float]:
        """Return the runs that have not been seen to end, and since when they are active, in seconds since the epoch."""
        return dict(
            cast("list[tuple[str, float]]", self.client.zrange(self.server.shared("active"), 0, -1, withscores=True))
        )

    def retire(self, runs: Mapping[str, float]) -> None:
        """Remove runs that have ended from the active ones, except those that have been resumed since."""
        for some in in_parts(runs.items(), 100):
            self.server.script(RETIRE)([self.server.shared("active")], [self.server.pack(runs=[*some])])

    def lead(self, who: str, seconds: float) -> bool:
        """Become the reconciler for ``seconds``, or return False: one worker of all reconciles."""
        return bool(
            self.server.script(LEAD)([self.server.shared("leader")], [self.server.pack(who=who, seconds=seconds)])
        )

    def serve(self, who: str, slots: int, tasks: Iterable[str], seconds: float) -> None:
        """Record for ``seconds`` that a worker exists, how many steps it executes at once, and which tasks it has."""
        now = self.server.now()
        there = {self.server.shared("workers"): [f"{slots} {who}"], self.server.shared("tasks"): tasks}
        with self.client.pipeline(transaction=False) as pipe:
            for key, names in there.items():
                if until := dict.fromkeys(names, now + seconds):
                    pipe.zadd(key, until, gt=True)  # another worker may offer the task, too, for longer
                pipe.zremrangebyscore(key, 0, now)
                pipe.expire(key, self.server.ttl)
            pipe.execute()

    def slots(self) -> int:
        """Return how many steps all workers together execute at once."""
        workers = cast(
            "list[str]", self.client.zrangebyscore(self.server.shared("workers"), self.server.now(), math.inf)
        )
        numbers = (each.split(" ")[0] for each in workers)
        return sum(int(number) for number in numbers if number.isdecimal())

    def is_offered(self, task: str) -> bool:
        """Whether a worker has this task; also one that is busy and would not answer `inspect`."""
        until = self.client.zscore(self.server.shared("tasks"), task)
        return until is not None and until > self.server.now()

    def refuse(self, worker: str, reason: str) -> None:
        """Record for a day why a worker exited instead of executing steps, for `doctor`."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hset(self.server.shared("refused"), worker, reason)
            pipe.expire(self.server.shared("refused"), 86400)
            pipe.execute()

    def admit(self, worker: str) -> None:
        """Forget that a worker of this name was refused."""
        self.client.hdel(self.server.shared("refused"), worker)

    def refused(self) -> dict[str, str]:
        """Return the workers that were refused lately, each with the reason."""
        return cast("dict[str, str]", self.client.hgetall(self.server.shared("refused")))

    def is_led(self) -> bool:
        """Whether a worker reconciles, or did until a moment ago."""
        until, _, _ = cast("str", self.client.get(self.server.shared("leader")) or "0").partition(" ")
        return float(until) > self.server.now()

    def forget(self, run_id: str) -> bool:
        """Delete a run from the ledger, whatever its state; return False if there was nothing."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.delete(*(self.server.key(run_id, name) for name in KEYS))
            for index in ("runs", "active"):
                pipe.zrem(self.server.shared(index), run_id)
            pipe.hdel(self.server.shared("unreadable"), run_id)
            return any(pipe.execute())

    def runs(self, limit: int = 20) -> list[Run]:
        """Return the latest runs, newest first; one that cannot be read has the status ``unreadable``, and the reason as its cause."""
        index = cast(
            "list[tuple[str, float]]", self.client.zrevrange(self.server.shared("runs"), 0, limit - 1, withscores=True)
        )
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hgetall(self.server.shared("unreadable"))
            for run_id, _ in index:
                pipe.hgetall(self.server.key(run_id, "run"))
            noted, *found = pipe.execute(raise_on_error=False)
        reasons = noted if isinstance(noted, dict) else {}
        runs = []
        for (run_id, since), fields in zip(index, found, strict=True):
            if not fields:  # it has expired
                continue
            try:
                with readable(run_id):
                    if isinstance(fields, Exception):
                        raise fields
                    run = codec.read_run(run_id, fields)
                if not run.ended and run_id in reasons:
                    run = replace(run, status="unreadable", cause=reasons[run_id])
            except UnreadableRun as error:
                run = Run(id=run_id, workflow="", status="unreadable", hash="", submitted_at=since, cause=error.reason)
            runs.append(run)
        return runs

    def shares(self, connection: Mapping[str, Any]) -> bool:
        """Whether a connection with these parameters of redis-py leads to the ledger's database."""
        ours = self.client.get_connection_kwargs()
        defaults = {"host": "localhost", "port": 6379, "path": None, "db": 0, "username": None}
        return all((connection.get(name) or value) == (ours.get(name) or value) for name, value in defaults.items())
