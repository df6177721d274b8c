"""Collect from many sources at once: YAML to Celery chords.

    text ─▶ Source ─▶ Workflow ─▶ Plan ─▶ Signature ─▶ Run ─▶ Snapshot ─▶ words, drawings

A folder for each part of that line:

    language/    the text of a file to a checked workflow and its plan
    messages/    a plan to Celery's messages
    ledger/      what is known of runs, in Redis or Valkey
    worker/      what a worker does with a step
    runs/        a run from outside the worker: started, followed, resumed
    views/       a snapshot of a run to what people and programs read

`brokers/` has the private Valkey and the one at your URL, `collectors/` the built-in tasks, `commands/` one file a command,
`settings/` what the environment and pyproject.toml say, `system/` what the operating system gives: streams, signals,
processes. Imports go down only; `pyproject.toml` says which way.
"""

TYPE_CHECKING = False  # what `typing` says: nothing may be imported here before __main__ has its own libraries

if TYPE_CHECKING:
    from runner.errors import (
        BrokerUnavailable,
        BrokerUnsafe,
        InvalidSettings,
        MalformedRunId,
        RunFailed,
        RunnerError,
        StateDirectoryUnusable,
        StillRunning,
        UnknownRun,
    )
    from runner.language.faults import InvalidInputs, InvalidWorkflow
    from runner.language.workflow_file import WorkflowFile, load
    from runner.ledger.damage import UnreadableRun
    from runner.ledger.entries import Event
    from runner.ledger.snapshot import Snapshot
    from runner.runs.run import Run, astart, start
    from runner.runs.start import OtherRun
    from runner.worker.application import ApplicationUnfit
    from runner.worker.notes import note
else:
    _HOMES = {
        "ApplicationUnfit": "runner.worker.application",
        "BrokerUnavailable": "runner.errors",
        "BrokerUnsafe": "runner.errors",
        "Event": "runner.ledger.entries",
        "InvalidInputs": "runner.language.faults",
        "InvalidSettings": "runner.errors",
        "InvalidWorkflow": "runner.language.faults",
        "MalformedRunId": "runner.errors",
        "OtherRun": "runner.runs.start",
        "Run": "runner.runs.run",
        "RunFailed": "runner.errors",
        "RunnerError": "runner.errors",
        "Snapshot": "runner.ledger.snapshot",
        "StateDirectoryUnusable": "runner.errors",
        "StillRunning": "runner.errors",
        "UnknownRun": "runner.errors",
        "UnreadableRun": "runner.ledger.damage",
        "WorkflowFile": "runner.language.workflow_file",
        "astart": "runner.runs.run",
        "load": "runner.language.workflow_file",
        "note": "runner.worker.notes",
        "start": "runner.runs.run",
    }

    def __getattr__(name: str) -> object:
        """Import a name when it is asked for: the language takes 0.2 s, and every worker imports this file."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(_HOMES[name]), name)


__all__ = [
    "ApplicationUnfit",
    "BrokerUnavailable",
    "BrokerUnsafe",
    "Event",
    "InvalidInputs",
    "InvalidSettings",
    "InvalidWorkflow",
    "MalformedRunId",
    "OtherRun",
    "Run",
    "RunFailed",
    "RunnerError",
    "Snapshot",
    "StateDirectoryUnusable",
    "StillRunning",
    "UnknownRun",
    "UnreadableRun",
    "WorkflowFile",
    "astart",
    "load",
    "note",
    "start",
]
