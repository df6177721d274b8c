"""A run followed to its end for the person who waits: progress, Ctrl-C, the summary, the result, the exit code."""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import click

from runner.brokers import broker_problem, locate_broker
from runner.errors import BrokerUnavailable, UnknownRun
from runner.language.layout import Layout
from runner.language.plan import Plan
from runner.language.redact import redact
from runner.language.tolerance import Verdict
from runner.ledger.entries import Event
from runner.ledger.ledger import Ledger
from runner.ledger.reading import read_snapshot
from runner.ledger.run_ids import check_run_id
from runner.ledger.run_reader import AWAY, FOLLOW_PATIENCE
from runner.runs.attendance import attend
from runner.runs.exit_codes import STILL_RUNNING, exit_code
from runner.runs.missing_worker import how_to_start
from runner.runs.outage import Outage, ignore
from runner.runs.private_worker import WorkerEnded
from runner.runs.session import Session
from runner.runs.start import mark_lost
from runner.runs.wait_options import WaitOptions
from runner.settings.broker_url import without_password
from runner.system.interrupts import Interrupted
from runner.system.program import command_line
from runner.system.streams import exit_code_after_output
from runner.text import printable, to_json
from runner.views import words
from runner.views.document import snapshot_document
from runner.views.progress import show_progress
from runner.views.screen import screen_of
from runner.worker.conclude import conclude

Answer = TypeVar("Answer")

PATIENCE = 5.0  # seconds without a first step; a worker needs half a second to start


class Left(Interrupted):
    """The signal by which this process leaves a run."""


def follow(run_id: str, session: Session, wait: WaitOptions, begin: Callable[[], None]) -> int:
    """Begin a run and follow it to its end, or for as long as the user wishes; return the exit code.

    Args:
        begin: starts or resumes the run. A worker may execute steps before it returns, so a signal that comes meanwhile
            cancels the run as well.

    Raises:
        Interrupted: by a second signal, or the end of the terminal; the run stays as it is, and `resume` continues it.
        WorkerEnded: the worker has ended for good; the run has failed then.
        BrokerUnavailable: the broker did not come back in time; `resume` continues the run.
    """
    following = Following(run_id=run_id, session=session, wait=wait)
    try:
        begin()
    except Interrupted as interrupted:
        return following.cancel(interrupted)
    try:
        return following.to_the_end()
    except AWAY as error:
        why, _ = broker_problem(error)
        broker = without_password(locate_broker(session.settings))
        raise BrokerUnavailable(
            f"run {run_id} is left as it is: broker {broker}: {why}",
            f"`{command_line('resume', run_id)}` continues it, once the broker is back",
        ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Following:
    """A run that has begun, and how its user waits for it.

    Args:
        session: the ledger, the settings, and the run's own worker if it has one.
    """

    run_id: str
    session: Session
    wait: WaitOptions

    @property
    def ledger(self) -> Ledger:
        return self.session.ledger

    def to_the_end(self) -> int:
        """Show the run's progress, then how it ended; return the exit code."""
        try:
            plan, layout = _patiently(self._read)
        except Interrupted as interrupted:
            return self.cancel(interrupted)
        if self.wait.detach:
            click.echo(to_json({"run_id": self.run_id}) if self.wait.as_json else self.run_id)
            return self._leave(0)
        try:
            ended = self._watch(plan, layout)
            if isinstance(ended, Interrupted):
                return self._show_cancelled(ended)
            if ended:
                return show_end(self.run_id, self.ledger, plan, self.wait)
            return self._time_is_up(plan)
        except Left:
            raise
        except Interrupted as interrupted:
            return self.cancel(interrupted)
        except UnknownRun:
            mark_lost(self.run_id, plan, layout, self.ledger)
            _say(f"run {self.run_id} is lost: turn on persistence (appendonly yes); `{command_line('doctor')}` looks")
            return show_end(self.run_id, self.ledger, plan, self.wait)
        except WorkerEnded as ended:
            conclude(self.ledger.open(self.run_id), Verdict("failed", str(ended)))
            # The message has the end of the log, to which a task may have written anything.
            raise WorkerEnded(f"run {self.run_id} has failed: {redact(str(ended), plan)}", ended.hint) from ended

    def _read(self) -> tuple[Plan, Layout]:
        """Return the run's plan and its layout."""
        run = self.ledger.open(self.run_id)
        return run.plan, run.layout

    def cancel(self, interrupted: Interrupted) -> int:
        """Cancel the run, show how it ended, and return the exit code of the signal."""
        self._stop(interrupted)
        return self._show_cancelled(interrupted)

    def _watch(self, plan: Plan, layout: Layout) -> bool | Interrupted:
        """Show the progress to the end; return False at the timeout, the signal if one has cancelled the run."""
        began, silence = time.monotonic(), _Silence(plan)
        outage = Outage(ignore if self.wait.quiet else _say)
        latest: Event | None = None
        has_ended = False
        with show_progress(plan, layout, self.run_id, quiet=self.wait.quiet) as progress:
            try:
                for event in attend(self.run_id, self.session, outage):
                    progress.update(event)
                    silence.hear(event)
                    latest = event or latest
                    has_ended = has_ended or bool(event and event.event == "ended")
                    if self.session.worker is None and silence.is_long and outage.may_say and not outage.of_broker:
                        with suppress(*AWAY):  # `attend` says so
                            self._say_what_is_missing(silence, outage)
                    if self.wait.timeout and time.monotonic() - began > self.wait.timeout:
                        return False
            except Interrupted as interrupted:
                if has_ended:
                    _say(
                        f"\nrun {self.run_id} has ended; `{command_line('resume', self.run_id)}` executes what is left of its hooks"
                    )
                    return True
                self._stop(interrupted)
                # The last picture shows how the run ended.
                if latest is None or not latest.is_last:
                    for event in self.ledger.open(self.run_id).follow(after=latest.id if latest else "0"):
                        progress.update(event)
                return interrupted
        return True

    def _say_what_is_missing(self, silence: "_Silence", outage: Outage) -> None:
        """Say why no step starts: there is no worker, none with the task, or none that is free."""
        settings = self.session.settings
        if not self.ledger.is_led():
            outage.tell(f"run {self.run_id} waits for a worker, and there is none: {how_to_start(settings)}")
        elif silence.waits_for:  # in the words of the ledger; a worker may be free
            own = f"`{command_line('worker')} --include MODULE` starts one with the module of the task"
            cure = how_to_start(settings) if settings.tasks else own
            outage.tell(f"run {self.run_id} {printable(silence.waits_for)}: {cure}")
        elif not silence.started:
            outage.tell(f"run {self.run_id} waits for a worker that is free")
            silence.started = True  # not yet, but the line is shown once only

    def _time_is_up(self, plan: Plan) -> int:
        show = command_line("show", self.run_id)
        _say(f"run {self.run_id} has not ended after {self.wait.timeout:g} s, and continues: `{show}`")
        if self.wait.as_json:
            show_end(self.run_id, self.ledger, plan, self.wait, summary=False)
        return self._leave(STILL_RUNNING)

    def _stop(self, interrupted: Interrupted) -> None:
        """Ctrl-C and SIGTERM cancel; a second one, and the end of the terminal, leave the run to be resumed.

        Raises:
            Left: the run continues without this process, or was not accepted.
        """
        if interrupted.signal is signal.SIGHUP:
            raise Left(interrupted.signal) from interrupted
        try:
            _say(f"\ncancelling run {self.run_id}; once more to leave it as it is")
            conclude(
                self.ledger.open(check_run_id(self.run_id)), Verdict("cancelled", f"{interrupted.signal.name} to `run`")
            )
        except UnknownRun:
            _say(f"run {self.run_id} had not been accepted: nothing was started")
            raise Left(interrupted.signal) from None
        except Interrupted as again:
            raise self._left(again) from again

    def _show_cancelled(self, interrupted: Interrupted) -> int:
        try:
            show_end(self.run_id, self.ledger, self.ledger.open(self.run_id).plan, self.wait)
        except UnknownRun:
            raise Left(interrupted.signal) from None
        except Interrupted as again:
            raise self._left(again) from again
        return interrupted.exit_code

    def _left(self, again: Interrupted) -> Left:
        _say(f"left as it is: `{command_line('resume', self.run_id)}`")
        return Left(again.signal)

    def _leave(self, code: int) -> int:
        """Detach: this process exits with the code, and a copy of it waits in the background for the end of the run.

        With a broker of yours no copy is needed.
        """
        if self.session.worker is None:
            return code
        code = exit_code_after_output(code)
        sys.stderr.flush()
        if os.fork():
            os._exit(code)  # the worker and the server belong to the copy: this process closes nothing
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        try:
            for _ in attend(self.run_id, self.session, Outage(ignore)):
                pass
        except WorkerEnded as ended:
            conclude(self.ledger.open(self.run_id), Verdict("failed", str(ended)))
        return code


class _Silence:
    """The time since the last event of a run, and what its last events said.

    ``started`` is whether any step has been started; ``waits_for`` is what the run waits for, as the ledger says it.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._since = time.monotonic()
        self.started = False
        self.waits_for = ""

    @property
    def is_long(self) -> bool:
        return time.monotonic() - self._since > PATIENCE

    def hear(self, event: Event | None) -> None:
        if event is None:
            return
        self._since = time.monotonic()
        if event.event in {"waiting", "started", "ended"}:
            self.started = self.started or event.event == "started"
            self.waits_for = redact(event.message, self._plan) if event.event == "waiting" else ""


def show_end(run_id: str, ledger: Ledger, plan: Plan, wait: WaitOptions, *, summary: bool = True) -> int:
    """Show the summary and the result of a run; return the exit code.

    ``--quiet`` is for a run that went well: the id of one that did not is needed to look into it.
    """
    snapshot = _patiently(lambda: read_snapshot(ledger, ledger.open(run_id).info(), plan))
    status = snapshot.run.status
    if wait.as_json:
        click.echo(to_json(snapshot_document(snapshot)))
    if summary and not (wait.quiet and status == "succeeded" and not snapshot.failed):
        _say(words.summary(snapshot, screen=screen_of(sys.stderr)))
        if status in {"failed", "cancelled"}:
            _say(words.resumable(snapshot.run, screen=screen_of(sys.stderr)))
    if status in {"succeeded", "partial"} and not wait.as_json:
        click.echo(words.result(snapshot))
    hook_failed = any(each.step.kind == "hook" for each in snapshot.failed)
    return exit_code(status, strict=wait.strict, hook_failed=hook_failed)


def _patiently(read: Callable[[], Answer]) -> Answer:
    """Read from the ledger as soon as its server answers; wait for it as long as `Ledger.follow` does."""
    until = time.monotonic() + FOLLOW_PATIENCE
    while True:
        try:
            return read()
        except AWAY:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _say(text: str) -> None:
    click.echo(text, err=True)
