"""However many collectors share a message, and however many of them are executed at once: the result is the same."""

from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.language.bind import Bound
from runner.language.layout import Layout
from runner.language.plan import Foreach, Retry
from runner.ledger.ledger import Ledger
from runner.messages.destination import Destination
from runner.runs.start import start
from tests.command_line import ROOT
from tests.following import follow_to_the_end
from tests.plans import make_collector, make_gather, make_plan
from tests.properties.test_compiler import client
from tests.workers import working

__all__ = ["client"]  # a fixture


@dataclass(frozen=True)
class FanOut:
    """Numbers, some of which a task dislikes, in batches."""

    items: list[int]
    dislikes: list[int]
    task: str
    batch: int | None
    max_concurrency: int | None
    retries: int

    @property
    def bound(self) -> Bound:
        foreach = Foreach(items=self.items, key="${{ 'n' + string(item) }}")
        with_ = {"value": "${{ item }}", "dislikes": self.dislikes}
        retry = Retry(max_retries=self.retries, delay=0.01)
        page = make_collector(
            "page", self.task, arguments=with_, timeout=30, retry=retry, foreach=foreach, required=False
        )
        page = replace(page, batch=self.batch, max_concurrency=self.max_concurrency)
        alone = make_collector("alone", "pure.echo", arguments={"value": "alone"})
        gather = make_gather("gather", "batch.gather_stream")
        plan = make_plan("fan-out", collectors=(page, alone), gather=gather, min_success=0)
        return Bound(plan=plan, layout=Layout(counts={"page": len(self.items)}))

    @property
    def result(self) -> list[object]:
        good = [number for number in self.items if number not in self.dislikes]
        statuses = {number: "succeeded" if number in good else "failed" for number in self.items}
        outcomes = [[f"page[n{number}]", status] for number, status in statuses.items()]
        return [[*([number] for number in good), "alone"], [*outcomes, ["alone", "succeeded"]]]


@st.composite
def fan_outs(draw: st.DrawFn) -> FanOut:
    items = draw(st.lists(st.integers(-999, 999), unique=True, max_size=40))
    return FanOut(
        items,
        dislikes=sorted(draw(st.sets(st.sampled_from(items)))) if items else [],
        task=draw(st.sampled_from(["batch.fussy", "batch.fussy_async"])),
        batch=draw(st.none() | st.integers(1, 50)),
        max_concurrency=draw(st.none() | st.integers(1, 8)),
        retries=draw(st.integers(0, 1)),
    )


def test_the_result_of_a_fan_out_does_not_depend_on_its_batches(client: Ledger, tmp_path: Path) -> None:
    numbers = iter(range(10_000))

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(fan_outs())
    def holds(fan_out: FanOut) -> None:
        run_id = f"batches-{next(numbers)}"
        assert start(fan_out.bound, run_id, client, Destination(queue="celery", slots=2))

        follow_to_the_end(client.open(run_id))

        last = client.open(run_id).outcome("gather")
        assert last is not None
        assert last.value == fan_out.result

    include = {"RUNNER_INCLUDE": "batch_tasks,pure_tasks", "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    with working(tmp_path / "log", "runner", "worker", "--concurrency", "2", **include):
        holds()
