"""All that `import runner` offers, with its types: mypy checks what an application would write."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal, assert_type

import runner

RunStatus = Literal["pending", "running", "succeeded", "partial", "failed", "cancelled", "unreadable"]


def called(file: str) -> Any:
    """Start a run of the file, use every method of it, and return its result."""
    loaded = assert_type(runner.load(file), runner.WorkflowFile)
    run = assert_type(runner.start(loaded, {"topic": "tea"}), runner.Run)
    run = assert_type(runner.Run.get(assert_type(run.id, str)), runner.Run)
    assert_type(run.status, RunStatus)
    events = assert_type(run.events(), Iterator[runner.Event])
    assert [event.event for event in events][-1:] == ["ended"]
    assert_type(run.wait(timeout=60), RunStatus)
    assert_type(run.resume(), runner.Run)
    assert_type(run.cancel("too late"), RunStatus)
    snapshot = assert_type(run.snapshot(), runner.Snapshot)
    assert not assert_type([step.id for step in snapshot.missing], list[str])
    try:
        return assert_type(run.result(timeout=60), Any)
    except runner.RunFailed as failed:
        words: Sequence[str] = (failed.run_id, failed.status, failed.cause, failed.step, failed.place, failed.reason)
        return words
    except (runner.StillRunning, runner.UnknownRun) as error:
        return assert_type(error.hint, str)


async def awaited(file: str) -> Any:
    """The same, without blocking the event loop."""
    run = assert_type(await runner.astart(file, {"topic": "tea"}), runner.Run)
    run = assert_type(await runner.Run.aget(run.id), runner.Run)
    assert_type(await run.astatus(), RunStatus)
    events = assert_type(run.aevents(), AsyncIterator[runner.Event])
    assert [event.event async for event in events][-1:] == ["ended"]
    assert_type(await run.await_end(timeout=60), RunStatus)
    assert_type(await run.aresume(), runner.Run)
    assert_type(await run.acancel("too late"), RunStatus)
    assert_type(await run.asnapshot(), runner.Snapshot)
    return assert_type(await run.aresult(timeout=60), Any)
