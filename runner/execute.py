"""The Celery tasks that execute steps on a worker: claim, call, finish.

A collector never raises into the chord: what happened to it is an outcome in the ledger, and the gather decides what
is tolerable. Delivered twice, a message finds its steps done and does nothing.
"""

import functools
import inspect
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from celery import Task, current_app, shared_task
from celery.utils.log import get_task_logger

from runner import brokers, settings
from runner import plan as plans
from runner.call import Failure, Success, call
from runner.canvas import COLLECT, GATHER, STAGE
from runner.errors import RunnerError
from runner.leases import renewed
from runner.plan import Plan, Step
from runner.retry import wait_before_retry
from runner.settings import Settings
from runner.store import Claim, Error, Outcome, Run, Store

logger = get_task_logger(__name__)


class TaskNotRegistered(RunnerError):
    """The worker has no task of this name."""


@shared_task(name=COLLECT, bind=True, max_retries=None, ignore_result=True)
def collect(self: Task, run_id: str, step_ids: list[str]) -> None:
    """Execute collectors of a run; those that must wait, for a retry say, come back in the same message, later."""
    if waiting := _execute(self, run_id, step_ids):
        raise self.retry(args=(run_id, list(waiting)), countdown=min(waiting.values()))


@shared_task(name=GATHER, bind=True, max_retries=None, ignore_result=True)
def gather(self: Task, run_id: str) -> None:
    """Hand the collectors' values to the gather, or end the run if one is missing that may not be."""
    if waiting := _execute(self, run_id, [_plan(_ledger(), run_id).gather.id]):
        raise self.retry(countdown=min(waiting.values()))


@shared_task(name=STAGE, bind=True, max_retries=None, ignore_result=True)
def stage(self: Task, run_id: str, step_id: str) -> None:
    """Hand the value of the step before to a stage."""
    if waiting := _execute(self, run_id, [step_id]):
        raise self.retry(countdown=min(waiting.values()))


def _execute(message: Task, run_id: str, step_ids: list[str]) -> dict[str, float]:
    """Execute those of the steps that are ours to execute; answers the others that must wait, with the seconds.

    To the chord a message that is retried has not returned yet, and no slot of the pool waits with it.
    """
    chosen, ledger = _settings(), _ledger()
    plan = _plan(ledger, run_id)
    worker = message.request.hostname or "unknown"
    steps = [plan.step(step_id) for step_id in step_ids]
    waiting = {}
    token = uuid.uuid4().hex
    for claim in ledger.claim(run_id, steps, plan, token=token, worker=worker, lease=chosen.lease):
        logger.info("run %s: %s: %s", run_id, claim.step, claim.answer)
        if claim.answer == "yours":
            attempt = _Attempt(ledger, chosen, plan, ledger.run(run_id), plan.step(claim.step), claim, worker)
            with renewed(ledger, run_id, claim.step, token=token, lease=chosen.lease):
                seconds = attempt.carry_out()
            if seconds is not None:
                waiting[claim.step] = seconds
        elif claim.answer == "busy":
            waiting[claim.step] = claim.wait
    return waiting


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt at one step, from its claim to its outcome."""

    ledger: Store
    settings: Settings
    plan: Plan
    run: Run
    step: Step
    claim: Claim
    worker: str
    began: float = field(default_factory=time.monotonic)

    def carry_out(self) -> float | None:
        """Execute the step and record what came of it; answers the seconds to wait if it is to be tried again."""
        if self.step.kind == "gather" and (missing := self._missing()):
            self._skip_the_tail(missing)
            return None
        try:
            result = self._call()
        except RunnerError as error:
            result = Failure(Error(type(error).__name__, str(error)), retryable=False)
        if isinstance(result, Success):
            self._finish(Outcome(self.step.id, "succeeded", result.value))
            return None
        seconds = self._wait_before_retry(result)
        if seconds is not None:
            logger.warning("%s: %s; again in %.1f s", self.step.id, result.error.message, seconds)
            postponed = self.ledger.postpone(
                self.run.id, self.step.id, error=result.error, attempt=self.claim.attempt, seconds=seconds
            )
            return seconds if postponed else None
        logger.error("%s: %s", self.step.id, result.error.message)
        self._finish(Outcome(self.step.id, "timed_out" if result.timed_out else "failed", error=result.error))
        return None

    def _call(self) -> Success | Failure:
        task = _registered(self.step, self.worker)
        kwargs = plans.arguments(self.plan, self.step, names(self.run))
        if self.step.kind == "gather" and "outcomes" in inspect.signature(getattr(task, "run", task)).parameters:
            kwargs["outcomes"] = self._outcomes()
        limit = self.settings.value_limit if self.step.task else self.settings.fan_in_limit
        return call(task, self._value_before(), kwargs, timeout=self.step.timeout, value_limit=limit)

    def _value_before(self) -> tuple[Any, ...]:
        """The positional arguments: none for a collector, the collectors' values for the gather, else a value."""
        if self.step.kind == "collector":
            return ()
        if before := self.plan.before(self.step):
            return (self.ledger.values(self.run.id, [before.id])[before.id],)
        collectors = [each.id for each in self.plan.collectors]
        return (list(self.ledger.values(self.run.id, collectors, limit=self.settings.fan_in_limit).values()),)

    def _outcomes(self) -> list[dict[str, Any]]:
        """What a gather with a parameter ``outcomes`` is told: how each collector ended, in the order of the YAML."""
        ended = self.ledger.outcomes(self.run.id)
        values = self.ledger.values(self.run.id, [each.id for each in self.plan.collectors])
        return [
            {
                "id": each.id,
                "status": ended[each.id].status,
                "value": values.get(each.id),
                "error": asdict(error) if (error := ended[each.id].error) else None,
            }
            for each in self.plan.collectors
        ]

    def _wait_before_retry(self, failure: Failure) -> float | None:
        return wait_before_retry(
            self.step.retry,
            failure,
            attempt=self.claim.attempt,
            elapsed=self._now() - self.claim.first_started_at,
            chance=random.random(),  # noqa: S311 - jitter, not a secret
        )

    def _now(self) -> float:
        """By the broker's clock, as far as this process can tell without asking it again."""
        return self.claim.started_at + time.monotonic() - self.began

    def _missing(self) -> list[str]:
        """The collectors that did not succeed, in the order of the YAML."""
        outcomes = self.ledger.outcomes(self.run.id)
        return [each.id for each in self.plan.collectors if outcomes[each.id].status != "succeeded"]

    def _skip_the_tail(self, missing: list[str]) -> None:
        cause = f"{len(missing)} of {len(self.plan.collectors)} collectors did not succeed: {', '.join(missing)}"
        self.ledger.finish(self.run.id, _skipped(self.plan.tail, cause), self.plan, ends="failed", cause=cause)

    def _finish(self, outcome: Outcome) -> None:
        """Record the outcome, and with it the end of the run if nothing can follow."""
        stamped = replace(
            outcome,
            attempts=self.claim.attempt,
            started_at=self.claim.started_at,
            finished_at=self._now(),
            worker=self.worker,
        )
        if self.step.kind == "collector":
            self.ledger.finish(self.run.id, [stamped], self.plan)
            return
        after = self.plan.after(self.step)
        if outcome.status != "succeeded":
            cause = f"{self.step.kind} {self.step.id} {outcome.status.replace('_', ' ')}"
            ended = [stamped, *_skipped(after, cause)]
            self.ledger.finish(self.run.id, ended, self.plan, ends="failed", cause=cause)
        else:
            self.ledger.finish(self.run.id, [stamped], self.plan, ends=None if after else "succeeded")


def names(run: Run) -> Mapping[str, str]:
    """What ``run.*`` means in an expression of this run."""
    started = datetime.fromtimestamp(run.started_at or run.submitted_at, UTC).isoformat(timespec="seconds")
    return {"id": run.id, "name": run.workflow, "started_at": started}


def _skipped(steps: tuple[Step, ...], cause: str) -> list[Outcome]:
    return [Outcome(step.id, "skipped", error=Error("Skipped", cause)) for step in steps]


def _registered(step: Step, worker: str) -> Callable[..., Any]:
    if step.task is None:
        return _itself
    if step.task not in current_app.tasks:
        raise TaskNotRegistered(f'"{step.task}" is not registered on {worker}: name its module in `include`')
    task: Callable[..., Any] = current_app.tasks[step.task]
    return task


def _itself(values: list[Any]) -> list[Any]:
    """The gather of a workflow that names none."""
    return values


@functools.cache
def _settings() -> Settings:
    return settings.read()


@functools.cache
def _ledger() -> Store:
    chosen = _settings()
    # An app that adopted us may have a broker of another kind; the ledger then has a URL of its own.
    url = chosen.broker_url or current_app.conf.broker_url
    return Store.of(brokers.connect(url), chosen)


@functools.lru_cache(maxsize=32)
def _plan(ledger: Store, run_id: str) -> Plan:
    """Read once a run and process: a plan never changes once it is accepted."""
    return ledger.plan(run_id)
