"""Commands that are executed, and whose answers are lost: what is asked again has been done once."""

import random
from collections.abc import Callable
from typing import Any, TypeVar

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.brokers import connect
from runner.language.plan import Step
from runner.ledger.entries import Error, Granted, Postponed
from runner.ledger.ledger import Ledger
from runner.ledger.scripts import ACCEPT, CANCEL, CLAIM, FINISH, POSTPONE, RENEW
from tests.plans import answer_of, make_outcome, make_plan
from tests.servers import Server

Answer = TypeVar("Answer")

PLAN = make_plan("lost", collectors="a b", gather="g")
A, B = PLAN.collectors


class Forgetful:
    """A client that executes every command, and then says of many that the connection broke.

    Args:
        seed: of the choice; a test prints it when it fails.
    """

    def __init__(self, client: redis.Redis, seed: int) -> None:
        self.client = client
        self.chance = random.Random(seed)
        self.execute: Any = client.execute_command
        setattr(client, "execute_command", self.lose)  # noqa: B010 - mypy forbids the other way

    def lose(self, *words: Any, **options: Any) -> Any:
        answer = self.execute(*words, **options)
        if self.chance.random() < 0.5:
            raise redis.ConnectionError(f"the answer to {words[0]} is lost")
        return answer

    def ask(self, call: Callable[[], Answer]) -> Answer:
        """The same call until it is answered, as a redelivered message makes it."""
        while True:
            try:
                return call()
            except redis.ConnectionError:
                continue


def test_every_transition_of_the_ledger_may_be_asked_for_again(valkey: Server) -> None:
    numbers = iter(range(10_000))

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(st.integers(0, 2**32))
    def holds(seed: int) -> None:
        plain = Ledger(connect(valkey.url), ttl=60)
        forgetful = Forgetful(connect(valkey.url), seed)
        store, ask, run_id = Ledger(forgetful.client, ttl=60), forgetful.ask, f"lost-{next(numbers)}"
        scripts = [store.server.script(text) for text in (ACCEPT, CLAIM, FINISH, POSTPONE, RENEW, CANCEL)]
        assert all(script.registered_client is forgetful.client for script in scripts)

        def claim(step: Step, token: str) -> tuple[str, int]:
            [answer] = ask(lambda: store.open(run_id, PLAN).claim([step], token=token, worker="w", lease=30))
            return answer_of(answer), answer.attempt if isinstance(answer, Granted) else 0

        ask(lambda: store.open(run_id, PLAN).accept())
        assert claim(A, "one") == ("granted", 1)
        assert claim(A, "other") == ("busy", 0)
        assert ask(lambda: store.open(run_id).renew(["a"], token="one", lease=30)) == ["a"]
        ask(lambda: store.open(run_id).finish([make_outcome("a", "succeeded", "first", ref="a")]))
        ask(lambda: store.open(run_id).finish([make_outcome("a", "succeeded", "second", ref="a")]))
        assert claim(B, "one") == ("granted", 1)
        ask(
            lambda: store.open(run_id).postpone(
                [Postponed(step="b", error=Error("OSError", "no"), attempt=1, seconds=60)]
            )
        )
        assert claim(B, "one") == ("busy", 0)
        ask(lambda: store.open(run_id).finish([make_outcome("b", "succeeded", 2, ref="b")]))
        assert claim(PLAN.fan_outs[0].gather, "one") == ("granted", 1)
        ask(lambda: store.open(run_id).finish([make_outcome("g", "succeeded", 3)], ends="succeeded"))
        assert ask(lambda: store.open(run_id).cancel("too late")) == "succeeded"

        assert [plain.open(run_id).value(step) for step in ("a", "b", "g")] == ["first", 2, 3]
        story = [(event.event, event.step) for event in plain.open(run_id).follow() if event]
        assert [story.count(each) for each in (("accepted", ""), ("finished", "a"), ("ended", ""))] == [1, 1, 1]
        plain.client.close()
        forgetful.client.close()

    holds()
