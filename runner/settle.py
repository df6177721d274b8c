"""What came of an attempt, to the ledger: an outcome, the end of the run, or a time for the next attempt."""

import logging
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from runner.call import Failure, Success
from runner.crashpoints import Crashpoint, crashpoint
from runner.plan import Plan, Step
from runner.retry import wait_before_retry
from runner.store import Claim, Error, Outcome, Store
from runner.tolerance import Verdict, verdict

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one step, from its claim on.

    Args:
        began: this process's monotonic clock when it was claimed.
    """

    plan: Plan
    run_id: str
    step: Step
    claim: Claim
    worker: str
    began: float = field(default_factory=time.monotonic)

    @property
    def now(self) -> float:
        """By the broker's clock, as far as this process can tell without asking it again."""
        return self.claim.started_at + time.monotonic() - self.began


def settle(ledger: Store, attempt: Attempt, result: Success | Failure) -> float | None:
    """Record what came of an attempt; answers the seconds until the next one, if there is to be one."""
    step = attempt.step
    if isinstance(result, Success):
        _finish(ledger, attempt, Outcome(step.id, "succeeded", result.value))
        return None
    seconds = wait_before_retry(
        step.retry,
        result,
        # An attempt that was lost with its worker says nothing about the step, and uses no retry up.
        attempt=attempt.claim.attempt - attempt.claim.lost,
        elapsed=attempt.now - attempt.claim.first_started_at,
        chance=random.random(),  # noqa: S311 - jitter, not a secret
    )
    if seconds is None:
        logger.error("%s: %s", step.id, result.error.message)
        _finish(ledger, attempt, Outcome(step.id, "timed_out" if result.timed_out else "failed", error=result.error))
        return None
    logger.warning("%s: %s; again in %.1f s", step.id, result.error.message, seconds)
    crashpoint(Crashpoint.POSTPONE_BEFORE)
    postponed = ledger.postpone(
        attempt.run_id, step.id, error=result.error, attempt=attempt.claim.attempt, seconds=seconds
    )
    crashpoint(Crashpoint.POSTPONE_AFTER)
    return seconds if postponed else None


def judge(ledger: Store, plan: Plan, run_id: str) -> Verdict:
    """Whether the collectors that have answered are enough for the gather; if not, the run ends here."""
    judged = verdict(plan, ledger.outcomes(run_id))
    if not judged.gather:
        ledger.finish(run_id, skipped(plan.tail, judged.cause), plan, ends="failed", cause=judged.cause)
    return judged


def skipped(steps: Iterable[Step], cause: str) -> list[Outcome]:
    return [Outcome(step.id, "skipped", error=Error("Skipped", cause)) for step in steps]


def _finish(ledger: Store, attempt: Attempt, outcome: Outcome) -> None:
    """Record the outcome, and with it the end of the run if nothing can follow."""
    plan, step = attempt.plan, attempt.step
    stamped = replace(
        outcome,
        attempts=attempt.claim.attempt,
        started_at=attempt.claim.started_at,
        finished_at=attempt.now,
        worker=attempt.worker,
    )
    crashpoint(Crashpoint.FINISH_BEFORE)
    if step.kind == "collector":
        ledger.finish(attempt.run_id, [stamped], plan)
    elif outcome.status != "succeeded":
        cause = f"{step.kind} {step.id} {outcome.status.replace('_', ' ')}"
        ledger.finish(attempt.run_id, [stamped, *skipped(plan.after(step), cause)], plan, ends="failed", cause=cause)
    elif plan.after(step):
        ledger.finish(attempt.run_id, [stamped], plan)
    else:
        # Without tolerance nobody is missing, or the gather had not run.
        judged = verdict(plan, ledger.outcomes(attempt.run_id)) if plan.tolerant else Verdict(True, "succeeded")
        ledger.finish(attempt.run_id, [stamped], plan, ends=judged.status, cause=judged.cause)
    crashpoint(Crashpoint.FINISH_AFTER)
