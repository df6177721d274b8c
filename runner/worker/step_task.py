"""A user's task to a call of it with a request of its own, and with Celery's hooks and signals around it.

Celery does this for a message that names the task (celery/app/trace.py). A step's message names one of ours, and may carry
many steps. A task that is not bound and asks for none of it is called as the plain function that it is.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, NoReturn

from billiard.einfo import ExceptionInfo
from celery import Task, _state, signals, states
from celery.app.task import Context
from celery.exceptions import Retry
from celery.utils.log import get_task_logger
from celery.utils.objects import mro_lookup
from celery.utils.serialization import raise_with_context

from runner.errors import RunnerError
from runner.worker.endings import Failure, Success

logger = get_task_logger(__name__)

HOOKS = ("before_start", "on_success", "on_retry", "on_failure", "after_return")
_SIGNALS = (signals.task_prerun, signals.task_postrun, signals.task_success, signals.task_retry, signals.task_failure)


class NotInAWorkflow(RunnerError):
    """The task asked Celery for what would leave its workflow."""


class StepFailed(RunnerError):
    """The exception that a hook gets where an attempt failed without one."""


def function_of(task: Callable[..., Any]) -> "Callable[..., Any] | StepTask":
    """Return what calls a task: its own function if the task is no more than that, and else its ``StepTask``.

    A request and hooks for a plain function would double the time of a small step (24 of 60 microseconds for Celery's own
    `Task.__call__`, measured on 5.7).
    """
    if not isinstance(task, Task):
        return task
    run = inspect.getattr_static(type(task), "run", None)
    if isinstance(run, staticmethod) and not _has_more(type(task)) and not any(each.receivers for each in _SIGNALS):
        function: Callable[..., Any] = run.__func__
        return function
    return StepTask(task)


def is_async(task: object) -> bool:
    """Whether a call of the task makes a coroutine."""
    if isinstance(task, StepTask | Execution):
        return task.is_async
    run = inspect.getattr_static(type(task), "run", None) if isinstance(task, Task) else task
    return inspect.iscoroutinefunction(run.__func__ if isinstance(run, staticmethod) else run)


def _has_more(kind: Any) -> bool:
    """Whether a class derived from Celery's Task overrides a hook or `__call__`."""
    return any(_has_own(kind, name) for name in ("__call__", *HOOKS))


def _has_own(kind: Any, name: str) -> bool:
    # A worker replaces `Task.__call__` by one of celery.app.trace, which is no hook of the task's either.
    return (
        mro_lookup(kind, name, stop={Task, object}, monkey_patched=["celery.app.task", "celery.app.trace"]) is not None
    )


def _caught(error: Exception) -> Exception:
    """Return the exception with a traceback, without which Celery's ExceptionInfo cannot be made."""
    try:
        raise error  # noqa: TRY301 - that is all it is for
    except Exception as caught:  # noqa: BLE001 - the same
        return caught


class RequestStack:
    """A task's requests, like Celery's own stack, but one for each coroutine of a thread, too."""

    def __init__(self) -> None:
        self._requests: ContextVar[tuple[Context, ...]] = ContextVar("requests", default=())

    def push(self, request: Context) -> None:
        self._requests.set((*self._requests.get(), request))

    def pop(self) -> Context | None:
        *rest, last = self._requests.get() or (None,)
        self._requests.set(tuple(rest))
        return last

    @property
    def stack(self) -> list[Context]:
        return list(self._requests.get())

    @property
    def top(self) -> Context | None:
        requests = self._requests.get()
        return requests[-1] if requests else None

    def __len__(self) -> int:
        return len(self._requests.get())


@lru_cache(maxsize=1000)
def _bound(task: Task) -> Task:
    """Return the task with a class of its own: its state is shared, and the methods that would leave the workflow raise.

    The original class is also used for messages that name the task, which Celery traces.
    """
    kind: Any = type(task)
    run = inspect.getattr_static(kind, "run")
    members = {
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
        "request_stack": RequestStack(),
        # A property goes before what `autoretry_for` puts into the instance: the workflow's `retry` decides.
        "run": property(lambda self: run.__get__(self, type(self))),
        "retry": _retry,
        "replace": _replace,
        "add_to_chord": _add_to_chord,
    }
    step_task: Task = object.__new__(type(kind)(kind.__name__, (kind,), members))
    step_task.__dict__ = task.__dict__
    return step_task


def _retry(_self: Task, *_: Any, exc: BaseException | None = None, **__: Any) -> NoReturn:
    """Fail, as a task that is called directly does in Celery: it cannot be sent again."""
    raise_with_context(exc or Retry("the task asks to be tried again"))
    raise AssertionError  # not reached


def _replace(self: Task, *_: Any, **__: Any) -> NoReturn:
    raise NotInAWorkflow(
        f"{self.name} calls self.replace(), and a step cannot be replaced: call the other function, or make it a step"
    )


def _add_to_chord(self: Task, *_: Any, **__: Any) -> NoReturn:
    raise NotInAWorkflow(
        f"{self.name} calls self.add_to_chord(), and the collectors stand in the workflow: see foreach"
    )


class StepTask:
    """A task that is more than its function: it is bound, has hooks, or signals have receivers."""

    def __init__(self, task: Task) -> None:
        self._task = _bound(task)
        self._shared: Any = task.request_stack
        self._is_called = _has_own(type(task), "__call__")  # Celery's own would make another request, an empty one
        self.is_async = is_async(task)

    def execution(self, request: Mapping[str, Any], retries: Callable[[Failure], bool]) -> "Execution":
        """Return one call of the task.

        Args:
            request: the fields of ``self.request``.
            retries: whether the step is tried again after a failure.
        """
        function = self._task if self._is_called else self._task.run
        return Execution(self._task, self._shared, function, dict(request), retries, is_async=self.is_async)


class Execution:
    """One call of a task, with the hooks and signals before and after it."""

    def __init__(
        self,
        task: Task,
        shared: Any,
        function: Callable[..., Any],
        request: dict[str, Any],
        retries: Callable[[Failure], bool],
        *,
        is_async: bool,
    ) -> None:
        self._task = task
        self._shared = shared
        self._function = function
        self._request = request
        self._retries = retries
        self._args: Sequence[Any] = ()
        self._kwargs: Mapping[str, Any] = {}
        self.is_async = is_async

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._args, self._kwargs = args, kwargs
        self._request |= {"args": list(args), "kwargs": kwargs}
        with self._in_place():
            self._send(signals.task_prerun, args=args, kwargs=kwargs)
            if _has_own(type(self._task), "before_start"):
                self._task.before_start(self._id, args, kwargs)
            value = self._function(*args, **kwargs)
        return self._awaited(value) if inspect.isawaitable(value) else value

    async def _awaited(self, value: Any) -> Any:
        with self._in_place():
            return await value

    def ended(self, result: Success | Failure, error: BaseException | None) -> None:
        """Call the hooks for the result, and send the signals; what they raise is logged, as in Celery.

        Args:
            error: what was raised; None for a success, and for a value that cannot be stored.
        """
        state, value, info = states.SUCCESS, result.value if isinstance(result, Success) else None, None
        with self._in_place():
            if isinstance(result, Failure):
                value = error or _caught(StepFailed(f"{result.error.type}: {result.error.message}"))
                info = ExceptionInfo((type(value), value, value.__traceback__))
                state = states.RETRY if self._retries(result) else states.FAILURE
            self._tell(state, value, info)
            self._send(signals.task_postrun, args=self._args, kwargs=self._kwargs, retval=value, state=state)

    def _tell(self, state: str, value: Any, info: ExceptionInfo | None) -> None:
        what = (value, self._id, self._args, self._kwargs)
        if state == states.SUCCESS:
            self._hook("on_success", *what)
            self._send(signals.task_success, result=value)
        elif state == states.RETRY:
            self._hook("on_retry", *what, info)
            self._send(signals.task_retry, request=self._task.request, reason=value, einfo=info)
            return  # it is not over: Celery, too, calls the next one only when it is
        else:
            self._hook("on_failure", *what, info)
            self._send(
                signals.task_failure,
                exception=value,
                args=self._args,
                kwargs=self._kwargs,
                traceback=value.__traceback__,
                einfo=info,
            )
        self._hook("after_return", state, *what, info)

    def _hook(self, name: str, *args: Any) -> None:
        if not _has_own(type(self._task), name):
            return
        try:
            getattr(self._task, name)(*args)
        except Exception:
            logger.exception("%s: %s has raised", self._task.name, name)

    def _send(self, signal: Any, **what: Any) -> None:
        if signal.receivers:
            task_id = {} if signal is signals.task_retry else {"task_id": self._id}
            task = {"task": self._task} if signal in (signals.task_prerun, signals.task_postrun) else {}
            signal.send(sender=self._task, **task_id, **task, **what)

    @property
    def _id(self) -> str:
        return str(self._request["id"])

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Make the request the task's, and the task Celery's current one.

        A plain function may also use the task by its name in its module. The `retry` of that one must not send a message,
        so its request says that it was called directly.
        """
        self._task.request_stack.push(Context(self._request))
        if not self.is_async:  # the two stacks are a thread's, and coroutines share it
            self._shared.push(Context(self._request, called_directly=True))
            _state._task_stack.push(self._task)  # noqa: SLF001 - as Celery's tracer does
        try:
            yield
        finally:
            if not self.is_async:
                _state._task_stack.pop()  # noqa: SLF001
                self._shared.pop()
            self._task.request_stack.pop()
