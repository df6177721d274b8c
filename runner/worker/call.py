"""A user's task, its arguments and a time limit to a value, or to the failure."""

import asyncio
import inspect
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from billiard.common import terminate_handler_fired
from celery.exceptions import SoftTimeLimitExceeded, WorkerTerminate
from celery.utils.log import get_task_logger
from celery.worker import state

from runner.errors import RunnerError
from runner.language.plan import HARD_LIMIT_AFTER
from runner.ledger.exceptions import message_of, name_of_class
from runner.ledger.values import encode_value
from runner.system.fork import end_copies
from runner.worker import endings
from runner.worker.endings import Failure, Success, Unread
from runner.worker.process import own
from runner.worker.step_task import Execution, is_async
from runner.worker.surroundings import restored

logger = get_task_logger(__name__)

Result = TypeVar("Result")


class NotJSON(RunnerError):
    """The task returned something that is not JSON."""


class ValueTooLarge(RunnerError):
    """The task returned more than a step's value may hold."""


class StepTimedOut(RunnerError):
    """The attempt took longer than the step's timeout."""


def call(
    task: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    timeout: float | None,
    value_limit: int | None,
    may_catch: bool = False,
) -> Success | Failure:
    """Call a task and return its value or its failure; what the task raises is never raised here.

    Args:
        timeout: seconds. A coroutine is cancelled; a plain function is interrupted where it runs in a main thread
            (prefork, solo), and abandoned in others.
        value_limit: bytes that the value may have as JSON; None of a value that another call takes as it is.
        may_catch: the timeout is the task's own `soft_time_limit`: a task may catch it, and return a value all the same.
    """
    work: Callable[[], Success | Failure] = partial(
        _attempt, task, args, kwargs, timeout, value_limit, may_catch=may_catch
    )
    if timeout is None or _in_main_thread() or is_async(task):
        # In a context of its own: what a step sets there (the precision of decimals, a logger's fields) ends with it.
        return copy_context().run(work)
    try:
        return _left_behind_after(timeout, work)
    except TimeoutError:
        return endings.timed_out(timeout)


def _attempt(
    task: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    timeout: float | None,
    value_limit: int | None,
    *,
    may_catch: bool,
) -> Success | Failure:
    """Make the part of a call that belongs in one thread: restore the surroundings, call the task, and its hooks."""
    started, timed, stopped = time.monotonic(), False, terminate_handler_fired()
    surroundings, interruption = None, own(_Interruption)
    try:
        surroundings = restored()
        timed = interruption.after(timeout)
        try:
            value = _value(task, args, kwargs, timeout)
        finally:
            if timed:
                interruption.never()
    except BaseException as error:  # noqa: BLE001 - the user's task may raise anything  # defence: TASK_ERRORS
        _raise_if_stopped(error, already=stopped)
        result = _with_hooks(task, _raised(error, started, timeout), error)
    else:
        late = timeout is not None and time.monotonic() - started > timeout + 0.1
        if ((timed and interruption.happened) or late) and not may_catch:
            result = _with_hooks(task, endings.timed_out(timeout), None)  # it swallowed the interruption
        else:
            result = _with_hooks(task, _checked(value, value_limit), None)
    if surroundings is not None:
        surroundings.tidy()
    return result


def _with_hooks(task: Callable[..., Any], result: Success | Failure, error: BaseException | None) -> Success | Failure:
    """Call the task's hooks with the result, and return it."""
    if isinstance(task, Execution):
        stopped = terminate_handler_fired()
        try:
            task.ended(result, error)
        except BaseException as raised_by_hook:
            _raise_if_stopped(raised_by_hook, already=stopped)
            logger.exception("a hook of a task has raised")
    return result


def _value(task: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], timeout: float | None) -> Any:
    pid = os.getpid()
    try:
        value = task(*args, **kwargs)
        if not inspect.iscoroutine(value):
            return value
        ended = in_loop(_ended(value, timeout))
        if ended.error is not None:
            raise ended.error
        return ended.value
    finally:
        end_copies(pid)


@dataclass(frozen=True, slots=True)
class _Ended:
    value: Any = None
    error: BaseException | None = None


async def _ended(awaitable: Awaitable[Any], timeout: float | None) -> _Ended:  # noqa: ASYNC109 - the step's
    """Await it, and return its value or its exception: some exceptions, raised, end asyncio's loop or the coroutine that awaits.

    A task may also cancel itself without ending by it; then our next await would raise.
    """
    pid = os.getpid()
    try:
        async with asyncio.timeout(timeout):
            try:
                ended = _Ended(await awaitable)
            finally:  # before the loop continues: its selector is the parent's, too
                end_copies(pid)
    except BaseException as error:  # noqa: BLE001 - as in `call`, which raises it again outside of the loop
        ended = _Ended(error=error)
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        while task.uncancel():
            pass
    return ended


async def call_async(
    task: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    timeout: float | None,  # noqa: ASYNC109 - the step's, whose passing is an outcome and no exception
    value_limit: int | None,
) -> Success | Failure:
    """Do the same for one of many tasks that are executed at once in an event loop.

    A plain function is called in a thread, so that the others go on. It cannot be ended there: one that takes longer is
    abandoned.
    """
    if not is_async(task):
        return await _beside(partial(_attempt, task, args, kwargs, timeout, value_limit, may_catch=False), timeout)
    started, stopped = time.monotonic(), terminate_handler_fired()
    try:
        restored()
        value = task(*args, **kwargs)
        ended = await _ended(value, timeout) if inspect.isawaitable(value) else _Ended(value)
    except BaseException as error:  # noqa: BLE001 - as above
        ended = _Ended(error=error)
    if ended.error is None:
        return _with_hooks(task, _checked(ended.value, value_limit), None)
    _raise_if_stopped(ended.error, already=stopped)
    return _with_hooks(task, _raised(ended.error, started, timeout), ended.error)


async def _beside(work: Callable[[], Success | Failure], timeout: float | None) -> Success | Failure:  # noqa: ASYNC109 - the step's
    outcome = asyncio.wrap_future(_in_a_thread(work))
    # Not `wait_for`, which cancels what it waits for: the thread could not set its result any more.
    done, _ = await asyncio.wait([outcome], timeout=None if timeout is None else timeout + HARD_LIMIT_AFTER)
    return outcome.result() if done else endings.timed_out(timeout)


def in_loop(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in this thread's event loop, which lasts as long as the process, so that connections last, too."""
    loops = own(threading.local)
    if not hasattr(loops, "runner") or loops.runner.get_loop().is_closed():
        # With a factory it is not the thread's current loop, which any task may ask for, and close (vt-py#46).
        loops.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
    loop = loops.runner.get_loop()
    work = loop.create_task(_and_nothing_after(coroutine))
    while True:
        try:
            result: Result = loop.run_until_complete(work)
        except (KeyboardInterrupt, SystemExit) as error:
            # Raised in a task that a step has started, it stops asyncio's loop as well, but not what runs in it: that
            # continues, and the step that awaits the task gets the exception.
            if work.done() or _stops(error):
                raise
        except SoftTimeLimitExceeded:
            # Ours, that came while the loop waited: asyncio's own timeout, of the same length, has passed as well.
            if work.done() or not own(_Interruption).happened:
                raise
        except RuntimeError:  # a step has stopped the loop, which others may be executed in: it continues
            if work.done() or loop.is_closed():
                raise
        else:
            return result


async def _and_nothing_after(coroutine: Coroutine[Any, Any, Result]) -> Result:
    try:
        return await coroutine
    finally:  # what it has left running would stand still now, and go on with the next
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


def _raised(error: BaseException, started: float, timeout: float | None) -> Failure:
    late = timeout is not None and time.monotonic() - started >= timeout
    if late and issubclass(type(error), SoftTimeLimitExceeded | TimeoutError):
        return endings.timed_out(timeout)
    return endings.exception(error)


def _stops(error: BaseException, *, already: bool = False) -> bool:
    """Whether an exception means that this process is being stopped, or the ledger is away; the task did not cause it.

    Args:
        already: whether the process was told to stop before the task began, and an earlier task swallowed it.
    """
    if issubclass(type(error), Unread):
        return True
    terminating = state.should_terminate is not None and state.should_terminate is not False
    return (terminate_handler_fired() and not already) or (terminating and issubclass(type(error), WorkerTerminate))


def _raise_if_stopped(error: BaseException, *, already: bool = False) -> None:
    """Let the process stop; then the attempt has no result, whatever the task made of its interruption."""
    if _stops(error, already=already):
        raise error if issubclass(type(error), SystemExit | Unread) else SystemExit from error


class _Interruption:
    """Interrupts a step that takes too long, with Celery's own SoftTimeLimitExceeded, which tasks may already catch.

    The timer is ours: Celery's limits are for a message, and a message may carry many steps. The handler stays set: setting
    it is a fifth of a small task (5 of 25 microseconds, measured).
    """

    def __init__(self) -> None:
        self.happened = False
        self._seconds = 0.0

    def after(self, seconds: float | None) -> bool:
        """Raise it after this many seconds, unless ``never`` is called before; return False in any thread but the main one."""
        if seconds is None or not _in_main_thread():
            return False
        self.happened, self._seconds = False, seconds
        if signal.getsignal(signal.SIGALRM) != self._interrupt:
            signal.signal(signal.SIGALRM, self._interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return True

    def never(self) -> None:
        self._seconds = 0.0
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if self._seconds:
            self.happened = True
            raise SoftTimeLimitExceeded(self._seconds)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _left_behind_after(seconds: float, work: Callable[[], Result]) -> Result:
    """Do the work in a thread of its own and return its result; a thread cannot be ended, so one that takes longer is abandoned.

    Raises:
        TimeoutError: it has not returned a second after its limit, when a process would be ended.
    """
    return _in_a_thread(work).result(seconds + HARD_LIMIT_AFTER)


def _in_a_thread(work: Callable[[], Result]) -> "Future[Result]":
    """Do the work in a thread of its own, in a copy of this context."""
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            outcome.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name="step", daemon=True).start()
    return outcome


def _checked(value: Any, limit: int | None) -> Success | Failure:
    if limit is None:
        return Success(value)
    try:
        text = encode_value(value)
    except BaseException as error:  # noqa: BLE001 - it may be of a class of the user's, with methods of its own
        _raise_if_stopped(error)
        kind = name_of_class(type(value))
        message = f"returned {kind}, which is not JSON: {message_of(error)}"
        return endings.exception(NotJSON(message), retryable=False)
    if len(text) > limit:
        message = f"returned {len(text):,} bytes of JSON, limit {limit:,}: write it to a file and return the path"
        return endings.exception(ValueTooLarge(message), retryable=False)
    return Success(value, text)
