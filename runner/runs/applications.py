"""This process to the Celery application that sends its runs: the one in use here, or else the one of the settings."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import cast

from celery import Celery, _state

from runner.text import listed
from runner.worker import process
from runner.worker.application import ApplicationUnfit

_OWN = "runner.celery_app"


def choose_application(wanted: Celery | None = None) -> Celery:
    """Return the Celery application that sends the runs of this process.

    It is that of the caller; in a worker, the worker's; the current one of this thread; the default one of the process;
    the only one that the process has; or else, with or without a broker in the settings, the one of `runner worker`.

    Args:
        wanted: that of the caller.

    Raises:
        ApplicationUnfit: the process has several, and none is the current one of this thread or the default one.
    """
    if process.is_worker():
        worker_app = process.app()
        if wanted is not None and wanted is not worker_app:
            raise ApplicationUnfit(f"this worker's application is {worker_app.main}: it sends no run with another")
        return worker_app
    # The public names make an application where there is none.
    current = wanted or _state._tls.current_app or _default()  # noqa: SLF001
    if current is not None:
        return cast("Celery", current)
    # Celery's current application is that of the thread which created it, and a web server handles requests in others.
    others = [each for each in _state._get_active_apps() if not is_own(each) and not _is_fallback(each)]  # noqa: SLF001
    if len(others) > 1:
        names = listed(sorted(str(each.main) for each in others))
        raise ApplicationUnfit(f"this process has several Celery applications: {names}", "name one: start(…, app=app)")
    return cast("Celery", others[0]) if others else own_application()


def own_application() -> Celery:
    """Return the application of `runner worker`, whose broker is that of the settings, or the private Valkey."""
    # By name, because it is of a higher layer: most processes have an application of their own, and do not import it.
    return cast("Celery", import_module(_OWN).app)


def is_own(app: Celery) -> bool:
    """Whether it is the application of `runner worker`."""
    module = sys.modules.get(_OWN)
    return module is not None and app is module.app


@contextmanager
def current(app: Celery) -> Iterator[None]:
    """Make it Celery's current application in this thread for the block: signatures, and `process.app`, have it."""
    before = _state._tls.current_app  # noqa: SLF001 - as above
    app.set_current()
    try:
        yield
    finally:
        _state._set_current_app(before)  # noqa: SLF001 - there is no public way to have none


def _default() -> Celery | None:
    """Return the default application of the process; None if nobody has set it."""
    app = _state.default_app
    return None if app is None or _is_fallback(app) else cast("Celery", app)


def _is_fallback(app: Celery) -> bool:
    """Whether Celery has made it itself, because somebody asked for the current one where there was none."""
    return app.main == "default" and not app.set_as_current
