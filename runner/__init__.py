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
    from runner.language.faults import InvalidInputs, InvalidWorkflow
    from runner.language.workflow_file import load
    from runner.worker.notes import note
else:
    _HOMES = {
        "InvalidInputs": "runner.language.faults",
        "InvalidWorkflow": "runner.language.faults",
        "load": "runner.language.workflow_file",
        "note": "runner.worker.notes",
    }

    def __getattr__(name: str) -> object:
        """Import a name when it is asked for: the language takes 0.2 s, and every worker imports this file."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(_HOMES[name]), name)


__all__ = ["InvalidInputs", "InvalidWorkflow", "load", "note"]
