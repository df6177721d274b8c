"""What an application includes to execute steps: `include=["runner.adopt"]`, or `celery -A myapp worker -I runner.adopt`.

With it come the tasks that execute steps, the reconciler, and the built-in tasks; the latter only in a worker.
"""

from importlib import import_module
from typing import Any

from celery.signals import worker_init

from runner.language.task_index import installed_modules
from runner.worker import execute, reconcile

__all__ = ["execute", "reconcile"]


@worker_init.connect
def _offer_built_in_tasks(**_: Any) -> None:
    """Import them after all that the application includes: Celery keeps the first task of a name, which is the user's."""
    for module in installed_modules():
        import_module(module)
