"""An application's `include=["runner.adopt"]`, or `celery -A myapp worker -I runner.adopt`, to a worker that executes steps.

It registers the tasks that execute steps, the reconciler and, in a worker only, the built-in tasks.
"""

from importlib import import_module
from typing import Any

from celery.signals import worker_init

from runner.language.task_index import installed_modules
from runner.worker import execute, reconcile

__all__ = ["execute", "reconcile"]


@worker_init.connect
def _offer_built_in_tasks(**_: Any) -> None:
    """Import them after the modules of the application: Celery keeps the first task of a name, and that is the user's."""
    for module in installed_modules():
        import_module(module)
