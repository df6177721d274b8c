"""A canvas to the broker, every message of a small fan-out in one round trip, of a large one in some.

`apply_async` of Celery 5.7 takes a round trip, and a client object, for each: 0.72 ms a message against 0.05 to 0.1 here
(tests/benchmarks).
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, cast

import redis
from celery import Celery, Signature
from celery.canvas import maybe_signature
from celery.utils import uuid
from kombu import pools
from kombu.connection import Connection, ConnectionPool
from kombu.exceptions import BatchPublishError, OperationalError
from kombu.transport import redis as transport
from kombu.utils.functional import retry_over_time

from runner.brokers.external import UNNAMED
from runner.ledger.ledger import Ledger

logger = logging.getLogger(__name__)

# Messages that the ledger sends in the script that counts them. More of them are composed for so long (10,000: 14 s on two
# busy cores) that the reconciler took the run for lost, and are one argument so large (27 MB) that the server was blocked
# for a second: they go in kombu's batches of 1,000, and the first is executed while the others are composed.
TOGETHER = 200


class SendingChannel(transport.Channel):
    """Kombu's channel, for messages that are sent and never received.

    Kombu 5.7 opens two connections for them, and redis-py 8 makes five round trips at the start of each, for a protocol and
    notifications that are not used here: half of what `run` waited for at a broker that is 20 ms away.
    """

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's signature
        parameters: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        return parameters | UNNAMED | {"protocol": 2, "health_check_interval": 0}

    @property
    def async_pool(self) -> Any:
        return self.pool

    # Where the commands go that the ledger executes, in the round trip of its own.
    noted: "Commands | None" = None

    def create_publish_batch(self, max_size: int) -> Any:
        return super().create_publish_batch(max_size) if self.noted is None else self.noted  # type: ignore[no-untyped-call]

    @cached_property
    def client(self) -> Any:
        """Return kombu's client without its PING: the first command fails as well if the server is away."""
        client = self._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        client.ping = lambda: True
        return client

    def _size(self, queue: str) -> int:  # noqa: ARG002 - kombu's signature
        """Return 0 without a request: kombu reads a queue's length when it declares the queue, and it is not used."""
        return 0

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        if self.noted is None or self.typeof(exchange).type == "fanout" or queue in self._expires:  # type: ignore[no-untyped-call]
            super()._queue_bind(exchange, routing_key, pattern, queue)  # type: ignore[no-untyped-call]
            return
        member = self.sep.join([routing_key or "", pattern or "", queue or ""])
        for key in (self.keyprefix_queue, self.keyprefix_binding_permanent):
            self.noted.add("sadd", key % (exchange,), member)


class Commands(list[list[Any]]):
    """The commands that publish messages, collected: kombu's batch, but it executes nothing."""

    def __init__(self, channel: SendingChannel) -> None:
        super().__init__()
        self.channel = channel

    def publish(self, message: Any, **routing: Any) -> Any:
        return self.channel.basic_publish(message, _publish_batch=self, **routing)  # type: ignore[no-untyped-call]

    def add(self, name: str, *args: Any) -> None:
        self.append([name, *args])

    def flush(self) -> None:
        """Do nothing: the ledger executes them."""

    discard = close = flush


class SendingTransport(transport.Transport):
    """Kombu's Redis transport, with that channel."""

    Channel = SendingChannel


class SendingPool(ConnectionPool):
    """Connections over that transport: kombu 5.7 makes each from the URL, and ``redis+socket`` has its own transport there."""

    def new(self) -> Any:
        connection = super().new()  # type: ignore[no-untyped-call]
        connection.transport_cls = SendingTransport
        return connection


class SendingConnection(Connection):
    """A connection whose pool is one of those."""

    def Pool(self, limit: int | None = None, **options: Any) -> SendingPool:  # noqa: N802 - kombu's name
        return SendingPool(self, limit, **options)  # type: ignore[no-untyped-call]


def send(canvas: Signature, app: Celery, ledger: Ledger) -> None:
    """Publish the first messages of a canvas with this application; the ledger counts those that return to a chord.

    Raises:
        OperationalError: the broker cannot be reached, for as long as `task_publish_retry_policy` allows.
    """
    if canvas.task != "celery.chord":
        row = maybe_signature(canvas, app=app)
        # What `chain.run` does, but that takes no producer: it would open connections of its own.
        first, *rest = row.tasks if row.task == "celery.chain" else [row]
        with _producer(app) as producer:
            first.apply_async(serializer="json", chain=rest[::-1], producer=producer)
        return
    # What `chord.run` does before it publishes: from here on every message has its id.
    group_id = uuid()
    canvas.body.freeze(uuid(), group_id=group_id)
    for index, task in enumerate(canvas.tasks):
        task.options |= {"task_id": uuid(), "group_id": group_id, "group_index": index}
    policy = app.conf.task_publish_retry_policy
    try:
        # If the reply was lost, all are published again with the same ids: a duplicate does no harm.
        again: Callable[..., None] = retry_over_time
        again(_publish, (OperationalError, BatchPublishError), args=(canvas, group_id, app, ledger), **policy)
    except (BatchPublishError, redis.RedisError) as error:  # the latter at once: a full disk is not waited for
        raise OperationalError(str(error)) from error


def _publish(canvas: Signature, group_id: str, app: Celery, ledger: Ledger) -> None:
    run_id, count = canvas.tasks[0].args[0], len(canvas.tasks)
    with _producer(app) as producer:
        commands = None
        if count <= TOGETHER:
            commands = _commands(producer, ledger, lambda: _publish_all(canvas, app, producer))
        if commands is None:
            ledger.open(run_id).expect(group_id, count)
            with producer.batch():
                _publish_all(canvas, app, producer)
            return
    try:
        ledger.open(run_id).expect(group_id, count, commands)
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise OperationalError(str(error)) from error


def _publish_all(canvas: Signature, app: Celery, producer: Any) -> None:
    for task in canvas.tasks:
        options = app.amqp.router.route({"ignore_result": True, **task.options}, task.task, task.args, {})
        message = app.amqp.create_task_message(name=task.task, args=task.args, kwargs={}, chord=canvas.body, **options)
        routing = {key: options[key] for key in ("queue", "exchange", "routing_key", "priority") if key in options}
        app.amqp.send_task_message(producer, task.task, message, serializer="json", **routing)


def next_of(request: Any, app: Celery, ledger: Ledger) -> list[list[Any]] | None:
    """The commands that send the next message of a request's chain, as Celery sends it; None if the ledger cannot execute them.

    An error here is raised again where Celery sends the message itself.
    """
    *chain, following = request.chain
    priority = request.delivery_info.get("priority") if app.conf.task_inherit_parent_priority else None
    options = {"parent_id": request.id, "root_id": request.root_id or request.id, "priority": priority}
    try:
        with _producer(app) as producer:

            def publish() -> None:
                maybe_signature(following, app=app).apply_async((None,), chain=chain, producer=producer, **options)

            return _commands(producer, ledger, publish)
    except Exception as error:  # noqa: BLE001 - of the user's, around what Celery sends, or a broker that is away
        logger.warning("the next message is sent when this one has returned: %s", error)
        return None


def _commands(producer: Any, ledger: Ledger, publish: Callable[[], None]) -> list[list[Any]] | None:
    """Collect the commands that publish messages, for the ledger to execute; None if it is in another database."""
    channel = producer.channel
    if not isinstance(channel, SendingChannel) or not ledger.shares(channel.pool.connection_kwargs):
        return None
    commands = channel.noted = Commands(channel)
    try:
        with producer.batch():
            publish()
    finally:
        channel.noted = None
    return list(commands)


def _producer(app: Celery) -> AbstractContextManager[Any]:
    """Return a producer of the application, over that transport if its broker is a Redis or Valkey."""
    connection = app.connection_for_write()
    if connection.transport_cls in {"redis", "rediss"}:  # `redis+socket:` is "redis" as well
        connection.transport_cls = f"{__name__}:SendingTransport"  # a pool of its own: this is part of the pool's key
        connection.__class__ = SendingConnection
    return cast("AbstractContextManager[Any]", pools.producers[connection].acquire(block=True))
