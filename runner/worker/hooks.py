"""The end of a run to its hooks: which follow it, and what their expressions may name."""

import logging
from collections.abc import Mapping
from typing import Any

import redis
from kombu.exceptions import OperationalError

from runner.language.foreach import names_root
from runner.language.plan import Plan, Step, end_of
from runner.language.redact import redact
from runner.ledger.damage import UnreadableRun
from runner.ledger.entries import ENDED, Run
from runner.ledger.reading import read_snapshot
from runner.ledger.run_record import RunRecord
from runner.ledger.values import decode_value
from runner.messages.canvas import compose_hook
from runner.messages.send import send
from runner.system.crashpoints import Crashpoint, crashpoint
from runner.worker import process

logger = logging.getLogger(__name__)

MISSING_LIMIT = 1_000  # ids of missing collectors that an expression gets: there may be a million
EARLIER = 1_000  # runs among which the one before is searched


def hooks_of(run: RunRecord, plan: Plan, status: str) -> tuple[Step, ...]:
    """Return the hooks that follow when a run ends so."""
    recovered = status == "succeeded" and "on_recovered" in plan.hooks and _was_bad(run)
    return plan.hooks_of(status, recovered=recovered)


def _was_bad(run: RunRecord) -> bool:
    """Whether the latest other run of the workflow that has ended, and was not cancelled, did not succeed."""
    info = run.info()
    for each in process.ledger().runs(EARLIER):
        if each.workflow == info.workflow and each.id != run.id and each.status in ENDED - {"cancelled"}:
            return each.status != "succeeded"
    return False


def send_hook(run: RunRecord, *, after: str = "") -> None:
    """Send the message of the hook that may be executed now, if there is one.

    A broker that is away changes nothing: the reconciler sends it later.

    Args:
        after: the hook that was executed last; where it has no outcome, its own message comes back.
    """
    try:
        step = run.due_hook()
        if step is None or step.id == after:
            return
        crashpoint(Crashpoint.HOOK_BEFORE_SEND)
        send(compose_hook(run.plan, run.id, step, run.layout), process.app(), process.ledger())
        crashpoint(Crashpoint.HOOK_AFTER_SEND)
    except (redis.RedisError, OperationalError, OSError) as error:
        logger.warning("run %s: its hooks are sent later: %s", run.id, error)


def run_names(info: Run, plan: Plan) -> Mapping[str, Any]:
    """Return what ``run.status``, ``run.cause`` and ``run.attempt`` mean in an expression of a hook, without secrets."""
    return {"status": info.status, "cause": redact(info.cause, plan), "attempt": info.attempt}


def names(run: RunRecord, info: Run, written: Any) -> Mapping[str, Any]:
    """Return ``coverage``, ``missing``, ``error`` and ``value`` as a hook sees them, each only if an expression names it.

    Args:
        written: a JSON value with expressions.
    """
    made: dict[str, Any] = {}
    if names_root(written, "coverage"):
        made["coverage"] = run.coverage(next(iter(reversed(run.layout.fan_outs(run.plan))), None))
    if names_root(written, "missing"):
        made["missing"] = run.absent()[:MISSING_LIMIT]
    if names_root(written, "error"):
        made["error"] = _error(run, info)
    if names_root(written, "value"):
        text = run.stored_value(end_of(run.plan.parts[-1]).id) if info.status in {"succeeded", "partial"} else ""
        made["value"] = decode_value(text) if text else None
    return made


def _error(run: RunRecord, info: Run) -> dict[str, str] | None:
    """Return the failure that decided how the run ended; None if there is none."""
    try:
        step = read_snapshot(process.ledger(), info, run.plan, complete=False).deciding
    except UnreadableRun:
        return None
    error = step.outcome.error if step and step.outcome else None
    if step is None:
        return None
    facts = {"type": error.type, "message": error.message} if error else {"type": step.status, "message": step.reason}
    return {"step": step.id, **facts, "place": step.step.place}
