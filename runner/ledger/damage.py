"""Any exception over a damaged record of a run to `UnreadableRun`: one damaged run must not affect the others."""

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import redis
from redis import exceptions

from runner.errors import RunnerError
from runner.system.program import command_line


class _Run(Protocol):
    id: str


OneRun = TypeVar("OneRun", bound=_Run)
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

# Errors of a server that refuses a command for now: its memory or disk is full, it is a replica, loads its data, runs a
# script. Redis 6 has the error of a script in the middle of the text. Any other error of a script is about the keys of its run.
_FOR_NOW = re.compile(
    r"\b(OOM|MISCONF|READONLY|NOREPLICAS|MASTERDOWN|LOADING|BUSY|UNKILLABLE|NOPERM|CLUSTERDOWN)\b|can't (run|access)"
)
_REFUSALS = (
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.NoPermissionError,
    exceptions.ClusterError,
)
_OF_THE_KEYS = re.compile(r"\bWRONGTYPE\b|user_script")


class UnreadableRun(RunnerError):
    """The ledger's record of a run cannot be read: it is damaged, or of a newer version."""

    exit_code = 7

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(
            f"run {run_id} cannot be read: {reason}",
            hint=f"`{command_line('cancel', run_id)}` ends it, `{command_line('forget', run_id)}` removes it",
        )
        self.run_id = run_id
        self.reason = reason


class NewerPlan(UnreadableRun):
    """The plan of a run is of a newer version than this program, and not damaged.

    Args:
        needs: what reads it, in words, as a worker offers it: ``plans of version 2``.
    """

    def __init__(self, run_id: str, reason: str, needs: str) -> None:
        super().__init__(run_id, reason)
        self.needs = needs
        self.hint = (
            f"read it with the version that started it, or a later one; `{command_line('cancel', run_id)}` ends it"
        )

    @property
    def waits_for(self) -> str:
        """Why its steps are not executed by a worker of this version."""
        return f"waits for a worker that reads {self.needs}"


class MissingData(UnreadableRun):
    """A part of a run is missing in the ledger, or damaged. No newer version would find it: the run cannot continue."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(run_id, reason)
        self.args = (f"run {run_id}: {reason} in the ledger",)


@contextmanager
def readable(run_id: str) -> Iterator[None]:
    """Raise `UnreadableRun` for any exception of the block that a damaged record causes."""
    try:
        yield
    except (RunnerError, OSError):
        raise
    except redis.RedisError as error:
        if not _is_of_the_keys(error):
            raise
        raise UnreadableRun(run_id, _reason(error)) from error
    except Exception as error:  # a record that is truncated, or of another shape, may raise anything
        raise UnreadableRun(run_id, _reason(error)) from error


def of_a_run(
    method: Callable[Concatenate[OneRun, Arguments], Answer],
) -> Callable[Concatenate[OneRun, Arguments], Answer]:
    """Make a method of one run of the ledger raise `UnreadableRun` for a damaged record."""
    if inspect.isgeneratorfunction(method):

        @functools.wraps(method)
        def generate(self: OneRun, *args: Any, **words: Any) -> Iterator[Any]:
            with readable(self.id):
                yield from method(self, *args, **words)

        return cast("Callable[Concatenate[OneRun, Arguments], Answer]", generate)

    @functools.wraps(method)
    def call(self: OneRun, *args: Any, **words: Any) -> Any:
        with readable(self.id):
            return method(self, *args, **words)

    return cast("Callable[Concatenate[OneRun, Arguments], Answer]", call)


def is_refused_for_now(error: redis.ResponseError) -> bool:
    """Whether the server may accept later what it has refused now."""
    return isinstance(error, _REFUSALS) or _FOR_NOW.search(str(error)) is not None


def _is_of_the_keys(error: redis.RedisError) -> bool:
    return (
        isinstance(error, redis.ResponseError)
        and _OF_THE_KEYS.search(str(error)) is not None
        and not is_refused_for_now(error)
    )


def _reason(error: Exception) -> str:
    words = (str(error) or "no message").splitlines()[0]
    return f"{type(error).__name__}: {words[:200]}"
