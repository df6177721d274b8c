"""Celery's result backends: one for the results of a user's tasks, and one that counts the messages of a run's chord."""

import logging
from typing import Any

import redis
from celery.backends.base import DisabledBackend
from celery.backends.redis import RedisBackend
from celery.canvas import maybe_signature
from kombu.exceptions import OperationalError

from runner.ledger.damage import UnreadableRun
from runner.messages.send import send
from runner.worker import process

RETURNED = "runner_returned"  # of a request: whether its message was the last of its chord

logger = logging.getLogger(__name__)


class Backend(RedisBackend):  # type: ignore[misc]
    """The backend of our own application. A client that waits for a result subscribes to it; one that sends a message does not.

    Celery 5.7 subscribes to every message that is sent, also one whose result is ignored, and does not end it (celery #4824,
    #5320). Ending the process then takes a round trip for each.
    """

    def on_task_call(self, producer: Any, task_id: str) -> None:
        pass


class FanIn(DisabledBackend):  # type: ignore[misc]
    """The backend of our own tasks, in every application: it keeps no results, and counts in the ledger which messages have returned.

    The application's own backend may be a database, on another server, without chords, or none at all; and what it counts
    a client without that application cannot prepare.
    """

    def on_chord_part_return(self, request: Any, state: str, result: Any, **_: Any) -> None:  # noqa: ARG002 - Celery's signature
        try:
            last = getattr(request, RETURNED, None)  # the ledger has it already, if it came with the last outcome
            if last is None:  # defence: RETURNED_DEAD
                last = process.ledger().open(request.args[0]).returned(request.group, request.id)
            if last:
                send(maybe_signature(request.chord, app=self.app), self.app, process.ledger())
        except (redis.RedisError, OperationalError, OSError, UnreadableRun) as error:
            logger.warning("the fan-in comes later, by the reconciler: %s", error)


def url(broker_url: str) -> str:
    """Return the `result_backend` for a broker: Celery takes the class of the backend before a plus sign."""
    return f"{Backend.__module__}.{Backend.__qualname__}+{broker_url.replace('redis+socket:', 'socket:', 1)}"
