"""A workflow file to a run of it, from Python: in an application, a web server, a script or a notebook.

Nothing here prints, exits, handles a signal or sets up logging. What is called ``a…`` is the same for ``await``.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import redis
from celery import Celery

from runner.brokers import broker_problem, open_broker
from runner.errors import BrokerUnavailable, RunFailed, StillRunning, UnknownRun
from runner.language.plan import Plan, end_of
from runner.language.tolerance import Verdict
from runner.language.workflow_file import WorkflowFile, load
from runner.ledger.entries import ENDED, Event, RunStatus
from runner.ledger.ledger import Ledger
from runner.ledger.reading import read_snapshot
from runner.ledger.run_ids import check_run_id, new_run_id
from runner.ledger.run_record import RunRecord
from runner.ledger.snapshot import Snapshot, redact_event
from runner.ledger.watchers import Watchers
from runner.messages.destination import Destination
from runner.runs import start as starting
from runner.runs.applications import choose_application, current, is_own
from runner.runs.private_run import PrivateRuns
from runner.runs.session import Session, note_unattended
from runner.settings import Settings
from runner.settings.broker_url import without_password
from runner.worker import application, process
from runner.worker.conclude import conclude

Answer = TypeVar("Answer")

FROM_PYTHON = "cancelled from Python"


def start(
    workflow: str | PathLike[str] | WorkflowFile,
    inputs: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
    app: Celery | None = None,
) -> "Run":
    """Start a run of a workflow, and return without waiting for it.

    The messages are sent by the Celery application of this process, and its workers execute them. A process without one uses
    the broker of ``RUNNER_BROKER_URL``, and the workers there. Without that either, the run has a private Valkey and a worker
    of its own, as `runner run` has; both exit with this process, which therefore waits for the run.

    Args:
        workflow: the path of a file, or what `load` has returned.
        inputs: JSON values by the name of the input.
        run_id: names the run. If a run of this id exists with the same workflow and inputs, that run is returned.
        app: the Celery application, in a process that has several.

    Raises:
        InvalidWorkflow: with every fault of the file.
        InvalidInputs: an input is missing, unknown or does not fit.
        OtherRun: the id is that of a run with another workflow or other inputs.
        MalformedRunId: the id has characters that no id has.
        ApplicationUnfit: the application cannot send the messages of a run: its broker is RabbitMQ, for example.
        BrokerUnavailable: no server answers. If the message says that the run is recorded, `Run.resume` sends it.
        BrokerUnsafe: the broker could lose the run, or anyone could use it.
        StateDirectoryUnusable: there is no directory for a private Valkey.
    """
    with _Door.open(app) as door:
        file = workflow if isinstance(workflow, WorkflowFile) else load(workflow, door.settings_of_files)
        bound = file.bind(inputs or {})
        plan = bound.plan
        name = new_run_id(plan) if run_id is None else check_run_id(run_id)

        def begin(destination: Destination) -> None:
            if not starting.start(bound, name, door.broker.ledger, destination):
                starting.check_same(name, plan, door.broker.ledger)

        if not door.broker.private:
            begin(Destination(queue=process.queue()))
        elif run_id is None or not door.has_ended(name, plan):
            door.attend(name, plan, lambda session: begin(session.destination))
        return Run(name, door)


async def astart(
    workflow: str | PathLike[str] | WorkflowFile,
    inputs: Mapping[str, Any] | None = None,
    *,
    run_id: str | None = None,
    app: Celery | None = None,
) -> "Run":
    """Start a run of a workflow, as `start`, without blocking the event loop."""
    return await asyncio.to_thread(start, workflow, inputs, run_id=run_id, app=choose_application(app))


class Run:
    """A run, of this process or any other: `start` and `Run.get` return one.

    It holds no connection: it may be kept, shared by threads, and dropped.
    """

    def __init__(self, run_id: str, door: "_Door") -> None:
        self._id = run_id
        self._door = door

    def __repr__(self) -> str:
        return f"Run({self._id!r})"

    @classmethod
    def get(cls, run_id: str, *, app: Celery | None = None) -> "Run":
        """Return a run by its id.

        Raises:
            UnknownRun: there is no such run, or it has expired.
        """
        with _Door.open(app) as door:
            door.broker.ledger.open(check_run_id(run_id)).info()
            return cls(run_id, door)

    @classmethod
    async def aget(cls, run_id: str, *, app: Celery | None = None) -> "Run":
        """Return a run by its id, as `get`."""
        return await asyncio.to_thread(cls.get, run_id, app=choose_application(app))

    @property
    def id(self) -> str:
        """Its id, which every command takes."""
        return self._id

    @property
    def status(self) -> RunStatus:
        """What the ledger says now: ``pending``, ``running``, ``succeeded``, ``partial``, ``failed`` or ``cancelled``."""
        return self._do(lambda record: record.info().status)

    async def astatus(self) -> RunStatus:
        """Return `status`."""
        return await asyncio.to_thread(lambda: self.status)

    def wait(self, timeout: float | None = None) -> RunStatus:
        """Wait for the end of the run, and return its status; a run that has failed is no exception here.

        Args:
            timeout: seconds; None waits for as long as the run takes.

        Raises:
            StillRunning: it has not ended; it continues. It is a `TimeoutError`, too.
            UnknownRun: it has expired, or the broker has lost it.
        """
        if (status := self.status) in ENDED:
            return status
        future = self._door.watchers.end_of(self._id)
        try:
            with self._door.errors():
                future.result(timeout)
        except TimeoutError:
            raise self._still_running(timeout) from None
        finally:
            future.cancel()
        return self.status

    async def await_end(self, timeout: float | None = None) -> RunStatus:  # noqa: ASYNC109 - as `wait` has it
        """Wait for the end of the run, as `wait`: the language has the word ``await`` for itself.

        However many runs are awaited, one thread waits for all of them.
        """
        if (status := await self.astatus()) in ENDED:
            return status
        future = self._door.watchers.end_of(self._id)
        try:
            with self._door.errors():
                await asyncio.wait_for(asyncio.wrap_future(future), timeout)
        except TimeoutError:
            raise await asyncio.to_thread(self._still_running, timeout) from None
        return await self.astatus()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end of the run, and return the value of its last step; of a partial run, too.

        Args:
            timeout: seconds, as in `wait`.

        Raises:
            RunFailed: the run has failed, or was cancelled: with its status, cause, step and place.
            StillRunning: it has not ended.
            UnknownRun: it has expired, or the broker has lost it.
            UnreadableRun: the ledger has lost the value.
        """
        return self._value(self.wait(timeout))

    async def aresult(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as `result` has it
        """Wait for the end of the run, and return the value of its last step, as `result`."""
        status = await self.await_end(timeout)
        return await asyncio.to_thread(self._value, status)

    def cancel(self, cause: str = FROM_PYTHON) -> RunStatus:
        """Cancel the run: no further step starts. Return its status, which is another if it had ended before.

        Args:
            cause: shown wherever the run is.
        """

        def do(record: RunRecord) -> RunStatus:
            conclude(record, Verdict("cancelled", cause))
            return record.info().status

        return self._do(do)

    async def acancel(self, cause: str = FROM_PYTHON) -> RunStatus:
        """Cancel the run, as `cancel`."""
        return await asyncio.to_thread(self.cancel, cause)

    def resume(self, *, failed: bool = False) -> "Run":
        """Execute the steps that did not succeed, as the same run, and return it without waiting.

        A run with a result, also a partial one, stays as it is. One that is being executed does, too, unless its messages
        are lost: then they are sent again.

        Args:
            failed: of a partial run, execute the collectors that failed, then the gather and what follows.
        """

        def do(record: RunRecord) -> None:
            if not self._door.broker.private:
                starting.resume(self._id, self._door.broker.ledger, failed=failed)
            elif not starting.stays(record.info(), failed=failed):
                self._door.attend(
                    self._id, record.plan, lambda session: starting.resume(self._id, session.ledger, failed=failed)
                )

        self._do(do)
        return self

    async def aresume(self, *, failed: bool = False) -> "Run":
        """Execute the steps that did not succeed, as `resume`."""
        return await asyncio.to_thread(self.resume, failed=failed)

    def events(self) -> Iterator[Event]:
        """Yield what happens in the run, from its beginning to its end, without secrets; the last is ``ended``, or ``settled`` if hooks follow.

        Raises:
            UnknownRun: it has expired, or the broker has lost it.
        """
        record, plan = self._do(lambda record: (record, record.plan))
        with self._door.errors():
            for event in record.follow():
                if event is not None:
                    yield redact_event(event, plan)
                else:
                    record.info()  # a run that is lost has no end

    async def aevents(self) -> AsyncIterator[Event]:
        """Yield what happens in the run, as `events`."""
        plan = await asyncio.to_thread(self._do, lambda record: record.plan)
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Sequence[Event] | Exception] = asyncio.Queue()
        watchers = self._door.watchers
        subscription = watchers.events_of(
            self._id, lambda some: cast("None", loop.call_soon_threadsafe(arrived.put_nowait, some))
        )
        try:
            while True:
                some = await arrived.get()
                if isinstance(some, Exception):
                    with self._door.errors():
                        raise some
                for event in some:
                    yield redact_event(event, plan)
                    if event.is_last:
                        return
        finally:
            watchers.unsubscribe(subscription)

    def snapshot(self) -> Snapshot:
        """Return what is known of the run now, without secrets: its steps, which of them failed, and what is missing."""
        return self._do(lambda record: read_snapshot(self._door.broker.ledger, record.info(), record.plan))

    async def asnapshot(self) -> Snapshot:
        """Return what is known of the run now, as `snapshot`."""
        return await asyncio.to_thread(self.snapshot)

    def _do(self, action: Callable[[RunRecord], Answer]) -> Answer:
        with self._door.inside():
            return action(self._door.broker.ledger.open(self._id))

    def _value(self, status: RunStatus) -> Any:
        if status in {"succeeded", "partial"}:
            return self._do(lambda record: record.value(end_of(record.plan.parts[-1]).id))
        snapshot = self.snapshot()
        step = snapshot.deciding
        run, reason = snapshot.run, step.reason if step else ""
        place = step.step.place if step else ""
        of_step = f"{step.id} ({place}): {reason}" if step else ""
        said = "was cancelled" if status == "cancelled" else "has failed"
        words = "; ".join(filter(None, [run.cause, of_step]))
        raise RunFailed(
            f"run {self._id} {said}: {words}" if words else f"run {self._id} {said}",
            run_id=self._id,
            status=status,
            cause=run.cause,
            step=step.id if step else "",
            place=place,
            reason=reason,
        )

    def _still_running(self, timeout: float | None) -> StillRunning:
        """Return the error for a run that has not ended in time, with what it waits for."""

        def do(record: RunRecord) -> str:
            info = record.info()
            noted = (
                info
                if self._door.broker.private
                else note_unattended(info, self._door.broker.ledger, self._door.settings_of_runs)
            )
            return noted.unattended or noted.waits_for

        why = self._do(do)
        return StillRunning(f"run {self._id} has not ended after {timeout:g} s{': ' if why else ''}{why}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Broker:
    """What is known of an application's broker.

    Args:
        url: without its password.
        private: it is the private Valkey, where each run has a worker of its own, of this process.
    """

    ledger: Ledger
    settings: Settings
    url: str
    private: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Door:
    """How this process gets at runs: by an application and its broker."""

    app: Celery
    broker: _Broker

    @classmethod
    @contextmanager
    def open(cls, app: Celery | None) -> "Iterator[_Door]":
        """Open the door for the block."""
        door = process.own(_Doors).of(choose_application(app))
        with door.inside():
            yield door

    @property
    def settings_of_files(self) -> Settings:
        """The settings for `load`: a workflow may name the tasks of an application that is in this process."""
        if is_own(self.app):
            return self.broker.settings
        names = [name for name in self.app.tasks if not name.startswith(("celery.", "runner."))]
        return self.broker.settings.model_copy(update={"tasks": [*self.broker.settings.tasks, *names]})

    @property
    def settings_of_runs(self) -> Settings:
        """The settings for words about a run: its broker and its workers are the application's."""
        own = {} if is_own(self.app) else {"tasks": [f"{self.app.main}.*"]}
        return self.broker.settings.model_copy(update={"broker_url": self.broker.url, **own})

    @property
    def watchers(self) -> Watchers:
        return process.own(_AllWatchers).of(self.broker.ledger)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Have the application as the current one of this thread, and errors of our own."""
        with current(self.app), self.errors():
            yield

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise `BrokerUnavailable` for an error of the broker's client."""
        try:
            yield
        except redis.RedisError as error:
            why, hint = broker_problem(error)
            raise BrokerUnavailable(f"broker {self.broker.url}: {why}", hint) from error

    def has_ended(self, run_id: str, plan: Plan) -> bool:
        """Whether there is such a run, which needs no worker any more.

        Raises:
            OtherRun: there is, and it does something else.
        """
        with suppress(UnknownRun):
            starting.check_same(run_id, plan, self.broker.ledger)
            return self.broker.ledger.open(run_id).info().ended
        return False

    def attend(self, run_id: str, plan: Plan, begin: Callable[[Session], object]) -> None:
        process.own(PrivateRuns).attend(run_id, plan, self.app, self.broker.settings, begin)


class _AllWatchers:
    """Those of this process, one for each ledger that it uses."""

    def __init__(self) -> None:
        self.of = functools.cache(Watchers)


class _Doors:
    """Those of this process, by the application; one that nobody uses any more is forgotten."""

    def __init__(self) -> None:
        self._ledgers: WeakKeyDictionary[Celery, _Broker] = WeakKeyDictionary()

    def of(self, app: Celery) -> _Door:
        if app not in self._ledgers:
            self._ledgers[app] = _broker_of(app)
        return _Door(app=app, broker=self._ledgers[app])


def _broker_of(app: Celery) -> _Broker:
    """Return the broker of an application, once it has been checked.

    The private Valkey runs from now on until this process exits: it would stop after each run, and start for its result.
    """
    settings = process.settings()
    private = is_own(app) and settings.broker_url is None and not process.is_worker()
    with current(app):
        application.check(app, settings)
        url = application.ledger_url(app, settings)
        if private:
            process.in_use.enter_context(open_broker(settings))
        else:
            with open_broker(settings.model_copy(update={"broker_url": url})):
                pass
        return _Broker(ledger=process.ledger(), settings=settings, url=without_password(url), private=private)
