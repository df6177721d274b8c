"""A run that has met faults to the invariants that it kept: I1 to I7.

I1  the run has a recorded end
I2  the gather was handed one entry per collector, in the order of the YAML
I3  one outcome per step; `run`, `show` and the ledger say the same
I4  a step of the tail does not start before the outcome of the one before it is recorded
I5  no step is executed more often than its retries and the faults that touched it explain
I6  it is not called succeeded while an effect is missing
I7  nothing is left: no message in a queue, none unacknowledged, no key without an end
    (processes, sockets and files: the fixture `own_directory`)
"""

from collections import Counter
from collections.abc import Mapping
from typing import cast

import redis

from runner.language.plan import steps_of
from runner.ledger.entries import Event
from runner.ledger.ledger import Ledger
from tests.command_line import Answer
from tests.faults.flow import show, statuses
from tests.faults.journal import Journal
from tests.waiting import wait_until


def check(
    run_id: str,
    ledger: Ledger,
    journal: Journal,
    *,
    told: Answer | None = None,
    retries: int = 0,
    faults: Mapping[str, int] | None = None,
) -> None:
    """Fail with the first invariant that does not hold.

    Args:
        told: what the waiting `run --json` printed.
        retries: that each step of the workflow has.
        faults: how many touched which step; a step that is not named was touched by none.
    """
    check_told(run_id, ledger, told=told)
    check_recorded(run_id, ledger, journal, retries=retries, faults=faults or {})
    check_nothing_left(ledger)


def check_told(run_id: str, ledger: Ledger, *, told: Answer | None = None) -> None:
    """I3, as far as the commands show it."""
    shown = show(run_id)
    assert shown["status"] == ledger.open(run_id).info().status, "I3: `show` and the ledger"
    assert statuses(shown) == {step: each.status for step, each in ledger.open(run_id).outcomes().items()}, "I3: steps"
    if told is not None:
        assert told.json == shown, "I3: `run --json` and `show --json`"


def check_recorded(
    run_id: str, ledger: Ledger, journal: Journal, *, retries: int = 0, faults: Mapping[str, int]
) -> None:
    """I1 to I6, as far as the ledger and the journal show them."""
    run, plan = ledger.open(run_id).info(), ledger.open(run_id).plan
    assert run.ended, f"I1: the run is {run.status}"
    assert not run.hooks, f"I1: {run.hooks} have not followed"
    outcomes = ledger.open(run_id).outcomes()
    hooks = plan.hooks_of(run.status, recovered=False)
    assert outcomes.keys() == {step.id for step in (*plan.steps, *hooks)}, "I3: every step has an outcome"
    observed = [fan_out for fan_out in plan.fan_outs if fan_out.gather.task == "faulty.gather"]
    for handed in journal.gathered():
        expected = [ledger.open(run_id).outcome(each.id) for each in observed[0].collectors]
        assert handed == [each.value for each in expected if each], "I2: what the gather was handed"

    events = ledger.open(run_id).events()
    finished = Counter(event.step for event in events if event.event == "finished")
    assert set(finished.values()) <= {1}, f"I3: recorded more than once: {finished}"
    assert sum(event.event == "ended" for event in events) == 1, "I3: ended more than once"
    before: list[str] = []
    for part in plan.parts:
        *collectors, end = (each.id for each in steps_of(part))
        for some in filter(None, (collectors, [end])):
            _check_order(events, before, some)
            before = some
    _check_hooks(events, [each.id for each in hooks])

    for step in (*plan.steps, *hooks):
        most = 1 + retries + faults.get(step.id, 0)
        starts = len(journal.starts(step.id))
        assert starts <= most, f"I5: {step.id} was executed {starts} times, and {most} are explained"
        observes = any(task.startswith("faulty.") for task in step.tasks) and outcomes[step.id].status != "skipped"
        if run.status == "succeeded" and observes:
            assert journal.ends(step.id), f"I6: {step.id} did not end, and the run succeeded"


def check_nothing_left(ledger: Ledger) -> None:
    """I7. Messages of a killed worker come back when their visibility has passed, and are then found to be done."""
    client = ledger.client
    wait_until(lambda: not _messages(client), "I7: no message is queued or unacknowledged", 40)
    ours = cast("list[str]", client.keys("runner:*"))
    assert [key for key in ours if client.ttl(key) == -1] == [], "I7: every key of ours expires"


def _check_order(events: list[Event], before: list[str], steps: list[str]) -> None:
    """Fail if one of the steps was started before those before had an outcome."""
    recorded = {event.step: at for at, event in enumerate(events) if event.event == "finished"}
    started = _started(events)
    for step in steps:
        if step in started:
            assert all(recorded[each] < started[step] for each in before), f"I4: {step} started too early"


def _check_hooks(events: list[Event], hooks: list[str]) -> None:
    """Fail if a hook was started before the run had ended, or before the hook before it had."""
    started = _started(events)
    ended = next(at for at, event in enumerate(events) if event.event == "ended")
    assert all(started[each] > ended for each in hooks if each in started), "I4: a hook started too early"
    for at, hook in enumerate(hooks):
        _check_order(events, hooks[:at], [hook])


def _started(events: list[Event]) -> dict[str, int]:
    """The place of each step's first start among the events."""
    started: dict[str, int] = {}
    for at, event in enumerate(events):
        if event.event == "started":
            started.setdefault(event.step, at)
    return started


def _messages(client: redis.Redis) -> list[str]:
    """The keys of Celery's that hold messages: one that is empty does not exist."""
    keys = [key for key in cast("list[str]", client.keys("*")) if not key.startswith("runner:") and "pidbox" not in key]
    return [key for key in keys if key.startswith("unacked") or client.type(key) == "list"]
