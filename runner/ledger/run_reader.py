"""One run of the ledger, to be read: its plan, items, outcomes, values and events."""

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, cast

import redis

from runner.errors import RunnerError, UnknownRun
from runner.language.ids import batch_ref, item_key, of_ref, written
from runner.language.layout import Layout, load_layout
from runner.language.plan import FanOut, NewerVersion, Plan, Step, load_plan
from runner.ledger import codec
from runner.ledger.damage import MissingData, NewerPlan, of_a_run
from runner.ledger.entries import Event, FailedAttempt, Outcome, Run, Underway
from runner.ledger.parts import in_parts
from runner.ledger.server import Server
from runner.ledger.statuses import Status
from runner.system.program import command_line
from runner.text import listed

# Errors that pass: no answer, too many clients, an old password, a replica that becomes the primary.
AWAY = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
)
# defence: PATIENCE
FOLLOW_PATIENCE = 60.0  # seconds for which a follower waits for a server that does not answer
# Seconds: followers get events in batches (the end at once). Waking them for each cost the worker, which shares the server
# and often the machine, 5 to 7 % of the default workflow.
FOLLOW_EVERY = 0.05


class FanInTooLarge(RunnerError):
    """The collectors' values together are more than a gather may receive."""


class RunReader:
    """One run, to be read.

    Args:
        run_id: if there is no such run, each method raises `UnknownRun`, or returns nothing.
        plan: the run's own, if it is known; otherwise it is read once, when it is needed.
        layout: the same.
    """

    def __init__(self, server: Server, run_id: str, plan: Plan | None = None, layout: Layout | None = None) -> None:
        self._server = server
        self.id = run_id
        self._plan = plan
        self._layout = layout

    @property
    def plan(self) -> Plan:
        """What it does, which never changes.

        Raises:
            UnknownRun: it is not there.
            UnreadableRun: it is damaged, or of a newer version.
        """
        if self._plan is None:
            self._plan = self._read_plan()
        return self._plan

    @property
    def layout(self) -> Layout:
        """How many collectors those of the plan stand for, in which messages; read together with the plan.

        It has the fan-outs that had begun when it was read: see `forget_layout`.

        Raises:
            UnknownRun: as `plan`.
            UnreadableRun: as `plan`.
        """
        if self._plan is None:
            self._plan = self._read_plan()
        layout = self._layout
        if layout is None:
            layout = self._layout = self._read_layout()
        return layout

    def forget_layout(self) -> None:
        """Have the layout read again when it is needed, if another fan-out may have begun meanwhile.

        That of the first part never changes, and a plan without later fan-outs costs no more requests.
        """
        if self._plan is None or any(map(self._plan.begins_later, self._plan.fan_outs)):
            self._layout = None

    @of_a_run
    def info(self) -> Run:
        """Its status, times and inputs."""
        fields = cast("dict[str, str]", self._server.client.hgetall(self._key("run")))
        if not fields:
            raise UnknownRun(f'no run "{self.id}", or it has expired', hint=_lost())
        return codec.read_run(self.id, fields)

    @of_a_run
    def leased(self) -> dict[str, float]:
        """Return the steps with a live lease and its seconds left; a crashed worker's lease counts until it expires."""
        return {step: is_.seconds for step, is_ in self.underway().items() if is_.status == "running"}

    @of_a_run
    def underway(self) -> dict[str, Underway]:
        """Return the steps that are executed, wait for their next attempt, with the error of the first hundred, or for a limit.

        Of a collector with ``foreach`` whose items a limit holds back, one entry tells how many.
        """
        with self._server.client.pipeline(transaction=False) as pipe:
            for name in ("open", "waits", "left"):
                pipe.hgetall(self._key(name))
            begun, waits, left = pipe.execute()
        now = self._server.now()
        steps: dict[str, Underway | None] = dict(codec.read_limited(waits, left, now))
        steps |= {step: codec.read_underway(text, now) for step, text in begun.items()}
        there = {step: is_ for step, is_ in steps.items() if is_ is not None}
        again = [step for step, is_ in there.items() if is_.status == "retrying"]
        for step, failures in self.failures(again[:100]).items():
            there[step] = replace(there[step], error=failures[-1].error)
        return there

    @of_a_run
    def failures(self, steps: Sequence[str]) -> dict[str, list[FailedAttempt]]:
        """Return, for each step that was tried again, the attempts that failed before the last."""
        texts = cast("list[str | None]", self._server.client.hmget(self._key("failures"), list(steps)) if steps else [])
        return {step: codec.read_failures(text) for step, text in zip(steps, texts, strict=True) if text}

    @of_a_run
    def left(self) -> dict[str, int]:
        """Return the refs whose collectors have not all ended, and how many of each have not."""
        left = cast("dict[str, str]", self._server.client.hgetall(self._key("left")))
        return {ref: int(count) for ref, count in left.items()}

    @of_a_run
    def is_stopped(self, fan_out: FanOut) -> bool:
        """Whether a fan-out has ended early: what of it has no outcome was not needed."""
        if fan_out.stop is None:
            return False
        return bool(self._server.client.hexists(self._key("run"), f"stopped:{fan_out.id}"))

    @of_a_run
    def coverage(self, fan_out: FanOut | None) -> float:
        """Return the share of a fan-out's collectors that have succeeded, from 0 to 1; 1 if it has none, or has not begun.

        Those that are skipped are not counted.
        """
        if fan_out is None:
            return 1.0
        if fan_out not in self.layout.fan_outs(self.plan):  # when it was read
            self.forget_layout()
        if fan_out not in self.layout.fan_outs(self.plan):
            return 1.0
        total = self.layout.total(fan_out)
        names = [f"{name}:{fan_out.id}" for name in ("left", "absent")]
        counts = cast("list[str | None]", self._server.client.hmget(self._key("run"), names))
        missing = sum(int(count or 0) for count in counts)
        if self.is_stopped(fan_out):
            ids = [step.id for step in fan_out.collectors if not step.foreach]
            missing += sum(each.status == "not_needed" for each in self.outcomes_of(ids).values())
            tally = self.tally()
            missing += sum(tally.get(step.id, {}).get("not_needed", 0) for step in fan_out.collectors if step.foreach)
        return (total - missing) / total if total else 1.0

    @of_a_run
    def ended(self, steps: Sequence[str]) -> set[str]:
        """Return the steps that have an outcome."""
        texts = cast("list[str | None]", self._server.client.hmget(self._key("outcomes"), list(steps)) if steps else [])
        return {step for step, text in zip(steps, texts, strict=True) if text}

    @of_a_run
    def begun(self) -> dict[str, Outcome]:
        """Return the steps that were started and have not ended: how often, when first, and where, as outcomes without an end."""
        found = cast("dict[str, str]", self._server.client.hgetall(self._key("open")))
        begun = {}
        for step, text in found.items():
            _, _, attempts, first, _, _, worker = text.split(" ", 6)
            begun[step] = Outcome(
                step=step, status="late", attempts=int(attempts), started_at=float(first), worker=worker
            )
        return begun

    @of_a_run
    def steps(self, ref: str) -> list[Step]:
        """Return the collectors that a ref stands for, in their order.

        Raises:
            UnknownRun: the run has no such ref.
        """
        collector, many = of_ref(ref)
        step = self.plan.by_id.get(collector)
        if step is None or step.kind != "collector" or (step.foreach is None) == many:
            raise UnknownRun(f"run {self.id} has no step {ref}")
        if step.foreach is None:
            return [step]
        try:
            [text] = self._items(step, [ref])
        except MissingData:
            self.forget_layout()
            if ref not in self.refs(step):
                raise UnknownRun(f"run {self.id} has no batch {ref}") from None
            raise
        return codec.unpacked(step, ref, text)

    @of_a_run
    def items(self, collectors: Sequence[Step] | None = None) -> Iterator[tuple[str, str]]:
        """Yield every batch of the run's items, or of those of some collectors, as `accept` takes them."""
        wanted = self.plan.collectors if collectors is None else [self.plan.by_id[each.id] for each in collectors]
        for step in wanted:
            if step.foreach:
                for refs in in_parts(self.refs(step), 16):
                    yield from zip(refs, self._items(step, refs), strict=True)

    @of_a_run
    def ids(self, collectors: Iterable[Step]) -> Iterator[list[str]]:
        """Yield the ids of collectors in their order, some at a time: a million need not be in memory at once.

        Those that are skipped are left out.
        """
        for many, some in groupby(collectors, lambda step: step.foreach is not None):
            if not many:
                yield [step.id for step in self.layout.executed(some)]
                continue
            for step in some:
                for refs in in_parts(self.refs(step), 16):
                    yield [each for text in self._items(step, refs) for each in codec.ids(step, text)]

    @of_a_run
    def expanded(self, collectors: Iterable[Step]) -> Iterator[list[Step]]:
        """Yield the same collectors with their items, those of a ``foreach`` some at a time."""
        for many, some in groupby(collectors, lambda step: step.foreach is not None):
            if not many:
                yield [*some]
                continue
            for step in some:
                for refs in in_parts(self.refs(step), 16):
                    pairs = zip(refs, self._items(step, refs), strict=True)
                    yield [each for ref, text in pairs for each in codec.unpacked(step, ref, text)]

    @of_a_run
    def outcomes(self) -> dict[str, Outcome]:
        """Return the outcome of each step that has ended, and of each item, without values."""
        stored = cast("dict[str, str]", self._server.client.hgetall(self._key("outcomes")))
        return {step: codec.read_outcome(step, text) for step, text in stored.items()}

    @of_a_run
    def notable_outcomes(self, plan: Plan, *, limit: int = 1000) -> dict[str, Outcome]:
        """Return the outcome of each step that has ended, without values; of items only those that did not succeed.

        Args:
            plan: of the run.
            limit: how many such items at most; `tally` counts all items.
        """
        if not any(step.foreach for step in plan.collectors):
            return self.outcomes()
        ids = [step.id for step in (*plan.steps, *plan.hook_steps) if step.foreach is None]
        alone = set(ids)
        ids += [step for step in self.absent() if step not in alone][:limit]
        return self.outcomes_of(ids)

    @of_a_run
    def tally(self) -> dict[str, dict[Status, int]]:
        """Return, for each collector with ``foreach``, how many of its items have ended with which status."""
        counts: dict[str, dict[Status, int]] = {}
        for name, count in cast("dict[str, str]", self._server.client.hgetall(self._key("tally"))).items():
            collector, status = name.split(" ")
            counts.setdefault(collector, {})[cast("Status", status)] = int(count)
        return counts

    @of_a_run
    def absent(self, fan_out: FanOut | None = None) -> list[str]:
        """Return the collectors that have ended without success, in the order of the YAML; items in the order of their keys.

        Args:
            fan_out: only its own; by default those of all.
        """
        found = cast("list[str]", self._server.client.hkeys(self._key("absent")))
        if fan_out is not None and len(self.plan.fan_outs) > 1:
            own = {step.id for step in fan_out.collectors}
            found = [each for each in found if written(each) in own]
        places = {step.id: place for place, step in enumerate(self.plan.collectors)}

        def place(step_id: str) -> tuple[int, int, str]:
            key = item_key(step_id)
            return places.get(written(step_id), 0), int(key) if key.isdecimal() else 0, key

        return sorted(found, key=place)

    @of_a_run
    def outcomes_of(self, steps: Sequence[str], *, values: bool = False) -> dict[str, Outcome]:
        """Return the outcomes of the steps that have ended, with their values if ``values`` is true."""
        if not steps:
            return {}
        with self._server.client.pipeline(transaction=False) as pipe:
            pipe.hmget(self._key("outcomes"), list(steps))
            if values:
                pipe.hmget(self._key("values"), list(steps))
            texts, *more = pipe.execute()
        given = more[0] if values else [None] * len(steps)
        outcomes = {
            step: codec.read_outcome(step, text, value)
            for step, text, value in zip(steps, texts, given, strict=True)
            if text
        }
        without = {step for step, value in zip(steps, given, strict=True) if value is None} if values else set()
        if lost := [step for step in without if step in outcomes and outcomes[step].passes]:  # defence: MISSED_RESULT
            raise MissingData(self.id, f"the value of {listed(sorted(lost))} is missing")
        return outcomes

    @of_a_run
    def outcome(self, step: str) -> Outcome | None:
        """Return a step's outcome, with its value."""
        return self.outcomes_of([step], values=True).get(step)

    @of_a_run
    def value(self, step: str) -> Any:
        """Return the value of a step that succeeded, as it may be shown; None for any other.

        Raises:
            MissingData: the step has succeeded, and its value is missing.
        """
        outcome = self.outcome(step)
        return None if outcome is None else outcome.value

    @of_a_run
    def stored_value(self, step: str) -> str:
        """Return the value of a step as it is stored, for `decode_value`; empty if there is none."""
        return cast("str | None", self._server.client.hget(self._key("values"), step)) or ""

    @of_a_run
    def collected(
        self,
        collectors: Iterable[Step],
        *,
        absent: Iterable[str] = (),
        limit: float = math.inf,
        read: Callable[[str], list[Any]] = codec.shown,
        handed: Mapping[str, str | None] | None = None,
        stopped: bool = False,
    ) -> Iterator[Any]:
        """Yield the values of the collectors that succeeded, in their order, read some at a time.

        Args:
            absent: the collectors that did not succeed; a late one may have a value all the same.
            read: decodes a JSON list of values.
            handed: values that came with the claim.
            stopped: whether only those with an outcome are meant, as the fan-out has ended early.

        Raises:
            FanInTooLarge: they are more bytes of JSON than the limit.
            MissingData: one of them is missing, or is not JSON.
        """
        gone = set(absent)
        size = 0
        for ids in self.ids(collectors):
            wanted = [step for step in ids if step not in gone]
            if stopped:
                wanted = [step for step, ended in self.outcomes_of(wanted).items() if ended.passes]
            if not wanted:
                continue
            if handed and not stopped:
                stored = [handed.get(step) for step in wanted]
            else:
                stored = cast("list[str | None]", self._server.client.hmget(self._key("values"), wanted))
            texts = [text for text in stored if text is not None]
            if len(texts) < len(wanted):  # defence: MISSED_VALUE
                lost = [step for step, text in zip(wanted, stored, strict=True) if text is None]
                raise MissingData(self.id, f"the value of {listed(lost)} is missing")
            size += sum(map(len, texts))
            if size > limit:
                raise FanInTooLarge(f"the collectors' values are over {limit:,} bytes of JSON together")
            try:
                values = read(f"[{','.join(texts)}]")
            except ValueError as error:
                bad = [step for step, text in zip(wanted, texts, strict=True) if not codec.is_json(text)]
                if bad:
                    raise MissingData(self.id, f"the value of {listed(bad)} is damaged") from error
                raise
            yield from values

    @of_a_run
    def page(self, step: Step, start: int, number: int) -> list[str]:
        """Return the ids of ``number`` collectors of a ``foreach`` from the place ``start`` on; only their batches are read."""
        size = self.layout.sizes[step.id]
        end = min(start + number, self.layout.count(step))
        refs = [batch_ref(step.id, batch) for batch in range(start // size, -(-end // size))]
        texts = self._items(step, refs)
        return [each for text in texts for each in codec.ids(step, text)][start % size :][: end - start]

    @of_a_run
    def find(self, step_id: str) -> Step | None:
        """Return a step of the plan by its id; the collector of an item has its item. None if there is none."""
        step = self.plan.by_id.get(written(step_id))
        if step is None or step.id == step_id:
            return step
        if step.foreach is None:
            return None
        refs: Sequence[str] = self.refs(step)
        if refs and step.foreach.key is None and step.id not in self.layout.skipped:  # its place
            key, count = item_key(step_id), self.layout.count(step)
            place = int(key) if re.fullmatch(r"[0-9]{1,7}", key) else count
            refs = refs[place // self.layout.sizes[step.id] :][:1] if place < count else ()
        for some in in_parts(refs, 16):
            for ref, text in zip(some, self._items(step, some), strict=True):
                if step_id in codec.ids(step, text):
                    return next(each for each in codec.unpacked(step, ref, text) if each.id == step_id)
        return None

    @of_a_run
    def unended(self) -> Iterator[str]:
        """Yield the collectors of every ``foreach`` that have no outcome, in their order; only batches that lack one are read."""
        many = [step for step in self.plan.collectors if step.foreach]
        left = set(self.left()) if many else set()
        for step in many:
            for ref in self.refs(step):
                if ref in left:
                    ids = [each.id for each in self.steps(ref)]
                    ended = self.ended(ids)
                    yield from (each for each in ids if each not in ended)

    @of_a_run
    def events(self, after: str = "0", *, wait: float = 0.0) -> list[Event]:
        """Return the events since the one with the id ``after``; wait up to ``wait`` seconds for the first."""
        block = max(1, int(wait * 1000)) if wait else None
        answer = cast("list[Any]", self._server.client.xread({self._key("events"): after}, block=block))
        return [codec.read_event(event_id, fields) for _, entries in answer or [] for event_id, fields in entries]

    @of_a_run
    def follow(
        self,
        *,
        beat: float = 0.5,
        patience: float = FOLLOW_PATIENCE,
        away: Callable[[redis.RedisError], None] | None = None,
        after: str = "0",
    ) -> Iterator[Event | None]:
        """Yield the run's events, from its beginning or after an id, until it and its hooks have ended; None after each ``beat`` seconds without one.

        They come in batches, every ``FOLLOW_EVERY``.

        Args:
            patience: seconds to wait for a server that does not answer.
            away: called with the reason whenever the server does not answer.
        """
        gone_since = None
        events: list[Event] = []
        while True:
            try:
                if events:
                    self._server.client.xread({self._key("end"): "0"}, block=int(FOLLOW_EVERY * 1000))
                events = self.events(after, wait=beat)
            except (*AWAY, redis.ResponseError) as error:
                # A primary that becomes a replica ends a blocking command with an error of its own.
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
                if event.is_last:
                    return
                after = event.id
            if not events:
                yield None

    def refs(self, step: Step) -> tuple[str, ...]:
        """Return the refs of a step's collectors; none if its fan-out has not begun."""
        fan_out = self.plan.fan_out_of(step)
        if not self.plan.begins_later(fan_out):
            return self.layout.refs(step)
        if fan_out.id not in self.layout.begun:  # when it was read
            self.forget_layout()
        return self.layout.refs(step) if fan_out.id in self.layout.begun else ()

    def _items_key(self, fan_out: FanOut) -> str:
        """Return the name of the key of a fan-out's items, without the run's."""
        return f"items:{fan_out.id}" if self.plan.begins_later(fan_out) else "items"

    def _items(self, step: Step, refs: Sequence[str]) -> list[str]:
        """Return batches of a collector's items as they are stored."""
        key = self._key(self._items_key(self.plan.fan_out_of(step)))
        texts = cast("list[str | None]", self._server.client.hmget(key, list(refs)) if refs else [])
        if lost := [ref for ref, text in zip(refs, texts, strict=True) if text is None]:
            raise MissingData(self.id, f"the items {listed(lost)} are missing")
        return cast("list[str]", texts)

    @of_a_run
    def _read_plan(self) -> Plan:
        with self._server.client.pipeline(transaction=False) as pipe:
            pipe.get(self._key("plan"))
            pipe.hmget(self._key("run"), "layout", "later")
            text, (layout, later) = cast("tuple[str | None, list[str | None]]", pipe.execute())
        if text is None and self._server.client.exists(self._key("run")):  # defence: MISSED_PLAN
            raise MissingData(self.id, "its plan is missing")
        if text is None:
            raise UnknownRun(f'no run "{self.id}", or it has expired', hint=_lost())
        try:
            plan = load_plan(text)
            if layout is not None:
                self._layout = self._merged(plan, load_layout(layout), later)
        except NewerVersion as error:
            raise NewerPlan(self.id, str(error), error.needs) from error
        return plan

    @of_a_run
    def _read_layout(self) -> Layout:
        """Read the layout of a run whose plan was known, or whose layout is missing in the ledger."""
        text, later = cast("list[str | None]", self._server.client.hmget(self._key("run"), ["layout", "later"]))
        if text is None:
            raise MissingData(self.id, "its layout is missing")
        try:
            return self._merged(self.plan, load_layout(text), later)
        except NewerVersion as error:
            raise NewerPlan(self.id, str(error), error.needs) from error

    def _merged(self, plan: Plan, layout: Layout, later: str | None) -> Layout:
        """Return the layout of the first part with those of the later fan-outs that have begun."""
        begun = [each for each in plan.fan_outs if each.id in (later or "").split()]
        names = [f"layout:{each.id}" for each in begun]
        texts = cast("list[str | None]", self._server.client.hmget(self._key("run"), names) if names else [])
        for fan_out, text in zip(begun, texts, strict=True):
            if text is None:
                raise MissingData(self.id, f"the layout of {fan_out.id} is missing")
            layout = layout.with_later(fan_out, load_layout(text))
        return layout

    def _key(self, name: str) -> str:
        return self._server.key(self.id, name)


def _lost() -> str:
    runs = command_line("runs")
    return f"`{runs}` lists the runs; a broker without persistence forgets them when it restarts"
