"""Collect from many sources at once: YAML to Celery chords.

    text ──source.py──▶ Source ──spec.py──▶ Workflow ──plan.py──▶ Plan ──canvas.py──▶ Signature ──run.py──▶ Run ──report.py──▶ words

Six files, each turning one noun into the next; read them in this order. Beside the line stand `catalogue.py`,
`checks.py`, `expressions.py`, `inputs.py` and `misfits.py` (what a file may say), `bind.py` and `foreach.py` (what a run
is given: its inputs, and the items that a collector is repeated for), `store.py` (the ledger), `execute.py` (what a worker
does with a step), `brokers/` (the embedded Valkey, or yours), and the families `collectors/`,
`drawings/` and `commands/`.
"""
