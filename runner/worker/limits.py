"""The limits of a batch's steps: which they are, and what an answer of their source does to them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runner.language import expressions
from runner.language.faults import InvalidExpression
from runner.language.plan import Step
from runner.ledger.entries import Outcome, Postponed
from runner.ledger.limits import KEY_LIMIT, Limits, Named
from runner.ledger.run_record import RunRecord
from runner.text import duration, to_json
from runner.worker import endings
from runner.worker.attempt import Attempt
from runner.worker.endings import Ending, Failure, Result

_NONE: tuple[Named, ...] = ()


@dataclass(kw_only=True, slots=True)
class BatchLimits:
    """The limits of the steps of one batch.

    Args:
        refused: the steps that have none because their key cannot be worked out, with what is recorded of them.
    """

    run: RunRecord
    refused: dict[str, Failure] = field(default_factory=dict)
    _shared: dict[tuple[str, ...], tuple[Named, ...]] = field(default_factory=dict)
    _of: dict[str, tuple[Named, ...]] = field(default_factory=dict)
    _shut: dict[tuple[Named, ...], float] = field(default_factory=dict)
    _failed: dict[Named, int] = field(default_factory=dict)
    _passed: set[Named] = field(default_factory=set)

    def of(self, step: Step) -> tuple[Named, ...]:
        """Return the limits that must allow the start of a step."""
        if not step.limits:
            return _NONE
        found = self._of.get(step.id)
        if found is None:
            found = self._of[step.id] = self._shared.get(step.limits) or self._find(step)
        return found

    def asked(self, steps: Iterable[Step]) -> dict[str, tuple[Named, ...]]:
        """Return the limits of those of some steps that have any, by their ids."""
        return {step.id: found for step in steps if (found := self.of(step))}

    def split(self, steps: Sequence[Step]) -> tuple[list[Step], dict[str, float]]:
        """Return the steps to claim, and, for each that a limit has held back just now, when to ask again.

        Each question is an appointment in the queue of the limit: a batch has one, and not each of its steps.
        """
        if not self._shut:
            return list(steps), {}
        now = time.monotonic()
        held = {step.id: due for step in steps if (due := self._shut.get(self.of(step), 0.0)) > now}
        return [step for step in steps if step.id not in held], held

    def shut(self, step: Step, due: float) -> None:
        """Note that the limits of a step do not allow a start before then, by this process's monotonic clock."""
        self._shut[self.of(step)] = due

    def hold_back(self, attempt: Attempt, result: Result, token: str) -> float | Result:
        """Close a limit whose source has said not to come back before a time.

        Returns:
            The seconds until the step is claimed again, or its result, if it has said nothing of the kind. A step that is to wait
            too long fails.
        """
        if not isinstance(result, Failure) or result.ending is not Ending.EXCEPTION or not result.retryable:
            return result
        named = _told(self.of(attempt.step), result)
        if named is None:
            return result
        limit = named.limit
        seconds = limit.cooldown if result.retry_after is None else result.retry_after
        most = f"the limit {named.name} allows {duration(limit.cooldown_max)}, its cooldown.max"
        if seconds > limit.cooldown_max:
            asked = "for ever" if seconds > 1e9 else duration(seconds)
            return _final(result, f"it asks to wait {asked}, and {most}")
        why = next((name for name in limit.cooldown_on if name in result.names), result.error.type)
        closed, row = self._limits.close(named, seconds, why)
        if row + seconds > limit.cooldown_max:  # defence: COOLDOWN_MAX
            return _final(result, f"it has asked to wait for {duration(row)} again and again, and {most}")
        self._shut[self.of(attempt.step)] = time.monotonic() + closed
        return self.run.hold_back(attempt.step.id, token=token, limit=named.id, seconds=closed, why=why)

    def note(self, attempt: Attempt, result: Result, ended: Outcome | Postponed) -> None:
        """Note for the breakers how a step has ended; `count` tells the ledger."""
        for named in self.of(attempt.step):
            if named.limit.failures is None or isinstance(ended, Postponed):
                continue
            if ended.status == "succeeded":
                self._passed.add(named)
                self._failed[named] = 0
            elif isinstance(result, Failure) and result.ending in {Ending.EXCEPTION, Ending.TIMEOUT}:
                self._failed[named] = self._failed.get(named, 0) + 1

    def count(self) -> None:
        """Tell the breakers what was noted."""
        for named, failed in self._failed.items():
            self._limits.count(named, failed=failed, reset=named in self._passed)
        self._failed.clear()
        self._passed.clear()

    @property
    def _limits(self) -> Limits:
        return self.run.limits

    def _find(self, step: Step) -> tuple[Named, ...]:
        limits = {name: self.run.plan.limits[name] for name in step.limits}
        if all(limit.key is None for limit in limits.values()):
            found = tuple(Named(name, limit) for name, limit in limits.items())
            self._shared[step.limits] = found
            return found
        names: Mapping[str, Any] = {"inputs": self.run.plan.inputs, **step.item_names}
        try:
            return tuple(Named(name, limit, _key(limit.key, names)) for name, limit in limits.items())
        except InvalidExpression as error:
            self.refused[step.id] = endings.refused(error)
            return _NONE


def _key(expression: str | None, names: Mapping[str, Any]) -> str:
    """Return the value of a limit's key as text."""
    if expression is None:
        return ""
    value = expressions.expand(expression, names)
    text = value if isinstance(value, str) else to_json(value, indent=None)
    if len(text) > KEY_LIMIT:
        raise InvalidExpression(f"the key of a limit has {len(text):,} characters, and may have {KEY_LIMIT}")
    return text


def _told(limits: Sequence[Named], failure: Failure) -> Named | None:
    """Return the limit that a failure closes: the first that names it, or the first of all if it says how long to wait."""
    named = next((each for each in limits if failure.names.intersection(each.limit.cooldown_on)), None)
    return named or (limits[0] if limits and failure.retry_after is not None else None)


def _final(failure: Failure, reason: str) -> Failure:
    message = f"{failure.error.message}; not tried again: {reason}"
    return replace(failure, error=replace(failure.error, message=message), retryable=False)
