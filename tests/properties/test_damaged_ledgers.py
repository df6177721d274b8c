"""Any data in the ledger to a command that prints a line and exits with a documented code; other runs are unchanged."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner import cli
from runner.brokers import connect
from runner.language.layout import Layout
from runner.language.plan import Foreach, Item
from runner.ledger.codec import packed
from runner.ledger.entries import Error, Postponed
from runner.ledger.ledger import Ledger
from runner.ledger.prelude import KEYS
from tests.plans import make_collector, make_outcome, make_plan
from tests.servers import Server

A = make_collector("a")
PAGE = make_collector("page", foreach=Foreach(items=["v", "w"]))
PLAN = make_plan(collectors=(A, PAGE), gather="fan_in", stages="first")
PAGES = [PAGE.of(Item(value, str(index), index)) for index, value in enumerate("vw")]

COMMANDS = [
    ("runs",),
    ("runs", "--json"),
    ("show", "bad"),
    ("show", "bad", "--json"),
    ("show", "bad", "--step", "page"),
    ("show", "bad", "--step", "page", "--status", "failed"),
    ("show", "bad", "--step", "page[0]"),
    ("show", "bad", "--step", "first", "--json"),
    ("cancel", "bad"),
    ("forget", "bad"),
    ("show", "good", "--json"),
]
DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda text: text[: len(text) // 2],
    lambda text: text[:-1],
    lambda text: text.replace(b'"', b"\xff"),
    lambda text: text.replace(b"s", b"\xc3"),
    lambda _: b"",
    lambda _: b"null",
    lambda _: b"7",
    lambda _: b"nan",
    lambda _: b"[]",
    lambda _: b"{}",
    lambda _: b'["succeeded"]',
    lambda _: b'[0,null,"ab"]',
    lambda _: b'"\\ud800"',
    lambda _: b"[" * 5000,
    lambda _: b"a b c d e f g",
]


def fill(ledger: Ledger, run_id: str, *, ended: bool) -> None:
    """A run that has something under each of its keys."""
    items = [packed([page.item for page in PAGES if page.item], "page/0")]
    assert ledger.open(run_id, PLAN).accept(layout=Layout(counts={"page": 2}, sizes={"page": 2}), items=items)
    ledger.open(run_id, PLAN).claim([A, *PAGES], token="t", worker="w", lease=60)
    failed = make_outcome("page[0]", "failed", error=Error("OSError", "no", "Traceback"), ref="page/0")
    ledger.open(run_id).finish([failed, make_outcome("a", "succeeded", {"x": 1}, ref="a")])
    ledger.open(run_id).postpone([Postponed(step="page[1]", error=Error("OSError", "no"), attempt=1, seconds=60)])
    ledger.open(run_id).park("first", "waits for a worker", seconds=60, limit=60)
    if ended:
        ledger.open(run_id).finish([make_outcome("first", "succeeded", 1)], ends="partial", cause="page[0] failed")


def damaged(client: Any, key: str, damage: Callable[[bytes], bytes], choice: int) -> None:
    """Damage one value of a key, or write a text there if it is empty."""
    kind = client.type(key)
    if kind == b"hash":
        fields = sorted(client.hkeys(key))
        field = fields[choice % len(fields)]
        client.hset(key, field, damage(client.hget(key, field)))
    elif kind == b"string":
        client.set(key, damage(client.get(key)), ex=600)
    elif kind == b"stream":
        client.xadd(key, {b"event": damage(b"finished"), b"at": damage(b"1")})
    else:
        client.set(key, damage(b"x"), ex=600)


def command(*words: str) -> tuple[int, str]:
    """The exit code of a command, and all that it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    code = ended.value.code
    assert isinstance(code, int)
    return code, said.getvalue()


def test_no_command_fails_over_a_damaged_run_or_is_kept_from_another_run(
    valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """724 of 2,730 calls ended with "a bug in runner"."""
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    raw = connect(valkey.url, decode_responses=False)
    ledger = Ledger(connect(valkey.url), ttl=600)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(
        words=st.sampled_from(COMMANDS),
        name=st.sampled_from(KEYS),
        damage=st.sampled_from(DAMAGES),
        choice=st.integers(0, 20),
        replaced=st.booleans(),
        ended=st.booleans(),
    )
    def holds(
        *,
        words: tuple[str, ...],
        name: str,
        damage: Callable[[bytes], bytes],
        choice: int,
        replaced: bool,
        ended: bool,
    ) -> None:
        raw.flushdb()
        fill(ledger, "good", ended=True)
        fill(ledger, "bad", ended=ended)
        key = f"runner:{{bad}}:{name}"
        if replaced:
            raw.delete(key)
        damaged(raw, key, damage, choice)

        code, said = command(*words)

        assert code in {0, 2, 7}, said
        assert "a bug in runner" not in said
        assert "good" in command("runs")[1]
        assert command("forget", "good")[0] == 0
        assert command("cancel", "bad")[0] in {0, 7}  # 7: it has been forgotten
        assert command("forget", "bad")[0] in {0, 7}
        assert raw.keys("*{bad}*") == []

    holds()
