"""The JSON of a run, for programs."""

from dataclasses import replace

from runner.language.layout import Layout
from runner.language.plan import Item
from runner.ledger.entries import Underway
from runner.ledger.snapshot import snapshot_of, step_snapshot
from runner.ledger.statuses import Status
from runner.views.document import page_document, snapshot_document, step_document
from tests.plans import change_plan
from tests.snapshots import (
    FAILED,
    LAYOUT,
    MISSING_ONE,
    NEWS,
    OUTCOMES,
    PAGE,
    PAGES,
    PARTIAL,
    RUN,
    SOME,
    TALLY,
    TOLERANT,
    WELL,
    page,
)


def test_the_json_document_of_a_run_has_the_promised_keys_in_their_order() -> None:
    document = snapshot_document(snapshot_of(RUN, NEWS, WELL, result={"count": 3}))
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


def test_the_json_document_of_a_run_has_of_each_step_how_it_ended() -> None:
    steps = snapshot_document(snapshot_of(FAILED, NEWS, OUTCOMES))["steps"]
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


def test_steps_of_a_run_that_has_not_ended_are_running_or_pending() -> None:
    run = replace(RUN, status="running", finished_at=None)
    steps = snapshot_document(
        snapshot_of(
            run, NEWS, {"hn": OUTCOMES["hn"]}, running={"reddit": Underway(status="running", attempts=1, seconds=30)}
        )
    )["steps"]
    assert [step["status"] for step in steps] == ["succeeded", "running", "pending", "pending"]


def test_steps_that_an_ended_run_never_came_to_are_not_run() -> None:
    steps = snapshot_document(snapshot_of(FAILED, NEWS, {"reddit": OUTCOMES["reddit"]}))["steps"]
    assert [step["status"] for step in steps] == ["not_run", "failed", "not_run", "not_run"]


def test_the_json_document_of_a_run_names_what_is_missing() -> None:
    document = snapshot_document(snapshot_of(PARTIAL, TOLERANT, MISSING_ONE, result=[1]))
    assert document["coverage"] == {"succeeded": 1, "total": 2, "missing": ["reddit"]}


def test_no_collector_is_missing_that_may_still_end_in_a_run_that_has_not_ended() -> None:
    run = replace(RUN, status="running", finished_at=None)
    document = snapshot_document(snapshot_of(run, TOLERANT, {"reddit": OUTCOMES["reddit"]}))
    assert document["coverage"] == {"succeeded": 0, "total": 2, "missing": ["reddit"]}


def test_in_a_run_that_has_ended_every_collector_without_an_answer_is_missing() -> None:
    document = snapshot_document(snapshot_of(replace(RUN, status="cancelled"), NEWS, {}))
    assert document["coverage"] == {"succeeded": 0, "total": 2, "missing": ["hn", "reddit"]}


def test_the_json_document_of_a_run_has_what_it_waits_for_until_it_has_ended() -> None:
    waiting = replace(RUN, status="running", waits_for="waits for a worker that has fetch")
    assert snapshot_document(snapshot_of(waiting, NEWS, {}))["note"] == "waits for a worker that has fetch"
    assert "note" not in snapshot_document(snapshot_of(replace(waiting, status="failed"), NEWS, {}))


def test_a_step_as_a_document_has_its_value_or_its_traceback() -> None:
    well = step_document(step_snapshot(RUN, NEWS, NEWS.collectors[0], replace(OUTCOMES["hn"], value=["hunter22"])))
    badly = step_document(step_snapshot(RUN, NEWS, NEWS.collectors[1], OUTCOMES["reddit"]))
    assert well["value"] == ["***"]
    assert badly["error"]["traceback"].startswith("  get('***')")


def test_the_document_has_an_entry_for_a_foreach_and_one_for_each_of_its_collectors_without_success() -> None:
    steps = snapshot_document(snapshot_of(PARTIAL, PAGES, SOME, layout=LAYOUT, counts=TALLY, result=[1]))["steps"]
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
    assert snapshot_document(snapshot_of(PARTIAL, PAGES, SOME, layout=LAYOUT, counts=TALLY, result=[1]))[
        "coverage"
    ] == {
        "succeeded": 999,
        "total": 1001,
        "missing": ["page[7]", "page[42]"],
        "missing_count": 2,
    }


def test_of_a_cancelled_run_the_document_lists_a_thousand_that_never_started_and_counts_all() -> None:
    plan, layout = change_plan(PAGES, collectors=(PAGE,)), Layout(counts={"page": 5000})
    never = [f"page[{at}]" for at in range(3, 1500)]
    cancelled = replace(RUN, status="cancelled")
    counts: dict[str, dict[Status, int]] = {"page": {"succeeded": 3}}
    document = snapshot_document(snapshot_of(cancelled, plan, {}, layout=layout, counts=counts, unended=never))
    assert document["steps"][0]["statuses"] == {"succeeded": 3, "cancelled": 4997}
    assert document["steps"][1]["status"] == "cancelled"
    assert document["coverage"]["missing"] == never[:1000]
    assert document["coverage"]["missing_count"] == 4997


def test_the_item_of_a_collector_is_in_its_document() -> None:
    step = PAGE.of(Item({"url": "/7", "key": "hunter22"}, "7", 7))
    assert step_document(step_snapshot(RUN, PAGES, step, None))["item"] == {"url": "/7", "key": "***"}


def test_a_page_for_programs_has_its_place_among_the_pages_and_no_secret() -> None:
    document = page_document(page())
    assert (document["page"], document["pages"], document["statuses"]) == (2, 20, TALLY["page"])
    assert [item["id"] for item in document["items"]] == ["page[41]", "page[42]", "page[\x1b ***]"]
    assert document["items"][1]["error"] == {"type": "Timeout", "message": "5s"}
