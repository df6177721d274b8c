"""One attempt at one step, from its claim on, and whether another would follow it."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from runner.language.foreach import names_root
from runner.language.plan import NO_NAMES, FanOut, Step
from runner.ledger.damage import MissingData
from runner.ledger.entries import Granted
from runner.ledger.run_record import RunRecord
from runner.ledger.values import decode_value
from runner.worker import hooks
from runner.worker.endings import Failure
from runner.worker.retry import NoRetry, wait_before_retry


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """An attempt at a step that this worker has claimed.

    Args:
        began: this process's monotonic clock when the step was claimed.
        chance: of the jitter, uniform in [0, 1).
        values: those of other steps that attempts of its batch have read, by the step's id.
    """

    run: RunRecord
    step: Step
    claim: Granted
    worker: str
    began: float = field(default_factory=time.monotonic)
    chance: float = field(default_factory=random.random)
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def now(self) -> float:
        """The broker's clock, as far as this process can tell without asking it again."""
        return self.claim.started_at + time.monotonic() - self.began

    @property
    def run_names(self) -> Mapping[str, Any]:
        """What ``run.*`` means in an expression of the step."""
        names = {"id": self.run.id, "name": self.run.plan.name, "started_at": _as_text(self.claim.run_started_at)}
        return {**names, **hooks.run_names(self.run.info(), self.run.plan)} if self.step.kind == "hook" else names

    def value_before(self) -> Any:
        """Return the value of the part before; None if there is none. It is read once for a batch.

        Raises:
            MissingData: the ledger lacks it.
        """
        before = self.run.plan.before(self.step)
        if before is None:
            return None
        if before.id not in self.values:
            self.values[before.id] = decode_value(self.stored_before())
        return self.values[before.id]

    def stored_before(self) -> str:
        """Return the value of the part before as it is stored; empty if no part is before.

        Raises:
            MissingData: the ledger lacks it.
        """
        before = self.run.plan.before(self.step)
        if before is None:
            return ""
        # What the main process records of a stage whose process died was claimed by that process.
        claimed = self.claim.before if self.step.kind == "stage" else ""
        text = claimed or self.run.stored_value(before.id)
        if not text:  # defence: MISSED_BEFORE
            raise MissingData(self.run.id, f"the value of {before.id} is missing")
        return text

    def names(self) -> Mapping[str, Any]:
        """Return what the arguments of the step may name besides inputs, ``run`` and the item; each only if one names it."""
        given = [dict(each.arguments) for each in (self.step, *self.step.then)]
        plan = self.run.plan
        return self.named(given, plan.fan_out_of(self.step) if self.step.kind == "gather" else None)

    def named(self, written: Any, covered: FanOut | None = None) -> Mapping[str, Any]:
        """Return ``value``, ``coverage`` …, if an expression in a JSON value names them.

        Args:
            covered: the fan-out whose coverage that is; by default the last before the step.
        """
        if self.step.kind == "hook":
            return hooks.names(self.run, self.run.info(), written)
        names = {"value": self.value_before()} if names_root(written, "value") else NO_NAMES
        if names_root(written, "coverage"):
            covered = covered or self.run.plan.fan_out_before(self.step)
            return {**names, "coverage": self.run.coverage(covered)}
        return names

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
