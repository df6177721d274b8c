"""A run with the private Valkey to a thread of this process that has a worker for it and attends it to its end."""

import atexit
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from celery import Celery

from runner.errors import UnknownRun
from runner.language.plan import Plan
from runner.language.tolerance import Verdict
from runner.runs.applications import current
from runner.runs.attendance import attend
from runner.runs.outage import Outage
from runner.runs.private_worker import WorkerEnded
from runner.runs.session import Session, open_session
from runner.runs.start import mark_lost
from runner.settings import Settings
from runner.worker.conclude import conclude

logger = logging.getLogger(__name__)


CLOSE_WITHIN = 2.0  # seconds; the worker is killed, and a few keys are deleted


class PrivateRuns:
    """The runs that this process attends, each in a thread with a worker of its own; they are left if the process exits."""

    def __init__(self) -> None:
        self._threads: dict[str, threading.Thread] = {}
        self._ended: set[str] = set()
        self._lock = threading.Lock()
        # A script exits as soon as it has the result: without this, the messages of the run's own queue would stay for ever.
        atexit.register(self._close)

    def attend(
        self, run_id: str, plan: Plan, app: Celery, settings: Settings, begin: Callable[[Session], object]
    ) -> None:
        """Begin a run, and return; a thread attends it. A run that is attended already is left as it is.

        Args:
            begin: starts or resumes the run. What it raises is raised here.
        """
        began: Future[None] = Future()
        with self._lock:
            attended = self._threads.get(run_id)
        if attended is not None:
            if run_id not in self._ended:
                return
            attended.join()
        with self._lock:
            details = {"run_id": run_id, "plan": plan, "app": app, "settings": settings, "begin": begin, "began": began}
            thread = threading.Thread(target=self._attend, kwargs=details, name=f"run {run_id}", daemon=True)
            self._threads[run_id] = thread
            thread.start()
        began.result()

    def _attend(
        self,
        *,
        run_id: str,
        plan: Plan,
        app: Celery,
        settings: Settings,
        begin: Callable[[Session], object],
        began: "Future[None]",
    ) -> None:
        try:
            with current(app), open_session(settings, run_id, plan) as session:
                begin(session)
                began.set_result(None)
                self._to_the_end(run_id, plan, session)
                self._ended.add(run_id)
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that has called, or is logged
            if not began.done():
                began.set_exception(error)
            else:
                logger.warning("run %s is left as it is: %s", run_id, error)
        finally:
            with self._lock:
                self._threads.pop(run_id, None)
                self._ended.discard(run_id)

    def _close(self) -> None:
        for run_id, thread in list(self._threads.items()):
            if run_id in self._ended:
                thread.join(CLOSE_WITHIN)

    @staticmethod
    def _to_the_end(run_id: str, plan: Plan, session: Session) -> None:
        record = session.ledger.open(run_id)
        try:
            layout = record.layout
            for _ in attend(run_id, session, Outage(logger.info)):
                pass
        except UnknownRun:
            mark_lost(run_id, plan, layout, session.ledger)
        except WorkerEnded as ended:
            conclude(record, Verdict("failed", str(ended)))
