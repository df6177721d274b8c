"""A canvas to the broker, every message of a fan-out in one round trip.

`apply_async` of Celery 5.7 takes a round trip, and a client object, for each: 0.72 ms a message against 0.05 to 0.1 here
(tests/benchmarks).
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

from celery import Celery, Signature
from celery.canvas import maybe_signature
from celery.utils import uuid
from kombu import pools
from kombu.exceptions import BatchPublishError, OperationalError
from kombu.transport import redis as transport
from kombu.utils.functional import retry_over_time

from runner.brokers.external import UNNAMED
from runner.ledger.ledger import Ledger

logger = logging.getLogger(__name__)


class SendingChannel(transport.Channel):
    """Kombu's, for messages that are sent and never received.

    Kombu 5.7 opens two connections for them, and redis-py 8 makes five round trips at the start of each, for a protocol and
    notifications that nobody here needs: half of what `run` waited for at a broker that is 20 ms away.
    """

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's signature
        parameters: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        return parameters | UNNAMED | {"protocol": 2, "health_check_interval": 0}

    @property
    def async_pool(self) -> Any:
        return self.pool

    def create_publish_batch(self, max_size: int) -> Any:
        """What gathers the messages of a batch: kombu's, or the one that only notes their commands."""
        return super().create_publish_batch(max_size) if self.noted is None else self.noted  # type: ignore[no-untyped-call]

    noted: "Commands | None" = None


class Commands(list[list[Any]]):
    """The commands that publish some messages, in place of the batch that would execute them."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def publish(self, message: Any, **routing: Any) -> Any:
        return self._channel.basic_publish(message, _publish_batch=self, **routing)

    def add(self, name: str, *args: Any) -> None:
        self.append([name, *args])

    def flush(self) -> None: ...

    discard = close = flush


class SendingTransport(transport.Transport):
    """Kombu's Redis, with that channel."""

    Channel = SendingChannel


def send(canvas: Signature, app: Celery, ledger: Ledger) -> None:
    """Publish the first messages of a canvas with this application; the ledger counts those that return to a chord.

    Raises:
        OperationalError: the broker cannot be reached, for as long as `task_publish_retry_policy` allows.
    """
    if canvas.task != "celery.chord":
        with _producer(app) as producer:
            maybe_signature(canvas, app=app).apply_async(serializer="json", producer=producer)
        return
    # What `chord.run` does before it publishes: from here on every message has its id.
    group_id = uuid()
    canvas.body.freeze(uuid(), group_id=group_id)
    for index, task in enumerate(canvas.tasks):
        task.options |= {"task_id": uuid(), "group_id": group_id, "group_index": index}
    policy = app.conf.task_publish_retry_policy
    try:
        # If the answer was lost all are published again: with the same ids, what comes twice does no harm.
        again: Callable[..., None] = retry_over_time
        again(_publish, (OperationalError, BatchPublishError), args=(canvas, group_id, app, ledger), **policy)
    except BatchPublishError as error:
        raise OperationalError(str(error)) from error


def _publish(canvas: Signature, group_id: str, app: Celery, ledger: Ledger) -> None:
    ledger.expect(canvas.tasks[0].args[0], group_id, len(canvas.tasks))
    with _producer(app) as producer, producer.batch():
        for task in canvas.tasks:
            options = app.amqp.router.route({"ignore_result": True, **task.options}, task.task, task.args, {})
            message = app.amqp.create_task_message(
                name=task.task, args=task.args, kwargs={}, chord=canvas.body, **options
            )
            routing = {key: options[key] for key in ("queue", "exchange", "routing_key", "priority") if key in options}
            app.amqp.send_task_message(producer, task.task, message, serializer="json", **routing)


def next_of(request: Any, app: Celery, ledger: Ledger) -> Commands | None:
    """The commands that send the next message of a request's chain, as Celery sends it; None if the ledger cannot execute them.

    It has to be in the same database of the same server. What goes wrong here goes wrong again where Celery does it itself.
    """
    chain = list(request.chain)
    priority = request.delivery_info.get("priority") if app.conf.task_inherit_parent_priority else None
    try:
        with _producer(app) as producer:
            channel = producer.channel
            if not isinstance(channel, SendingChannel) or not ledger.shares(channel.pool.connection_kwargs):
                return None
            channel.noted = Commands(channel)
            try:
                with producer.batch():
                    maybe_signature(chain[-1], app=app).apply_async(
                        (None,),
                        chain=chain[:-1],
                        parent_id=request.id,
                        root_id=request.root_id or request.id,
                        priority=priority,
                        producer=producer,
                    )
                return channel.noted
            finally:
                channel.noted = None
    except Exception as error:  # noqa: BLE001 - of the user's, around what Celery sends, or a broker that is away
        logger.warning("the next message is sent when this one has returned: %s", error)
        return None


def _producer(app: Celery) -> AbstractContextManager[Any]:
    """A producer of the application's, over that transport where its broker is a Redis as ours is."""
    connection = app.connection_for_write()
    if connection.transport_cls in {"redis", "rediss"}:  # `redis+socket:` is "redis" as well
        connection.transport_cls = f"{__name__}:SendingTransport"
    return cast("AbstractContextManager[Any]", pools.producers[connection].acquire(block=True))
