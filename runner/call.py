"""A user's task with its arguments and a time limit to a value, or the reason why there is none."""

import asyncio
import inspect
import json
import signal
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

from celery import Task
from celery.exceptions import Retry as RetryRequest
from celery.exceptions import SoftTimeLimitExceeded

from runner.canvas import HARD_LIMIT_AFTER
from runner.entries import Error
from runner.errors import RunnerError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Success:
    """What a task returned.

    Args:
        value: anything JSON.
        json: it as JSON.
    """

    value: Any
    json: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that gave no value.

    Args:
        names: what ``retry.on`` and ``not_on`` may call it: the class names of the exception, ``http_…``, and its own
            attribute ``names``.
        retryable: false if the task says that trying again cannot help.
        retry_after: seconds before which trying again cannot help, if the task says so.
    """

    error: Error
    timed_out: bool = False
    names: frozenset[str] = frozenset()
    retryable: bool = True
    retry_after: float | None = None


class NotJSON(RunnerError):
    """The task returned something that is not JSON."""


class ValueTooLarge(RunnerError):
    """The task returned more than a step's value may hold."""


class StepTimedOut(RunnerError):
    """The attempt took longer than the step's timeout."""


def call(
    task: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], *, timeout: float | None, value_limit: int
) -> Success | Failure:
    """Call a task and tell what came of it; never raises what the task raises.

    Args:
        timeout: seconds. A coroutine is cancelled; a plain function is interrupted where it runs in a main thread
            (prefork, solo), and left behind in others.
        value_limit: bytes that the value may have as JSON.
    """
    started, timed = time.monotonic(), False
    try:
        if timeout is not None and not _in_main_thread() and not is_async(task):
            value = _left_behind_after(timeout, lambda: _value(task, args, kwargs, timeout))
        else:
            timed = _interruption.after(timeout)
            try:
                value = _value(task, args, kwargs, timeout)
            finally:
                if timed:
                    _interruption.never()
    except Exception as error:  # noqa: BLE001 - one of the two doors (STYLE.md): the user's task may raise anything
        return _raised(error, started, timeout)
    if (timed and _interruption.happened) or (timeout is not None and time.monotonic() - started > timeout + 0.1):
        return _timed_out(timeout)  # it swallowed the interruption
    return _checked(value, value_limit)


def function_of(task: Callable[..., Any]) -> Callable[..., Any]:
    """What calls a Celery task the fastest: its own function, unless the task is bound or is called in a way of its own.

    Calling the task makes a context for it first, of which an unbound one knows nothing (24 of 60 microseconds, measured
    on 5.7).
    """
    kind = type(task)
    if isinstance(task, Task) and kind.__call__ is Task.__call__:
        run = inspect.getattr_static(kind, "run", None)
        if isinstance(run, staticmethod):
            function: Callable[..., Any] = run.__func__
            return function
    return task


def is_async(task: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(getattr(task, "run", task))


def _value(task: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], timeout: float | None) -> Any:
    value = task(*args, **kwargs)
    return in_loop(asyncio.wait_for(value, timeout)) if inspect.iscoroutine(value) else value


async def call_async(
    task: Callable[..., Any],
    kwargs: Mapping[str, Any],
    *,
    timeout: float | None,  # noqa: ASYNC109 - the step's, whose passing is an outcome and no exception
    value_limit: int,
) -> Success | Failure:
    """The same for one of many tasks that are executed at once in an event loop."""
    started = time.monotonic()
    try:
        value = task(**kwargs)
        if inspect.isawaitable(value):
            async with asyncio.timeout(timeout):
                value = await value
    except Exception as error:  # noqa: BLE001 - as above
        return _raised(error, started, timeout)
    return _checked(value, value_limit)


_loops = threading.local()


def in_loop(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in this thread's event loop: one for as long as the process lives, so that connections may, too."""
    if not hasattr(_loops, "runner"):
        _loops.runner = asyncio.Runner()
    result: Result = _loops.runner.run(_and_nothing_after(coroutine))
    return result


async def _and_nothing_after(coroutine: Coroutine[Any, Any, Result]) -> Result:
    try:
        return await coroutine
    finally:  # what it has left running would stand still now, and go on with the next
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()


def _raised(error: Exception, started: float, timeout: float | None) -> Failure:
    late = timeout is not None and time.monotonic() - started >= timeout
    if late and isinstance(error, SoftTimeLimitExceeded | TimeoutError):
        return _timed_out(timeout)
    return _failure(error)


class _Interruption:
    """The interruption of what takes too long: Celery's own SoftTimeLimitExceeded, which tasks may already know.

    The timer is ours: Celery's limits are for a message, and a message may carry many steps. The handler stays, as setting
    it takes longer than a small task (5 of 25 microseconds, measured).
    """

    def __init__(self) -> None:
        self.happened = False
        self._seconds = 0.0

    def after(self, seconds: float | None) -> bool:
        """Raise it after so many seconds, unless ``never`` comes first; False where it cannot: in any thread but the main."""
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


_interruption = _Interruption()


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _left_behind_after(seconds: float, work: Callable[[], Any]) -> Any:
    """What the work returns, in a thread of its own: there is no way to end one, so the step goes on without it.

    Raises:
        TimeoutError: it has not returned a second after its time, when a process would be ended.
    """
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            outcome.set_exception(error)

    threading.Thread(target=run, name="step", daemon=True).start()
    return outcome.result(seconds + HARD_LIMIT_AFTER)


def _checked(value: Any, limit: int) -> Success | Failure:
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        return _failure(NotJSON(f"returned {type(value).__name__}, which is not JSON: {error}"), retryable=False)
    if len(text) > limit:
        message = f"returned {len(text):,} bytes of JSON, limit {limit:,}: write it to a file and return the path"
        return _failure(ValueTooLarge(message), retryable=False)
    return Success(value, text)


def _timed_out(timeout: float | None, more: str = "") -> Failure:
    error = Error("StepTimedOut", f"took longer than {timeout or 0:g} s{more}")
    return Failure(error, timed_out=True, names=frozenset({"StepTimedOut", "TimeoutError", "timed_out"}))


def past_the_hard_limit(timeout: float | None) -> Failure:
    """What becomes of an attempt that took longer than its timeout, and let nothing interrupt it."""
    return _timed_out(timeout, ", and its process had to be ended")


def _failure(error: Exception, *, retryable: bool = True) -> Failure:
    if isinstance(error, RetryRequest) and isinstance(error.exc, Exception):
        error = error.exc  # a task's own `self.retry(exc=…)`: the workflow's retry decides
    status = getattr(error, "status_code", None)
    names = {cls.__name__ for cls in type(error).__mro__} - {"object", "BaseException"}
    names |= {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
    if isinstance(status, int):
        names |= {f"http_{status}", f"http_{status // 100}xx"}
    given = getattr(error, "names", ())
    if isinstance(given, list | tuple | set | frozenset):
        names |= {name for name in given if isinstance(name, str)}
    wait = getattr(error, "retry_after", None)
    return Failure(
        Error(type(error).__name__, str(error) or repr(error), _traceback(error)),
        names=frozenset(names),
        retryable=retryable and getattr(error, "retryable", True) is not False,
        retry_after=float(wait) if isinstance(wait, int | float) else None,
    )


def _traceback(error: Exception) -> str:
    """The frames of the user's task: ours and Celery's above them say nothing to its author."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [at for at, frame in enumerate(frames) if frame.filename.endswith(("runner/call.py", "celery/app/task.py"))]
    kept = frames[ours[-1] + 1 :] if ours else frames
    return "".join([*traceback.format_list(kept), *traceback.format_exception_only(error)]) if kept else ""
