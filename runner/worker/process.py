"""State of this process: its Celery application, settings, ledger and plans, and its own object of each kind.

No other module of the worker keeps a global that changes.
"""

import contextlib
import functools
import mmap
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from billiard.process import current_process
from celery import Celery, current_app
from celery.signals import worker_init

from runner.brokers import connect
from runner.language.plan import Plan
from runner.ledger.ledger import Ledger
from runner.ledger.run_record import RunRecord
from runner.settings import Settings, read_settings
from runner.worker import application

Kind = TypeVar("Kind")

PLAN_LIFETIME = 30  # seconds until a plan is read again: fewer than any run is kept after its last change (`ttl`)
SECRET_PLANS = 32  # plans whose secrets are remembered: more runs than a process executes at once

_secret_plans: dict[str, Plan] = {}  # by the run's id, the latest last
_worker_app: list[Celery] = []  # of the worker that this process is, or is a child of
_ledgers: WeakKeyDictionary[Celery, Ledger] = WeakKeyDictionary()
_own: dict[Callable[[], Any], Any] = {}  # by what makes it
_making = threading.RLock()
# What a worker uses until it exits: the embedded server stops when nobody does (brokers/embedded.py). A child inherits it:
# closing it there would stop the server of its parent.
in_use = contextlib.ExitStack()


def own(make: Callable[[], Kind]) -> Kind:
    """Return this process's own object of a kind, made at the first call; a forked child makes another.

    Args:
        make: a class, or a function without arguments.
    """
    try:
        found: Kind = _own[make]
    except KeyError:
        with _making:
            if make not in _own:
                _own[make] = make()
            found = _own[make]
    return found


def renew(make: Callable[[], Kind], old: Kind) -> Kind:
    """Replace this process's own object of a kind, unless another thread has done so already."""
    with _making:
        if _own.get(make) is old:
            _own[make] = make()
    return own(make)


def _begin_child() -> None:
    global _making  # noqa: PLW0603 - another thread of the parent may hold it for ever
    _making = threading.RLock()
    _own.clear()


os.register_at_fork(after_in_child=_begin_child)


def serve(app: Celery) -> None:
    """Make this application that of the process, whichever is Celery's current one.

    A task's module may make another one the current app whenever it is imported.
    """
    _worker_app[:] = [app]


@worker_init.connect
def _serve_the_worker(sender: Any, **_: Any) -> None:
    serve(sender.app)


def app() -> Celery:
    """Return the worker's application; in another process, the current one."""
    # defence: SERVED
    return _worker_app[0] if _worker_app else current_app._get_current_object()  # noqa: SLF001 - not a proxy of whichever is current later


# Shared with the children of a pool: whether the worker sends the events of its tasks, as Flower asks all workers to.
_watched = mmap.mmap(-1, 1)


def note_watched(*, watched: bool) -> None:
    _watched[0] = watched


def is_watched() -> bool:
    """Whether somebody receives the events of this worker's tasks, or did a moment ago."""
    return bool(_watched[0])


def is_worker() -> bool:
    """Whether this process is a worker, or a child of one."""
    return bool(_worker_app)


@functools.cache
def settings() -> Settings:
    return read_settings()


def ledger() -> Ledger:
    """Return the ledger on the broker of `app`."""
    its = app()
    found = _ledgers.get(its)
    if found is None:
        found = _ledgers[its] = Ledger.of(connect(application.ledger_url(its, settings())), settings())
    return found


def is_child() -> bool:
    """Whether this is a child of a pool, which the pool replaces when it exits."""
    return hasattr(current_process(), "index")


def queue() -> str:
    """Return the queue for steps that name none: the application's default queue, unless the settings name one."""
    return settings().queue if "queue" in settings().model_fields_set else str(app().conf.task_default_queue)


def run(run_id: str) -> RunRecord:
    """Return a run of the ledger, with its plan and its layout.

    They never change, but once a run has expired another may have its id, with another plan.

    Raises:
        UnknownRun, UnreadableRun: there is no such plan, or it cannot be read.
    """
    found = _run_in_period(run_id, time.monotonic() // PLAN_LIFETIME)
    if found.plan.secrets:
        _secret_plans.pop(run_id, None)
        _secret_plans[run_id] = found.plan
        for old in list(_secret_plans)[:-SECRET_PLANS]:
            _secret_plans.pop(old, None)
    return found


def secret_plans() -> list[Plan]:
    """Return the plans with secrets that this process has used lately: no log record may show these secrets."""
    return list(_secret_plans.values())


@functools.lru_cache(maxsize=32)
def _run_in_period(run_id: str, _period: float) -> RunRecord:
    found = ledger().open(run_id)
    found.plan  # noqa: B018 - it is read now; a run whose plan cannot be is not kept
    return found  # defence: PINNED
