"""The ledger: runs, outcomes, leases and events in Redis or Valkey. It and its transitions alone know the keys.

Every key of a run lives in one hash slot and expires.
"""

import json
import math
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, TypeVar, cast

import redis

from runner.errors import RunnerError, UnknownRun, listed
from runner.language import plan as plans
from runner.language.ids import batch_ref, item_key, of_ref, written
from runner.language.plan import NewerVersion, Plan, Step, segments
from runner.language.redact import redact_inputs
from runner.ledger import codec as encoding
from runner.ledger import scripts as transitions
from runner.ledger.clock import Clock
from runner.ledger.damage import MissingData, NewerPlan, UnreadableRun, of_a_run, readable
from runner.ledger.entries import (
    Claim,
    Event,
    FailedAttempt,
    Follows,
    Outcome,
    Postponed,
    Run,
    RunStatus,
    Sweep,
    Underway,
)
from runner.ledger.statuses import Status
from runner.settings import Settings
from runner.system import program

Thing = TypeVar("Thing")
# What passes while one waits: nobody answers, too many clients, an old password, a replica that becomes the primary.
AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
)
# defence: PATIENCE
FOLLOW_PATIENCE = 60.0  # seconds for which whoever watches a run waits for a server that does not answer
# Seconds in which whoever watches is told once what happens, but of the end at once: to be told of each step costs its
# worker as well, which shares the server and often the machine (5 to 7 % of the default workflow).
FOLLOW_EVERY = 0.05
HANDED = 16  # values that come with the claim of a gather: a round trip less, and they are all in memory at once


class FanInTooLarge(RunnerError):
    """The collectors' values together are more than a gather may be given."""


class Ledger:
    """The ledger on one server.

    Args:
        client: with ``decode_responses=True``.
        prefix: what every key starts with.
        ttl: seconds that a run is kept after the last thing that happened in it.

    ``forward`` puts the clock forward by so many seconds, for tests of what time brings.
    """

    def __init__(self, client: "redis.Redis", *, prefix: str = "runner", ttl: float = 7 * 86400) -> None:
        self.client = client
        self._prefix = prefix
        self._ttl = int(ttl)
        self.forward = 0.0
        self._clock = Clock(client, f"{prefix}:clock", self._ttl)
        self._lead = client.register_script(transitions.LEAD)
        self._accept = client.register_script(transitions.ACCEPT)
        self._claim = client.register_script(transitions.CLAIM)
        self._renew = client.register_script(transitions.RENEW)
        self._give_back = client.register_script(transitions.GIVE_BACK)
        self._finish = client.register_script(transitions.FINISH)
        self._postpone = client.register_script(transitions.POSTPONE)
        self._cancel = client.register_script(transitions.CANCEL)
        self._reopen = client.register_script(transitions.REOPEN)
        self._release = client.register_script(transitions.RELEASE)
        self._sweep = client.register_script(transitions.SWEEP)
        self._sent_again = client.register_script(transitions.SENT_AGAIN)
        self._wait = client.register_script(transitions.WAIT)
        self._retire = client.register_script(transitions.RETIRE)
        self._lost = client.register_script(transitions.LOST)
        self._bury = client.register_script(transitions.BURY)
        self._expect = client.register_script(transitions.EXPECT)
        self._returned = client.register_script(transitions.RETURNED)

    @classmethod
    def of(cls, client: "redis.Redis", settings: Settings) -> "Ledger":
        return cls(client, prefix=settings.key_prefix, ttl=settings.ttl)

    # Transitions

    @of_a_run
    def accept(
        self, run_id: str, plan: Plan, *, items: Iterable[tuple[str, str]] = (), kept: Iterable[Outcome] = ()
    ) -> bool:
        """Record a run with its plan; False if the id is taken, and then nothing has changed.

        Args:
            items: for each batch of a ``foreach``, its ref and its items as ``packed`` makes them.
            kept: outcomes, with their values, that are taken from another run; of steps that stand in the YAML.
        """
        token = uuid.uuid4().hex
        # Beside the run until it is accepted: the id may be another's.
        staged = self._key(run_id, f"items:{token}")
        for some in _some(items, 16):
            self.client.hset(staged, mapping=dict(some))
            self.client.expire(staged, 3600)
        refs = _sizes(plan)
        taken = [(each.step, each.step if each.step in refs else "", *encoding.dumped(each)) for each in kept]
        first = segments(plan)[0].fan_out
        fields: dict[str, str | float] = {
            "token": token,
            "workflow": plan.name,
            "hash": plan.hash,
            "collectors_left": first.total if first else 0,
            "deadline": (first.deadline if first else None) or 0,
            "inputs": json.dumps(redact_inputs(plan), separators=(",", ":")),
        }
        flat = [part for pair in fields.items() for part in pair]
        left = [part for pair in refs.items() for part in pair]
        words = [self._life, plans.dump(plan), staged, len(flat), *flat, len(left), *left, json.dumps(taken)]
        accepted = self._accept_and_index(run_id, words)
        if not accepted:
            self.client.delete(staged)
        return accepted

    def _accept_and_index(self, run_id: str, words: Sequence[str | float]) -> bool:
        """In one round trip. The index is not in the run's slot, so it is written beside the script, not in it.

        A run that is in it stays where it is: it may be another's of this id, which is not accepted. One that is in the
        index and nowhere else is retired by the next reconciler.
        """
        now = self._now()
        while True:
            with self.client.pipeline(transaction=False) as pipe:
                pipe.evalsha(self._accept.sha, 1, *self._keys(run_id), *words)
                for index in (self._shared("runs"), self._shared("active")):
                    pipe.zremrangebyscore(index, 0, now - self._ttl)
                    pipe.zadd(index, {run_id: now}, nx=True)
                    pipe.expire(index, self._ttl)
                try:
                    accepted, *_ = pipe.execute()
                except redis.exceptions.NoScriptError:
                    self.client.script_load(self._accept.script)
                else:
                    return bool(float(accepted))

    @of_a_run
    def reopen(
        self,
        run_id: str,
        plan: Plan,
        *,
        collectors: bool,
        tail: Iterable[Step],
        lost: Iterable[tuple[str, str]] = (),
    ) -> bool:
        """Forget how a part of a run that has ended did, so that it is executed again; False if it has not ended.

        Args:
            collectors: whether those that ended without success are among it.
            tail: the steps after the collectors that are.
            lost: of the collectors that `lost` names, the id and the ref.
        """
        again = [step.id for step in tail]
        kept = [step.id for step in plan.steps if step.id not in again and step.foreach is None]
        reopened = self._reopen(
            self._keys(run_id), [self._life, int(collectors), json.dumps([*lost]), len(again), *again, *kept]
        )
        if reopened:
            self.client.zadd(self._shared("active"), {run_id: self._now()})
        return bool(reopened)

    @of_a_run
    def claim(
        self,
        run_id: str,
        steps: Sequence[Step],
        plan: Plan,
        *,
        token: str,
        worker: str,
        lease: float,
        alone: bool = True,
    ) -> list[Claim]:
        """Ask to execute these steps; what is ``yours`` is leased for ``lease`` seconds.

        Args:
            token: says who holds the lease: another for every execution, the same when a claim is repeated.
            worker: shown beside the step.
            alone: whether this claimer executes nothing else just now.
        """
        wanted = [
            (ref, needs, [step.id for step in some], _handed(plan) if needs == "*" else ())
            for (ref, needs), some in groupby(steps, lambda step: (step.ref, plan.needs(step)))
        ]
        # One argument, as JSON: the client takes a microsecond for each argument, the server a fraction of it to read this.
        answer = self._claim(self._keys(run_id), [self._life, token, lease, worker, int(alone), json.dumps(wanted)])
        return list(encoding.read_claims(steps, answer, _handed(plan)))

    @of_a_run
    def renew(self, run_id: str, steps: Iterable[str], *, token: str, lease: float) -> list[str]:
        """Lengthen leases; answers which of the steps are still this claimer's, and the run not ended."""
        kept = self._renew(self._keys(run_id), [self._life, token, lease, *steps])
        return cast("list[str]", kept)

    @of_a_run
    def give_back(self, run_id: str, steps: Iterable[str], *, token: str) -> None:
        """Claim no longer what was claimed with this token and has not been begun: it counts as no attempt."""
        self._give_back(self._keys(run_id), [self._life, token, *steps])

    @of_a_run
    def finish(
        self,
        run_id: str,
        outcomes: Iterable[Outcome],
        plan: Plan,
        *,
        ends: RunStatus | None = None,
        cause: str = "",
        follows: Follows | None = None,
    ) -> list[str]:
        """Record outcomes, and the end of the run if it ``ends`` with them; answers which were the first of their step.

        Args:
            follows: what is to be done with it, and then says whether it is.
        """
        collectors = {step.id for step in plan.collectors}
        told = [
            (each.step, each.ref or (each.step if each.step in collectors else ""), *encoding.dumped(each))
            for each in outcomes
        ]
        more = {"chord": follows.chord, "message": follows.message, "commands": follows.commands} if follows else None
        words = [self._life, ends or "", cause, json.dumps(told), json.dumps(more) if more else ""]
        recorded, done, last = self._finish(self._keys(run_id), words)
        if follows is not None:
            follows.done, follows.last = bool(done), bool(last)
        return cast("list[str]", json.loads(recorded))

    @of_a_run
    def postpone(self, run_id: str, postponed: Iterable[Postponed]) -> list[str]:
        """Note failed attempts that are tried again; answers the steps of which there is something left to try."""
        flat: list[Any] = []
        for each in postponed:
            message = f"{each.error.type}: {each.error.message}"
            flat += (each.step, each.seconds, message, each.attempt, encoding.dumped_failure(each))
        return cast("list[str]", self._postpone(self._keys(run_id), [self._life, *flat]))

    @of_a_run
    def release(self, run_id: str, names: Iterable[str], *, worker: str) -> list[Claim]:
        """End the leases that a worker holds on these refs or steps, because the process that executed them is dead.

        Answers the claims that it had on them; the lease of a step is not released twice. If they are several, nobody
        knows of which of them the process died: each counts as lost with its worker.
        """
        released = self._release(self._keys(run_id), [self._life, worker, *names])
        return [
            Claim(
                step=step,
                answer="yours",
                attempt=int(attempt),
                started_at=float(now),
                first_started_at=float(first),
                lost=int(lost),
            )
            for step, attempt, lost, first, now in released
        ]

    @of_a_run
    def sweep(self, run_id: str, *, grace: float) -> Sweep | None:
        """What has gone wrong in a run; None if it has ended.

        Raises:
            UnknownRun: it is not there: it has expired, or the broker has lost its data.
        """
        answer = self._sweep(self._keys(run_id), [self._life, grace])
        if answer[0] == "unknown":
            raise UnknownRun(f'no run "{run_id}", or it has expired')
        return encoding.read_sweep(answer)

    def sweeps(self, run_ids: Iterable[str], *, grace: float) -> dict[str, Sweep | UnreadableRun]:
        """The same of many runs; those that have ended, or are not there, are not in it.

        One that cannot be read is its own problem: in its place stands why.
        """
        sweeps: dict[str, Sweep | UnreadableRun] = {}
        for some in _some(run_ids, 100):
            with self.client.pipeline(transaction=False) as pipe:
                for run_id in some:
                    self._sweep(self._keys(run_id), [self._life, grace], client=pipe)
                answers = pipe.execute(raise_on_error=False)  # defence: TOGETHER
            for run_id, answer in zip(some, answers, strict=True):
                try:
                    with readable(run_id):
                        if isinstance(answer, Exception):
                            raise answer
                        sweep = encoding.read_sweep(answer)
                except UnreadableRun as error:
                    sweeps[run_id] = error
                else:
                    if sweep is not None:
                        sweeps[run_id] = sweep
        return sweeps

    def note_unreadable(self, run_id: str, reason: str) -> None:
        """Record that a run cannot be read, for `runs` and `doctor`."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hset(self._shared("unreadable"), run_id, reason)
            pipe.expire(self._shared("unreadable"), self._ttl)
            pipe.execute()

    def forget_unreadable(self, run_ids: Iterable[str]) -> None:
        """These runs can be read again, or are gone."""
        if names := list(run_ids):
            self.client.hdel(self._shared("unreadable"), *names)

    def unreadable(self) -> dict[str, str]:
        """The runs that a reconciler could not read, each with the reason."""
        return cast("dict[str, str]", self.client.hgetall(self._shared("unreadable")))

    @of_a_run
    def sent_again(self, run_id: str) -> int:
        """Note that a part of the run is sent again; answers how often since something last happened in it."""
        return int(self._sent_again(self._keys(run_id), [self._life]))

    @of_a_run
    def waits(
        self, run_id: str, name: str, reason: str, *, seconds: float, limit: float, anew: bool = False
    ) -> bool | None:
        """Note why a step waits, for `show` and whoever watches; False if it has waited long enough, None if it has ended.

        Args:
            name: its id, or the ref of a batch.
            seconds: until it is looked at again.
            limit: seconds that it may wait in all.
            anew: it begins to wait now, as it also does when it has been claimed meanwhile.
        """
        waits = self._wait(self._keys(run_id), [self._life, reason, name, seconds, limit, int(anew)])
        return None if waits is None else bool(waits)

    @of_a_run
    def expect(self, run_id: str, chord: str, messages: int, commands: Sequence[Sequence[Any]] = ()) -> None:
        """Note how many messages the header of a chord has, before the first of them is sent.

        Args:
            commands: those that send them, once, however often this is asked for.
        """
        flat = [part for command in commands for part in (len(command), *command)]
        self._expect(self._keys(run_id), [self._life, chord, messages, *flat])

    @of_a_run
    def returned(self, run_id: str, chord: str, message: str) -> bool:
        """Note that a message of a chord's header has been executed, as often as it may be; whether it was the last."""
        return bool(self._returned(self._keys(run_id), [self._life, chord, message]))

    def shares(self, connection: Mapping[str, Any]) -> bool:
        """Whether a connection made with these parameters, of redis-py, leads to the database that the ledger is in."""
        ours = self.client.get_connection_kwargs()
        defaults = {"host": "localhost", "port": 6379, "path": None, "db": 0, "username": None}
        return all((connection.get(name) or value) == (ours.get(name) or value) for name, value in defaults.items())

    def active(self) -> dict[str, float]:
        """The runs that have not been seen to end; since when, in seconds since the epoch."""
        return dict(cast("list[tuple[str, float]]", self.client.zrange(self._shared("active"), 0, -1, withscores=True)))

    def retire(self, runs: Mapping[str, float]) -> None:
        """Take runs that have ended from the active ones, but not those that have been resumed since."""
        for some in _some(runs.items(), 100):
            self._retire([self._shared("active")], [part for pair in some for part in pair])

    def lead(self, who: str, seconds: float) -> bool:
        """Whether this one is to reconcile for so many seconds: one worker of all does it."""
        return bool(self._lead([self._shared("leader")], [self._life, who, seconds]))

    def serve(self, who: str, slots: int, tasks: Iterable[str], seconds: float) -> None:
        """Note that a worker is there, for so many seconds; how many steps it executes at once, and which tasks it has."""
        now = self._now()
        there = {self._shared("workers"): [f"{slots} {who}"], self._shared("tasks"): tasks}
        with self.client.pipeline(transaction=False) as pipe:
            for key, names in there.items():
                if until := dict.fromkeys(names, now + seconds):
                    pipe.zadd(key, until, gt=True)  # a task may be another worker's too, for longer
                pipe.zremrangebyscore(key, 0, now)
                pipe.expire(key, self._ttl)
            pipe.execute()

    def slots(self) -> int:
        """How many steps the workers that are there execute at once, all together."""
        workers = cast("list[str]", self.client.zrangebyscore(self._shared("workers"), self._now(), math.inf))
        numbers = (each.split(" ")[0] for each in workers)
        return sum(int(number) for number in numbers if number.isdecimal())

    def is_offered(self, task: str) -> bool:
        """Whether a worker that is there has this task; also one that is busy, and would answer no `inspect`."""
        until = self.client.zscore(self._shared("tasks"), task)
        return until is not None and until > self._now()

    def refuse(self, worker: str, reason: str) -> None:
        """Note why a worker ended instead of executing steps, for `doctor`, which asks for a day at most."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hset(self._shared("refused"), worker, reason)
            pipe.expire(self._shared("refused"), 86400)
            pipe.execute()

    def admit(self, worker: str) -> None:
        """Forget that a worker of this name was refused."""
        self.client.hdel(self._shared("refused"), worker)

    def refused(self) -> dict[str, str]:
        """The workers that were refused lately, each with the reason."""
        return cast("dict[str, str]", self.client.hgetall(self._shared("refused")))

    def is_led(self) -> bool:
        """Whether there is a worker that reconciles, or was until a moment ago."""
        until, _, _ = cast("str", self.client.get(self._shared("leader")) or "0").partition(" ")
        return float(until) > self._now()

    def cancel(self, run_id: str, cause: str) -> RunStatus:
        """End a run now: no step of it starts any more. Answers its status, which is another if it had ended before.

        Of one that cannot be read nothing is left but that it is cancelled.
        """
        try:
            # Of a `foreach`, and where this program cannot read the steps, what has no outcome says the same.
            steps = [step for step in self._steps(run_id) if step.foreach is None]
            told = [(step.id, step.ref, *encoding.dumped(Outcome(step=step.id, status="cancelled"))) for step in steps]
            with readable(run_id):
                status = self._cancel(self._keys(run_id), [self._life, cause, json.dumps(told)])
        except UnreadableRun:
            status = self._bury(self._keys(run_id), [self._life, cause])
            self.forget_unreadable([run_id])
        if status is None:
            raise UnknownRun(f'no run "{run_id}"')
        return cast("RunStatus", status)

    @of_a_run
    def end(self, run_id: str, status: RunStatus, cause: str) -> None:
        """End a run of whose steps nothing more is to be told."""
        self._finish(self._keys(run_id), [self._life, status, cause, "[]", ""])

    def forget(self, run_id: str) -> bool:
        """Remove all that the ledger has of a run, whatever state it is in; False if there was nothing."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.delete(*(self._key(run_id, name) for name in transitions.KEYS))
            for index in ("runs", "active"):
                pipe.zrem(self._shared(index), run_id)
            pipe.hdel(self._shared("unreadable"), run_id)
            return any(pipe.execute())

    @of_a_run
    def lost(self, run_id: str, steps: Sequence[str]) -> set[str]:
        """Those of the steps that have no outcome, or have succeeded and have no value any more."""
        return {step for some in _some(steps, 1000) for step in self._lost(self._keys(run_id), [self._life, *some])}

    # Reads

    @of_a_run
    def plan(self, run_id: str) -> Plan:
        text = cast("str | None", self.client.get(self._key(run_id, "plan")))
        if text is None and self.client.exists(self._key(run_id, "run")):  # defence: MISSED_PLAN
            raise MissingData(run_id, "its plan is missing")
        if text is None:
            raise UnknownRun(f'no run "{run_id}", or it has expired', hint=_lost())
        try:
            return plans.load(text)
        except NewerVersion as error:
            raise NewerPlan(run_id, str(error), error.needs) from error

    @of_a_run
    def run(self, run_id: str) -> Run:
        fields = cast("dict[str, str]", self.client.hgetall(self._key(run_id, "run")))
        if not fields:
            raise UnknownRun(f'no run "{run_id}", or it has expired', hint=_lost())
        return encoding.read_run(run_id, fields)

    def runs(self, limit: int = 20) -> list[Run]:
        """The latest runs, newest first; one that cannot be read has the status ``unreadable``, and the reason for its cause."""
        index = cast(
            "list[tuple[str, float]]", self.client.zrevrange(self._shared("runs"), 0, limit - 1, withscores=True)
        )
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hgetall(self._shared("unreadable"))
            for run_id, _ in index:
                pipe.hgetall(self._key(run_id, "run"))
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
                    run = encoding.read_run(run_id, fields)
                if not run.ended and run_id in reasons:
                    run = replace(run, status="unreadable", cause=reasons[run_id])
            except UnreadableRun as error:
                run = Run(id=run_id, workflow="", status="unreadable", hash="", submitted_at=since, cause=error.reason)
            runs.append(run)
        return runs

    @of_a_run
    def leased(self, run_id: str) -> dict[str, float]:
        """The steps that somebody is executing, or was when he was lost; the seconds until their leases run out."""
        return {step: is_.seconds for step, is_ in self.underway(run_id).items() if is_.status == "running"}

    @of_a_run
    def underway(self, run_id: str) -> dict[str, Underway]:
        """The steps that somebody is executing, and those that wait for their next attempt, of the first hundred with the error."""
        begun = cast("dict[str, str]", self.client.hgetall(self._key(run_id, "open")))
        now = self._now()
        steps = {step: encoding.read_underway(text, now) for step, text in begun.items()}
        there = {step: is_ for step, is_ in steps.items() if is_ is not None}
        again = [step for step, is_ in there.items() if is_.status == "retrying"]
        for step, failures in self.failures(run_id, again[:100]).items():
            there[step] = replace(there[step], error=failures[-1].error)
        return there

    @of_a_run
    def failures(self, run_id: str, steps: Sequence[str]) -> dict[str, list[FailedAttempt]]:
        """For each of the steps that was tried again, the attempts that failed before the last."""
        texts = cast("list[str | None]", self.client.hmget(self._key(run_id, "failures"), list(steps)) if steps else [])
        return {step: encoding.read_failures(text) for step, text in zip(steps, texts, strict=True) if text}

    @of_a_run
    def left(self, run_id: str) -> dict[str, int]:
        """The refs whose collectors have not all ended; how many of each have not."""
        left = cast("dict[str, str]", self.client.hgetall(self._key(run_id, "left")))
        return {ref: int(count) for ref, count in left.items()}

    @of_a_run
    def ended(self, run_id: str, steps: Sequence[str]) -> set[str]:
        """Which of the steps have an outcome."""
        texts = cast("list[str | None]", self.client.hmget(self._key(run_id, "outcomes"), list(steps)) if steps else [])
        return {step for step, text in zip(steps, texts, strict=True) if text}

    @of_a_run
    def begun(self, run_id: str) -> dict[str, Outcome]:
        """The steps that were started and have not ended: how often, when first, and where, as outcomes without an end."""
        found = cast("dict[str, str]", self.client.hgetall(self._key(run_id, "open")))
        begun = {}
        for step, text in found.items():
            _, _, attempts, first, _, _, worker = text.split(" ", 6)
            begun[step] = Outcome(
                step=step, status="late", attempts=int(attempts), started_at=float(first), worker=worker
            )
        return begun

    @of_a_run
    def steps(self, run_id: str, plan: Plan, ref: str) -> list[Step]:
        """The collectors that a ref stands for, in their order.

        Raises:
            UnknownRun: the run has none of it.
        """
        collector, many = of_ref(ref)
        step = plan.by_id.get(collector)
        if step is None or step.kind != "collector" or (step.foreach is None) == many:
            raise UnknownRun(f"run {run_id} has no step {ref}")
        if step.foreach is None:
            return [step]
        if ref not in step.refs:
            raise UnknownRun(f"run {run_id} has no batch {ref}")
        return encoding.unpacked(step, self._items(run_id, [ref])[0])

    @of_a_run
    def items(self, run_id: str, plan: Plan) -> Iterator[tuple[str, str]]:
        """Every batch of a run's items, as `accept` takes them."""
        for refs in _some((ref for step in plan.collectors if step.foreach for ref in step.refs), 16):
            yield from zip(refs, self._items(run_id, refs), strict=True)

    @of_a_run
    def ids(self, run_id: str, collectors: Iterable[Step]) -> Iterator[list[str]]:
        """The ids of collectors in their order, some at a time: a million need not be in memory at once."""
        for many, some in groupby(collectors, lambda step: step.foreach is not None):
            if not many:
                yield [step.id for step in some]
                continue
            for step in some:
                for refs in _some(step.refs, 16):
                    yield [each for text in self._items(run_id, refs) for each in encoding.ids(step, text)]

    @of_a_run
    def outcomes(self, run_id: str, plan: Plan | None = None, *, limit: int = 1000) -> dict[str, Outcome]:
        """How each step that has ended did, without values.

        Args:
            plan: of the collectors with ``foreach``, tell only those that ended without success; `tally` counts all.
            limit: how many of those.
        """
        key = self._key(run_id, "outcomes")
        if plan is None or not any(step.foreach for step in plan.collectors):
            stored = cast("dict[str, str]", self.client.hgetall(key))
            return {step: encoding.read_outcome(step, text) for step, text in stored.items()}
        ids = [step.id for step in plan.steps if step.foreach is None]
        written = set(ids)
        ids += [step for step in self.absent(run_id, plan) if step not in written][:limit]
        return self.outcomes_of(run_id, ids)

    @of_a_run
    def tally(self, run_id: str) -> dict[str, dict[Status, int]]:
        """For each collector with ``foreach``, how many have ended in which status."""
        counts: dict[str, dict[Status, int]] = {}
        for name, count in cast("dict[str, str]", self.client.hgetall(self._key(run_id, "tally"))).items():
            collector, status = name.split(" ")
            counts.setdefault(collector, {})[cast("Status", status)] = int(count)
        return counts

    @of_a_run
    def absent(self, run_id: str, plan: Plan) -> list[str]:
        """The collectors that have ended without success, in the order of the YAML; of a `foreach`, of their keys."""
        found = cast("list[str]", self.client.hkeys(self._key(run_id, "absent")))
        places = {step.id: place for place, step in enumerate(plan.collectors)}

        def place(step_id: str) -> tuple[int, int, str]:
            key = item_key(step_id)
            return places.get(written(step_id), 0), int(key) if key.isdecimal() else 0, key

        return sorted(found, key=place)

    @of_a_run
    def outcomes_of(self, run_id: str, steps: Sequence[str], *, values: bool = False) -> dict[str, Outcome]:
        """The outcomes of those of the steps that have ended, with their values if they are asked for."""
        if not steps:
            return {}
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hmget(self._key(run_id, "outcomes"), list(steps))
            if values:
                pipe.hmget(self._key(run_id, "values"), list(steps))
            texts, *more = pipe.execute()
        given = more[0] if values else [None] * len(steps)
        outcomes = {
            step: encoding.read_outcome(step, text, value)
            for step, text, value in zip(steps, texts, given, strict=True)
            if text
        }
        without = {step for step, value in zip(steps, given, strict=True) if value is None} if values else set()
        if lost := [step for step in without if step in outcomes and outcomes[step].passes]:  # defence: MISSED_RESULT
            raise MissingData(run_id, f"the value of {listed(sorted(lost))} is missing")
        return outcomes

    @of_a_run
    def outcome(self, run_id: str, step: str) -> Outcome | None:
        """One step's outcome, with its value."""
        return self.outcomes_of(run_id, [step], values=True).get(step)

    @of_a_run
    def value(self, run_id: str, step: str) -> Any:
        """The value of a step that succeeded, as it may be shown; None of any other.

        Raises:
            MissingData: it has succeeded, and there is no value.
        """
        outcome = self.outcome(run_id, step)
        return None if outcome is None else outcome.value

    @of_a_run
    def collected(
        self,
        run_id: str,
        collectors: Iterable[Step],
        *,
        absent: Iterable[str] = (),
        limit: float = math.inf,
        read: Callable[[str], list[Any]] = encoding.shown,
        handed: Mapping[str, str | None] | None = None,
    ) -> Iterator[Any]:
        """The values of those of the collectors that succeeded, in their order, read some at a time.

        Args:
            absent: those that did not; one that was late may have a value all the same.
            read: makes of a list of values, as JSON, what they are to the reader.
            handed: values that came with the claim.

        Raises:
            FanInTooLarge: they are more bytes of JSON than the limit.
            MissingData: one of them is not there, or is no JSON.
        """
        gone = set(absent)
        size = 0
        for ids in self.ids(run_id, collectors):
            wanted = [step for step in ids if step not in gone]
            if not wanted:
                continue
            if handed:
                stored = [handed.get(step) for step in wanted]
            else:
                stored = cast("list[str | None]", self.client.hmget(self._key(run_id, "values"), wanted))
            texts = [text for text in stored if text is not None]
            if len(texts) < len(wanted):  # defence: MISSED_VALUE
                lost = [step for step, text in zip(wanted, stored, strict=True) if text is None]
                raise MissingData(run_id, f"the value of {listed(lost)} is missing")
            size += sum(map(len, texts))
            if size > limit:
                raise FanInTooLarge(f"the collectors' values are over {limit:,} bytes of JSON together")
            try:
                values = read(f"[{','.join(texts)}]")
            except ValueError as error:
                bad = [step for step, text in zip(wanted, texts, strict=True) if not encoding.is_json(text)]
                if bad:
                    raise MissingData(run_id, f"the value of {listed(bad)} is damaged") from error
                raise
            yield from values

    @of_a_run
    def page(self, run_id: str, step: Step, start: int, number: int) -> list[str]:
        """The ids of so many collectors of a ``foreach``, from the one at place ``start``; only their batches are read."""
        if step.foreach is None or not step.foreach.batch:
            return []
        size = step.foreach.batch
        end = min(start + number, step.count)
        refs = [batch_ref(step.id, batch) for batch in range(start // size, -(-end // size))]
        texts = self._items(run_id, refs)
        return [each for text in texts for each in encoding.ids(step, text)][start % size :][: end - start]

    @of_a_run
    def find(self, run_id: str, plan: Plan, step_id: str) -> Step | None:
        """A step of the plan by its id; of a collector of a ``foreach``, with its item. None if there is none."""
        step = plan.by_id.get(written(step_id))
        if step is None or step.id == step_id:
            return step
        if step.foreach is None:
            return None
        refs: Sequence[str] = step.refs
        if step.foreach.key is None:  # its place
            key = item_key(step_id)
            place = int(key) if re.fullmatch(r"[0-9]{1,7}", key) else step.count
            refs = refs[place // step.foreach.batch :][:1] if place < step.count else ()
        for some in _some(refs, 16):
            for text in self._items(run_id, some):
                if step_id in encoding.ids(step, text):
                    return next(each for each in encoding.unpacked(step, text) if each.id == step_id)
        return None

    @of_a_run
    def unended(self, run_id: str, plan: Plan) -> Iterator[str]:
        """The collectors of every ``foreach`` that have no outcome, in their order; only batches that lack one are read."""
        many = [step for step in plan.collectors if step.foreach]
        left = set(self.left(run_id)) if many else set()
        for step in many:
            for ref in step.refs:
                if ref in left:
                    ids = [each.id for each in self.steps(run_id, plan, ref)]
                    ended = self.ended(run_id, ids)
                    yield from (each for each in ids if each not in ended)

    @of_a_run
    def events(self, run_id: str, after: str = "0", *, wait: float = 0.0) -> list[Event]:
        """What has happened since the event with the id ``after``; waits up to so many seconds for the first."""
        block = max(1, int(wait * 1000)) if wait else None
        answer = cast("list[Any]", self.client.xread({self._key(run_id, "events"): after}, block=block))
        return [encoding.read_event(event_id, fields) for _, entries in answer or [] for event_id, fields in entries]

    @of_a_run
    def follow(
        self,
        run_id: str,
        *,
        beat: float = 0.5,
        patience: float = FOLLOW_PATIENCE,
        away: Callable[[redis.RedisError], None] | None = None,
        after: str = "0",
    ) -> Iterator[Event | None]:
        """Every event of a run from its beginning, or after the one of an id, until it has ended; None whenever ``beat`` seconds pass without one.

        They come together every ``FOLLOW_EVERY``.

        Args:
            patience: seconds for which a server that does not answer is waited for.
            away: called with the reason, whenever it does not.
        """
        gone_since = None
        events: list[Event] = []
        while True:
            try:
                if events:
                    self.client.xread({self._key(run_id, "end"): "0"}, block=int(FOLLOW_EVERY * 1000))
                events = self.events(run_id, after, wait=beat)
            except (*AWAY, redis.ResponseError) as error:
                # A primary that becomes a replica answers to a command that waits with an error of its own.
                if not isinstance(error, AWAY) and not str(error).startswith("UNBLOCKED"):
                    raise
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > patience:
                    raise
                if away is not None:
                    away(error)
                time.sleep(beat)
                yield None
                continue
            gone_since = None
            for event in events:
                yield event
                if event.event == "ended":
                    return
                after = event.id
            if not events:
                yield None

    def _items(self, run_id: str, refs: Sequence[str]) -> list[str]:
        """Batches of items as they are kept."""
        texts = cast("list[str | None]", self.client.hmget(self._key(run_id, "items"), list(refs)) if refs else [])
        if lost := [ref for ref, text in zip(refs, texts, strict=True) if text is None]:
            raise MissingData(run_id, f"the items {listed(lost)} are missing")
        return cast("list[str]", texts)

    def _now(self) -> float:
        return self._clock.read()[1] + self.forward

    def _steps(self, run_id: str) -> tuple[Step, ...]:
        """The steps of a run; none of one whose plan is of a newer version."""
        try:
            return self.plan(run_id).steps
        except NewerPlan:
            return ()

    @property
    def _life(self) -> str:
        offset, now = self._clock.read()
        return f"{self._ttl} {offset + self.forward:.6f} {now + self.forward:.6f}"

    def _shared(self, name: str) -> str:
        """A key of all runs together."""
        return f"{self._prefix}:{name}"

    def _key(self, run_id: str, name: str) -> str:
        return f"{self._prefix}:{{{run_id}}}:{name}"

    def _keys(self, run_id: str) -> list[str]:
        return [self._key(run_id, "")]


def _some(things: Iterable[Thing], number: int) -> Iterator[tuple[Thing, ...]]:
    """So many of them at a time (``itertools.batched`` comes with Python 3.12)."""
    rest = iter(things)
    while some := tuple(islice(rest, number)):
        yield some


def _lost() -> str:
    runs = program.command("runs")
    return f"`{runs}` lists the runs; a broker without persistence forgets them when it restarts"


def _sizes(plan: Plan) -> dict[str, int]:
    """How many collectors each ref stands for."""
    sizes = {}
    for step in plan.collectors:
        if step.foreach is None:
            sizes[step.id] = 1
            continue
        for number, ref in enumerate(step.refs):
            sizes[ref] = min(step.foreach.batch, step.foreach.count - number * step.foreach.batch)
    return sizes


def _handed(plan: Plan) -> list[str]:
    """The collectors whose values a gather is handed with its claim; none, if they may be many."""
    if len(plan.collectors) > HANDED or any(step.foreach for step in plan.collectors):
        return []
    return [step.id for step in plan.collectors]
