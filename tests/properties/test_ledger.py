"""The ledger against a dict: two workers claim, renew, finish and postpone, while time passes and somebody cancels."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from runner.brokers import connect
from runner.language.layout import Layout
from runner.language.plan import Foreach, Item
from runner.ledger.codec import packed
from runner.ledger.entries import Claim, Error, Granted, Postponed
from runner.ledger.ledger import Ledger
from tests.plans import make_collector, make_outcome, make_plan
from tests.servers import Server

PLAN = make_plan(
    "model",
    collectors=(
        make_collector("a"),
        make_collector("p", foreach=Foreach(items=[0, 1, 2])),
    ),
    gather="g",
    stages="s",
)
PAGES = [PLAN.collectors[1].of(Item(index, str(index), index, index // 2)) for index in range(3)]
BY_ID = {step.id: step for step in (PLAN.collectors[0], *PAGES, *PLAN.tail)}
COLLECTORS = ("a", "p[0]", "p[1]", "p[2]")
NEEDS = {**dict.fromkeys(COLLECTORS, ()), "g": COLLECTORS, "s": ("g",)}
STEPS = st.sampled_from(list(NEEDS))
TOKENS = st.sampled_from(["one", "other"])
# Quarters, where time passes in halves: nothing falls due at the very moment that it is looked at, and the milliseconds
# that the test itself takes do not count.
SECONDS = st.integers(5, 60).map(lambda seconds: seconds + 0.25)


def _name(step: str) -> str:
    """What a sweep calls a step: a collector of a batch by that."""
    return BY_ID[step].ref or step


@dataclass
class Model:
    """What the ledger is to know. Times are seconds since the start of the machine."""

    now: float = 0
    status: str = "pending"
    outcomes: dict[str, str] = field(default_factory=dict)
    leases: dict[str, tuple[float, str]] = field(default_factory=dict)
    postponed: dict[str, float] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in {"succeeded", "failed", "cancelled"}

    def claim(self, step: str, token: str, lease: float) -> tuple[str, int, int]:
        until, holder = self.leases.get(step, (0.0, ""))
        if step in self.outcomes:
            return "done", 0, 0
        if self.ended:
            return "cancelled", 0, 0
        if any(need not in self.outcomes for need in NEEDS[step]):
            return "not ready", 0, 0
        if holder == token:
            return "granted", self.attempts[step], self.lost.get(step, 0)
        if until > self.now or self.postponed.get(step, 0) > self.now:
            return "busy", 0, 0
        if holder:
            self.lost[step] = self.lost.get(step, 0) + 1
        self.attempts[step] = self.attempts.get(step, 0) + 1
        self.postponed.pop(step, None)
        self.leases[step] = (self.now + lease, token)
        self.status = "running"
        return "granted", self.attempts[step], self.lost.get(step, 0)


class LedgerAgainstADict(RuleBasedStateMachine):
    """One run; its clock is put forward as the model's is."""

    store: Ledger
    runs = iter(range(1_000_000))

    @initialize()
    def accept(self) -> None:
        self.run_id = f"model-{next(self.runs)}"
        self.store.server.clock_offset = 0.0
        self.model = Model()
        items = [packed((page.item for page in some if page.item), some[0].ref) for some in (PAGES[:2], PAGES[2:])]
        assert self.store.open(self.run_id, PLAN).accept(layout=Layout(counts={"p": 3}, sizes={"p": 2}), items=items)

    @rule(step=STEPS, token=TOKENS, lease=SECONDS)
    def claim(self, step: str, token: str, lease: float) -> None:
        [answer] = self.store.open(self.run_id, PLAN).claim([BY_ID[step]], token=token, worker=token, lease=lease)
        assert _shown(answer) == self.model.claim(step, token, lease)

    @rule(step=STEPS, token=TOKENS, lease=SECONDS)
    def renew(self, step: str, token: str, lease: float) -> None:
        held = self.model.leases.get(step, (0.0, ""))[1] == token and not self.model.ended
        assert self.store.open(self.run_id).renew([step], token=token, lease=lease) == ([step] if held else [])
        if held:
            self.model.leases[step] = (self.model.now + lease, token)

    @rule(step=STEPS, token=TOKENS)
    def abandon(self, step: str, token: str) -> None:
        held = self.model.leases.get(step, (0.0, ""))[1] == token and step not in self.model.outcomes
        released = self.store.open(self.run_id).abandon([step], worker=token)
        assert [(claim.step, claim.attempt) for claim in released] == (
            [(step, self.model.attempts[step])] if held else []
        )
        if held:
            del self.model.leases[step]

    @rule(step=STEPS, token=TOKENS)
    def release(self, step: str, token: str) -> None:
        self.store.open(self.run_id).release([step], token=token)
        if self.model.leases.get(step, (0.0, ""))[1] == token and not self.model.ended:
            del self.model.leases[step]
            self.model.attempts[step] -= 1

    @rule(step=STEPS, status=st.sampled_from(["succeeded", "failed", "timed_out"]), ends=st.booleans())
    def finish(self, *, step: str, status: Any, ends: bool) -> None:
        first = step not in self.model.outcomes and not self.model.ended
        recorded = self.store.open(self.run_id).finish(
            [make_outcome(step, status, step, ref=BY_ID[step].ref)], ends="failed" if ends and step == "s" else None
        )
        assert recorded == ([step] if first else [])
        if first:
            self.model.outcomes[step] = status
            self.model.leases.pop(step, None)
            self.model.postponed.pop(step, None)
        if ends and step == "s" and not self.model.ended:
            self._end("failed")

    @rule(step=STEPS, seconds=SECONDS)
    def postpone(self, step: str, seconds: float) -> None:
        possible = step not in self.model.outcomes and not self.model.ended
        postponed = self.store.open(self.run_id).postpone(
            [Postponed(step=step, error=Error("OSError", "no"), attempt=1, seconds=seconds)]
        )
        assert postponed == ([step] if possible else [])
        if possible:
            self.model.leases.pop(step, None)
            self.model.postponed[step] = self.model.now + seconds

    @rule()
    def cancel(self) -> None:
        expected = self.model.status if self.model.ended else "cancelled"
        assert self.store.open(self.run_id).cancel("by the test") == expected
        if not self.model.ended:
            written = [step for step in NEEDS if step not in self.model.outcomes and "[" not in step]
            self.model.outcomes |= dict.fromkeys(written, "cancelled")
            self._end("cancelled")

    @rule(seconds=st.integers(1, 80))
    def time_passes(self, seconds: int) -> None:
        self.model.now += seconds / 2
        self.store.server.clock_offset = self.model.now

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        assert self.store.open(self.run_id).info().status == self.model.status
        assert {
            step: each.status for step, each in self.store.open(self.run_id).outcomes().items()
        } == self.model.outcomes

    @invariant()
    def a_lost_step_is_swept_and_one_in_good_hands_is_not(self) -> None:
        sweep = self.store.open(self.run_id).sweep(grace=3)
        assert (sweep is None) == self.model.ended
        if sweep is not None:
            gone = {step for step, (until, _) in self.model.leases.items() if until < self.model.now}
            assert sweep.lost == {_name(step) for step in gone}
            assert {_name(step) for step in self.model.leases if step not in gone} <= sweep.held

    @invariant()
    def what_is_left_is_what_has_no_outcome(self) -> None:
        left = {_name(step) for step in COLLECTORS if step not in self.model.outcomes}
        assert set(self.store.open(self.run_id).left()) == left
        missing = [step for step in COLLECTORS if self.model.outcomes.get(step, "succeeded") != "succeeded"]
        assert self.store.open(self.run_id, PLAN).absent() == missing
        ended = Counter(self.model.outcomes[step] for step in COLLECTORS[1:] if step in self.model.outcomes)
        assert self.store.open(self.run_id).tally().get("p", {}) == ended

    def _end(self, status: str) -> None:
        self.model.status = status
        self.model.leases.clear()
        self.model.postponed.clear()


def _shown(claim: Claim) -> tuple[str, int, int]:
    return ("granted", claim.attempt, claim.lost) if isinstance(claim, Granted) else (claim.why, 0, 0)


def test_the_ledger_does_what_a_dict_does(valkey: Server) -> None:
    client = connect(valkey.url)
    LedgerAgainstADict.store = Ledger(client, ttl=600)
    run_state_machine_as_test(
        LedgerAgainstADict,
        settings=settings(
            max_examples=100,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
    client.close()
