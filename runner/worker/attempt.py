"""One attempt at one step, from its claim on, and whether another would follow it."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from runner.language.plan import Step
from runner.ledger.entries import Granted
from runner.ledger.run_record import RunRecord
from runner.worker.endings import Failure
from runner.worker.retry import NoRetry, wait_before_retry


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """An attempt at a step that this worker has claimed.

    Args:
        began: this process's monotonic clock when the step was claimed.
        chance: of the jitter, uniform in [0, 1).
    """

    run: RunRecord
    step: Step
    claim: Granted
    worker: str
    began: float = field(default_factory=time.monotonic)
    chance: float = field(default_factory=random.random)

    @property
    def now(self) -> float:
        """The broker's clock, as far as this process can tell without asking it again."""
        return self.claim.started_at + time.monotonic() - self.began

    @property
    def run_names(self) -> Mapping[str, str]:
        """What ``run.*`` means in an expression of the step."""
        return {"id": self.run.id, "name": self.run.plan.name, "started_at": _as_text(self.claim.run_started_at)}

    def wait_after(self, failure: Failure) -> float | NoRetry:
        """Return the seconds until the step is tried again, or why it is not; the same each time it is asked."""
        claim = self.claim
        return wait_before_retry(
            self.step.retry,
            failure,
            # An attempt that was lost with its worker says nothing about the step, and uses no retry up.
            attempt=claim.attempt - claim.lost,  # defence: UNCOUNTED
            elapsed=self.now - claim.first_started_at,
            chance=self.chance,
        )


@lru_cache(maxsize=8)
def _as_text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
