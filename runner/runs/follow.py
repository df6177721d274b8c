"""A run under way to its end: progress, Ctrl-C, the summary, the result, the exit code."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import click
import redis
from kombu.exceptions import OperationalError

from runner import brokers
from runner.broker_url import without_password
from runner.errors import BrokerUnavailable, UnknownRun
from runner.language.plan import Plan
from runner.language.redact import mask
from runner.ledger.damage import MissingData
from runner.ledger.entries import EXIT_CODES, Event, Outcome, Run, Underway
from runner.ledger.ledger import AWAY, FOLLOW_PATIENCE, Ledger
from runner.runs import start as run
from runner.runs.outage import Outage
from runner.runs.private_worker import WorkerEnded
from runner.runs.session import Session
from runner.runs.wait_options import WaitOptions
from runner.system import program, streams
from runner.system.interrupts import Interrupted
from runner.text import printable
from runner.views import progress, report, screen
from runner.views.item_pages import Tallies
from runner.worker.reconcile import reconcile
from runner.worker.record import fail

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

STILL_RUNNING = 5
PATIENCE = 5.0  # seconds without a first step; a worker needs half a second to start


class Left(Interrupted):
    """The signal by which this process leaves a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CameOf:
    """What has come of a run.

    Args:
        underway: the steps that are being executed, or tried again.
        unended: if it has ended, the first of the collectors with ``foreach`` that have no outcome.
    """

    run: Run
    outcomes: dict[str, Outcome]
    tally: Tallies
    result: Any
    underway: dict[str, Underway]
    unended: list[str]


def attend(run_id: str, here: Session, wait: WaitOptions, begin: Callable[[], None]) -> int:
    """Begin a run and stay with it until it has ended, or as long as the user wishes; return the exit code.

    Args:
        begin: submits or resumes the run. A worker may execute steps before it returns, so a signal that comes meanwhile
            cancels the run as well.

    Raises:
        Interrupted: by a second signal, or the end of the terminal; the run is left as it is, to be resumed.
        WorkerEnded: there is no worker any more; the run has failed then.
        BrokerUnavailable: the broker did not come back in time; `resume` goes on with the run.
    """
    try:
        begin()
    except Interrupted as interrupted:
        return _cancel(run_id, here, interrupted, wait)
    try:
        return _attend(run_id, here, wait)
    except AWAY as error:
        why, _ = brokers.reason(error)
        broker = without_password(brokers.url(here.settings))
        raise BrokerUnavailable(
            f"run {run_id} is left as it is: broker {broker}: {why}",
            f"`{program.command('resume', run_id)}` goes on with it, once the broker does",
        ) from error


def _attend(run_id: str, here: Session, wait: WaitOptions) -> int:
    try:
        plan = _patiently(lambda: here.ledger.plan(run_id))
    except Interrupted as interrupted:
        return _cancel(run_id, here, interrupted, wait)
    if wait.detach:
        click.echo(report.as_json({"run_id": run_id}) if wait.as_json else run_id)
        return _leave(run_id, here, 0)
    try:
        ended = _watch(plan, run_id, here, wait)
        if isinstance(ended, Interrupted):
            return _tell_cancelled(run_id, here, ended, wait)
        if ended:
            return tell(run_id, here.ledger, plan, wait)
        _say(f"run {run_id} has not ended after {wait.timeout:g} s, and goes on: `{program.command('show', run_id)}`")
        if wait.as_json:
            tell(run_id, here.ledger, plan, wait, summary=False)
        return _leave(run_id, here, STILL_RUNNING)
    except Left:
        raise
    except Interrupted as interrupted:
        return _cancel(run_id, here, interrupted, wait)
    except UnknownRun:
        run.lose(run_id, plan, here.ledger)
        _say(f"run {run_id} is lost: turn on persistence (appendonly yes); `{program.command('doctor')}` looks")
        return tell(run_id, here.ledger, plan, wait)
    except WorkerEnded as ended:
        fail(run_id, here.ledger, str(ended))
        # The end of its log is in it, and there a task may have written anything.
        raise WorkerEnded(f"run {run_id} has failed: {mask(str(ended), plan)}", ended.hint) from ended


def _watch(plan: Plan, run_id: str, here: Session, wait: WaitOptions) -> bool | Interrupted:
    """Show the run's progress to its end; False if the time is up before, the signal if one has cancelled it."""
    began = heard = time.monotonic()
    outage = Outage(_ignore if wait.quiet else _say)
    started, waits_for = False, ""
    latest: Event | None = None
    with progress.shown(plan, run_id, quiet=wait.quiet) as shown:
        try:
            for event in _followed(run_id, here, outage):
                shown.tell(event)
                latest = event or latest
                now = time.monotonic()
                heard = heard if event is None else now
                if event is not None and event.event in {"waiting", "started", "ended"}:
                    started = started or event.event == "started"
                    waits_for = mask(event.message, plan) if event.event == "waiting" else ""
                if here.worker is None and now - heard > PATIENCE and outage.may_say and not outage.of_broker:
                    with suppress(*AWAY):  # `follow` says so
                        if not here.ledger.is_led():
                            none = f"and there is none: `{program.command('worker')}` starts one"
                            outage.tell(f"run {run_id} waits for a worker, {none}")
                        elif waits_for:  # as the ledger says it; a worker may well be free
                            cure = (
                                f"`{program.command('worker')} --include MODULE` starts one with the module of the task"
                            )
                            outage.tell(f"run {run_id} {printable(waits_for)}: {cure}")
                        elif not started:
                            outage.tell(f"run {run_id} waits for a worker that is free")
                            started = True  # or will be, one day: once is enough
                if wait.timeout and now - began > wait.timeout:
                    return False
        except Interrupted as interrupted:
            _stop(run_id, here, interrupted)
            # What is shown last is how it ended, and not where it was.
            if latest is None or latest.event != "ended":
                for event in here.ledger.follow(run_id, after=latest.id if latest else "0"):
                    shown.tell(event)
            return interrupted
    return True


def _followed(run_id: str, here: Session, outage: Outage) -> Iterator[Event | None]:
    """The run's events to its end; meanwhile its worker and its broker are kept alive, and what is lost is sent again."""
    looked = time.monotonic()

    def away(error: redis.RedisError) -> None:
        outage.of_broker = True
        outage.tell(f"run {run_id} waits for the broker: {brokers.reason(error)[0]}")
        brokers.revive(here.settings)  # defence: REVIVED

    for event in here.ledger.follow(run_id, away=away):
        yield event
        if event is None and here.worker is not None:
            here.worker.keep()
        if event is None and time.monotonic() - looked > here.settings.reconcile_every:
            looked = time.monotonic()
            _reconcile(run_id, here, outage)  # defence: LOOKED_FOR


def _reconcile(run_id: str, here: Session, outage: Outage) -> None:
    try:
        reconcile(run_id, here.ledger, grace=here.settings.grace)
        outage.of_broker = False
    except (redis.RedisError, OperationalError) as error:
        logger.info("cannot reconcile: %s", error)  # the server is away: `follow` waits for it
        why, _ = brokers.reason(error.__cause__ or error)
        outage.of_broker = True
        outage.tell(f"run {run_id} waits for the broker, which takes no work: {why}")


def tell(run_id: str, ledger: Ledger, plan: Plan, wait: WaitOptions, *, summary: bool = True) -> int:
    """The summary, the result, the exit code. ``--quiet`` is about what went well: a run that did not must be found again."""
    came = _patiently(lambda: _came_of(run_id, ledger, plan))
    if wait.as_json:
        told = report.document(
            came.run,
            plan,
            came.outcomes,
            came.result,
            tally=came.tally,
            unended=came.unended,
            underway=came.underway,
        )
        click.echo(report.as_json(told))
    if summary and not (wait.quiet and came.run.status == "succeeded"):
        _say(report.summary(came.run, plan, came.outcomes, tally=came.tally, screen=screen.of(sys.stderr)))
        if came.run.status in {"failed", "cancelled"}:
            _say(report.resumable(came.run, screen=screen.of(sys.stderr)))
    if came.run.status in {"succeeded", "partial"} and not wait.as_json:
        click.echo(report.result(came.result, plan))
    return 1 if came.run.status == "partial" and wait.strict else EXIT_CODES.get(came.run.status, STILL_RUNNING)


def _came_of(run_id: str, ledger: Ledger, plan: Plan) -> CameOf:
    ended = ledger.run(run_id)
    return CameOf(
        run=ended,
        outcomes=ledger.outcomes(run_id, plan),
        tally=ledger.tally(run_id) if any(step.foreach for step in plan.collectors) else {},
        result=ledger.value(run_id, plan.steps[-1].id),
        underway={} if ended.ended else ledger.underway(run_id),
        unended=_unended(run_id, ledger, plan) if ended.ended else [],
    )


def _unended(run_id: str, ledger: Ledger, plan: Plan) -> list[str]:
    try:
        return list(islice(ledger.unended(run_id, plan), report.ITEMS))
    except MissingData:  # which items they were nobody knows any more; the run's cause says it
        return []


def _patiently(read: Callable[[], Answer]) -> Answer:
    """What is read from the ledger, as soon as its server answers; it is waited for as `Ledger.follow` does."""
    until = time.monotonic() + FOLLOW_PATIENCE
    while True:
        try:
            return read()
        except AWAY:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _cancel(run_id: str, here: Session, interrupted: Interrupted, wait: WaitOptions) -> int:
    _stop(run_id, here, interrupted)
    return _tell_cancelled(run_id, here, interrupted, wait)


def _stop(run_id: str, here: Session, interrupted: Interrupted) -> None:
    """Ctrl-C and SIGTERM cancel; a second one, and the end of the terminal, leave the run to be resumed.

    Raises:
        Left: the run goes on without us, or there is none.
    """
    if interrupted.signal is signal.SIGHUP:
        raise Left(interrupted.signal) from interrupted
    try:
        _say(f"\ncancelling run {run_id}; once more to leave it as it is")
        run.cancel(run_id, here.ledger, f"{interrupted.signal.name} to `run`")
    except UnknownRun:
        raise Left(interrupted.signal) from None  # it had not been accepted
    except Interrupted as again:
        raise _left(run_id, again) from again


def _tell_cancelled(run_id: str, here: Session, interrupted: Interrupted, wait: WaitOptions) -> int:
    try:
        tell(run_id, here.ledger, here.ledger.plan(run_id), wait)
    except UnknownRun:
        raise Left(interrupted.signal) from None
    except Interrupted as again:
        raise _left(run_id, again) from again
    return interrupted.exit_code


def _left(run_id: str, again: Interrupted) -> "Left":
    _say(f"left as it is: `{program.command('resume', run_id)}`")
    return Left(again.signal)


def _leave(run_id: str, here: Session, code: int) -> int:
    """Leave the terminal: this process ends with the code, and a copy of it waits for the end of the run.

    With a broker of yours nobody has to wait, and nothing is left behind.
    """
    if here.worker is None:
        return code
    code = streams.exit_code(code)
    sys.stderr.flush()
    if os.fork():
        os._exit(code)  # the worker and the server belong to the copy: nothing is to be closed here
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    try:
        for _ in _followed(run_id, here, Outage(_ignore)):
            pass
    except WorkerEnded as ended:
        fail(run_id, here.ledger, str(ended))
    return code


def _ignore(_text: str) -> None:
    """For nobody."""


def _say(text: str) -> None:
    click.echo(text, err=True)
