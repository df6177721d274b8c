"""A user's task with its arguments and a time limit to a value, or the reason why there is none."""

import asyncio
import inspect
import json
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from celery import Task
from celery.exceptions import Retry as RetryRequest
from celery.exceptions import SoftTimeLimitExceeded

from runner.canvas import HARD_LIMIT_AFTER
from runner.errors import RunnerError
from runner.store import Error


@dataclass(frozen=True, slots=True)
class Success:
    """Args: value: anything JSON."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that gave no value.

    Args:
        names: what ``retry.on`` and ``not_on`` may call it: the class names of the exception, and ``http_…``.
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
    task: Task, args: Sequence[Any], kwargs: Mapping[str, Any], *, timeout: float | None, value_limit: int
) -> Success | Failure:
    """Call a task and tell what came of it; never raises what the task raises.

    Args:
        timeout: seconds. A coroutine is cancelled; a plain function is interrupted where it runs in a main thread
            (prefork, solo), and left behind in others.
        value_limit: bytes that the value may have as JSON.
    """

    def work() -> Any:
        value = task(*args, **kwargs)
        return asyncio.run(asyncio.wait_for(value, timeout)) if inspect.iscoroutine(value) else value

    started = time.monotonic()
    try:
        with _interrupted_after(timeout) as interruption:
            value = work() if timeout is None or _in_main_thread() else _left_behind_after(timeout, work)
    except Exception as error:  # noqa: BLE001 - one of the two doors (STYLE.md): the user's task may raise anything
        late = timeout is not None and time.monotonic() - started >= timeout
        if late and isinstance(error, SoftTimeLimitExceeded | TimeoutError):
            return _timed_out(timeout)
        return _failure(error)
    if interruption.happened or (timeout is not None and time.monotonic() - started > timeout + 0.1):
        return _timed_out(timeout)  # it swallowed the interruption
    return _checked(value, value_limit)


@dataclass(slots=True)
class _Interruption:
    happened: bool = False


@contextmanager
def _interrupted_after(seconds: float | None) -> Iterator[_Interruption]:
    """Raise Celery's own SoftTimeLimitExceeded in the main thread, which tasks may already know to clean up after.

    The timer is ours: Celery's limits are for a message, and a message may carry many steps.
    """
    interruption = _Interruption()
    if seconds is None or not _in_main_thread():
        yield interruption
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        interruption.happened = True
        raise SoftTimeLimitExceeded(seconds)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield interruption
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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
        size = len(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        return _failure(NotJSON(f"returned {type(value).__name__}, which is not JSON: {error}"), retryable=False)
    if size > limit:
        message = f"returned {size:,} bytes of JSON, limit {limit:,}: write it to a file and return the path"
        return _failure(ValueTooLarge(message), retryable=False)
    return Success(value)


def _timed_out(timeout: float | None) -> Failure:
    error = Error("StepTimedOut", f"took longer than {timeout:g} s")
    return Failure(error, timed_out=True, names=frozenset({"StepTimedOut", "TimeoutError", "timed_out"}))


def _failure(error: Exception, *, retryable: bool = True) -> Failure:
    if isinstance(error, RetryRequest) and isinstance(error.exc, Exception):
        error = error.exc  # a task's own `self.retry(exc=…)`: the workflow's retry decides
    status = getattr(error, "status_code", None)
    names = {cls.__name__ for cls in type(error).__mro__} - {"object", "BaseException"}
    names |= {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
    if isinstance(status, int):
        names |= {f"http_{status}", f"http_{status // 100}xx"}
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
