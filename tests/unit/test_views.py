"""No view of a run shows a secret, wherever a task, a server or an item's key has put it."""

import inspect
import io
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, get_type_hints

import pytest

import runner.views
from runner.language.layout import Layout
from runner.language.plan import Foreach, Item
from runner.ledger.entries import Error, Event, EventName, FailedAttempt, Run, Underway
from runner.ledger.item_pages import Page
from runner.ledger.snapshot import Snapshot, StepSnapshot, snapshot_of, step_snapshot
from runner.views.live import picture
from runner.views.progress import Lines
from runner.views.run_state import RunState
from tests.plans import make_collector, make_outcome, make_plan

SECRET = "hunter22"
KEY = f"page[{SECRET}]"
PAGE = make_collector("page", foreach=Foreach(items="…"))
LAYOUT = Layout(counts={"page": 9})
PLAN = make_plan(
    collectors=(make_collector("hn"), PAGE),
    stages="count",
    min_success=1,
    inputs={"key": SECRET, "topic": f"with {SECRET}"},
    secrets=("key",),
)
ERROR = Error(f"E{SECRET}", f"refused {SECRET}", f"  get('{SECRET}')")
NOTES = {SECRET: SECRET}
RETRYING = Underway(status="retrying", attempts=1, seconds=4, worker=SECRET, error=ERROR)
FAILURE = FailedAttempt(attempt=1, started_at=0, finished_at=1, worker=SECRET, error=ERROR)
FAILED = make_outcome("hn", "failed", error=ERROR, attempts=2, worker=SECRET, notes=NOTES)
LATE = make_outcome(KEY, "late", value={SECRET: [SECRET]}, worker=SECRET, json=f'"{SECRET}"', notes=NOTES)
WELL = make_outcome("count", value={SECRET: f"a {SECRET}"}, worker=SECRET, json=f'"{SECRET}"', notes=NOTES)
ITEM = PAGE.of(Item({SECRET: SECRET}, SECRET, 7))

RUNS = [
    Run(
        id="news-1",
        workflow="news",
        status=status,
        hash="0123456789ab",
        submitted_at=0,
        finished_at=1,
        cause=f"{KEY} did not succeed",
        waits_for=f"waits for {SECRET}",
        inputs={"key": "***", "topic": f"with {SECRET}"},
    )
    for status in ("running", "partial", "failed", "cancelled")
]


def snapshots() -> Iterator[Snapshot]:
    outcomes = {each.step: each for each in (FAILED, LATE, WELL)}
    running = {f"page[a {SECRET}]": RETRYING, "gather": RETRYING}
    for run in RUNS:
        yield snapshot_of(
            run, PLAN, outcomes, layout=LAYOUT, running=running, unended=[f"page[b {SECRET}]"], result=[SECRET]
        )
        yield snapshot_of(run, PLAN, {}, layout=LAYOUT)


def steps() -> Iterator[StepSnapshot]:
    for run in RUNS:
        for outcome in (FAILED, LATE, WELL, None):
            yield step_snapshot(run, PLAN, ITEM, outcome, running=RETRYING, failures=[FAILURE])


def pages() -> Iterator[Page]:
    for run in RUNS:
        yield Page(run=run, step=PAGE, counts={"failed": 9}, number=1, last=2, status=None, items=list(steps()))


EVENTS: tuple[EventName, ...] = ("waiting", "started", "postponed", "finished", "answered", "ended")


def events() -> Iterator[Event]:
    for name in EVENTS:
        for step in ("hn", "page", KEY, ""):
            if step or name in {"waiting", "ended"}:
                yield Event(
                    id="0",
                    event=name,
                    at=1,
                    step=step,
                    status="failed" if name in {"finished", "ended"} else "",
                    worker=SECRET,
                    message=f"{KEY}: refused {SECRET}",
                )


SOURCES: dict[type, Callable[[], Iterator[Any]]] = {Snapshot: snapshots, StepSnapshot: steps, Page: pages}


def views() -> Iterator[tuple[Callable[[Any], Any], type]]:
    """Every public function of the views that is given a snapshot: a new one is among them."""
    for module in pkgutil.walk_packages(runner.views.__path__, "runner.views."):
        for name, function in inspect.getmembers(import_module(module.name), inspect.isfunction):
            if function.__module__ == module.name and not name.startswith("_"):
                first = next(iter(get_type_hints(function).values()))
                if first in SOURCES:
                    yield function, first


VIEWS = list(views())


def test_the_views_are_found() -> None:
    found = {function.__name__ for function, _ in VIEWS}
    assert {"summary", "details", "step_details", "page_details", "snapshot_document", "step_document"} <= found


@pytest.mark.parametrize(("view", "source"), VIEWS, ids=lambda each: each.__name__)
def test_no_view_of_a_snapshot_shows_a_secret(view: Callable[[Any], Any], source: type) -> None:
    shown = [str(view(each)) for each in SOURCES[source]()]
    assert [each for each in shown if SECRET in each] == []
    assert any(shown)


@pytest.mark.parametrize("source", [snapshots, steps])
def test_no_part_of_a_snapshot_has_a_secret(source: Callable[[], Iterator[Any]]) -> None:
    assert [each for each in source() if SECRET in repr(each)] == []


def test_progress_shows_no_secret() -> None:
    stream = io.StringIO()
    lines = Lines(RunState(PLAN, LAYOUT), "news-1", stream, silence=0)
    for event in events():
        lines.update(event)
        lines.update(None)
    assert "***" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_the_live_picture_shows_no_secret() -> None:
    state, shown = RunState(PLAN, LAYOUT), []
    for event in events():
        state.apply(event)
        shown.append(str(picture(state, "news-1", columns=200, height=50)))
    assert any("***" in each for each in shown)
    assert [each for each in shown if SECRET in each] == []


def test_items_whose_keys_are_secret_are_all_counted() -> None:
    """Both are shown as `page[***]`, and neither takes the place of the other."""
    secrets = make_plan(collectors=(PAGE,), inputs={"keys": ["hunter22", "swordfish"]}, secrets=("keys",))
    outcomes = {f"page[{key}]": make_outcome(f"page[{key}]", "failed") for key in ("hunter22", "swordfish")}
    snapshot = snapshot_of(RUNS[1], secrets, outcomes, layout=LAYOUT, counts={"page": {"failed": 2}})
    assert [each.id for each in snapshot.failed] == ["page[***]", "page[***]"]
