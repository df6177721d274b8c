"""The words about a run."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from runner.errors import UnknownRun
from runner.language.layout import Layout
from runner.language.plan import Foreach, Item
from runner.ledger.entries import Error, FailedAttempt, Underway
from runner.ledger.snapshot import snapshot_of, step_snapshot
from runner.ledger.statuses import Status
from runner.views.dry_run import dry_run_words
from runner.views.problem import problem
from runner.views.screen import Screen
from runner.views.words import details, history, nothing_to_resume, page_details, result, step_details, summary
from tests.plans import change_plan, make_collector, make_outcome, make_plan
from tests.snapshots import (
    AT,
    FAILED,
    LAYOUT,
    MISSING_ONE,
    NEWS,
    OUTCOMES,
    PAGE,
    PAGES,
    PARTIAL,
    REFUSED,
    RUN,
    SOME,
    TALLY,
    TOLERANT,
    WELL,
    page,
    wide,
)


def test_the_summary_of_a_partial_run_warns_of_what_is_missing_and_says_why() -> None:
    assert summary(snapshot_of(PARTIAL, TOLERANT, MISSING_ONE)).splitlines() == [
        "! news partial in 3.5s: 1 of 2 collectors succeeded · run news-1",
        "warning: the result is without reddit",
        "  ✗ reddit failed after 4 attempts",
        "      ConnectionError: refused by ***",
        "      news.yaml:14:5",
        "hint: `python -m runner show news-1 --step reddit` shows the traceback",
    ]


def test_the_summary_says_why_what_is_missing_is_too_much() -> None:
    cause = "1 of 2 collectors did not succeed: reddit; min_success is 2"
    told = summary(snapshot_of(replace(FAILED, cause=cause), change_plan(TOLERANT, min_success=2), OUTCOMES))
    assert told.splitlines()[1] == f"  {cause}"


def test_the_summary_says_which_deadline_a_collector_missed() -> None:
    told = summary(snapshot_of(PARTIAL, TOLERANT, MISSING_ONE | {"reddit": make_outcome("reddit", "late")}))
    assert told.splitlines()[2:] == [
        "  ! reddit late",
        "      had not answered when the deadline of 1m30s passed",
        "      news.yaml:14:5",
    ]


def test_a_warning_does_not_name_a_thousand_missing_collectors() -> None:
    plan, outcomes = wide(failing=999)
    told = summary(snapshot_of(PARTIAL, change_plan(plan, min_success=1), outcomes)).splitlines()[1]
    assert told.endswith("page_19, …")


def test_the_summary_of_a_success_is_one_line() -> None:
    assert summary(snapshot_of(RUN, NEWS, WELL)) == "✓ news succeeded in 3.5s: 2 of 2 collectors succeeded · run news-1"


def test_the_summary_of_a_failure_says_what_failed_why_where_and_what_to_do() -> None:
    assert summary(snapshot_of(FAILED, NEWS, OUTCOMES)).splitlines() == [
        "✗ news failed in 3.5s: 1 of 2 collectors succeeded · run news-1",
        "  ✗ reddit failed after 4 attempts",
        "      ConnectionError: refused by ***",
        "      news.yaml:14:5",
        "hint: `python -m runner show news-1 --step reddit` shows the traceback",
    ]


def test_the_summary_has_the_cause_that_no_failure_shows() -> None:
    told = summary(snapshot_of(replace(RUN, status="cancelled", cause="SIGINT to `run`"), NEWS, {"hn": OUTCOMES["hn"]}))
    assert told.splitlines()[1:] == ["  SIGINT to `run`"]


def test_the_summary_of_a_run_that_has_not_ended_has_no_duration() -> None:
    run = replace(RUN, status="running", finished_at=None)
    assert summary(snapshot_of(run, NEWS, {})) == "● news running: 0 of 2 collectors succeeded · run news-1"


def test_a_thousand_failures_do_not_fill_the_screen() -> None:
    plan, outcomes = wide(failing=1000)
    run = replace(FAILED, cause=f"1000 of 1000 collectors did not succeed: {', '.join(outcomes)}")
    for told in (summary(snapshot_of(run, plan, outcomes)), details(snapshot_of(run, plan, outcomes))):
        assert "… 980 more" in told
        assert max(map(len, told.splitlines())) < 320
    assert len(summary(snapshot_of(run, plan, outcomes)).splitlines()) < 50


def test_the_history_is_a_line_a_run() -> None:
    going_on = replace(RUN, id="news-2", status="running", started_at=AT + 50, finished_at=None)
    assert history([going_on, RUN], now=AT + 90).splitlines() == [
        "RUN     WORKFLOW  STATUS     STARTED    DURATION",
        "news-2  news      running    1m30s ago",
        "news-1  news      succeeded  1m30s ago  3.5s",
    ]


def test_an_empty_history_says_so() -> None:
    assert history([]) == "no runs"


def test_details_tell_of_the_run_its_steps_and_its_failures() -> None:
    told = details(snapshot_of(FAILED, NEWS, OUTCOMES)).splitlines()
    assert told[:3] == ["run       news-1", "workflow  news (0123456789ab)", "status    failed"]
    assert 'inputs    topic = "tea"' in told
    assert '          key = "***"' in told
    assert told[told.index("") + 1 :][:5] == [
        "STEP    STATUS     ATTEMPTS  DURATION  WORKER",
        "hn      succeeded  1         0.25s     celery@box",
        "reddit  failed     4         2s        celery@box",
        "fan_in  not run",
        "count   not run",
    ]
    assert "      ConnectionError: refused by ***" in told


def test_details_of_a_run_tell_the_coverage() -> None:
    cause = "1 of 2 collectors did not succeed: reddit"
    told = details(snapshot_of(replace(PARTIAL, cause=cause), TOLERANT, MISSING_ONE)).splitlines()
    assert told[2:5] == ["status    partial", f"cause     {cause}", "coverage  1 of 2 collectors succeeded"]


def test_details_of_a_run_tell_what_it_waits_for_until_it_has_ended() -> None:
    waiting = replace(RUN, status="running", waits_for="waits for a worker that has \x1b[31m")
    assert "note      waits for a worker that has \\x1b[31m" in details(snapshot_of(waiting, NEWS, {}))
    assert "waits for" not in details(snapshot_of(replace(waiting, status="failed"), NEWS, {}))
    assert "waits for" not in details(
        snapshot_of(waiting, NEWS, {}, running={"hn": Underway(status="running", attempts=1, seconds=30)})
    )


def test_details_of_a_wide_fan_out_count_the_collectors_that_succeeded() -> None:
    plan, outcomes = wide(failing=2)
    told = details(snapshot_of(FAILED, plan, outcomes))
    assert "… 998 collectors  succeeded" in told
    assert "page_1 " in told
    assert "page_2 " not in told


def test_a_table_is_cut_where_the_terminal_ends() -> None:
    told = history([replace(RUN, id="r" * 60)], now=AT, screen=Screen(70))
    assert max(map(len, told.splitlines())) <= 70


def test_a_step_that_succeeded_is_shown_with_its_value() -> None:
    outcome = replace(OUTCOMES["hn"], value=[{"title": "tea", "key": "hunter22"}])
    head, value = step_details(step_snapshot(RUN, NEWS, NEWS.collectors[0], outcome)).split("\n\n")
    assert "status    ✓ succeeded" in head
    assert json.loads(value) == [{"title": "tea", "key": "***"}]


def test_a_step_that_failed_is_shown_with_its_traceback() -> None:
    told = step_details(step_snapshot(RUN, NEWS, NEWS.collectors[1], OUTCOMES["reddit"]))
    assert "place     news.yaml:14:5" in told
    assert told.endswith("\n\n  get('***')\nConnectionError: \\x1b[31mrefused")


def test_an_error_without_a_traceback_is_its_message() -> None:
    outcome = replace(OUTCOMES["reddit"], error=replace(REFUSED, traceback=""))
    assert step_details(step_snapshot(RUN, NEWS, NEWS.collectors[1], outcome)).endswith(
        "\n\nConnectionError: refused by ***"
    )


def test_a_step_without_an_outcome_has_not_ended() -> None:
    going_on = replace(RUN, status="running", finished_at=None)
    assert step_details(step_snapshot(going_on, NEWS, NEWS.fan_outs[0].gather, None)).endswith("status    waiting")


def test_a_late_step_is_shown_with_its_value_if_it_came_after_all() -> None:
    late = make_outcome("reddit", "late")
    assert step_details(step_snapshot(RUN, TOLERANT, TOLERANT.collectors[1], replace(late, value=[1]))).endswith(
        "\n\n[\n  1\n]"
    )
    assert step_details(step_snapshot(RUN, TOLERANT, TOLERANT.collectors[1], late)).endswith(
        "the deadline of 1m30s passed"
    )


def test_a_late_step_that_failed_after_all_says_both() -> None:
    late = make_outcome("reddit", "late", error=replace(REFUSED, traceback=""))
    told = "the deadline of 1m30s passed; then ConnectionError: refused by ***"
    assert step_details(step_snapshot(RUN, TOLERANT, TOLERANT.collectors[1], late)).endswith(told)


def test_a_cancelled_step_is_shown_without_a_value() -> None:
    assert step_details(
        step_snapshot(RUN, NEWS, NEWS.fan_outs[0].gather, make_outcome("fan_in", "cancelled"))
    ).endswith("attempts  0")


def test_a_short_result_is_one_line_and_a_long_one_is_not() -> None:
    assert (
        result(snapshot_of(RUN, NEWS, {}, result={"request_id": "r", "item_count": 12}))
        == '{"request_id": "r", "item_count": 12}'
    )
    assert len(result(snapshot_of(RUN, NEWS, {}, result=["x" * 50] * 3)).splitlines()) == 5


@pytest.mark.parametrize(
    "tell",
    [
        lambda screen: summary(snapshot_of(FAILED, NEWS, OUTCOMES), screen=screen),
        lambda screen: details(snapshot_of(FAILED, NEWS, OUTCOMES), screen=screen),
        lambda screen: history([RUN], now=AT, screen=screen),
        lambda screen: step_details(step_snapshot(RUN, NEWS, NEWS.collectors[1], OUTCOMES["reddit"]), screen=screen),
        lambda screen: dry_run_words(NEWS, Layout(), "news-1", [], screen=screen),
        lambda screen: problem(UnknownRun("no"), screen=screen),
    ],
)
def test_faults_are_coloured_only_where_there_is_colour(tell: Callable[[Screen], str]) -> None:
    assert "\x1b[" in tell(Screen(colour=True))
    assert "\x1b" not in tell(Screen(colour=False))


def test_the_summary_counts_the_collectors_of_a_foreach_and_names_those_that_failed() -> None:
    assert summary(snapshot_of(PARTIAL, PAGES, SOME, layout=LAYOUT, counts=TALLY)).splitlines() == [
        "! news partial in 3.5s: 999 of 1,001 collectors succeeded · run news-1",
        "warning: the result is without page[7], page[42]",
        "  ✗ page[7] failed after 4 attempts",
        "      ConnectionError: refused by ***",
        "  ✗ page[42] timed out",
        "      Timeout: 5s",
        "      pages.yaml:7:5",
        "hint: `python -m runner show news-1 --step 'page[7]'` shows the traceback",
    ]


def test_of_many_failures_of_a_foreach_twenty_are_named_and_the_rest_counted() -> None:
    failed = {f"page[{at}]": make_outcome(f"page[{at}]", "failed", error=Error("E", "x")) for at in range(100)}
    told = summary(snapshot_of(FAILED, PAGES, failed, layout=LAYOUT, counts={"page": {"failed": 1000}})).splitlines()
    assert sum("✗ page[" in line for line in told) == 20
    assert told[-2:] == [
        "  … 980 more",
        "hint: `python -m runner show news-1 --step page --status failed` lists the 1,000 of page",
    ]


def test_of_many_failures_those_that_decide_come_first_and_late_items_are_called_late() -> None:
    """The one collector that was required stood behind 40 late items, of which 20 were named: it was not shown."""
    steps = (
        make_collector("page", required=False, foreach=Foreach(items="…")),
        make_collector("index", place="pages.yaml:9:5"),
    )
    plan, layout = make_plan("pages", collectors=steps, gather="fan_in"), Layout(counts={"page": 40}, sizes={"page": 8})
    late = {each: make_outcome(each, "late") for each in ["index", *(f"page[{at}]" for at in range(40))]}
    told = summary(snapshot_of(FAILED, plan, late, layout=layout, counts={"page": {"late": 40}})).splitlines()
    assert next(line for line in told if line.startswith("  !")) == "  ! index late"
    assert told[-1] == "hint: `python -m runner show news-1 --step page --status late` lists the 40 of page"


def test_details_of_a_run_have_one_row_for_a_foreach() -> None:
    told = details(snapshot_of(PARTIAL, PAGES, SOME, layout=LAYOUT, counts=TALLY)).splitlines()
    assert told[told.index("") + 1 :][:3] == [
        "STEP    STATUS     SUCCEEDED     ATTEMPTS  DURATION  WORKER",
        "hn      succeeded                1         1s        celery@box",
        "page    partial    998 of 1,000",
    ]


def test_a_step_that_is_tried_again_is_reported_with_its_error_and_without_the_secret() -> None:
    going_on = replace(RUN, status="running", finished_at=None)
    told = details(
        snapshot_of(
            going_on,
            NEWS,
            {},
            running={"hn": Underway(status="retrying", attempts=2, seconds=40, worker="celery@box", error=REFUSED)},
        )
    )
    assert "hn      retrying  2         celery@box" in told
    assert told.splitlines()[-2:] == [
        "  ↻ hn retrying after 2 attempts, the next in 40s",
        "      ConnectionError: refused by ***",
    ]


def test_the_earlier_attempts_of_a_step_are_shown_before_its_value() -> None:
    earlier = [FailedAttempt(attempt=1, started_at=AT, finished_at=AT + 2.5, worker="celery@box", error=REFUSED)]
    outcome = replace(OUTCOMES["hn"], attempts=2, value=3)
    told = step_details(step_snapshot(RUN, NEWS, NEWS.collectors[0], outcome, failures=earlier))
    assert told.endswith("earlier attempts\n  1  failed after 2.5s on celery@box: ConnectionError: refused by ***\n\n3")


def test_a_page_of_a_foreach_has_a_line_for_each_and_says_how_to_turn_it() -> None:
    assert page_details(page()).splitlines() == [
        "step      page (1,000 collectors)",
        "task      http.get",
        "place     pages.yaml:7:5",
        "status    ! partial: 998 succeeded · 1 failed · 1 timed out",
        "",
        "STEP            STATUS     ATTEMPTS  DURATION  WORKER      ERROR",
        "page[41]        succeeded",
        "page[42]        timed out  1         5s        celery@box  Timeout: 5s",
        "page[\\x1b ***]  not run",
        "",
        "page 2 of 20",
        "hint: `python -m runner show news-1 --step page --page 3` is the next",
    ]


def test_a_page_of_one_status_says_so_and_so_does_the_next() -> None:
    told = page_details(page(status="timed_out")).splitlines()
    assert told[-2:] == [
        "page 2 of 20, timed out only",
        "hint: `python -m runner show news-1 --step page --status timed_out --page 3` is the next",
    ]


@pytest.mark.parametrize(("status", "told"), [(None, "no items"), ("failed", "none failed")])
def test_an_empty_page_of_items_says_what_it_is_empty_of(status: Status | None, told: str) -> None:
    empty = page(number=1, last=0, status=status, items=())
    assert page_details(empty).splitlines()[-1] == told


def test_a_collector_of_a_foreach_is_shown_with_its_item() -> None:
    step = PAGE.of(Item({"url": "/7", "key": "hunter22"}, "7", 7))
    assert 'item      {"url": "/7", "key": "***"}' in step_details(step_snapshot(RUN, PAGES, step, SOME["page[7]"]))


def test_a_partial_run_that_stays_as_it_is_names_what_would_be_executed_again() -> None:
    told = nothing_to_resume(snapshot_of(PARTIAL, NEWS, {})).splitlines()
    follows = ", ".join(step.id for step in NEWS.tail)
    assert told == [
        "run news-1 has ended partial, without hn, reddit",
        f"hint: `python -m runner resume news-1 --failed` executes again what failed, then {follows}, as the same run",
    ]


def test_a_partial_run_that_stays_as_it_is_names_the_items_that_failed() -> None:
    told = nothing_to_resume(snapshot_of(PARTIAL, PAGES, SOME, layout=LAYOUT, counts=TALLY)).splitlines()
    assert re.fullmatch(r"run news-1 has ended partial, without page\[.*", told[0])
    assert "`python -m runner resume news-1 --failed` executes again what failed" in told[1]


def test_the_summary_warns_of_a_foreach_without_items() -> None:
    """A list of nothing overwrote the file of the day before with an empty one, and the run had succeeded."""
    empty = change_plan(PAGES, collectors=(PAGE,))
    told = summary(snapshot_of(RUN, empty, {}, layout=Layout(counts={"page": 0}), counts={"page": {}}))
    assert told.splitlines()[1:] == ["warning: no items: page"]
