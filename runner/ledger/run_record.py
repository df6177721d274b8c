"""One run of the ledger: its steps are claimed and finished, and it ends. Each transition is a Lua script (scripts.py)."""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from typing import Any, cast

import redis

from runner.errors import UnknownRun
from runner.language.conditions import is_false
from runner.language.ids import of_ref, written
from runner.language.layout import Layout, dump_layout
from runner.language.plan import FanOut, Plan, Step, dump_plan, segments
from runner.language.redact import redact_inputs
from runner.ledger import codec
from runner.ledger.damage import MissingData, NewerPlan, UnreadableRun, of_a_run, readable
from runner.ledger.entries import ENDED, Claim, Error, Follows, Granted, Outcome, Parked, Postponed, RunStatus, Sweep
from runner.ledger.limits import Limits, Named
from runner.ledger.parts import in_parts
from runner.ledger.run_reader import RunReader
from runner.ledger.scripts import (
    ABANDON,
    ACCEPT,
    BEGIN,
    BURY,
    CANCEL,
    CLAIM,
    EXPECT,
    FINISH,
    FORGET_FAN_OUT,
    FORGET_OUTCOMES,
    LOST,
    PARK,
    POSTPONE,
    RELEASE,
    RENEW,
    REOPEN,
    RETURNED,
    SENT_AGAIN,
    STARTED,
    SWEEP,
)

NO_FOREACH = Layout()
NO_LIMIT = 2**31
NO_LIMITS: Mapping[str, Sequence[Named]] = {}
ASK = 0.25  # seconds until a step asks again for a slot of a limit;
ASKED = 25  # of many messages, so many ask in a second, as each costs some milliseconds
# Seconds from the claim of a step to the start that its limits allow, at most: a slot of the pool waits so long, or, of steps
# that are executed together, one place among them.
LEAD, LEAD_TOGETHER = 0.2, 0.5
LOOK_EVERY = 10.0  # seconds until a step asks at the latest: an operator may have opened the limit
HANDED = 16  # values that come with the claim of a gather: a round trip less, and they are all in memory at once


class RunRecord(RunReader):
    """One run, to be read and changed."""

    @cached_property
    def limits(self) -> Limits:
        """The limits of the ledger, which all runs share."""
        return Limits(self._server)

    @of_a_run
    def accept(
        self, *, layout: Layout = NO_FOREACH, items: Iterable[tuple[str, str]] = (), kept: Iterable[Outcome] = ()
    ) -> bool:
        """Record the run with its plan, and begin its first fan-out; return False, and change nothing, if the id is taken.

        Args:
            layout: of that fan-out; it may be left out if nothing has ``foreach``.
            items: for each batch of a ``foreach``, its ref and its items as ``packed`` makes them.
            kept: outcomes, with their values, taken over from another run, of steps that the YAML has.
        """
        token, client = uuid.uuid4().hex, self._server.client
        # Beside the run until it is accepted: another run may have the id.
        staged = self._stage(token, items)
        plan = self.plan
        fan_out = segments(plan)[0].fan_out
        first = fan_out and self._beginning(fan_out, layout, staged)
        packed = self._server.pack(
            token=token,
            plan=dump_plan(plan),
            workflow=plan.name,
            hash=plan.hash,
            layout=dump_layout(layout),
            inputs=json.dumps(redact_inputs(plan), separators=(",", ":")),
            fan_out=first,
            timeout=plan.timeout,
            kept=self._known(fan_out, layout, kept),
        )
        accepted = self._accept_and_index(packed)
        if not accepted:
            client.delete(staged)
        return accepted

    @of_a_run
    def begin(
        self,
        fan_out: FanOut,
        layout: Layout,
        items: Iterable[tuple[str, str]] = (),
        *,
        kept: Iterable[Outcome] = (),
    ) -> bool:
        """Begin a later fan-out: its collectors may be claimed. Return False, and change nothing, if it has begun or the run has ended.

        Args:
            layout: of this fan-out.
            items: as `accept` takes them.
            kept: outcomes of its steps, with their values, taken over from another run.
        """
        staged = self._stage(uuid.uuid4().hex, items)
        begun = self._server.do(
            BEGIN,
            self.id,
            fan_out=self._beginning(fan_out, layout, staged),
            layout=dump_layout(layout),
            kept=self._known(fan_out, layout, kept),
        )
        self.forget_layout()
        return bool(begun)

    @of_a_run
    def has_begun(self, fan_out: FanOut) -> bool:
        """Whether the collectors of a fan-out may be claimed."""
        return bool(self._server.client.hexists(self._key("run"), f"left:{fan_out.id}"))

    @of_a_run
    def has_started(self, fan_out: FanOut) -> bool:
        """Whether one of the collectors of a fan-out was claimed."""
        return bool(self._server.client.hexists(self._key("run"), f"began:{fan_out.id}"))

    def _stage(self, token: str, items: Iterable[tuple[str, str]]) -> str:
        """Store items where they belong to no fan-out yet; return the name of the key."""
        staged, client = self._key(f"items:{token}"), self._server.client
        for some in in_parts(items, 16):
            client.hset(staged, mapping=dict(some))
            client.expire(staged, 3600)
        return staged

    def _beginning(self, fan_out: FanOut, layout: Layout, staged: str) -> dict[str, Any]:
        """Return the facts by which the scripts begin a fan-out."""
        return {
            "id": fan_out.id,
            "count": layout.total(fan_out),
            "deadline": fan_out.deadline or 0,
            "early": _early(fan_out, layout),
            "sizes": _sizes(fan_out, layout),
            "counts": {step.id: layout.number(step) for step in _repeated(fan_out)},
            "skipped": {step.id: layout.skipped[step.id] for step in _repeated(fan_out) if step.id in layout.skipped},
            "items": self._items_key(fan_out),
            "staged": staged,
        }

    def _known(self, fan_out: FanOut | None, layout: Layout, kept: Iterable[Outcome]) -> list[dict[str, Any]]:
        """Return, as the scripts take them, the outcomes that exist when a fan-out begins: those kept, and of what is skipped.

        Of items there are only the numbers, as they may be a million. What is skipped has no ref: it is counted nowhere.
        """
        skipped = [
            Outcome(step=step.id, status="skipped", error=Error("Skipped", is_false(step.when)))
            for step in (fan_out.collectors if fan_out else ())
            if step.foreach is None and step.when is not None and step.id in layout.skipped
        ]
        # A gather or a stage that was skipped is kept with the value that it hands on.
        wanted = (each for each in kept if each.status != "skipped" or each.handed_on)
        return codec.dumped([*skipped, *(replace(each, ref=self.plan.by_id[each.step].ref) for each in wanted)])

    def _later(self) -> dict[str, str] | None:
        """Return the ids of the later fan-outs by those of their collectors without ``foreach``."""
        plan = self.plan
        return {
            step.id: each.id
            for each in plan.fan_outs
            if plan.begins_later(each)
            for step in each.collectors
            if not step.foreach
        } or None

    def _accept_and_index(self, packed: bytes) -> bool:
        """Accept the run in one round trip. The index is not in the run's slot, so it is written beside the script, not in it.

        An entry that exists stays as it is: it may be that of another run with this id, in which case this one is not
        accepted. The next reconciler retires an entry without a run.
        """
        now = self._server.now()
        while True:
            with self._server.client.pipeline(transaction=False) as pipe:
                pipe.evalsha(self._server.script(ACCEPT).sha, 1, self._key(""), packed)
                for index in (self._server.shared("runs"), self._server.shared("active")):
                    pipe.zremrangebyscore(index, 0, now - self._server.ttl)
                    pipe.zadd(index, {self.id: now}, nx=True)
                    pipe.expire(index, self._server.ttl)
                try:
                    accepted, *_ = pipe.execute()
                except redis.exceptions.NoScriptError:
                    self._server.client.script_load(self._server.script(ACCEPT).script)
                else:
                    return bool(float(accepted))

    @of_a_run
    def claim(
        self,
        steps: Sequence[Step],
        *,
        token: str,
        worker: str,
        lease: float,
        alone: bool = True,
        take: int = NO_LIMIT,
        back: float = 0.0,
        limits: Mapping[str, Sequence[Named]] = NO_LIMITS,
        ahead: bool = False,
    ) -> list[Claim]:
        """Claim these steps; those that are granted are leased for ``lease`` seconds.

        Args:
            token: identifies the holder of the lease: new for every execution, the same when a claim is repeated.
            worker: shown beside the step.
            alone: whether this claimer executes nothing else at the moment.
            take: how many may be granted; the others may be claimed later.
            back: seconds until those are claimed again of whose collector as many are executed as may be.
            limits: those that must allow the start of each step, by its id; a step without any may be left out.
            ahead: whether what is granted waits for its turn: it then takes slots of a limit only where there are plenty.
        """
        # Most steps share their limits, and to compare these takes longer than a step of no work.
        different = {id(some): some for some in limits.values()}.values()
        used = list(dict.fromkeys(each for some in different for each in some))
        numbers = {each: at for at, each in enumerate(used, start=1)}
        values = _handed(self.plan, steps[0])  # a gather is claimed alone
        wanted = [
            {
                "ref": ref,
                "needs": needs,
                "steps": [step.id for step in some],
                "most": self.plan.by_id[of_ref(ref)[0]].max_concurrency or 0 if ref else 0,
                "values": values,
                "handed": some[0].kind == "stage" and needs != "",
                "quiet": some[0].kind in {"stage", "hook"} and some[0].when is not None,
                "hook": some[0].kind == "hook",
                "limits": [numbers[each] for each in asked],
            }
            for (ref, needs, asked), some in _grouped(steps, self.plan, limits)
        ]
        asking = {}
        if used:
            first = self.plan.by_id[written(steps[0].id)]
            refs = len(self.refs(first)) if first.kind == "collector" else 1
            # As many messages ask for each second as for those of a collector with `max_concurrency`.
            asking = {
                "limits": [self.limits.dumped(each) for each in used],
                "run": self.id,
                "index": self._server.shared("limits"),
                "ahead": ahead,
                "ask": max(ASK, refs / ASKED),
                "look": LOOK_EVERY,
                "lead": LEAD if ahead else LEAD_TOGETHER,
            }
        answer = self._claim(
            wanted, token=token, lease=lease, worker=worker, alone=alone, take=take, back=back, **asking
        )
        return list(codec.read_claims(steps, answer, values))

    @of_a_run
    def claim_beginning(self, fan_out: FanOut, *, token: str, worker: str, lease: float, value: bool) -> Claim:
        """Claim the beginning of a later fan-out, under the id of its gather, which nobody can claim before.

        Args:
            value: whether the claim is to have the value of the part before, as JSON.
        """
        wanted = {
            "ref": "",
            "needs": self.plan.needs(fan_out.collectors[0]),
            "steps": [fan_out.id],
            "most": 0,
            "values": [],
            "handed": value,
            "quiet": True,
            "limits": [],
        }
        answer = self._claim([wanted], token=token, lease=lease, worker=worker, alone=True, take=1, back=0.0)
        return next(codec.read_claims([fan_out.gather], answer, []))

    def _claim(
        self,
        wanted: Sequence[Mapping[str, Any]],
        *,
        token: str,
        lease: float,
        worker: str,
        alone: bool,
        take: int,
        back: float,
        **asking: Any,
    ) -> Sequence[Any]:
        """Return the answer to a claim of groups of steps, each with what it needs."""
        answer = self._server.do(
            CLAIM,
            self.id,
            token=token,
            lease=lease,
            worker=worker,
            alone=alone,
            take=take,
            back=back,
            wanted=wanted,
            stops=self._stops(step for group in wanted for step in group["steps"]),
            **asking,
        )
        return cast("Sequence[Any]", answer)

    @of_a_run
    def renew(self, steps: Iterable[str], *, token: str, lease: float) -> list[str]:
        """Renew leases; return the steps that this claimer still holds, none if the run has ended."""
        kept = self._server.do(RENEW, self.id, token=token, lease=lease, steps=[*steps])
        return cast("list[str]", kept)

    @of_a_run
    def release(self, steps: Iterable[str], *, token: str) -> None:
        """Release the steps that were claimed with this token and have not begun: they count no attempt."""
        self._server.do(RELEASE, self.id, token=token, steps=[*steps])

    @of_a_run
    def hold_back(self, step: str, *, token: str, limit: str, seconds: float, why: str) -> float:
        """Release a step whose source has said how long to wait: it waits for the limit, and this was no attempt.

        Returns:
            The seconds until it is to be claimed again: the limit may be opened before.
        """
        ask = min(seconds, LOOK_EVERY)
        self._server.do(RELEASE, self.id, token=token, steps=[step], limit=limit, seconds=seconds, ask=ask, why=why)
        return ask

    @of_a_run
    def finish(
        self,
        outcomes: Iterable[Outcome],
        *,
        ends: RunStatus | None = None,
        cause: str = "",
        hooks: Iterable[Step] = (),
        follows: Follows | None = None,
    ) -> list[str]:
        """Record outcomes, and the end of the run if it ``ends`` with them; return the steps of which they were the first.

        Args:
            hooks: those that follow the end.
            follows: the commands to execute with the record; set to whether they have been.
        """
        dumped = codec.dumped(outcomes)
        more = {"chord": follows.chord, "message": follows.message, "commands": follows.commands} if follows else None
        stops = self._stops(step for group in dumped if group["ref"] for step in group["steps"])
        later = self._later() if ends else None
        recorded, done, last = self._server.do(
            FINISH,
            self.id,
            outcomes=dumped,
            ends=ends,
            cause=cause,
            hooks=[each.id for each in hooks],
            hook=self._hook(dumped),
            follows=more,
            stops=stops,
            later=later,
        )
        if follows is not None:
            follows.done, follows.last = bool(done), bool(last)
        return cast("list[str]", json.loads(recorded))

    @of_a_run
    def postpone(self, postponed: Iterable[Postponed]) -> list[str]:
        """Record failed attempts that are tried again; return the steps that have not ended."""
        attempts = [codec.dumped_attempt(each) for each in postponed]
        stops = self._stops(each["step"] for each in attempts)
        return cast("list[str]", self._server.do(POSTPONE, self.id, attempts=attempts, stops=stops))

    @of_a_run
    def abandon(self, names: Iterable[str], *, worker: str) -> list[Granted]:
        """End the leases that a worker holds on these refs or steps, because the process that executed them is dead.

        Return its claims on them; the lease of a step does not end twice. If they are several, the step that killed the
        process is unknown: each counts as lost with its worker.
        """
        abandoned = self._server.do(ABANDON, self.id, worker=worker, names=[*names])
        return [
            Granted(
                step=step,
                attempt=int(attempt),
                started_at=float(now),
                first_started_at=float(first),
                lost=int(lost),
            )
            for step, attempt, lost, first, now in abandoned
        ]

    @of_a_run
    def sweep(self, *, grace: float) -> Sweep | None:
        """Return what has gone wrong in the run; None if it has ended.

        Raises:
            UnknownRun: the run has expired, or the broker has lost its data.
        """
        answer = self._server.do(SWEEP, self.id, grace=grace)
        if answer[0] == "unknown":
            raise UnknownRun(f'no run "{self.id}", or it has expired')
        return codec.read_sweep(answer)

    @of_a_run
    def sent_again(self) -> int:
        """Record that a part of the run is sent again; return how often it was since the last event."""
        return int(self._server.do(SENT_AGAIN, self.id))

    @of_a_run
    def park(self, name: str, reason: str, *, seconds: float, limit: float, restart: bool = False) -> Parked:
        """Record why a step waits, for `show` and followers: no worker that saw it can execute it.

        Args:
            name: its id, or the ref of a batch.
            seconds: until it is checked again.
            limit: seconds that it may wait in all.
            restart: whether its wait begins now, as it also does if it has been claimed meanwhile.

        Returns:
            ``expired`` if it has waited for the limit, ``ended`` if the step or the run has ended.
        """
        parked = self._server.do(PARK, self.id, name=name, reason=reason, seconds=seconds, limit=limit, restart=restart)
        return cast("Parked", parked)

    @of_a_run
    def expect(self, chord: str, messages: int, commands: Sequence[Sequence[Any]] = ()) -> None:
        """Record how many messages the header of a chord has, before the first of them is sent.

        Args:
            commands: those that send the messages; executed once, however often this is called.
        """
        self._server.do(EXPECT, self.id, chord=chord, messages=messages, commands=commands)

    @of_a_run
    def returned(self, chord: str, message: str, *, fan_out: str = "") -> bool:
        """Record, any number of times, that a message of a chord's header was executed; return whether it was the last.

        Args:
            fan_out: its id, if the message is also the last once all collectors have ended, whatever messages wait.
        """
        return bool(self._server.do(RETURNED, self.id, chord=chord, message=message, fan_out=fan_out))

    @of_a_run
    def started(self, step: str, *, attempt: int, worker: str) -> None:
        """Record the start of a step that might not have been executed: of a gather that lacks collectors, of a stage with ``when``.

        Its claim does not.
        """
        self._server.do(STARTED, self.id, step=step, attempt=attempt, worker=worker)

    @of_a_run
    def reopen(
        self,
        *,
        fan_out: FanOut | None,
        tail: Iterable[Step],
        lost: Iterable[tuple[str, str]] = (),
    ) -> bool:
        """Delete the outcomes of a part of a run that has ended, so that it is executed again; return False if it has not ended.

        Args:
            fan_out: the one whose collectors without success are executed again; None for none.
            tail: the other steps that are.
            lost: the id and the ref of each collector that `lost` names.
        """
        again = [step.id for step in (*tail, *self.plan.hook_steps)]
        kept = [step.id for step in self.plan.steps if step.id not in again and step.foreach is None]
        reopened = self._server.do(
            REOPEN,
            self.id,
            fan_out=fan_out and fan_out.id,
            early=_early(fan_out, self.layout) if fan_out else -1,
            collectors=[step.id for step in fan_out.collectors] if fan_out else [],
            lost=[*lost],
            again=again,
            kept=kept,
        )
        if reopened:
            self._server.client.zadd(self._server.shared("active"), {self.id: self._server.now()})
        return bool(reopened)

    @of_a_run
    def forget(self, fan_out: FanOut) -> None:
        """Delete what is known of a later fan-out of a run that has ended, so that it begins anew with other items.

        Interrupted, it can be done again: the items go last, and the ids are made of them.
        """
        try:
            skipped = [step.id for step in fan_out.collectors if step.id in self.layout.skipped]
            for ids in (skipped, *self.ids(fan_out.collectors)):
                for some in in_parts(ids, 1000):
                    self._server.do(FORGET_OUTCOMES, self.id, steps=some)
        except MissingData:  # the ledger has lost the items; nobody can ask for their outcomes
            pass
        collectors = [step.id for step in fan_out.collectors]
        self._server.do(FORGET_FAN_OUT, self.id, fan_out=fan_out.id, collectors=collectors)
        self.forget_layout()

    def cancel(self, cause: str, hooks: Iterable[Step] = ()) -> RunStatus:
        """Cancel the run: no step of it starts any more. Return its status, which is another if it had ended before.

        Of a run that cannot be read, only the fact that it is cancelled is kept.
        """
        try:
            # An item, or a step of a plan that this program cannot read, gets no outcome: its lack says the same.
            steps = [step for step in self._steps() if step.foreach is None]
            dumped = codec.dumped(Outcome(step=step.id, ref=step.ref, status="cancelled") for step in steps)
            later = self._later() if steps else None
            with readable(self.id):
                ids = [each.id for each in hooks]
                status = self._server.do(CANCEL, self.id, cause=cause, outcomes=dumped, later=later, hooks=ids)
        except UnreadableRun:
            status = self._server.do(BURY, self.id, cause=cause)
            self._server.client.hdel(self._server.shared("unreadable"), self.id)
        if status is None:
            raise UnknownRun(f'no run "{self.id}"')
        return cast("RunStatus", status)

    @of_a_run
    def end(self, status: RunStatus, cause: str) -> None:
        """End a run whose steps get no more outcomes."""
        self._server.do(FINISH, self.id, outcomes=[], ends=status, cause=cause)

    @of_a_run
    def lost(self, steps: Sequence[str]) -> set[str]:
        """Return the steps that have no outcome, or have succeeded and have no value any more."""
        return {step for some in in_parts(steps, 1000) for step in self._server.do(LOST, self.id, steps=some)}

    @of_a_run
    def due_hook(self) -> Step | None:
        """Return the hook that may be executed now; None if the run has not ended, or none is left."""
        status, hooks = cast("list[str | None]", self._server.client.hmget(self._key("run"), ["status", "hooks"]))
        return self.plan.by_id.get((hooks or "").split()[0]) if hooks and status in ENDED else None

    def _hook(self, groups: Sequence[Mapping[str, Any]]) -> str | None:
        """Return the id of the hook that an outcome is of, which is alone; None of any other step."""
        if self._plan is None or not self._plan.hooks or not groups:
            return None
        step = self._plan.by_id.get(groups[0]["steps"][0])
        return step.id if step and step.kind == "hook" else None

    def _stops(self, steps: Iterable[str]) -> str:
        """Return the id of the fan-out that has the first of these steps, if it may end early; all are of one fan-out."""
        if self._plan is None or not any(fan_out.stop for fan_out in self._plan.fan_outs):
            return ""
        step = self._plan.by_id.get(written(next(iter(steps), "")))
        if step is None or step.kind != "collector":
            return ""
        fan_out = self._plan.fan_out_of(step)
        return fan_out.id if fan_out.stop else ""

    def _steps(self) -> tuple[Step, ...]:
        """Return its steps; none if its plan is of a newer version."""
        try:
            return self.plan.steps
        except NewerPlan:
            return ()


def _early(fan_out: FanOut, layout: Layout) -> int:
    """Return how many collectors may be left or absent when a fan-out ends early; -1 if it does not."""
    return layout.total(fan_out) - (layout.least(fan_out) or 0) if fan_out.stop else -1


def _sizes(fan_out: FanOut, layout: Layout) -> dict[str, int]:
    """Return how many collectors each ref stands for."""
    sizes: dict[str, int] = {}
    for step in layout.executed(fan_out.collectors):
        sizes |= {step.id: 1} if step.foreach is None else layout.batches(step)
    return sizes


def _repeated(fan_out: FanOut) -> list[Step]:
    return [step for step in fan_out.collectors if step.foreach]


def _grouped(
    steps: Sequence[Step], plan: Plan, limits: Mapping[str, Sequence[Named]]
) -> Iterator[tuple[tuple[str, str, Sequence[Named]], list[Step]]]:
    """Yield the ref of steps, what they need, and their limits, with the steps that have them."""
    for key, some in groupby(steps, lambda step: (step.ref, plan.needs(step), limits.get(step.id, ()))):
        yield key, list(some)


def _handed(plan: Plan, step: Step) -> list[str]:
    """Return the collectors whose values a gather gets with its claim; none if they may be many."""
    if step.kind != "gather":
        return []
    collectors = plan.fan_out_of(step).collectors
    if len(collectors) > HANDED or any(each.foreach for each in collectors):
        return []
    return [each.id for each in collectors]
