"""The result of an attempt to the ledger: an outcome, the end of the run, or a time for the next attempt."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from runner.language.ids import written
from runner.language.plan import Plan, Step
from runner.language.redact import redact_line
from runner.language.tolerance import Verdict, run_verdict
from runner.ledger.entries import Error, Follows, Outcome, Postponed, StepStatus
from runner.ledger.run_record import RunRecord
from runner.system.crashpoints import Crashpoint, crashpoint
from runner.worker import endings
from runner.worker.attempt import Attempt
from runner.worker.conclude import conclude
from runner.worker.endings import RULES, Failure, NotRun, Result, Skipped, Success
from runner.worker.retry import NoRetry

logger = logging.getLogger(__name__)


def outcome_of(attempt: Attempt, result: Result, *, after: float = 0.0) -> Outcome | Postponed:
    """Return the outcome of a step, or the time of its next attempt.

    Args:
        after: seconds from the claim to the start, while others of the batch were executed.
    """
    step, claim = attempt.step, attempt.claim
    if isinstance(result, Skipped):
        error = Error("Skipped", result.reason)
        skipped = Outcome(step=step.id, ref=step.ref, status="skipped", error=error)
        return skipped if step.kind == "hook" else _handing_on(attempt, skipped)
    if isinstance(result, NotRun):
        error = Error("NotRun", result.reason)
        return _unless_required(attempt, Outcome(step=step.id, ref=step.ref, status="not_run", error=error))
    status = RULES[result.ending].status
    if status is None:
        raise ValueError(f"nothing is recorded of a step of which {result.ending.value}")
    if isinstance(result, Success):
        return _ended(attempt, status, result, after)
    seconds = attempt.wait_after(result)
    if isinstance(seconds, NoRetry):
        result = _explained(result, seconds.reason)
        _log_failure(attempt, result)
        return _unless_required(attempt, _ended(attempt, status, result, after))
    logger.info("%s: %s; again in %.1f s", *_redacted(attempt, result), seconds)  # as Celery logs its retries
    return Postponed(
        step=step.id,
        error=result.error,
        attempt=claim.attempt,
        seconds=seconds,
        started_at=claim.started_at + after,
        finished_at=attempt.now,
        worker=attempt.worker,
        ref=step.ref,
    )


def record(
    run: RunRecord,
    results: Iterable[Outcome | Postponed],
    follows: Callable[[], Follows] | None = None,
) -> dict[str, float]:
    """Record the results of steps, and end the run if nothing can follow; return the seconds until each next attempt.

    Args:
        follows: what follows the message of these steps, which are its last; left to Celery if one of them is tried again.
    """
    results = list(results)
    try:
        return _record(run, results, follows)
    except Exception as error:
        if endings.is_away(error):
            raise
        logger.exception("run %s: the ledger refuses the results of %s", run.id, _names(run.plan, results))
        if len(results) == 1:
            return _record(run, [_unrecorded(results[0], error)])
    waiting: dict[str, float] = {}
    for result in results:  # each by itself: what is wrong with one of them must not cost the others
        waiting |= record(run, [result])
    return waiting


def _record(
    run: RunRecord,
    results: Sequence[Outcome | Postponed],
    follows: Callable[[], Follows] | None = None,
) -> dict[str, float]:
    if outcomes := [each for each in results if isinstance(each, Outcome)]:
        crashpoint(Crashpoint.FINISH_BEFORE)
        last = outcomes[-1]  # a gather or a stage is the only step of its message
        if end := _end(run, last):
            conclude(run, end, last=last)
        else:
            are_all = len(outcomes) == len(results)
            run.finish(outcomes, follows=follows() if follows and are_all else None)
        crashpoint(Crashpoint.FINISH_AFTER)
    return _postpone(run, [each for each in results if isinstance(each, Postponed)])


def _end(run: RunRecord, outcome: Outcome) -> Verdict | None:
    """Return how the run ends with this outcome; None if it continues, as it does after a collector."""
    plan = run.plan
    step = plan.by_id.get(outcome.step)
    if step is None or step.kind in {"collector", "hook"} or (outcome.passes and plan.after(step)):
        return None
    if not outcome.passes:
        return Verdict("failed", _failing(step, outcome))
    # Without tolerance no collector is missing, or the gather had not run.
    if not (plan.dispensable or any(fan_out.tolerant for fan_out in plan.fan_outs)):
        return Verdict("succeeded")
    ends = {**run.outcomes_of([each.id for each in plan.dispensable]), outcome.step: outcome}
    failed = [
        _failing(each, ends[each.id])
        for each in plan.dispensable
        if each.id in ends and ends[each.id].status not in {"succeeded", "skipped"}
    ]
    return run_verdict(plan, run.layout, run.absent(), failed)


def _failing(step: Step, outcome: Outcome) -> str:
    """Return why a run does not succeed that has a gather or a stage which ended so."""
    if outcome.status == "not_run":
        return outcome.error.message if outcome.error else ""
    return f"{step.kind} {step.id} {outcome.status.replace('_', ' ')}"


def _unless_required(attempt: Attempt, outcome: Outcome) -> Outcome:
    """Return how a step ended that has failed: if it is a stage that may, the value before it is handed on."""
    return (
        outcome
        if attempt.step.kind in {"collector", "hook"} or attempt.step.required
        else _handing_on(attempt, outcome)
    )


def _handing_on(attempt: Attempt, outcome: Outcome) -> Outcome:
    """Return the outcome of a gather or a stage whose value is the one before it: null if there is none."""
    before = attempt.run.plan.before(attempt.step)
    text = attempt.stored_before() if before else "null"
    return replace(outcome, json=text, handed_on=True)


def _postpone(run: RunRecord, postponed: Sequence[Postponed]) -> dict[str, float]:
    if not postponed:
        return {}
    crashpoint(Crashpoint.POSTPONE_BEFORE)
    waiting = set(run.postpone(postponed))
    crashpoint(Crashpoint.POSTPONE_AFTER)
    return {each.step: each.seconds for each in postponed if each.step in waiting}


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


def _unrecorded(result: Outcome | Postponed, error: Exception) -> Outcome:
    failure = endings.unrecorded(error)
    if isinstance(result, Outcome):
        return replace(result, status="failed", value=None, json="", error=failure.error)
    return Outcome(step=result.step, ref=result.ref, status="failed", error=failure.error, attempts=result.attempt)


def _explained(failure: Failure, reason: str) -> Failure:
    """Return the failure with the reason why it is not tried again although its `retry` allows it."""
    if not reason:
        return failure
    return replace(failure, error=replace(failure.error, message=f"{failure.error.message}; not tried again: {reason}"))


def _log_failure(attempt: Attempt, failure: Failure) -> None:
    """Log a failure, once, when it is final.

    Error trackers (Sentry) group by the text before its arguments are put in: it has the step, as it is named in the YAML.
    """
    step, message = _redacted(attempt, failure)
    name = f"{attempt.run.plan.name}.{written(step)}".replace("%", "%%")
    about = {
        "run_id": attempt.run.id,
        "workflow": attempt.run.plan.name,
        "step": step,
        "error_type": failure.error.type,
    }
    logger.error(f"{name} failed: %s: %s", step, message, extra=about)  # noqa: G004


def _redacted(attempt: Attempt, failure: Failure) -> tuple[str, str]:
    """Return a step's id and its error for the log: both may come from outside, and be made of a secret."""
    # defence: REDACTED_LOG
    return redact_line(attempt.step.id, attempt.run.plan), redact_line(failure.error.message, attempt.run.plan)


def _names(plan: Plan, results: Sequence[Outcome | Postponed]) -> str:
    return ", ".join(redact_line(each.step, plan) for each in results[:20])
