"""A message that no worker can read to the list of dead letters; the worker continues.

Celery 5.7 exits on a message of an unexpected shape, gets it again after a restart, and loses others with a line in its log.
`worker_consumer` names the `Consumer` here; an application that includes `runner.adopt` keeps its own.
"""
# mypy: disable-error-code="no-untyped-call"
# kombu says that it is typed, and its transports are not.

import base64
import inspect
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from queue import Empty
from typing import Any, cast

import redis
from celery import Celery
from celery.exceptions import InvalidTaskError
from celery.utils.log import get_logger
from celery.worker import consumer
from kombu.asynchronous import get_event_loop
from kombu.transport import redis as transport
from kombu.transport import virtual

from runner.messages.canvas import COLLECT, GATHER, STAGE
from runner.settings import Settings, read_settings

logger = get_logger(__name__)

AGAIN = 1.0  # seconds until the next try to move a message to the dead letters
KEPT_DEAD_LETTERS = 1000  # letters; a broken sender repeats the same message


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """A message that was taken out of its queue, because it would harm the worker or have no effect.

    Args:
        at: when, in seconds since the epoch by the worker's clock.
        reason: what is wrong with it.
        message: its bytes, as they were in the queue.
    """

    at: float
    queue: str
    reason: str
    message: bytes


def add_dead_letter(client: redis.Redis, settings: Settings, letter: DeadLetter) -> None:
    """Add a letter to the list, which keeps the newest thousand for as long as a run is kept."""
    fields = asdict(letter) | {"message": base64.b64encode(letter.message).decode()}
    with client.pipeline(transaction=False) as pipe:
        pipe.lpush(dead_letters_key(settings), json.dumps(fields))
        pipe.ltrim(dead_letters_key(settings), 0, KEPT_DEAD_LETTERS - 1)  # defence: TRIMMED
        pipe.expire(dead_letters_key(settings), settings.ttl)
        pipe.execute()


def count_dead_letters(client: redis.Redis, settings: Settings) -> int:
    return client.llen(dead_letters_key(settings))


def latest_dead_letters(client: redis.Redis, settings: Settings, limit: int = 10) -> list[DeadLetter]:
    """Return the newest letters, newest first."""
    letters = [json.loads(text) for text in client.lrange(dead_letters_key(settings), 0, limit - 1)]
    return [DeadLetter(**{**fields, "message": base64.b64decode(fields["message"])}) for fields in letters]


def dead_letters_key(settings: Settings) -> str:
    return f"{settings.key_prefix}:dead-letters"


class OwnMessage(virtual.Message):
    """A message with its bytes, its queue, and the reason if it is rejected."""

    def __init__(self, payload: Any, channel: "OwnChannel", **words: Any) -> None:
        match payload:
            case {
                "body": str(),
                "properties": {
                    "delivery_tag": str(),
                    "delivery_info": {"exchange": str() | None, "routing_key": str() | None},
                },
            }:
                super().__init__(payload, channel=channel, **words)
            case _:
                raise InvalidTaskError("it is no envelope with a body and what its delivery needs")
        self.queue, self.taken = channel.taken
        self.reason = ""
        channel.message = self


class OwnQoS(transport.QoS):
    """Kombu's QoS, but a message that is rejected without requeue becomes a dead letter, as with AMQP."""

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        message = self._delivered.get(delivery_tag)
        if not requeue and message is not None:  # defence: BURIED
            reason = message.reason or f"rejected by {message.headers.get('task')}"
            try:
                self.channel.bury(message.queue, message.taken, reason)
            except (
                BaseException
            ):  # an exception here would stop the worker, or leave the message unacknowledged for good
                logger.exception("a message in queue %s cannot be moved to the dead letters yet", message.queue)
                if (loop := get_event_loop()) is not None:
                    loop.call_later(AGAIN, self.reject, delivery_tag)
                    return
                requeue = True
        super().reject(delivery_tag, requeue=requeue)


class OwnChannel(transport.Channel):
    """A channel of a worker, on which a message that breaks what reads it is buried instead of breaking the worker."""

    Message: Any = OwnMessage
    QoS = OwnQoS
    taken: tuple[str, bytes] = ("", b"")  # the queue and the bytes of the message that is being delivered
    message: OwnMessage | None = None  # and what it was read as, once it was
    address: Any = None  # of the broker, as kombu has it

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's signature
        """The parameters of a connection, also where kombu 5.7 has taken the address from a transport that broke.

        It does so before it closes the channels, which then give back what is unacknowledged: if the loss was seen by a
        broadcast's connection first, the worker ended with an AttributeError.
        """
        self.address = self.connection.client = self.connection.client or self.address  # defence: ADDRESS
        return super()._connparams(asynchronous)

    def _create_client(self, asynchronous: bool = False) -> redis.Redis:  # noqa: FBT001, FBT002 - kombu's signature
        client = super()._create_client(asynchronous)
        read: Callable[..., Any] = client.parse_response

        def parse_response(connection: Any, command: str, **options: Any) -> Any:
            answer = read(connection, command, **options)
            if command == "BRPOP" and answer:
                key, item = answer
                self.taken = (key.decode(errors="replace").rsplit(self.sep, 1)[0], item)
            return answer

        client.parse_response = parse_response
        return cast("redis.Redis", client)

    def _brpop_read(self, **options: Any) -> Any:
        self.message = None
        try:
            return super()._brpop_read(**options)
        except (Empty, OSError, redis.RedisError):
            raise  # of the connection. (`connection_errors` has KeyError as well, which a message can cause.)
        except Exception as error:  # noqa: BLE001 - a message may be anything, and so may the error of its reader
            self._reject_what_was_taken(f"{type(error).__name__}: {error}")
            return True

    def _receive(self) -> Any:
        try:
            return super()._receive()
        except (Empty, OSError, redis.RedisError):
            raise
        except Exception as error:  # noqa: BLE001 - as above
            logger.error("a broadcast is dropped: %s: %s", type(error).__name__, error)  # noqa: TRY400 - its sender's fault
            return True  # not kept, as each worker has it  # defence: BROADCASTS

    def _reject_what_was_taken(self, reason: str) -> None:
        """Move the message to the dead letters, out of the unacknowledged ones if it is there already."""
        if self.message is None or self.message.delivery_tag not in self.qos._delivered:  # noqa: SLF001
            self.bury(*self.taken, reason)
        elif not self.message.acknowledged:
            self.message.reason = reason
            self.message.reject()

    def bury(self, queue: str, message: bytes, reason: str) -> None:
        """Add a message to the dead letters."""
        reason = reason[:500]
        logger.error("a message in queue %s is moved to the dead letters: %s", queue, reason)
        with self.conn_or_acquire() as client:
            add_dead_letter(
                client, read_settings(), DeadLetter(at=time.time(), queue=queue, reason=reason, message=message)
            )


class OwnTransport(transport.Transport):
    """Kombu's Redis, with that channel."""

    Channel = OwnChannel


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Celery's consumer, over that transport; it rejects with a reason what Celery would drop or acknowledge."""

    def ensure_connected(self, conn: Any) -> Any:
        if conn.transport_cls in {"redis", "rediss"}:  # `redis+socket:` is "redis" as well
            conn.transport_cls = f"{__name__}:OwnTransport"  # by its name, which `celery inspect stats` shows
        return super().ensure_connected(conn)

    def update_strategies(self) -> None:
        super().update_strategies()
        for name, strategy in self.strategies.items():
            self.strategies[name] = _checked(strategy, self.app, name)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        message.reason = f"{type(exc).__name__}: {exc}"
        logger.critical("cannot decode a message: %s", exc)
        message.reject_log_error(logger, self.connection_errors)  # Celery acknowledges it

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        message.reason = f"{type(exc).__name__}: {exc}"
        super().on_invalid_task(body, message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        message.reason = "it names no task"
        super().on_unknown_message(body, message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        message.reason = f"no task {exc} is registered on {self.hostname}"
        super().on_unknown_task(body, message, exc)


def _checked(strategy: Callable[..., Any], app: Celery, name: str) -> Callable[..., Any]:
    """Wrap Celery's strategy of a task: a message that the task cannot be called with is rejected."""
    # defence: OURS_ALONE
    signature = inspect.signature(app.tasks[name].run) if name in {COLLECT, GATHER, STAGE} else None

    def checked(message: Any, body: Any, *rest: Any) -> Any:
        _check_headers(message.headers)  # defence: HEADERS
        if body is None:  # else it is of protocol 1, and has been looked at
            match message.payload:
                case [list() as args, dict() as kwargs, dict() | None as options]:
                    _check_options(options or {})
                    if signature:
                        _check_arguments(signature, args, kwargs)
                case dict() as hybrid if "args" in hybrid:
                    pass
                case _:
                    raise InvalidTaskError("its body is not [arguments, keyword arguments, options]")
        return strategy(message, body, *rest)

    return checked


def _check_headers(headers: dict[str, Any]) -> None:
    """Check the headers that Celery uses unchecked after it has taken a slot of the pool, which it then leaks (5.7.0)."""
    for name in ("id", "root_id", "parent_id", "group", "shadow", "eta", "expires", "argsrepr", "kwargsrepr", "origin"):
        if not isinstance(headers.get(name), str | None):
            raise InvalidTaskError(f"its {name} is no text")
    if not isinstance(headers.get("retries"), int | None):
        raise InvalidTaskError("its retries is no number")
    match headers.get("timelimit"):
        case None | [int() | float() | None, int() | float() | None]:
            return
    raise InvalidTaskError("its timelimit is no pair of numbers")


def _check_options(options: dict[str, Any]) -> None:
    """Check the signatures that follow a task: Celery reads them at its end, and never acknowledges it if it cannot."""
    for name, value in options.items():
        for each in value if isinstance(value, list) else [value]:
            match each:
                case None | {"task": str()}:
                    continue
            raise InvalidTaskError(f"its {name} is no signature")


def _check_arguments(signature: inspect.Signature, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Check the arguments of the three tasks that execute steps: strings, or lists of strings. Other tasks take anything."""
    try:
        given = signature.bind(*args, **kwargs).arguments.values()
    except TypeError as error:
        raise InvalidTaskError(str(error)) from error
    for value in given:
        if not all(isinstance(text, str) for text in (value if isinstance(value, list) else [value])):
            raise InvalidTaskError(f"its arguments are no texts, nor lists of them: {str(args)[:80]}")
