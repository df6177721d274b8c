"""Runs of this project, from the checked file to the result in hand: `python -m tests.benchmarks.ours` (client.py)."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from runner import celery_app
from runner.brokers import connect, locate_broker
from runner.language.bind import Bound
from runner.language.layout import Layout
from runner.language.plan import FanOut, Plan, Step, segments
from runner.language.workflow_file import WorkflowFile, load
from runner.ledger.ledger import Ledger
from runner.ledger.run_ids import new_run_id
from runner.ledger.watchers import Watchers
from runner.messages.canvas import compose, messages_of
from runner.messages.destination import Destination
from runner.runs.start import start
from runner.settings import read_settings
from tests.benchmarks.client import expect, main, sum_below, timed
from tests.command_line import DEFAULT

WORKFLOWS = Path(__file__).parent / "workflows"


def default() -> float:
    seconds, value = _run(DEFAULT, topic="tea")
    expect(value["item_count"], 12)
    return seconds


def numbers(count: int) -> float:
    seconds, value = _run(WORKFLOWS / "numbers.yaml", count=count)
    expect(value, sum_below(count))
    return seconds


def second(count: int) -> float:
    seconds, value = _run(WORKFLOWS / "second.yaml", count=count)
    expect(value, sum_below(count))
    return seconds


def discover(count: int) -> float:
    seconds, value = _run(WORKFLOWS / "discover.yaml", count=count)
    expect(value, sum_below(count))
    return seconds


def many(count: int) -> float:
    """As many runs of the default workflow at once."""
    ledger, queue = _ledger(), read_settings().queue
    watchers = Watchers(ledger)
    with timed() as watch:
        started = []
        for _ in range(count):
            bound = _file(DEFAULT).bind({"topic": "tea"})
            run_id = new_run_id(bound.plan)
            start(bound, run_id, ledger, Destination(queue=queue))
            started.append((run_id, bound.plan, watchers.end_of(run_id)))
        for run_id, plan, end in started:
            end.result()
            expect(ledger.open(run_id).value(plan.steps[-1].id)["item_count"], 12)
    return watch.seconds


def flaky(count: int, every: int, folder: str) -> float:
    seconds, value = _run(WORKFLOWS / "flaky.yaml", count=count, every=every, folder=folder)
    expect(value, sum_below(count))
    return seconds


def pages(count: int, server: str) -> float:
    seconds, value = _run(WORKFLOWS / "pages.yaml", count=count, server=server)
    expect(value, sum_below(count))
    return seconds


def written_out(count: int) -> float:
    """The numbers, each of them a collector of its own in the file: as many messages as there are collectors."""
    plan = _file(WORKFLOWS / "numbers.yaml").bind({"count": count}).plan
    one = replace(plan.collectors[0], foreach=None, together=None)
    collectors = tuple(replace(one, id=f"number_{n}", arguments={"n": n}) for n in range(count))
    seconds, value = _start(lambda: Bound(plan=_with(plan, collectors), layout=Layout()))
    expect(value, sum_below(count))
    return seconds


def composed(count: int) -> float:
    """A plan whose collectors are all written out, each of them a message of its own, to what would be sent."""
    plan = load(DEFAULT).bind({"topic": "tea"}).plan
    collectors = tuple(replace(plan.collectors[0], id=f"collector_{number}") for number in range(count))
    [segment] = segments(_with(plan, collectors))
    with timed() as watch:
        composed = compose(segment, "compose", Layout())
    expect(len(messages_of(composed)), count + len(plan.tail))
    return watch.seconds


def _with(plan: Plan, collectors: tuple[Step, ...]) -> Plan:
    """The plan with these collectors in its fan-out."""
    fan_out, *rest = plan.parts
    return replace(plan, parts=(replace(cast("FanOut", fan_out), collectors=collectors), *rest))


def _run(file: Path | str, **inputs: Any) -> tuple[float, Any]:
    """The seconds that a run took, and its result; what `run` does with a file that it has read and checked."""
    return _start(partial(_file(file).bind, inputs))


def _start(bind: Callable[[], Bound]) -> tuple[float, Any]:
    """The same of a plan."""
    ledger, queue = _ledger(), read_settings().queue
    with timed() as watch:
        bound = bind()
        plan = bound.plan
        run_id = new_run_id(plan)
        start(bound, run_id, ledger, Destination(queue=queue))
        for _ in ledger.open(run_id).follow():
            pass
        value = ledger.open(run_id).value(plan.steps[-1].id)
    ended = ledger.open(run_id).info()
    expect((ended.status, ended.cause), ("succeeded", ""))
    layout = ledger.open(run_id).layout  # a later fan-out is counted in the run
    for each in plan.collectors:
        if each.foreach:
            expect(ledger.open(run_id).tally()[each.id], {"succeeded": layout.counts[each.id]})
    return watch.seconds, value


@cache
def _file(file: Path | str) -> WorkflowFile:
    return load(file)


@cache
def _ledger() -> Ledger:
    settings = read_settings()
    return Ledger.of(connect(locate_broker(settings)), settings)


if __name__ == "__main__":
    celery_app.make_current()
    main(
        {
            "default": default,
            "many": many,
            "numbers": numbers,
            "second": second,
            "discover": discover,
            "written_out": written_out,
            "flaky": flaky,
            "pages": pages,
            "compose": composed,
        }
    )
