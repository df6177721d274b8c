"""The ledger on a real Valkey: each transition is atomic, and the first write wins."""

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from runner.brokers import connect
from runner.errors import UnknownRun
from runner.language.layout import Layout
from runner.language.plan import Foreach, Item, Retry, Step
from runner.ledger import run_reader
from runner.ledger.codec import packed
from runner.ledger.damage import MissingData, UnreadableRun
from runner.ledger.entries import Error, Follows, Postponed, Refused
from runner.ledger.ledger import Ledger
from runner.ledger.run_reader import FanInTooLarge
from tests.plans import answer_of, change_plan, granted, make_collector, make_outcome, make_plan

PLAN = make_plan(
    collectors=(make_collector("a"), make_collector("b", retry=Retry(max_retries=2))),
    gather="fan_in",
    stages="first second",
    inputs={"topic": "x", "token": "s3cret"},
    secrets=("token",),
)
A, B = PLAN.collectors
FIRST, SECOND = PLAN.tail[1:]


@pytest.fixture
def ledger(valkey: Any) -> Iterator[Ledger]:
    client = connect(valkey.url)
    yield Ledger(client, ttl=60)
    client.close()


@pytest.fixture
def accepted(ledger: Ledger) -> Ledger:
    assert ledger.open("run-1", PLAN).accept()
    return ledger


def claim(ledger: Ledger, step: Step, *, token: str = "one", lease: float = 30) -> str:
    return answer_of(*ledger.open("run-1", PLAN).claim([step], token=token, worker="w1", lease=lease))


def succeed(ledger: Ledger, step: Step, value: object = 1) -> list[str]:
    return ledger.open("run-1").finish([make_outcome(step.id, "succeeded", value, ref=step.ref)])


def test_an_accepted_run_is_pending_and_in_the_history(accepted: Ledger) -> None:
    assert [(run.id, run.workflow, run.status) for run in accepted.runs()] == [("run-1", "news", "pending")]


def test_the_ledger_returns_the_plan_as_it_was_accepted(accepted: Ledger) -> None:
    assert accepted.open("run-1").plan == PLAN


def test_accepting_the_same_run_id_again_changes_nothing(accepted: Ledger) -> None:
    claim(accepted, A)
    assert not accepted.open("run-1", PLAN).accept()
    assert accepted.open("run-1").info().status == "running"


def test_a_secret_input_is_not_in_the_record_of_a_run(accepted: Ledger) -> None:
    assert accepted.open("run-1").info().inputs == {"topic": "x", "token": "***"}


def test_the_first_claim_starts_the_run(accepted: Ledger) -> None:
    assert claim(accepted, A) == "granted"
    assert accepted.open("run-1").info().started_at is not None


def test_a_leased_step_is_busy_for_everyone_else(accepted: Ledger) -> None:
    claim(accepted, A)
    [answer] = accepted.open("run-1", PLAN).claim([A], token="other", worker="w2", lease=30)
    assert isinstance(answer, Refused)
    assert answer.why == "busy"
    assert 0 < answer.wait <= 30


def test_a_step_whose_lease_has_expired_is_anyones_and_counts_an_attempt(accepted: Ledger) -> None:
    claim(accepted, A, lease=0.02)
    time.sleep(0.03)
    [answer] = accepted.open("run-1", PLAN).claim([A], token="other", worker="w2", lease=30)
    assert granted(answer).attempt == 2


def test_a_claim_that_is_repeated_is_answered_as_the_first_time(accepted: Ledger) -> None:
    """The connection may break after the server has done it: redis-py then sends the command again."""
    answers = [accepted.open("run-1", PLAN).claim([A], token="one", worker="w1", lease=30)[0] for _ in range(2)]
    assert [granted(answer).attempt for answer in answers] == [1, 1]


def test_a_lease_is_renewed_by_its_holder_alone(accepted: Ledger) -> None:
    claim(accepted, A)
    assert accepted.open("run-1").renew(["a"], token="one", lease=30) == ["a"]
    assert accepted.open("run-1").renew(["a"], token="other", lease=30) == []


def test_several_steps_are_claimed_at_once(accepted: Ledger) -> None:
    answers = accepted.open("run-1", PLAN).claim([A, B], token="one", worker="w1", lease=30)
    assert [(each.step, answer_of(each)) for each in answers] == [("a", "granted"), ("b", "granted")]


def test_the_first_outcome_wins(accepted: Ledger) -> None:
    claim(accepted, A)
    assert succeed(accepted, A, "first") == ["a"]
    assert succeed(accepted, A, "second") == []
    assert accepted.open("run-1").value("a") == "first"


def test_a_finished_step_is_done(accepted: Ledger) -> None:
    succeed(accepted, A)
    assert claim(accepted, A) == "done"


def test_the_gather_is_not_ready_until_every_collector_has_an_outcome(accepted: Ledger) -> None:
    succeed(accepted, A)
    assert claim(accepted, PLAN.fan_outs[0].gather) == "not ready"
    succeed(accepted, B)
    assert claim(accepted, PLAN.fan_outs[0].gather) == "granted"


def test_an_outcome_recorded_twice_counts_once_for_the_gather(accepted: Ledger) -> None:
    succeed(accepted, A)
    succeed(accepted, A)
    assert claim(accepted, PLAN.fan_outs[0].gather) == "not ready"


def test_a_stage_is_not_ready_until_the_step_before_has_an_outcome(accepted: Ledger) -> None:
    assert claim(accepted, SECOND) == "not ready"
    succeed(accepted, FIRST)
    assert claim(accepted, SECOND) == "granted"


def test_a_postponed_step_is_busy_until_its_time(accepted: Ledger) -> None:
    claim(accepted, B)
    assert accepted.open("run-1").postpone(
        [Postponed(step="b", error=Error("OSError", "no"), attempt=1, seconds=0.05)]
    ) == ["b"]
    assert claim(accepted, B, token="other") == "busy"
    time.sleep(0.06)
    assert claim(accepted, B, token="other") == "granted"


def test_collected_values_are_in_the_order_of_the_plan_without_those_that_are_missing(accepted: Ledger) -> None:
    succeed(accepted, B, None)
    accepted.open("run-1").finish([make_outcome("a", "failed", ref="a", error=Error("OSError", "no"))])
    assert list(accepted.open("run-1").collected(PLAN.collectors, absent=["a"])) == [None]
    assert accepted.open("run-1", PLAN).absent() == ["a"]


def test_collected_values_beyond_the_limit_are_refused(accepted: Ledger) -> None:
    succeed(accepted, A, "x" * 100)
    succeed(accepted, B)
    with pytest.raises(FanInTooLarge):
        list(accepted.open("run-1").collected(PLAN.collectors, limit=99))


def test_an_outcome_comes_back_with_its_error(accepted: Ledger) -> None:
    told = make_outcome(
        "a",
        "failed",
        ref="a",
        error=Error("OSError", "no", "Traceback"),
        attempts=2,
        started_at=1.5,
        finished_at=2.5,
        worker="w1",
    )
    accepted.open("run-1").finish([told])
    assert accepted.open("run-1").outcome("a") == replace(told, ref="")
    assert accepted.open("run-1").outcomes() == {"a": replace(told, ref="")}


def test_an_ended_run_takes_no_more_outcomes(accepted: Ledger) -> None:
    accepted.open("run-1").finish([], ends="failed", cause="why")
    assert succeed(accepted, A) == []
    run = accepted.open("run-1").info()
    assert (run.status, run.cause) == ("failed", "why")


def test_a_collector_that_ends_after_the_deadline_stays_late_with_its_value(accepted: Ledger) -> None:
    accepted.open("run-1").finish([make_outcome("a", "late", ref="a", attempts=1, started_at=1.5, worker="w1")])
    answered = make_outcome("a", "succeeded", 7, attempts=1, started_at=1.5, finished_at=9.5, worker="w1")
    assert accepted.open("run-1").finish([answered]) == []
    assert accepted.open("run-1").outcome("a") == replace(answered, status="late")
    assert claim(accepted, A) == "done"


def test_the_first_late_answer_wins(accepted: Ledger) -> None:
    accepted.open("run-1").finish([make_outcome("a", "late", ref="a")])
    failed = make_outcome(
        "a", "failed", ref="a", error=Error("OSError", "no"), attempts=1, started_at=1.5, finished_at=9.5
    )
    accepted.open("run-1").finish([failed], ends="failed")
    accepted.open("run-1").finish([make_outcome("a", "succeeded", 7, attempts=2, started_at=3.5, finished_at=9.75)])
    assert accepted.open("run-1").outcome("a") == replace(failed, status="late", ref="")


def test_leased_steps_are_returned_with_the_seconds_that_are_left(accepted: Ledger) -> None:
    claim(accepted, A)
    claim(accepted, B, lease=0.02)
    time.sleep(0.03)
    [(step, seconds)] = accepted.open("run-1").leased().items()
    assert step == "a"
    assert 0 < seconds <= 30


def test_no_step_of_a_cancelled_run_starts(accepted: Ledger) -> None:
    claim(accepted, B)
    assert accepted.open("run-1").cancel("by hand") == "cancelled"
    assert claim(accepted, A) == "done"
    assert {outcome.status for outcome in accepted.open("run-1").outcomes().values()} == {"cancelled"}


def test_cancelling_a_run_keeps_the_outcomes_of_what_succeeded(accepted: Ledger) -> None:
    succeed(accepted, A, 7)
    accepted.open("run-1").cancel("by hand")
    assert accepted.open("run-1").value("a") == 7


def test_cancelling_a_run_twice_gives_the_same_answer(accepted: Ledger) -> None:
    assert [accepted.open("run-1").cancel("once"), accepted.open("run-1").cancel("twice")] == ["cancelled", "cancelled"]
    assert accepted.open("run-1").info().cause == "once"


def test_cancelling_a_run_that_has_ended_changes_nothing(accepted: Ledger) -> None:
    accepted.open("run-1").finish([], ends="succeeded")
    assert accepted.open("run-1").cancel("too late") == "succeeded"


def test_the_events_of_a_run_tell_every_transition(accepted: Ledger) -> None:
    claim(accepted, A)
    succeed(accepted, A)
    accepted.open("run-1").cancel("enough")
    story = [(event.event, event.step, event.status) for event in accepted.open("run-1").follow() if event]
    assert story[:3] == [("accepted", "", ""), ("started", "a", ""), ("finished", "a", "succeeded")]
    assert story[-1] == ("ended", "", "cancelled")


def test_followers_of_a_run_get_events_in_batches_and_the_end_at_once(
    accepted: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test would take an hour if the end did not wake it."""
    monkeypatch.setattr(run_reader, "FOLLOW_EVERY", 3600)
    accepted.client.config_resetstat()
    followed = accepted.open("run-1").follow()
    assert next(followed)

    def work() -> None:
        for step in (A, B):
            claim(accepted, step)
            succeed(accepted, step)
        accepted.open("run-1").cancel("enough")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work)
        story = [event.event for event in followed if event]
    assert story[:4] == ["started", "finished", "started", "finished"]
    assert story[-1] == "ended"
    reads = accepted.client.info("commandstats")["cmdstat_xread"]["calls"]
    assert reads <= 5  # two of the story and one of the end, of which two may have waited, and count twice then


def test_followers_of_a_run_that_is_resumed_see_it_to_its_second_end(accepted: Ledger) -> None:
    accepted.open("run-1").cancel("enough")
    accepted.open("run-1", PLAN).reopen(fan_out=PLAN.fan_outs[0], tail=PLAN.tail)
    followed = accepted.open("run-1").follow()
    assert [event.event for event in islice(followed, 4) if event] == ["resumed"]
    accepted.open("run-1").cancel("again")
    assert [event.event for event in followed if event][-1] == "ended"


def test_a_sweep_looks_at_the_runs_that_have_not_ended(ledger: Ledger) -> None:
    for number in range(250):
        ledger.open(f"run-{number}", PLAN).accept()
    ledger.open("run-7").cancel("enough")
    sweeps = ledger.sweeps([*ledger.active(), "unknown"], grace=3)
    assert sweeps.keys() == {f"run-{number}" for number in range(250)} - {"run-7"}
    assert sweeps["run-249"] == ledger.open("run-249").sweep(grace=3)


def test_a_run_that_has_been_resumed_since_stays_active(ledger: Ledger) -> None:
    for run_id in ("run-1", "run-2"):
        ledger.open(run_id, PLAN).accept()
        ledger.open(run_id).cancel("enough")
    seen = ledger.active()
    ledger.open("run-2", PLAN).reopen(fan_out=PLAN.fan_outs[0], tail=PLAN.tail)
    ledger.retire(seen)
    assert ledger.active().keys() == {"run-2"}


def test_the_deadline_of_the_collectors_counts_from_the_first_that_starts(ledger: Ledger) -> None:
    def left() -> float:
        sweep = ledger.open("run-1").sweep(grace=3)
        assert sweep is not None
        return round(sweep.left)

    ledger.open("run-1", change_plan(PLAN, deadline=90)).accept()
    ledger.server.clock_offset += 10
    assert left() == 90
    claim(ledger, A, lease=3600)
    ledger.server.clock_offset += 10
    assert left() == 80
    ledger.server.clock_offset += 100
    assert left() == -20
    for step in (A, B):
        succeed(ledger, step)
    sweep = ledger.open("run-1").sweep(grace=3)
    assert sweep is not None
    assert sweep.left == math.inf


def test_every_key_of_the_ledger_expires(accepted: Ledger) -> None:
    claim(accepted, A)
    claim(accepted, B)
    accepted.open("run-1").postpone([Postponed(step="b", error=Error("OSError", "no"), attempt=1, seconds=9)])
    succeed(accepted, A)
    accepted.open("run-1").cancel("enough")
    keys = accepted.client.keys()
    assert [key for key in keys if accepted.client.ttl(key) <= 0] == []


def test_all_keys_of_a_run_are_in_one_hash_slot(accepted: Ledger) -> None:
    claim(accepted, A)
    keys = accepted.client.keys()
    assert sorted(key for key in keys if "{run-1}" not in key) == ["runner:active", "runner:clock", "runner:runs"]


# Collectors with `foreach`: five pages, two to a message.

WIDE = change_plan(PLAN, collectors=(A, make_collector("page", foreach=Foreach(items=list("vwxyz")))))
LAYOUT = Layout(counts={"page": 5}, sizes={"page": 2})
PAGES = [WIDE.collectors[1].of(Item(value, str(index), index, index // 2)) for index, value in enumerate("vwxyz")]


@pytest.fixture
def wide(ledger: Ledger) -> Ledger:
    items = [packed((page.item for page in PAGES[at : at + 2] if page.item), f"page/{at // 2}") for at in (0, 2, 4)]
    assert ledger.open("run-1", WIDE).accept(layout=LAYOUT, items=items)
    return ledger


def claims(
    ledger: Ledger, steps: list[Step], *, token: str = "one", alone: bool = True, lease: float = 30
) -> list[str]:
    claimed = ledger.open("run-1", WIDE).claim(steps, token=token, worker=token, lease=lease, alone=alone)
    return [answer_of(each) for each in claimed]


def end(ledger: Ledger, step: Step, status: Any = "succeeded") -> None:
    error = None if status == "succeeded" else Error("OSError", "no")
    ledger.open("run-1").finish([make_outcome(step.id, status, step.id, error=error, ref=step.ref)])


def lose(ledger: Ledger, steps: list[Step], times: int) -> None:
    """Let this many workers claim these steps and then vanish."""
    for time_ in range(times):
        claims(ledger, steps, token=f"lost-{time_}", lease=1)
        ledger.server.clock_offset += 2


def test_a_batch_gives_its_collectors_in_order(wide: Ledger) -> None:
    assert [wide.open("run-1", WIDE).steps(ref) for ref in LAYOUT.refs_of(WIDE.fan_outs[0])] == [
        [A],
        PAGES[:2],
        PAGES[2:4],
        PAGES[4:],
    ]
    assert list(wide.open("run-1").ids(WIDE.collectors)) == [["a"], [page.id for page in PAGES]]


@pytest.mark.parametrize("ref", ["page", "page/3", "page/x", "a/0", "nobody", ""])
def test_a_ref_that_the_run_does_not_have_is_an_error_of_ours(wide: Ledger, ref: str) -> None:
    with pytest.raises(UnknownRun):
        wide.open("run-1", WIDE).steps(ref)


def test_the_keys_of_items_come_back(ledger: Ledger) -> None:
    plan = change_plan(WIDE, collectors=(replace(WIDE.collectors[1], foreach=Foreach(items="…", key="…")),))
    items = [Item({"n": 1}, "a b", 0), Item({"n": 2}, "]", 1)]
    layout = Layout(counts={"page": 2}, sizes={"page": 2})
    ledger.open("run-1", plan).accept(layout=layout, items=[packed(items, "page/0")])
    assert [step.item for step in ledger.open("run-1", plan).steps("page/0")] == items
    assert list(ledger.open("run-1").ids(plan.collectors)) == [["page[a b]", "page[]]"]]


def test_a_batch_is_left_until_its_last_collector_has_ended(wide: Ledger) -> None:
    end(wide, PAGES[0])
    assert set(wide.open("run-1").left()) == {"a", "page/0", "page/1", "page/2"}
    end(wide, PAGES[1], "failed")
    assert set(wide.open("run-1").left()) == {"a", "page/1", "page/2"}
    assert wide.open("run-1").tally() == {"page": {"succeeded": 1, "failed": 1}}
    assert wide.open("run-1", WIDE).absent() == ["page[1]"]


def test_the_gather_waits_for_every_collector_of_every_batch(wide: Ledger) -> None:
    for step in [A, *PAGES[:4]]:
        end(wide, step)
    assert claims(wide, [WIDE.fan_outs[0].gather]) == ["not ready"]
    end(wide, PAGES[4])
    assert claims(wide, [WIDE.fan_outs[0].gather]) == ["granted"]
    assert list(wide.open("run-1").collected(WIDE.collectors)) == ["a", *(page.id for page in PAGES)]


def test_what_happens_to_a_batch_at_once_is_one_event(wide: Ledger) -> None:
    claims(wide, PAGES[:2])
    error = Error("OSError", "no")
    wide.open("run-1").postpone([Postponed(step=page.id, error=error, attempt=1, seconds=9) for page in PAGES[:2]])
    wide.open("run-1").finish([make_outcome(page.id, "failed", error=error, ref=page.ref) for page in PAGES[2:4]])
    told = [(each.event, each.step, each.count, each.message) for each in wide.open("run-1").events()[1:]]
    assert told == [
        ("started", "page", 2, ""),
        ("postponed", "page", 2, "page[0]: OSError: no"),
        ("finished", "page", 2, "page[2]: OSError: no"),
    ]


def test_a_step_that_was_lost_twice_is_executed_alone(wide: Ledger) -> None:
    """It is unknown which of the steps that a process had claimed killed it: none may be blamed for another."""
    lose(wide, PAGES[:3], 2)
    assert claims(wide, [PAGES[3], *PAGES[:3]]) == ["granted", "later", "later", "later"]
    assert claims(wide, PAGES[:3], token="other", alone=False) == ["later", "later", "later"]
    assert claims(wide, PAGES[:3], token="other") == ["granted", "later", "later"]


def test_a_lost_process_that_held_several_steps_blames_none_of_them(wide: Ledger) -> None:
    claims(wide, PAGES[:3])
    assert {claim.step for claim in wide.open("run-1").abandon(["page/0"], worker="one")} == {"page[0]", "page[1]"}
    [claim] = wide.open("run-1", WIDE).claim(PAGES[:1], token="other", worker="w", lease=9)
    assert (granted(claim).attempt, granted(claim).lost) == (2, 1)
    [only] = wide.open("run-1").abandon(["page/1"], worker="one")
    assert (only.step, only.lost) == ("page[2]", 0)


def test_a_step_that_is_given_back_is_anyones_and_counts_no_attempt(wide: Ledger) -> None:
    claims(wide, PAGES[:2])
    wide.open("run-1").release(["page[0]", "page[1]"], token="other")
    assert claims(wide, PAGES[:2], token="other") == ["busy", "busy"]
    wide.open("run-1").release(["page[0]"], token="one")
    [first, second] = wide.open("run-1", WIDE).claim(PAGES[:2], token="other", worker="w", lease=9)
    assert (granted(first).attempt, granted(first).lost, answer_of(second)) == (1, 0, "busy")


def test_batches_that_nobody_works_on_are_idle(wide: Ledger) -> None:
    claims(wide, PAGES[:1])
    wide.server.clock_offset += 10
    sweep = wide.open("run-1").sweep(grace=3)
    assert sweep is not None
    assert sweep.idle == frozenset({"a", "page/0", "page/1", "page/2"})
    assert sweep.held == frozenset({"page/0"})


def test_reopening_a_run_leaves_only_what_has_not_succeeded(wide: Ledger) -> None:
    for page in PAGES[:3]:
        end(wide, page, "failed" if page is PAGES[1] else "succeeded")
    wide.open("run-1").cancel("by hand")
    assert wide.open("run-1", WIDE).reopen(fan_out=WIDE.fan_outs[0], tail=WIDE.tail)
    assert set(wide.open("run-1").left()) == {"a", "page/0", "page/1", "page/2"}
    assert claims(wide, [A, *PAGES]) == ["granted", "done", "granted", "done", "granted", "granted"]
    for page in [A, *PAGES]:
        end(wide, page)
    assert claims(wide, [WIDE.fan_outs[0].gather]) == ["granted"]


def test_items_of_a_run_that_is_there_already_change_nothing(wide: Ledger) -> None:
    assert not wide.open("run-1", WIDE).accept(layout=LAYOUT, items=[packed([Item("other", "0", 0)], "page/0")])
    assert wide.open("run-1", WIDE).steps("page/0") == PAGES[:2]
    assert wide.client.keys("*:items:*") == []


def test_workers_tell_the_ledger_their_concurrency_and_their_tasks(ledger: Ledger) -> None:
    ledger.serve("one", 4, ["fetch"], seconds=30)
    ledger.serve("other", 2, ["merge"], seconds=-1)
    assert ledger.slots() == 4
    assert [task for task in ("fetch", "merge", "sort") if ledger.is_offered(task)] == ["fetch"]


def test_a_task_is_offered_for_as_long_as_one_of_its_workers_is_there(ledger: Ledger) -> None:
    ledger.serve("one", 4, ["fetch"], seconds=30)
    ledger.serve("other", 4, ["fetch"], seconds=-1)
    assert ledger.is_offered("fetch")


def test_an_unknown_run_in_the_ledger_is_an_error_of_ours(ledger: Ledger) -> None:
    with pytest.raises(UnknownRun):
        ledger.open("nobody").info()
    with pytest.raises(UnknownRun):
        _ = ledger.open("nobody").plan
    with pytest.raises(UnknownRun):
        ledger.open("nobody").cancel("")
    assert claim(ledger, A) == "unknown"


# What a person turns the pages of


@pytest.mark.parametrize(
    ("start", "number", "pages"),
    [(0, 2, ["0", "1"]), (1, 3, ["1", "2", "3"]), (3, 50, ["3", "4"]), (5, 2, []), (0, 50, list("01234"))],
)
def test_a_page_of_a_foreach_has_as_many_collectors_as_are_asked_for(
    wide: Ledger, start: int, number: int, pages: list[str]
) -> None:
    assert wide.open("run-1").page(WIDE.collectors[1], start, number) == [f"page[{each}]" for each in pages]


def test_a_page_reads_no_other_batches(wide: Ledger) -> None:
    wide.client.hdel("runner:{run-1}:items", "page/0", "page/2")
    assert wide.open("run-1").page(WIDE.collectors[1], 2, 2) == ["page[2]", "page[3]"]


def test_a_step_is_found_by_its_id_and_an_item_with_what_it_is_for(wide: Ledger) -> None:
    assert wide.open("run-1", WIDE).find("first") == FIRST
    assert wide.open("run-1", WIDE).find("page") == WIDE.collectors[1]
    assert wide.open("run-1", WIDE).find("page[3]") == PAGES[3]


@pytest.mark.parametrize("step", ["page[5]", "page[03]", "page[-1]", "page[x]", "page[]", "page[٣]", "a[0]", "b[", ""])
def test_a_step_that_is_not_there_is_not_found(wide: Ledger, step: str) -> None:
    assert wide.open("run-1", WIDE).find(step) is None


def test_an_item_is_found_by_the_key_of_the_user(ledger: Ledger) -> None:
    plan = change_plan(WIDE, collectors=(replace(WIDE.collectors[1], foreach=Foreach(items="…", key="…")),))
    items = [Item({"n": 1}, "a b", 0), Item({"n": 2}, "]", 1, 1)]
    layout = Layout(counts={"page": 2}, sizes={"page": 1})
    ledger.open("run-1", plan).accept(layout=layout, items=[packed([item], f"page/{item.index}") for item in items])
    assert ledger.open("run-1", plan).find("page[]]") == plan.collectors[0].of(items[1])
    assert ledger.open("run-1", plan).find("page[1]") is None


def test_steps_that_have_not_ended_are_listed_in_their_order(wide: Ledger) -> None:
    for step in (A, PAGES[0], PAGES[1], PAGES[3]):
        end(wide, step)
    assert list(wide.open("run-1", WIDE).unended()) == ["page[2]", "page[4]"]
    assert set(wide.open("run-1").outcomes_of([page.id for page in PAGES])) == {"page[0]", "page[1]", "page[3]"}


# Texts that no script could read.


HALF = "half a pair: \ud83d"


def test_half_a_surrogate_pair_in_a_text_fails_no_transition(accepted: Ledger) -> None:
    """Lua's cjson refuses it: the outcome could not be recorded, which was taken for a ledger that is away."""
    claim(accepted, A)
    claim(accepted, B)
    accepted.open("run-1").postpone([Postponed(step="b", error=Error("OSError", HALF), attempt=1, seconds=60)])
    accepted.open("run-1").finish(
        [make_outcome("a", "failed", ref="a", error=Error("OSError", HALF, HALF), worker="w")]
    )
    accepted.open("run-1").park("b", HALF, seconds=1, limit=1)
    accepted.open("run-1").cancel(HALF)
    assert all(event.message.endswith(r"\ud83d") for event in accepted.open("run-1").events() if event.message)
    accepted.open("run-1", PLAN).reopen(fan_out=None, tail=PLAN.tail)

    outcome = accepted.open("run-1").outcome("a")
    assert outcome is not None
    assert outcome.error == Error("OSError", r"half a pair: \ud83d", r"half a pair: \ud83d")


def test_half_a_surrogate_pair_in_a_value_is_kept(accepted: Ledger) -> None:
    succeed(accepted, A, {HALF: [HALF]})
    assert accepted.open("run-1").value("a") == {HALF: [HALF]}


def test_bytes_that_are_no_text_make_a_run_unreadable_and_no_other(accepted: Ledger) -> None:
    assert accepted.open("run-2", PLAN).accept()
    accepted.client.execute_command("HSET", "runner:{run-1}:run", "status", b"\xff\xfe")  # type: ignore[no-untyped-call]
    with pytest.raises(UnreadableRun):
        accepted.open("run-1").info()
    assert [(run.id, run.status) for run in accepted.runs()] == [("run-2", "pending"), ("run-1", "unreadable")]
    assert set(accepted.sweeps(["run-1", "run-2"], grace=3)) == {"run-1", "run-2"}


def follow_chord(ledger: Ledger, step: Step, message: str) -> Follows:
    follows = Follows(chord="chord", message=message)
    ledger.open("run-1").finish([make_outcome(step.id, "succeeded", 1, ref=step.ref)], follows=follows)
    return follows


def test_the_last_message_returns_to_its_chord_with_its_outcome(accepted: Ledger) -> None:
    accepted.open("run-1").expect("chord", 2)
    first, last = follow_chord(accepted, A, "one"), follow_chord(accepted, B, "two")
    assert [first.done, first.last, last.done, last.last] == [True, False, True, True]


def test_the_last_message_of_a_chord_is_the_last_when_it_comes_again(accepted: Ledger) -> None:
    """Its worker may have been killed before it sent what follows: the message is delivered again, and finds its steps done.

    When that was reported only once, the fan-in waited for the reconciler.
    """
    accepted.open("run-1").expect("chord", 2)
    answers = [accepted.open("run-1").returned("chord", message) for message in ("one", "one", "two", "two", "one")]
    assert answers == [False, False, True, True, False]


def test_a_chord_that_nobody_expects_has_no_last_message(accepted: Ledger) -> None:
    assert not accepted.open("run-1").returned("another", "one")


def test_of_a_chord_that_is_over_one_field_is_left(accepted: Ledger) -> None:
    accepted.open("run-1").expect("chord", 2)
    accepted.open("run-1").expect("another", 2)
    for message in ("one", "two"):
        accepted.open("run-1").returned("chord", message)
    assert accepted.client.hgetall("runner:{run-1}:chords") == {"chord": "last two", "another": "2"}


def test_a_chord_of_a_run_that_has_expired_leaves_nothing(ledger: Ledger) -> None:
    ledger.open("run-1").expect("chord", 1)
    assert not ledger.open("run-1").returned("chord", "one")
    assert ledger.client.ttl("runner:{run-1}:chords") > 0
    assert not ledger.client.exists("runner:{run-1}:run")


def test_the_messages_of_a_chord_are_sent_once(accepted: Ledger) -> None:
    """The client sends a command again whose answer is lost; a message that comes twice is executed once, but twice taken."""
    for _ in range(2):
        accepted.open("run-1").expect("chord", 2, [["lpush", "queue", "one"], ["lpush", "queue", "two"]])
    assert accepted.client.lrange("queue", 0, -1) == ["two", "one"]


def send_next(ledger: Ledger, step: Step) -> Follows:
    follows = Follows(commands=[["lpush", "queue", "next"], ["pexpire", "queue", 60000]])
    ledger.open("run-1").finish([make_outcome(step.id, "succeeded", 1)], follows=follows)
    return follows


def test_the_next_message_is_sent_with_the_outcome(accepted: Ledger) -> None:
    assert send_next(accepted, FIRST).done
    assert accepted.client.lrange("queue", 0, -1) == ["next"]
    assert accepted.client.pttl("queue") > 0


def test_the_next_message_is_sent_with_the_first_outcome_alone(accepted: Ledger) -> None:
    send_next(accepted, FIRST)
    assert not send_next(accepted, FIRST).done
    assert accepted.client.llen("queue") == 1


def test_an_outcome_stands_where_the_next_message_cannot_be_sent(accepted: Ledger) -> None:
    """A queue of another type refused the message: the stage was recorded as succeeded, and its run ended as "stage failed"."""
    accepted.client.set("queue", "no list")
    assert not send_next(accepted, FIRST).done
    assert accepted.open("run-1").outcomes()[FIRST.id].status == "succeeded"


def test_nothing_is_sent_after_the_end_of_a_run(accepted: Ledger) -> None:
    accepted.open("run-1").cancel("why")
    assert not send_next(accepted, FIRST).done
    assert not accepted.client.exists("queue")


def test_a_gather_of_few_collectors_is_handed_their_values(accepted: Ledger) -> None:
    succeed(accepted, A, 1)
    accepted.open("run-1").finish([make_outcome("b", "failed", ref="b", error=Error("OSError", "no"))])
    [claimed] = accepted.open("run-1", PLAN).claim([PLAN.fan_outs[0].gather], token="one", worker="w1", lease=30)
    assert granted(claimed).handed == {"a": "1", "b": None}
    read = accepted.open("run-1").collected(PLAN.collectors, absent=["b"], handed=granted(claimed).handed)
    assert list(read) == [1]


def test_a_value_that_is_not_handed_is_missing(accepted: Ledger) -> None:
    for step in (A, B):
        succeed(accepted, step)
    accepted.client.hdel("runner:{run-1}:values", "a")
    [claimed] = accepted.open("run-1", PLAN).claim([PLAN.fan_outs[0].gather], token="one", worker="w1", lease=30)
    with pytest.raises(MissingData, match="the value of a is missing"):
        list(accepted.open("run-1").collected(PLAN.collectors, handed=granted(claimed).handed))


def test_a_gather_of_many_collectors_reads_their_values_itself(ledger: Ledger) -> None:
    """All at once they would be in the memory of the server and of the worker, also of a gather that reads one by one."""
    plan = make_plan(collectors=tuple(make_collector(f"c{number}") for number in range(17)), gather="fan_in")
    ledger.open("run-1", plan).accept()
    ledger.open("run-1").finish([make_outcome(step.id, "succeeded", 1, ref=step.ref) for step in plan.collectors])
    [claimed] = ledger.open("run-1", plan).claim([plan.fan_outs[0].gather], token="one", worker="w1", lease=30)
    assert not granted(claimed).handed
    assert len(list(ledger.open("run-1").collected(plan.collectors, handed=granted(claimed).handed))) == 17


@pytest.mark.parametrize(
    ("url", "shared"),
    [
        ("redis://localhost", True),
        ("redis://localhost:6379/0", True),
        ("redis://localhost/1", False),
        ("redis://localhost:6380", False),
        ("redis://other", False),
        ("redis://someone:pw@localhost", False),
        ("redis+socket:///tmp/a.sock", False),
    ],
)
def test_the_ledger_sends_for_a_broker_that_is_the_same_database(url: str, shared: bool) -> None:  # noqa: FBT001
    """An application may have its messages elsewhere: they would wait where nobody looks."""
    with connect("redis://localhost") as client:
        assert Ledger(client).shares(connect(url).get_connection_kwargs()) == shared
