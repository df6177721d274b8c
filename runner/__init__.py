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
`system/` what the operating system gives: streams, signals, processes. Imports go down only; `pyproject.toml` says which way.
"""

from typing import TYPE_CHECKING, Any

from runner.worker.notes import note

if TYPE_CHECKING:
    from runner.language.workflow_file import load
else:

    def __getattr__(name: str) -> Any:
        """Import `load` when it is asked for: the language takes 0.2 s, and every worker imports this file."""
        if name != "load":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from runner.language.workflow_file import load  # noqa: PLC0415

        return load


__all__ = ["load", "note"]
