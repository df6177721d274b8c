"""What people and programs are told of a run."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runner.errors import Fault, InvalidInputs, InvalidWorkflow, Place, UnknownRun
from runner.language.plan import Foreach, Item, Plan
from runner.language.task_index import Parameter, Task
from runner.ledger.entries import Error, FailedAttempt, Outcome, Run, Underway
from runner.text import width
from runner.views import report
from runner.views.item_pages import Page, counts
from runner.views.screen import Screen
from tests.plans import change_plan, make_collector, make_gather, make_outcome, make_plan, make_stage

AT = 1_767_225_600.0  # 2026-01-01T00:00:00Z

NEWS = make_plan(
    description="What they say.",
    collectors=(
        make_collector(
            "hn", "http.get", arguments={"url": "https://x.org/${{ inputs.topic }}", "key": "${{ inputs.key }}"}
        ),
        make_collector("reddit", "http.get", place="news.yaml:14:5"),
    ),
    gather=make_gather("fan_in", "gather.concat", arguments={"request_id": "${{ run.id }}"}),
    stages=(make_stage("count", "records.count"),),
    inputs={"topic": "tea", "key": "hunter22"},
    secrets=("key",),
)
RUN = Run(
    id="news-1",
    workflow="news",
    status="succeeded",
    hash="0123456789ab",
    submitted_at=AT,
    started_at=AT + 1,
    finished_at=AT + 3.5,
    inputs={"topic": "tea", "key": "***"},
)
FAILED = replace(RUN, status="failed", cause="1 of 2 collectors did not succeed: reddit")
REFUSED = Error("ConnectionError", "refused by hunter22", "  get('hunter22')\nConnectionError: \x1b[31mrefused")
OUTCOMES = {
    "hn": make_outcome("hn", "succeeded", attempts=1, started_at=AT + 1, finished_at=AT + 1.25, worker="celery@box"),
    "reddit": make_outcome(
        "reddit", "failed", error=REFUSED, attempts=4, started_at=AT + 1, finished_at=AT + 3, worker="celery@box"
    ),
    "fan_in": make_outcome("fan_in", "skipped", error=Error("Skipped", "reddit failed")),
    "count": make_outcome("count", "skipped", error=Error("Skipped", "reddit failed")),
}
WELL = {
    step.id: make_outcome(step.id, "succeeded", attempts=1, started_at=AT + 1, finished_at=AT + 2, worker="celery@box")
    for step in NEWS.steps
}

# Who tolerates a failure: the same run, partial.
TOLERANT = change_plan(NEWS, collectors=tuple(replace(each, required=False) for each in NEWS.collectors), deadline=90)
PARTIAL = replace(RUN, status="partial", cause="1 of 2 collectors did not succeed: reddit")
MISSING_ONE = WELL | {"reddit": OUTCOMES["reddit"]}


BUSY = {
    "page[9]": Underway(status="running", attempts=1, seconds=30),
    "page[8]": Underway(status="running", attempts=1, seconds=30),
    "page[7]": Underway(status="retrying", attempts=1, seconds=4),
    "hn": Underway(status="running", attempts=1, seconds=30),
}


def wide(failing: int) -> tuple[Plan, dict[str, Outcome]]:
    collectors = tuple(make_collector(f"page_{at}", "http.get") for at in range(1000))
    outcomes = {
        step.id: make_outcome(step.id, "failed", error=Error("E", "x")) if at < failing else make_outcome(step.id)
        for at, step in enumerate(collectors)
    }
    return make_plan("wide", collectors=collectors, gather=NEWS.fan_outs[0].gather), outcomes


# A collector for each of a thousand pages beside one that stands alone; two of them did not succeed.
PAGE = make_collector("page", "http.get", place="pages.yaml:7:5", foreach=Foreach(items="…", count=1000, batch=50))
PAGES = change_plan(NEWS, collectors=(NEWS.collectors[0], PAGE), min_success=1)
TALLY = {"page": {"succeeded": 998, "failed": 1, "timed_out": 1}}
SOME = {
    "hn": WELL["hn"],
    "fan_in": WELL["fan_in"],
    "count": WELL["count"],
    "page[7]": make_outcome(
        "page[7]", "failed", error=REFUSED, attempts=4, started_at=AT + 1, finished_at=AT + 3, worker="celery@box"
    ),
    "page[42]": make_outcome(
        "page[42]",
        "timed_out",
        error=Error("Timeout", "5s"),
        attempts=1,
        started_at=AT + 1,
        finished_at=AT + 6,
        worker="celery@box",
    ),
}


def test_the_json_document_of_a_run_has_the_promised_keys_in_their_order() -> None:
    document = report.document(RUN, NEWS, WELL, {"count": 3})
    promised = ["run_id", "workflow", "status", "result", "inputs", "started_at", "finished_at", "duration_s"]
    assert list(document) == [*promised, "coverage", "steps", "hash"]
    assert {name: document[name] for name in promised} == {
        "run_id": "news-1",
        "workflow": "news",
        "status": "succeeded",
        "result": {"count": 3},
        "inputs": {"topic": "tea", "key": "***"},
        "started_at": "2026-01-01T00:00:01.000+00:00",
        "finished_at": "2026-01-01T00:00:03.500+00:00",
        "duration_s": 3.5,
    }


def test_the_json_document_of_a_run_tells_of_each_step_how_it_ended() -> None:
    steps = report.document(FAILED, NEWS, OUTCOMES, None)["steps"]
    assert [step["id"] for step in steps] == ["hn", "reddit", "fan_in", "count"]
    assert steps[0] == {
        "id": "hn",
        "kind": "collector",
        "task": "http.get",
        "status": "succeeded",
        "attempts": 1,
        "duration_s": 0.25,
        "worker": "celery@box",
        "place": "",
    }
    assert steps[1]["place"] == "news.yaml:14:5"
    assert steps[1]["error"] == {"type": "ConnectionError", "message": "refused by ***"}


def test_steps_of_a_run_that_goes_on_are_running_or_pending() -> None:
    run = replace(RUN, status="running", finished_at=None)
    steps = report.document(
        run, NEWS, {"hn": OUTCOMES["hn"]}, None, underway={"reddit": Underway(status="running", attempts=1, seconds=30)}
    )["steps"]
    assert [step["status"] for step in steps] == ["succeeded", "running", "pending", "pending"]


def test_steps_that_an_ended_run_never_came_to_are_skipped() -> None:
    steps = report.document(FAILED, NEWS, {"reddit": OUTCOMES["reddit"]}, None)["steps"]
    assert [step["status"] for step in steps] == ["skipped", "failed", "skipped", "skipped"]


def test_the_json_document_of_a_run_tells_who_is_missing() -> None:
    document = report.document(PARTIAL, TOLERANT, MISSING_ONE, [1])
    assert document["coverage"] == {"succeeded": 1, "total": 2, "missing": ["reddit"]}


def test_in_a_run_that_goes_on_no_collector_is_missing_that_may_still_answer() -> None:
    run = replace(RUN, status="running", finished_at=None)
    document = report.document(run, TOLERANT, {"reddit": OUTCOMES["reddit"]}, None)
    assert document["coverage"] == {"succeeded": 0, "total": 2, "missing": ["reddit"]}


def test_in_a_run_that_has_ended_every_collector_without_an_answer_is_missing() -> None:
    document = report.document(replace(RUN, status="cancelled"), NEWS, {}, None)
    assert document["coverage"] == {"succeeded": 0, "total": 2, "missing": ["hn", "reddit"]}


def test_the_summary_of_a_partial_run_warns_of_who_is_missing_and_says_why() -> None:
    assert report.summary(PARTIAL, TOLERANT, MISSING_ONE).splitlines() == [
        "! news partial in 3.5s: 1 of 2 collectors succeeded · run news-1",
        "warning: the result is without reddit",
        "  ✗ reddit failed after 4 attempts",
        "      ConnectionError: refused by ***",
        "      news.yaml:14:5",
        "hint: `python -m runner show news-1 --step reddit` shows the traceback",
    ]


def test_the_summary_says_why_what_is_missing_is_too_much() -> None:
    cause = "1 of 2 collectors did not succeed: reddit; min_success is 2"
    told = report.summary(replace(FAILED, cause=cause), change_plan(TOLERANT, min_success=2), OUTCOMES)
    assert told.splitlines()[1] == f"  {cause}"


def test_the_summary_says_which_deadline_a_collector_missed() -> None:
    told = report.summary(PARTIAL, TOLERANT, MISSING_ONE | {"reddit": make_outcome("reddit", "late")})
    assert told.splitlines()[2:] == [
        "  ! reddit late",
        "      had not answered when the deadline of 1m30s passed",
        "      news.yaml:14:5",
    ]


def test_a_warning_does_not_name_a_thousand_missing_collectors() -> None:
    plan, outcomes = wide(failing=999)
    told = report.summary(PARTIAL, change_plan(plan, min_success=1), outcomes).splitlines()[1]
    assert told.endswith("page_19, …")


def test_the_summary_of_a_success_is_one_line() -> None:
    assert report.summary(RUN, NEWS, WELL) == "✓ news succeeded in 3.5s: 2 of 2 collectors succeeded · run news-1"


def test_the_summary_of_a_failure_says_what_failed_why_where_and_what_to_do() -> None:
    assert report.summary(FAILED, NEWS, OUTCOMES).splitlines() == [
        "✗ news failed in 3.5s: 1 of 2 collectors succeeded · run news-1",
        "  ✗ reddit failed after 4 attempts",
        "      ConnectionError: refused by ***",
        "      news.yaml:14:5",
        "hint: `python -m runner show news-1 --step reddit` shows the traceback",
    ]


def test_the_summary_tells_the_cause_that_no_failure_tells() -> None:
    told = report.summary(replace(RUN, status="cancelled", cause="SIGINT to `run`"), NEWS, {"hn": OUTCOMES["hn"]})
    assert told.splitlines()[1:] == ["  SIGINT to `run`"]


def test_the_summary_of_a_run_that_goes_on_has_no_duration() -> None:
    run = replace(RUN, status="running", finished_at=None)
    assert report.summary(run, NEWS, {}) == "● news running: 0 of 2 collectors succeeded · run news-1"


def test_a_thousand_failures_do_not_fill_the_screen() -> None:
    plan, outcomes = wide(failing=1000)
    run = replace(FAILED, cause=f"1000 of 1000 collectors did not succeed: {', '.join(outcomes)}")
    for told in (report.summary(run, plan, outcomes), report.details(run, plan, outcomes)):
        assert "… 980 more" in told
        assert max(map(len, told.splitlines())) < 320
    assert len(report.summary(run, plan, outcomes).splitlines()) < 50


def test_the_history_is_a_line_a_run() -> None:
    going_on = replace(RUN, id="news-2", status="running", started_at=AT + 50, finished_at=None)
    assert report.history([going_on, RUN], now=AT + 90).splitlines() == [
        "RUN     WORKFLOW  STATUS     STARTED    DURATION",
        "news-2  news      running    1m30s ago",
        "news-1  news      succeeded  1m30s ago  3.5s",
    ]


def test_an_empty_history_says_so() -> None:
    assert report.history([]) == "no runs"


def test_details_tell_of_the_run_its_steps_and_its_failures() -> None:
    told = report.details(FAILED, NEWS, OUTCOMES).splitlines()
    assert told[:3] == ["run       news-1", "workflow  news (0123456789ab)", "status    failed"]
    assert 'inputs    topic = "tea"' in told
    assert '          key = "***"' in told
    assert told[told.index("") + 1 :][:5] == [
        "STEP    STATUS     ATTEMPTS  DURATION  WORKER",
        "hn      succeeded  1         0.25s     celery@box",
        "reddit  failed     4         2s        celery@box",
        "fan_in  skipped",
        "count   skipped",
    ]
    assert "      ConnectionError: refused by ***" in told


def test_details_of_a_run_tell_the_coverage() -> None:
    cause = "1 of 2 collectors did not succeed: reddit"
    told = report.details(replace(PARTIAL, cause=cause), TOLERANT, MISSING_ONE).splitlines()
    assert told[2:5] == ["status    partial", f"cause     {cause}", "coverage  1 of 2 collectors succeeded"]


def test_details_of_a_run_tell_what_it_waits_for_until_it_has_ended() -> None:
    waiting = replace(RUN, status="running", waits_for="waits for a worker that has \x1b[31m")
    assert "note      waits for a worker that has \\x1b[31m" in report.details(waiting, NEWS, {})
    assert "waits for" not in report.details(replace(waiting, status="failed"), NEWS, {})
    assert "waits for" not in report.details(
        waiting, NEWS, {}, underway={"hn": Underway(status="running", attempts=1, seconds=30)}
    )


def test_the_json_document_of_a_run_tells_what_it_waits_for_until_it_has_ended() -> None:
    waiting = replace(RUN, status="running", waits_for="waits for a worker that has fetch")
    assert report.document(waiting, NEWS, {}, None)["note"] == "waits for a worker that has fetch"
    assert "note" not in report.document(replace(waiting, status="failed"), NEWS, {}, None)


def test_details_of_a_wide_fan_out_count_the_collectors_that_succeeded() -> None:
    plan, outcomes = wide(failing=2)
    told = report.details(FAILED, plan, outcomes)
    assert "… 998 collectors  succeeded" in told
    assert "page_1 " in told
    assert "page_2 " not in told


def test_a_table_is_cut_where_the_terminal_ends() -> None:
    told = report.history([replace(RUN, id="r" * 60)], now=AT, screen=Screen(70))
    assert max(map(len, told.splitlines())) <= 70


def test_a_step_that_succeeded_is_shown_with_its_value() -> None:
    outcome = replace(OUTCOMES["hn"], value=[{"title": "tea", "key": "hunter22"}])
    head, value = report.step_details(NEWS, NEWS.collectors[0], outcome).split("\n\n")
    assert "status    ✓ succeeded" in head
    assert json.loads(value) == [{"title": "tea", "key": "***"}]


def test_a_step_that_failed_is_shown_with_its_traceback() -> None:
    told = report.step_details(NEWS, NEWS.collectors[1], OUTCOMES["reddit"])
    assert "place     news.yaml:14:5" in told
    assert told.endswith("\n\n  get('***')\nConnectionError: \\x1b[31mrefused")


def test_an_error_without_a_traceback_is_its_message() -> None:
    outcome = replace(OUTCOMES["reddit"], error=replace(REFUSED, traceback=""))
    assert report.step_details(NEWS, NEWS.collectors[1], outcome).endswith("\n\nConnectionError: refused by ***")


def test_a_step_without_an_outcome_has_not_ended() -> None:
    assert report.step_details(NEWS, NEWS.fan_outs[0].gather, None).endswith("status    waiting")


def test_a_late_step_is_shown_with_its_value_if_it_came_after_all() -> None:
    late = make_outcome("reddit", "late")
    assert report.step_details(TOLERANT, TOLERANT.collectors[1], replace(late, value=[1])).endswith("\n\n[\n  1\n]")
    assert report.step_details(TOLERANT, TOLERANT.collectors[1], late).endswith("the deadline of 1m30s passed")


def test_a_late_step_that_failed_after_all_says_both() -> None:
    late = make_outcome("reddit", "late", error=replace(REFUSED, traceback=""))
    told = "the deadline of 1m30s passed; then ConnectionError: refused by ***"
    assert report.step_details(TOLERANT, TOLERANT.collectors[1], late).endswith(told)


def test_a_cancelled_step_is_shown_without_a_value() -> None:
    assert report.step_details(NEWS, NEWS.fan_outs[0].gather, make_outcome("fan_in", "cancelled")).endswith(
        "attempts  0"
    )


def test_a_step_as_a_document_has_its_value_or_its_traceback() -> None:
    well = report.step_document(NEWS, NEWS.collectors[0], replace(OUTCOMES["hn"], value=["hunter22"]))
    badly = report.step_document(NEWS, NEWS.collectors[1], OUTCOMES["reddit"])
    assert well["value"] == ["***"]
    assert badly["error"]["traceback"].startswith("  get('***')")


def test_a_short_result_is_one_line_and_a_long_one_is_not() -> None:
    assert report.result({"request_id": "r", "item_count": 12}, NEWS) == '{"request_id": "r", "item_count": 12}'
    assert len(report.result(["x" * 50] * 3, NEWS).splitlines()) == 5


def test_a_dry_run_shows_the_graph_the_arguments_and_what_would_be_sent() -> None:
    told = report.dry_run(NEWS, "news-1", [("news.hn", "runner.collect", ("news-1", ["hn"]), "celery")])
    assert "●──┬─ hn" in told
    assert '  key = "***"' in told
    assert '    url = "https://x.org/tea"' in told
    assert '    key = "***"' in told
    assert '    request_id = "news-1"' in told
    assert (
        '1 message would be sent; nothing is started\n  news.hn: runner.collect("news-1", ["hn"]) to queue celery'
        in told
    )
    assert "hunter22" not in told


def test_the_document_of_a_dry_run_has_no_secret() -> None:
    told = report.dry_run_document(NEWS, "news-1", [("news.hn", "runner.collect", ("news-1", ["hn"]), "celery")])
    assert told["inputs"]["key"] == told["steps"][0]["arguments"]["key"] == "***"
    assert told["messages"] == [
        {"name": "news.hn", "task": "runner.collect", "args": ["news-1", ["hn"]], "queue": "celery"}
    ]
    assert "hunter22" not in json.dumps(told)


def test_an_expression_that_works_with_a_secret_is_shown_as_written() -> None:
    count = make_collector("hn", arguments={"limit": "${{ inputs.pin + 1 }}"})
    plan = change_plan(NEWS, collectors=(count,), inputs={"pin": 12345}, secrets=("pin",))
    assert '    limit = "${{ inputs.pin + 1 }}"' in report.dry_run(plan, "news-1", [])


def test_a_dry_run_of_a_thousand_collectors_fits_on_a_screen_or_two() -> None:
    plan, _ = wide(failing=0)
    messages = [(step.id, "runner.collect", ("wide-1", [step.id]), "celery") for step in plan.collectors]
    told = report.dry_run(plan, "wide-1", messages)
    assert "1,000 messages would be sent" in told
    assert len(told.splitlines()) < 60


def test_tasks_are_listed_with_their_parameters_and_first_line() -> None:
    url, timeout = Parameter(name="url", annotation="str"), Parameter(name="timeout", required=False, default="10")
    get = Task(name="http.get", module="web", parameters=(url, timeout), summary="Get a URL.")
    anything = Task(name="any", module="web", takes_any=True)
    assert report.task_list([get, anything]).splitlines() == [
        "any",
        "    and any other name",
        "",
        "http.get  Get a URL.",
        "    url: str",
        "    timeout = 10",
    ]


def test_a_problem_is_told_with_what_to_do_about_it() -> None:
    told = report.problem(UnknownRun('no run "x\x1b[2J"', hint="`runner runs` lists the runs"))
    assert told == 'error: no run "x\\x1b[2J"\nhint: `runner runs` lists the runs'


def test_every_input_that_does_not_fit_has_its_own_line() -> None:
    assert report.problem(InvalidInputs('input "a": no\ninput "b": no')) == 'error: input "a": no\nerror: input "b": no'


def test_a_workflow_s_faults_are_all_told() -> None:
    place = Place("news.yaml", 3, 5, 4, "    nam: x")
    told = report.problem(InvalidWorkflow((Fault("E020", "unknown key", place), Fault("E012", "nothing", place))))
    assert "news.yaml:3:5: error[E020]: unknown key" in told
    assert "error[E012]" in told


@pytest.mark.parametrize(
    "tell",
    [
        lambda screen: report.summary(FAILED, NEWS, OUTCOMES, screen=screen),
        lambda screen: report.details(FAILED, NEWS, OUTCOMES, screen=screen),
        lambda screen: report.history([RUN], now=AT, screen=screen),
        lambda screen: report.step_details(NEWS, NEWS.collectors[1], OUTCOMES["reddit"], screen=screen),
        lambda screen: report.dry_run(NEWS, "news-1", [], screen=screen),
        lambda screen: report.problem(UnknownRun("no"), screen=screen),
    ],
)
def test_faults_are_coloured_only_where_there_is_colour(tell: Callable[[Screen], str]) -> None:
    assert "\x1b[" in tell(Screen(colour=True))
    assert "\x1b" not in tell(Screen(colour=False))


def test_faults_are_told_without_waiting_for_the_redis_client() -> None:
    asked = "import sys; from runner.views import report; print([m for m in ('redis', 'celery', 'rich') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_document_has_an_entry_for_a_foreach_and_one_for_each_of_its_collectors_without_success() -> None:
    steps = report.document(PARTIAL, PAGES, SOME, [1], tally=TALLY)["steps"]
    assert [step["id"] for step in steps] == ["hn", "page", "page[7]", "page[42]", "fan_in", "count"]
    assert steps[1] == {
        "id": "page",
        "kind": "collector",
        "task": "http.get",
        "status": "partial",
        "count": 1000,
        "statuses": {"succeeded": 998, "failed": 1, "timed_out": 1},
        "place": "pages.yaml:7:5",
    }
    assert steps[2]["error"] == {"type": "ConnectionError", "message": "refused by ***"}


def test_the_coverage_counts_the_collectors_of_a_foreach() -> None:
    assert report.document(PARTIAL, PAGES, SOME, [1], tally=TALLY)["coverage"] == {
        "succeeded": 999,
        "total": 1001,
        "missing": ["page[7]", "page[42]"],
        "missing_count": 2,
    }


def test_of_a_cancelled_run_the_document_lists_a_thousand_that_never_started_and_counts_all() -> None:
    plan = change_plan(PAGES, collectors=(replace(PAGE, foreach=Foreach(items="…", count=5000, batch=50)),))
    never = [f"page[{at}]" for at in range(3, 1500)]
    cancelled = replace(RUN, status="cancelled")
    document = report.document(cancelled, plan, {}, None, tally={"page": {"succeeded": 3}}, unended=never)
    assert document["steps"][0]["statuses"] == {"succeeded": 3, "cancelled": 4997}
    assert document["steps"][1]["status"] == "cancelled"
    assert document["coverage"]["missing"] == never[:1000]
    assert document["coverage"]["missing_count"] == 4997


def test_the_summary_counts_the_collectors_of_a_foreach_and_names_those_that_failed() -> None:
    assert report.summary(PARTIAL, PAGES, SOME, tally=TALLY).splitlines() == [
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
    told = report.summary(FAILED, PAGES, failed, tally={"page": {"failed": 1000}}).splitlines()
    assert sum("✗ page[" in line for line in told) == 20
    assert told[-2:] == [
        "  … 980 more",
        "hint: `python -m runner show news-1 --step page --status failed` lists them",
    ]


def test_details_of_a_run_have_one_row_for_a_foreach() -> None:
    told = report.details(PARTIAL, PAGES, SOME, tally=TALLY).splitlines()
    assert told[told.index("") + 1 :][:3] == [
        "STEP    STATUS     SUCCEEDED     ATTEMPTS  DURATION  WORKER",
        "hn      succeeded                1         1s        celery@box",
        "page    partial    998 of 1,000",
    ]


def test_details_count_what_is_executed_while_the_run_goes_on() -> None:
    going_on = replace(RUN, status="running", finished_at=None)
    told = counts(going_on, PAGE, {"page": {"succeeded": 7}}, BUSY)
    assert told == {"succeeded": 7, "running": 2, "retrying": 1, "pending": 990}


def test_details_do_not_count_what_has_ended_meanwhile_twice() -> None:
    going_on = replace(RUN, status="running", finished_at=None)
    assert counts(going_on, PAGE, {"page": {"succeeded": 999}}, BUSY) == {"succeeded": 999, "running": 1}


def test_a_step_that_is_tried_again_is_told_with_its_error_and_without_the_secret() -> None:
    going_on = replace(RUN, status="running", finished_at=None)
    told = report.details(
        going_on,
        NEWS,
        {},
        underway={"hn": Underway(status="retrying", attempts=2, seconds=40, worker="celery@box", error=REFUSED)},
    )
    assert "hn      retrying  2         celery@box" in told
    assert told.splitlines()[-2:] == [
        "  ↻ hn retrying after 2 attempts, the next in 40s",
        "      ConnectionError: refused by ***",
    ]


def test_the_earlier_attempts_of_a_step_are_told_before_its_value() -> None:
    earlier = [FailedAttempt(attempt=1, started_at=AT, finished_at=AT + 2.5, worker="celery@box", error=REFUSED)]
    outcome = replace(OUTCOMES["hn"], attempts=2, value=3)
    told = report.step_details(NEWS, NEWS.collectors[0], outcome, failures=earlier)
    assert told.endswith("earlier attempts\n  1  failed after 2.5s on celery@box: ConnectionError: refused by ***\n\n3")


def page(**changed: Any) -> Page:
    """The second of twenty."""
    statuses = {"page[41]": "succeeded", "page[42]": "timed_out", "page[\x1b hunter22]": "skipped"}
    shown = Page(step=PAGE, counts=TALLY["page"], number=2, last=20, status="", statuses=statuses, outcomes=SOME)
    return replace(shown, **changed)


def test_a_page_of_a_foreach_has_a_line_for_each_and_says_how_to_turn_it() -> None:
    assert report.page_details(RUN, PAGES, page()).splitlines() == [
        "step      page (1,000 collectors)",
        "task      http.get",
        "place     pages.yaml:7:5",
        "status    ! partial: 998 succeeded · 1 failed · 1 timed out",
        "",
        "STEP            STATUS     ATTEMPTS  DURATION  WORKER      ERROR",
        "page[41]        succeeded",
        "page[42]        timed out  1         5s        celery@box  Timeout: 5s",
        "page[\\x1b ***]  skipped",
        "",
        "page 2 of 20",
        "hint: `python -m runner show news-1 --step page --page 3` is the next",
    ]


def test_a_page_of_one_status_says_so_and_so_does_the_next() -> None:
    told = report.page_details(RUN, PAGES, page(status="timed_out")).splitlines()
    assert told[-2:] == [
        "page 2 of 20, timed out only",
        "hint: `python -m runner show news-1 --step page --status timed_out --page 3` is the next",
    ]


@pytest.mark.parametrize(("status", "told"), [("", "no items"), ("failed", "none failed")])
def test_an_empty_page_of_items_says_what_it_is_empty_of(status: str, told: str) -> None:
    empty = page(number=1, last=0, status=status, statuses={})
    assert report.page_details(RUN, PAGES, empty).splitlines()[-1] == told


def test_a_page_for_programs_has_its_place_among_the_pages_and_no_secret() -> None:
    document = report.page_document(PAGES, page())
    assert (document["page"], document["pages"], document["statuses"]) == (2, 20, TALLY["page"])
    assert [item["id"] for item in document["items"]] == ["page[41]", "page[42]", "page[\x1b ***]"]
    assert document["items"][1]["error"] == {"type": "Timeout", "message": "5s"}


def test_a_collector_of_a_foreach_is_shown_with_its_item() -> None:
    step = PAGE.of(Item({"url": "/7", "key": "hunter22"}, "7", 7))
    assert 'item      {"url": "/7", "key": "***"}' in report.step_details(PAGES, step, SOME["page[7]"])
    assert report.step_document(PAGES, step, None, status="cancelled")["item"] == {"url": "/7", "key": "***"}


def test_a_partial_run_without_several_is_to_be_run_again() -> None:
    told = report.nothing_to_resume(PARTIAL, NEWS, ["hn", "reddit"]).splitlines()
    assert told == [
        "run news-1 has ended partial, without hn, reddit: nothing is left to execute",
        (
            "hint: run the workflow again for all of them; `python -m runner resume news-1 --from hn` executes hn and what"
            " follows again, as a new run"
        ),
    ]


def test_a_partial_run_without_items_starts_from_their_collector() -> None:
    told = report.nothing_to_resume(PARTIAL, PAGES, ["page[7]", "page[42]"])
    assert "hint: `python -m runner resume news-1 --from page` executes page and what follows again" in told


def test_the_summary_warns_of_a_foreach_without_items() -> None:
    """A list of nothing overwrote the file of the day before with an empty one, and the run had succeeded."""
    foreach = PAGE.foreach
    assert foreach is not None
    empty = change_plan(PAGES, collectors=(replace(PAGE, foreach=replace(foreach, count=0)),))
    told = report.summary(RUN, empty, {}, tally={"page": {}})
    assert told.splitlines()[1:] == ["warning: no items: page"]


@pytest.mark.parametrize("before", ["a: ", "a: " + "x" * 200, "a: " + "日本語" * 30, "a: " + "\x1b" * 40])
@pytest.mark.parametrize("marked", ["wrong", "wrong" * 40, "誤り" * 20])
@pytest.mark.parametrize("columns", [20, 40, 60, 80])
def test_the_line_of_a_fault_fits_the_screen_with_its_caret(before: str, marked: str, columns: int) -> None:
    """Found in use: at 60 columns the line was cut at 120, wrapped, and the caret stood beneath another row."""
    place = Place("w.yaml", 7, len(before) + 1, len(marked), f"{before}{marked} and more {'after ' * 40}")
    told = report.problem(InvalidWorkflow((Fault("E020", "no", place),)), screen=Screen(width=columns))
    _, line, carets = told.splitlines()
    assert max(width(line), width(carets)) <= columns
    start = len(carets) - len(carets.lstrip(" |"))
    shown = next(line[at:] for at in range(len(line)) if width(line[:at]) == start)
    assert marked.startswith(shown[:1])
    assert carets.strip(" |") == "^" * carets.count("^") != ""
