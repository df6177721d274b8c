"""A failed attempt to the seconds until the next one, or to the reason why there is none."""

from dataclasses import dataclass

from runner.language.plan import Retry
from runner.text import duration
from runner.worker.endings import RULES, Failure

_EVER = 100 * 365 * 86400.0  # seconds; a number that is no longer a duration


@dataclass(frozen=True, slots=True)
class NoRetry:
    """This attempt was the last.

    Args:
        reason: why, if another was allowed and cannot be made in time; empty if the policy allows no other.
    """

    reason: str = ""


def wait_before_retry(
    policy: Retry, failure: Failure, *, attempt: int, elapsed: float, chance: float
) -> float | NoRetry:
    """Return the seconds before the next attempt, or why there is none.

    The delay is ``delay * backoff ** (attempt - 1)``, at most ``max_delay``, with jitter taken off it ("full jitter" as in
    AWS's "Exponential Backoff And Jitter", 2015). A ``Retry-After`` that the task passes on is a lower bound. One
    past ``max_delay`` is not cut to it: an earlier request is useless, and may get the client banned.

    Args:
        attempt: the number of the failed attempt, from 1.
        elapsed: seconds since the first attempt started.
        chance: uniform in [0, 1), for the jitter.
    """
    again = RULES[failure.ending].again
    most = max(policy.max_retries, 1) if again == "once" else policy.max_retries
    # What was never begun, or lost each time, has no attempt.
    if again not in {"once", "retry"} or attempt > most or not failure.retryable or not _applies(policy, failure):
        return NoRetry()
    # The exponent is bounded because a float overflows: 2 ** 1024. 100 retries are allowed, with any backoff.
    full = min(policy.max_delay, policy.delay * min(policy.backoff, 1e3) ** min(attempt - 1, 100))
    share = {"full": 1.0, "none": 0.0}[policy.jitter] if isinstance(policy.jitter, str) else policy.jitter
    wait = full * (1 - share * chance)
    if failure.retry_after is not None:
        if failure.retry_after > policy.max_delay:
            asked = "for ever" if failure.retry_after > _EVER else duration(failure.retry_after)
            return NoRetry(f"it asks to wait {asked}, and retry.max_delay is {duration(policy.max_delay)}")
        wait = max(wait, failure.retry_after)
    if policy.max_duration is not None and elapsed + wait > policy.max_duration:
        return NoRetry(f"the next attempt would be later than retry.max_duration, {duration(policy.max_duration)}")
    return wait


def _applies(policy: Retry, failure: Failure) -> bool:
    if failure.names.intersection(policy.not_on):
        return False
    return RULES[failure.ending].again == "once" or not policy.on or bool(failure.names.intersection(policy.on))
