"""This process's Celery application, settings and ledger, and the plans that it has to do with."""

import functools
import time
from typing import Any

from celery import Celery, current_app
from celery.signals import worker_init

from runner import brokers
from runner import settings as all_settings
from runner.language.plan import Plan
from runner.ledger.ledger import Ledger
from runner.settings import Settings
from runner.worker import application

KNOWN_FOR = 30  # seconds until a plan is read again: fewer than any run is kept after its last change (`ttl`)
SECRETIVE = 32  # plans whose secrets are remembered: more runs than a process executes at once

_secretive: dict[str, Plan] = {}  # by the run's id, the latest last
_worker_app: list[Celery] = []  # of the worker that this process is, or is a child of


def serve(app: Celery) -> None:
    """Take this application for that of the process, whatever is current.

    A task's module may make another one the current app whenever it is imported.
    """
    _worker_app[:] = [app]


@worker_init.connect
def _serve_the_worker(sender: Any, **_: Any) -> None:
    serve(sender.app)


def app() -> Celery:
    """The worker's application; in another process, the current one."""
    return _worker_app[0] if _worker_app else current_app._get_current_object()  # noqa: SLF001 - not a proxy of whichever is current later


@functools.cache
def settings() -> Settings:
    return all_settings.read()


@functools.cache
def ledger() -> Ledger:
    return Ledger.of(brokers.connect(application.ledger_url(app(), settings())), settings())


def queue() -> str:
    """Where steps go that name none: the default queue of the application, unless the settings name one."""
    return settings().queue if "queue" in settings().model_fields_set else str(app().conf.task_default_queue)


def plan(run_id: str) -> Plan:
    """A run's plan, which never changes; but once the run has expired another may have its id, with another plan."""
    found = _plan_for_a_while(run_id, time.monotonic() // KNOWN_FOR)
    if found.secrets:
        _secretive.pop(run_id, None)
        _secretive[run_id] = found
        for old in list(_secretive)[:-SECRETIVE]:
            _secretive.pop(old, None)
    return found


def secretive() -> list[Plan]:
    """The plans with secrets that this process has had to do with lately: of what it logs, nothing is to show them."""
    return list(_secretive.values())


@functools.lru_cache(maxsize=32)
def _plan_for_a_while(run_id: str, _period: float) -> Plan:
    return ledger().plan(run_id)
