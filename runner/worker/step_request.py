"""A message whose process has died to its steps' outcomes: the worker's main process records what a dead child cannot."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery.exceptions import (
    Ignore,
    Reject,
    Retry,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
    WorkerShutdown,
    WorkerTerminate,
)
from celery.utils.log import get_task_logger
from celery.worker.request import Request
from celery.worker.state import task_ready
from kombu.asynchronous import get_event_loop

from runner.errors import UnknownRun
from runner.language.plan import Step
from runner.ledger.damage import UnreadableRun
from runner.ledger.entries import Granted
from runner.ledger.run_record import RunRecord
from runner.messages.canvas import STAGE
from runner.worker import endings, process
from runner.worker.attempt import Attempt
from runner.worker.endings import Failure
from runner.worker.record import outcome_of, record

logger = get_task_logger(__name__)

GIVE_BACK_AFTER = 1.0  # seconds: what has just failed would fail again at once


class StepRequest(Request):  # type: ignore[misc]
    """The request of a task of ours.

    Without it, the process that a hard time limit ends makes a chord fail for good, and one that is killed is tried
    again for ever (measured on Celery 5.7). Billiard reports a hard limit twice, to ``on_failure`` first.

    A pool calls the methods that begin with ``on_`` when something has happened to the message. What they raise the pool
    logs, or drops (threads), or ends the worker with (solo, and a MemoryError): the message then stays taken and its slot
    with it (celery #2911). So nothing is raised, and a message that is not acknowledged by then is given back.
    """

    def __init_subclass__(cls) -> None:
        """Celery makes a class of this for each task, with an ``on_success`` that is written out, and not ours."""
        if "on_success" in vars(cls):  # defence: OWN_CALLBACK
            del cls.on_success

    def on_accepted(self, pid: int, time_accepted: float) -> None:
        with self._raising_nothing(give_back=False):  # it is executed now, whatever this was
            super().on_accepted(pid, time_accepted)

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        with self._raising_nothing():
            if isinstance(failed__retval__runtime, ExceptionInfo):  # threads and solo have no other callback
                return self._on_failure(failed__retval__runtime)
            return super().on_success(failed__retval__runtime, **kwargs)

    def on_retry(self, exc_info: ExceptionInfo) -> None:
        with self._raising_nothing():
            super().on_retry(exc_info)

    def on_failure(self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        with self._raising_nothing():
            return self._on_failure(exc_info, send_failed_event, return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> Any:  # noqa: FBT001 - Celery's signature
        with self._raising_nothing():
            return super().on_timeout(soft, timeout) if soft else self._record_failures(_past_its_limit)

    def _announce_revoked(self, reason: str, *more: Any) -> None:
        """Cancel the steps of a message that somebody has revoked or terminated, and then do what Celery does.

        Otherwise it would be shown as revoked, and its steps would be executed again once their leases have run out.
        """
        with self._raising_nothing():
            self._cancel(endings.revoked(reason))
            super()._announce_revoked(reason, *more)

    def _cancel(self, failure: Failure) -> None:
        try:
            run, names = process.run(self.args[0]), self._names()
            claims = {claim.step: claim for claim in run.abandon(names, worker=self.hostname)}
            if not isinstance(self.args[1], list):  # of several stages, the one that is executed, or the first
                names = [name for name in names if name in claims] or names[:1]
            steps = [
                _step(run, names, name)
                for name in names
                if name in {each.id for each in (*run.plan.tail, *run.plan.hook_steps)}
            ]
            steps += [] if steps else [step for ref in names for step in run.steps(ref)]
            ended = run.ended([step.id for step in steps])
        except (UnknownRun, UnreadableRun):  # nobody waits for it
            return
        for step in steps:
            if step.id not in ended:
                claim = claims.get(step.id) or Granted(step=step.id, attempt=0, started_at=time.time())
                self._record(run, step, claim, failure)

    def _on_failure(self, exc_info: ExceptionInfo, *more: Any) -> Any:
        if self._already_revoked:  # its process was ended for it, and its steps are cancelled
            return None
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, TimeLimitExceeded):
            return self._record_failures(_past_its_limit)
        if isinstance(error, WorkerLostError | SystemExit | KeyboardInterrupt) and not self._already_cancelled:
            return self._record_failures(lambda _step: endings.process_died(error))
        if isinstance(error, Reject):
            self.message.reason = str(error.reason)  # for the dead letters (dead_letters.py)
        elif not isinstance(error, Ignore | Retry | Terminated):
            # Of Celery's or of ours, around the step. Celery would acknowledge the message, and raise a MemoryError again.
            return self._record_failures(lambda _step: endings.exception(error))
        return super().on_failure(exc_info, *more)

    @contextmanager
    def _raising_nothing(self, *, give_back: bool = True) -> Iterator[None]:
        try:
            yield
        except (WorkerShutdown, WorkerTerminate):
            raise  # the worker gives back all that it has
        except BaseException as error:  # defence: RAISING_NOTHING
            if endings.is_away(error):
                logger.warning("cannot record the end of %s: %s", self.name, error)
            else:
                logger.exception("the end of %s cannot be recorded", self.name)
            if give_back:
                self._after_a_while(self._give_back)

    def _give_back(self) -> None:
        if self.acknowledged:
            return
        try:
            task_ready(self)
            self.reject(requeue=True)
        except BaseException:
            logger.exception("%s cannot be given back yet", self.name)
            self._after_a_while(self._give_back)

    def _after_a_while(self, call: Callable[[], None]) -> None:
        """Call it from the worker's event loop, which must not wait; a thread of the pool may."""
        loop = get_event_loop()
        if loop is not None and threading.current_thread() is threading.main_thread():
            loop.call_later(GIVE_BACK_AFTER, call)  # type: ignore[no-untyped-call]
        else:
            time.sleep(GIVE_BACK_AFTER)
            call()

    def _record_failures(self, failure_of: Callable[[Step], Failure]) -> None:
        """Record the failures of the steps that the process was executing, and send the message again.

        The worker that gets it finds the steps that have ended done, and returns to the chord what it waits for.
        """
        if getattr(self, "_is_recorded", False):
            return
        self._is_recorded = True
        task_ready(self)
        try:
            seconds = self._record_all(failure_of)
            signature = self.task.signature_from_request(self._context, countdown=seconds)
            # This is the event loop, which serves every process of the pool: it is not to wait for a broker that is away.
            signature.apply_async(retry_policy={"max_retries": 1, "interval_start": 0})
        except (UnknownRun, UnreadableRun):  # nobody waits for one that has expired, nor can read this one
            pass
        self.acknowledge()

    def _record_all(self, failure_of: Callable[[Step], Failure]) -> float:
        """Return the seconds until a step may be tried again."""
        run, names = process.run(self.args[0]), self._names()
        released = run.abandon(names, worker=self.hostname)
        if len(released) != 1:  # of several, none can be blamed: the ledger has counted them as lost
            return 0
        step = _step(run, names, released[0].step)
        return self._record(run, step, released[0], failure_of(step))

    def _record(self, run: RunRecord, step: Step, claim: Granted, failure: Failure) -> float:
        """Record a failure; return the seconds until the step may be tried again."""
        attempt = Attempt(run=run, step=step, claim=claim, worker=self.hostname)
        return record(run, [outcome_of(attempt, failure)]).get(step.id, 0)

    def _names(self) -> list[str]:
        """Return the refs or the step that the message is for, and the stages that it may go on with."""
        if isinstance(self.args[1], list):
            return self.args[1]
        following = [each["args"] for each in reversed(self._context.get("chain") or []) if each["task"] == STAGE]
        return [self.args[1], *(args[1] for args in following)]


def _step(run: RunRecord, names: list[str], step_id: str) -> Step:
    if step_id in names and step_id in run.plan.by_id:
        return run.plan.by_id[step_id]
    return next(step for ref in names for step in run.steps(ref) if step.id == step_id)


def _past_its_limit(step: Step) -> Failure:
    return endings.past_the_hard_limit(step.timeout)
