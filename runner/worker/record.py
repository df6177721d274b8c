"""What came of an attempt, to the ledger: an outcome, the end of the run, or a time for the next attempt."""

import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from runner.errors import listed
from runner.language import redact as mask
from runner.language.ids import written
from runner.language.plan import Plan, Step
from runner.language.tolerance import Verdict, run_verdict, verdict
from runner.ledger.damage import MissingData, UnreadableRun
from runner.ledger.entries import Claim, Error, Follows, Outcome, Postponed, StepStatus
from runner.ledger.ledger import Ledger
from runner.system.crashpoints import Crashpoint, crashpoint
from runner.worker import endings
from runner.worker.endings import RULES, Failure, Success
from runner.worker.retry import NoRetry, wait_before_retry

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt at one step, from its claim on.

    Args:
        began: this process's monotonic clock when it was claimed.
        chance: of the jitter, uniform in [0, 1).
    """

    plan: Plan
    run_id: str
    step: Step
    claim: Claim
    worker: str
    began: float = field(default_factory=time.monotonic)
    chance: float = field(default_factory=random.random)

    @property
    def now(self) -> float:
        """By the broker's clock, as far as this process can tell without asking it again."""
        return self.claim.started_at + time.monotonic() - self.began


def judged(attempt: Attempt, result: Success | Failure, *, after: float = 0.0) -> Outcome | Postponed:
    """Whether an attempt is the last one of its step, and what came of it then.

    Args:
        after: seconds from the claim to the start, while others of the batch were executed.
    """
    step, claim = attempt.step, attempt.claim
    status = RULES[result.ending].status
    if status is None:
        raise ValueError(f"nothing is recorded of a step of which {result.ending.value}")
    if isinstance(result, Success):
        return _ended(attempt, status, result, after)
    seconds = wait(attempt, result)
    if isinstance(seconds, NoRetry):
        result = _explained(result, seconds.reason)
        _log_failure(attempt, result)
        return _ended(attempt, status, result, after)
    logger.info("%s: %s; again in %.1f s", *_shown(attempt, result), seconds)  # as Celery tells its retries
    return Postponed(
        step=step.id,
        error=result.error,
        attempt=claim.attempt,
        seconds=seconds,
        started_at=claim.started_at + after,
        finished_at=attempt.now,
        worker=attempt.worker,
    )


def wait(attempt: Attempt, failure: Failure) -> float | NoRetry:
    """Seconds until a step is tried again, or why it is not; the same whenever it is asked."""
    claim = attempt.claim
    return wait_before_retry(
        attempt.step.retry,
        failure,
        # An attempt that was lost with its worker says nothing about the step, and uses no retry up.
        attempt=claim.attempt - claim.lost,  # defence: UNCOUNTED
        elapsed=attempt.now - claim.first_started_at,
        chance=attempt.chance,
    )


def _log_failure(attempt: Attempt, failure: Failure) -> None:
    """Log a failure, once, when it is final.

    Error trackers (Sentry) group by the text before its arguments are put in: it has the step, as it is named in the YAML.
    """
    step, message = _shown(attempt, failure)
    name = f"{attempt.plan.name}.{written(step)}".replace("%", "%%")
    about = {"run_id": attempt.run_id, "workflow": attempt.plan.name, "step": step, "error_type": failure.error.type}
    logger.error(f"{name} failed: %s: %s", step, message, extra=about)  # noqa: G004


def record(
    ledger: Ledger, plan: Plan, run_id: str, results: Iterable[Outcome | Postponed], follows: Follows | None = None
) -> dict[str, float]:
    """Write down what came of collectors; answers for those that are tried again the seconds until then.

    Args:
        follows: what follows their message, of which they are the last; it is left to Celery if one is tried again.
    """
    results = list(results)
    try:
        return _record(ledger, plan, run_id, results, follows)
    except Exception as error:
        if endings.is_away(error):
            raise
        logger.exception("run %s: what came of %s is refused", run_id, _named(plan, results))
        if len(results) == 1:
            return _record(ledger, plan, run_id, [_unrecorded(results[0], error)])
    again: dict[str, float] = {}
    for result in results:  # what is wrong with one of them is not to cost the others
        again |= record(ledger, plan, run_id, [result])
    return again


def settle(
    ledger: Ledger, attempt: Attempt, result: Success | Failure, follows: Callable[[], Follows] | None = None
) -> float | None:
    """Write down what came of one step, and the end of the run if nothing can follow; answers the seconds until it is tried again.

    Args:
        follows: says what follows its message, if the run goes on.
    """
    try:
        return _settle(ledger, attempt, result, follows)
    except Exception as error:
        if endings.is_away(error):
            raise
        logger.exception("run %s: what came of %s is refused", attempt.run_id, mask.line(attempt.step.id, attempt.plan))
        return _settle(ledger, attempt, endings.unrecorded(error))


def _settle(
    ledger: Ledger, attempt: Attempt, result: Success | Failure, follows: Callable[[], Follows] | None = None
) -> float | None:
    plan, run_id, step = attempt.plan, attempt.run_id, attempt.step
    came = judged(attempt, result)
    if step.kind == "collector" or isinstance(came, Postponed):
        return record(ledger, plan, run_id, [came]).get(step.id)
    crashpoint(Crashpoint.FINISH_BEFORE)
    if not came.passes:
        cause = f"{step.kind} {step.id} {came.status.replace('_', ' ')}"
        ledger.finish(run_id, [came, *skipped(plan.after(step), cause)], plan, ends="failed", cause=cause)
    elif plan.after(step):
        ledger.finish(run_id, [came], plan, follows=follows() if follows else None)
    else:
        # Without tolerance nobody is missing, or the gather had not run.
        final = (
            run_verdict(plan, ledger.absent(run_id, plan))
            if any(fan_out.tolerant for fan_out in plan.fan_outs)
            else Verdict(gather=True, status="succeeded")
        )
        ledger.finish(run_id, [came], plan, ends=final.status, cause=final.cause)
    crashpoint(Crashpoint.FINISH_AFTER)
    return None


def judge(ledger: Ledger, plan: Plan, run_id: str, claim: Claim) -> list[str] | None:
    """The collectors without which the gather is to run; None if it is not, and then the run ends here."""
    count, outcomes = map(int, claim.before.split())
    fan_out = plan.fan_out_of(plan.by_id[claim.step])
    if outcomes < fan_out.total:
        lost = [step for ids in ledger.ids(run_id, fan_out.collectors) for step in ledger.lost(run_id, ids)]
        raise MissingData(run_id, f"the outcome of {listed(sorted(lost))} is missing")
    absent = ledger.absent(run_id, plan) if count else []
    final = verdict(fan_out, absent)
    if not final.gather:
        ledger.finish(
            run_id,
            skipped([fan_out.gather, *plan.after(fan_out.gather)], final.cause),
            plan,
            ends="failed",
            cause=final.cause,
        )
        return None
    return absent


def fail(run_id: str, ledger: Ledger, cause: str) -> None:
    """End the run as failed, because nothing can execute the rest of it."""
    try:
        plan = ledger.plan(run_id)
    except UnreadableRun:
        ledger.end(run_id, "failed", cause)
        return
    steps = [step for step in plan.steps if step.foreach is None]
    done = ledger.ended(run_id, [step.id for step in steps])
    rest = skipped([step for step in steps if step.id not in done], cause)
    ledger.finish(run_id, rest, plan, ends="failed", cause=cause)


def skipped(steps: Iterable[Step], cause: str) -> list[Outcome]:
    return [Outcome(step=step.id, status="skipped", error=Error("Skipped", cause)) for step in steps]


def _shown(attempt: Attempt, result: Failure) -> tuple[str, str]:
    """A step and its error as the log may have them: both may come from outside, and be made of a secret."""
    # defence: REDACTED_LOG
    return mask.line(attempt.step.id, attempt.plan), mask.line(result.error.message, attempt.plan)


def _explained(failure: Failure, reason: str) -> Failure:
    """The failure, with why it is not tried again although it might be."""
    if not reason:
        return failure
    return replace(failure, error=replace(failure.error, message=f"{failure.error.message}; not tried again: {reason}"))


def _named(plan: Plan, results: Sequence[Outcome | Postponed]) -> str:
    return ", ".join(mask.line(each.step, plan) for each in results[:20])


def _ended(attempt: Attempt, status: StepStatus, result: Success | Failure, after: float) -> Outcome:
    claim = attempt.claim
    return Outcome(
        step=attempt.step.id,
        status=status,
        value=result.value if isinstance(result, Success) else None,
        error=result.error if isinstance(result, Failure) else None,
        attempts=claim.attempt,
        started_at=claim.started_at + after,
        finished_at=attempt.now,
        worker=attempt.worker,
        ref=attempt.step.ref,
        json=result.json if isinstance(result, Success) else "",
        notes=result.notes,
    )


def _record(
    ledger: Ledger, plan: Plan, run_id: str, results: Sequence[Outcome | Postponed], follows: Follows | None = None
) -> dict[str, float]:
    if outcomes := [each for each in results if isinstance(each, Outcome)]:
        crashpoint(Crashpoint.FINISH_BEFORE)
        ledger.finish(run_id, outcomes, plan, follows=follows if len(outcomes) == len(results) else None)
        crashpoint(Crashpoint.FINISH_AFTER)
    return _postpone(ledger, run_id, [each for each in results if isinstance(each, Postponed)])


def _unrecorded(result: Outcome | Postponed, error: Exception) -> Outcome:
    failure = endings.unrecorded(error)
    if isinstance(result, Outcome):
        return replace(result, status="failed", value=None, json="", error=failure.error)
    return Outcome(step=result.step, status="failed", error=failure.error, attempts=result.attempt)


def _postpone(ledger: Ledger, run_id: str, postponed: Sequence[Postponed]) -> dict[str, float]:
    if not postponed:
        return {}
    crashpoint(Crashpoint.POSTPONE_BEFORE)
    waiting = set(ledger.postpone(run_id, postponed))
    crashpoint(Crashpoint.POSTPONE_AFTER)
    return {each.step: each.seconds for each in postponed if each.step in waiting}
