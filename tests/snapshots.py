"""A run, a page of its items and its steps, as the ledger reads them, for tests of views."""

from dataclasses import replace
from typing import Any

from runner.language.layout import Layout
from runner.language.plan import Foreach, Plan
from runner.ledger.entries import Error, Outcome, Run, Underway
from runner.ledger.item_pages import Page
from runner.ledger.snapshot import step_snapshot
from runner.ledger.statuses import Status
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
    "fan_in": make_outcome("fan_in", "not_run", error=Error("NotRun", "reddit failed")),
    "count": make_outcome("count", "not_run", error=Error("NotRun", "reddit failed")),
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
PAGE = make_collector("page", "http.get", place="pages.yaml:7:5", foreach=Foreach(items="…"))
LAYOUT = Layout(counts={"page": 1000}, sizes={"page": 50})
PAGES = change_plan(NEWS, collectors=(NEWS.collectors[0], PAGE), min_success=1)
TALLY: dict[str, dict[Status, int]] = {"page": {"succeeded": 998, "failed": 1, "timed_out": 1}}
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


def page(**changed: Any) -> Page:
    """The second of twenty."""
    outcomes = {
        "page[41]": make_outcome("page[41]"),
        "page[42]": SOME["page[42]"],
        "page[\x1b hunter22]": make_outcome("page[\x1b hunter22]", "not_run"),
    }
    items = [step_snapshot(PARTIAL, PAGES, replace(PAGE, id=step_id), each) for step_id, each in outcomes.items()]
    shown = Page(run=PARTIAL, step=PAGE, counts=TALLY["page"], number=2, last=20, status=None, items=items)
    return replace(shown, **changed)
