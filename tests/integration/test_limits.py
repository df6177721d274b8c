"""Limits of a source in real runs: real workers, a real server that says when to come back, and the command that shows them."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.ledger.entries import Event
from runner.runs.session import open_ledger
from runner.settings import read_settings
from tests.command_line import ROOT, Answer, runner
from tests.http_server import Server as Source
from tests.http_server import serve
from tests.integration.test_max_concurrency import begun, most_at_once
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "workflows" / "crowded.py", tmp_path)
    return tmp_path


@pytest.fixture
def source() -> Iterator[Source]:
    with serve({"/news": {"title": "a"}}) as server:
        yield server


def run(folder: Path, limit: Any, *collectors: dict[str, Any], **keys: Any) -> Answer:
    file = write_workflow(
        folder / "polite.yaml", name="polite", limits={"shop": limit}, collectors=list(collectors), **keys
    )
    words = ("--json", "--run-id", "polite", "--concurrency", "4")
    return runner("run", str(file), *words, CROWDED_JOURNAL=str(folder / "journal"))


def crowd(task: str, number: int, **keys: Any) -> dict[str, Any]:
    arguments = {"name": "${{ string(item) }}", "seconds": 0.05}
    return yaml_step("a", task, arguments, foreach=f"${{{{ range({number}) }}}}", limits="shop", **keys)


def page(source: Source, target: str, number: int, **keys: Any) -> dict[str, Any]:
    address = {"url": source.url(target)}
    return yaml_step("page", "http.get", address, foreach=f"${{{{ range({number}) }}}}", limits="shop", **keys)


def events(name: str) -> list[Event]:
    with open_ledger(read_settings()) as ledger:
        return [each for each in ledger.open("polite").events() if each.event == name]


@pytest.mark.parametrize("task", ["crowded.work", "crowded.work_later"])
def test_two_at_once_and_ten_a_second(task: str, folder: Path) -> None:
    """As a new user said it: 600 items of `http.get` were 240 requests at once, and there was no way to say "two at once"."""
    answer = run(folder, {"concurrency": 2, "rate": "10/s"}, crowd(task, 20), include=["crowded"])

    assert answer.json["result"] == [str(number) for number in range(20)], answer.stderr
    assert most_at_once(folder) <= 2
    times = sorted(float(line.split()[0]) for line in (folder / "journal").read_text().splitlines() if "begin" in line)
    assert times[-1] - times[0] >= 1.9 - 0.1  # of the clock of the worker, which is not the ledger's
    assert set(begun(folder).values()) == {1}


def test_collectors_gather_stage_and_hook_share_a_limit(folder: Path) -> None:
    """Each kind of step waits, and none counts it as an attempt."""
    step: dict[str, Any] = {"limits": ["shop"]}
    answer = run(
        folder,
        {"rate": "2/1s"},
        *(yaml_step(name, "crowded.work", {"name": name, "seconds": 0}, **step) for name in ("a", "b")),
        gather={"task": "gather.concat", **step},
        stages=[yaml_step("count", "records.count", **step)],
        hooks={"finally": [yaml_step("said", "crowded.work", {"name": "said", "seconds": 0}, **step)]},
        include=["crowded"],
    )

    assert answer.json["status"] == "succeeded", answer.stderr
    with open_ledger(read_settings()) as ledger:
        outcomes = ledger.open("polite").outcomes()
    assert {each.attempts for each in outcomes.values()} == {1}
    assert len(outcomes) == 5
    times = sorted(each.started_at or 0 for each in outcomes.values())
    assert times[-1] - times[0] >= 2 - 0.7  # a start is granted at most half a second before
    assert {"count", "said"} <= {each.step for each in events("limited")}


@pytest.mark.parametrize("number", [6, 40])
def test_an_answer_that_says_when_to_come_back_holds_all_others_back(
    number: int,
    folder: Path,
    source: Source,
) -> None:
    """IntelOwl #3553, Hatchet #4880: one hears it, and all wait; no retry is used up, as there is none."""
    began = time.monotonic()
    answer = run(folder, {"concurrency": 1}, page(source, "/news?fail=1&status=429&retry_after=1", number))

    assert answer.json["status"] == "succeeded", answer.stderr
    assert time.monotonic() - began >= 1
    assert len(source.requests) == number + 1
    assert "shop: http_429" in {each.message for each in events("limited")}
    assert not events("postponed")


def test_an_answer_that_asks_for_too_long_fails_the_collector_at_once_and_says_so(folder: Path, source: Source) -> None:
    """No run waits an hour in silence."""
    answer = run(folder, {}, page(source, "/news?fail=9&status=429&retry_after=3600", 1, retry=3))

    assert answer.json["status"] == "failed"
    assert "it asks to wait 1h, and the limit shop allows 15m, its cooldown.max" in answer.stderr
    assert len(source.requests) == 1


def test_a_breaker_leaves_a_source_alone_that_only_fails(folder: Path, source: Source) -> None:
    limit = {"concurrency": 1, "breaker": {"failures": 3, "open_for": "500ms"}}
    began = time.monotonic()
    answer = run(folder, limit, page(source, "/status/404", 6), gather={"task": "gather.concat", "min_success": 0})

    assert answer.json["status"] == "partial", answer.stderr
    assert len(source.requests) == 6
    assert time.monotonic() - began >= 3 * 0.5  # after the third, and after each that tried alone
    assert "shop: 3 failures in a row" in {each.message for each in events("limited")}


def test_each_value_of_a_key_has_a_limit_of_its_own(folder: Path) -> None:
    limit = {"concurrency": 1, "key": "${{ item.owner }}"}
    items = [{"owner": owner, "name": f"{owner}{number}"} for owner in ("ann", "bob") for number in range(4)]
    step = yaml_step("a", "crowded.work", {"name": "${{ item.name }}", "seconds": 0.2}, foreach=items, limits="shop")
    answer = run(folder, limit, {**step, "batch": 1}, include=["crowded"])

    assert answer.json["result"] == [item["name"] for item in items], answer.stderr
    assert most_at_once(folder) == 2
    shown = runner("limits", "--json").json["limits"]
    assert [each["limit"] for each in shown] == ["shop=ann", "shop=bob"]


def test_a_key_that_cannot_be_worked_out_fails_its_collector_alone(folder: Path) -> None:
    limit = {"concurrency": 1, "key": "${{ item.owner }}"}
    items = [{"owner": "ann"}, {"name": "bob"}]
    step = yaml_step("a", "crowded.work", {"name": "x", "seconds": 0}, foreach={"items": items}, limits="shop")
    answer = run(folder, limit, step, include=["crowded"], gather={"task": "gather.concat", "min_success": 1})

    assert answer.json["status"] == "partial", answer.stderr
    assert "a[1]" in answer.stderr
    assert "owner" in answer.stderr


def test_an_operator_pauses_changes_and_opens_a_limit(folder: Path) -> None:
    assert runner("limits").stdout.startswith("no limits")
    assert runner("limits", "pause", "shop", "--for", "2s").code == 0
    assert "paused for " in runner("limits").stdout

    began = time.monotonic()
    answer = run(folder, {"rate": "100/s"}, crowd("crowded.work", 3), include=["crowded"])
    assert answer.json["status"] == "succeeded", answer.stderr
    assert time.monotonic() - began >= 1

    assert runner("limits", "set", "shop", "--concurrency", "1", "--rate", "50/1m").code == 0
    told = runner("limits").stdout.splitlines()
    assert told[0].split() == ["LIMIT", "RATE", "CONCURRENCY", "USED", "FREE", "STATE"]
    assert told[1].split() == ["shop", "100/1s,", "50/1m", "(set)", "1", "(set)", "0", "1", "open"]
    (folder / "journal").unlink()
    answer = runner("run", str(folder / "polite.yaml"), "--json", CROWDED_JOURNAL=str(folder / "journal"))
    assert answer.json["status"] == "succeeded", answer.stderr
    assert most_at_once(folder) == 1
    assert runner("limits", "set", "shop", "--clear").code == 0
    assert "(set)" not in runner("limits").stdout
    assert runner("limits", "pause", "shop").code == 0
    assert runner("limits", "--json").json["limits"][0]["paused"] is True
    assert runner("limits", "resume", "shop").code == 0
    assert runner("limits", "--json").json["limits"][0]["free"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pause", "Shop"), "is no name of a limit"),
        (("pause", "shop", "--for", "soon"), "write 30s, 5m or 1h30m"),
        (("set", "shop"), "give --rate or --concurrency, or --clear"),
        (("set", "shop", "--rate", "5"), "write 30/1m, 5/s or 5000/1h"),
    ],
)
def test_what_cannot_be_done_to_a_limit_is_said(words: tuple[str, ...], said: str) -> None:
    answer = runner("limits", *words)
    assert answer.code == 2
    assert said in answer.stderr


def test_a_run_that_waits_for_a_limit_is_shown_so(folder: Path) -> None:
    """Apart from one that waits for a worker, and from one that works: in progress, in `show`, in its JSON."""
    assert runner("limits", "pause", "shop").code == 0
    one = yaml_step("one", "crowded.work", {"name": "one", "seconds": 0}, limits="shop")
    file = write_workflow(
        folder / "polite.yaml",
        name="polite",
        include=["crowded"],
        limits={"shop": {}},
        collectors=[one, crowd("crowded.work", 10)],
    )
    answer = runner("run", str(file), "--run-id", "polite", "--timeout", "3", CROWDED_JOURNAL=str(folder / "journal"))
    assert answer.code == 5
    assert "for the limit shop: paused" in answer.stderr
    shown = runner("show", "polite").stdout
    assert "one limited by shop" in shown, shown
    assert "10 collectors limited by shop" in shown, shown
    steps = {each["id"]: each for each in runner("show", "polite", "--json").json["steps"]}
    assert steps["one"]["status"] == "limited"
    assert steps["a"]["statuses"] == {"limited": 10}
    assert runner("cancel", "polite").code == 0


def test_a_dry_run_says_how_long_the_rates_make_it_last(folder: Path) -> None:
    file = write_workflow(
        folder / "polite.yaml",
        name="polite",
        include=["crowded"],
        limits={"shop": {"rate": ["2/1s", "60/1m"], "burst": 10}},
        collectors=[crowd("crowded.work", 100)],
    )
    assert "shop: at least 1m30s from the first start to the last" in runner("run", str(file), "--dry-run").stdout
    assert runner("run", str(file), "--dry-run", "--json").json["limits"] == {"shop": {"least_s": 90.0}}
