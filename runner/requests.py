"""A step whose process is gone, to its ledger: what a pool's child cannot record, the worker's main process does."""

from dataclasses import replace
from typing import Any

import redis
from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery.exceptions import Reject, TimeLimitExceeded, WorkerLostError
from celery.utils.log import get_task_logger
from celery.worker.request import Request
from celery.worker.state import task_ready
from kombu.exceptions import OperationalError

from runner import here
from runner.call import Failure, past_the_hard_limit
from runner.canvas import GATHER
from runner.entries import Error
from runner.errors import UnknownRun
from runner.plan import Plan, Retry, Step
from runner.settle import Attempt, settle
from runner.store import Store

logger = get_task_logger(__name__)


class StepRequest(Request):  # type: ignore[misc]
    """The request of a task of ours.

    Without it, the process that a hard time limit ends makes a chord fail for good, and one that is killed is tried
    again for ever (Celery 5.7, CELERY.md). Billiard reports a hard limit twice, to ``on_failure`` first.
    """

    def on_failure(self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, TimeLimitExceeded):
            return self._settle(_past_its_limit)
        if isinstance(error, WorkerLostError | SystemExit | KeyboardInterrupt) and not self._already_cancelled:
            return self._settle(lambda _step: _process_died(error))
        if isinstance(error, Reject):
            self.message.reason = str(error.reason)  # for the dead letters (dead_letters.py)
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> Any:  # noqa: FBT001 - Celery's signature
        return super().on_timeout(soft, timeout) if soft else self._settle(_past_its_limit)

    def _settle(self, failure_of: Any) -> None:
        """Record what became of the steps that the process was executing, and send the message again.

        Whoever gets it finds the steps that have ended done, and returns to the chord what it waits for.
        """
        if getattr(self, "_settled", False):
            return
        self._settled = True
        task_ready(self)
        try:
            seconds = self._settle_all(failure_of)
            signature = self.task.signature_from_request(self._context, countdown=seconds)
            # This is the event loop, which serves every process of the pool: it is not to wait for a broker that is away.
            signature.apply_async(retry_policy={"max_retries": 1, "interval_start": 0})
        except UnknownRun:  # it has expired: nobody waits for it
            self.acknowledge()
        except (redis.RedisError, OperationalError, OSError) as error:
            logger.warning("cannot record what became of %s: %s", self.name, error)
            self.reject(requeue=True)
        else:
            self.acknowledge()

    def _settle_all(self, failure_of: Any) -> float:
        """Answers the seconds until a step may be tried again."""
        run_id, ledger = self.args[0], here.ledger()
        plan, names = here.plan(run_id), self._names()
        released = ledger.release(run_id, names, worker=self.hostname)
        if len(released) != 1:  # of several, none can be blamed: the ledger has counted them as lost
            return 0
        step = _step(ledger, plan, run_id, names, released[0].step)
        failure = failure_of(step)
        if not failure.timed_out:
            step = replace(step, retry=_at_least_once(step.retry))
        return settle(ledger, Attempt(plan, run_id, step, released[0], self.hostname), failure) or 0

    def _names(self) -> list[str]:
        """The refs or the step that the message is for."""
        if self.task.name == GATHER:
            return [here.plan(self.args[0]).gather.id]
        return self.args[1] if isinstance(self.args[1], list) else [self.args[1]]


def _step(ledger: Store, plan: Plan, run_id: str, names: list[str], step_id: str) -> Step:
    for step in plan.tail:
        if step.id == step_id:
            return step
    return next(step for ref in names for step in ledger.steps(run_id, plan, ref) if step.id == step_id)


def _past_its_limit(step: Step) -> Failure:
    return past_the_hard_limit(step.timeout)


def _process_died(error: BaseException) -> Failure:
    return Failure(Error("ProcessDied", f"its process died: {error}"), names=frozenset({"ProcessDied"}))


def _at_least_once(retry: Retry) -> Retry:
    """A process may die of something else than its step (the kernel's memory killer, an operator): once it is tried again."""
    return replace(retry, max_retries=max(1, retry.max_retries), on=())
