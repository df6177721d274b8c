"""A canvas to the broker, every message of a fan-out in one round trip.

`apply_async` of Celery 5.7 takes a round trip, and a client object, for each: 0.72 ms a message against 0.05 to 0.1 here
(CELERY.md; tests/benchmarks).
"""

from collections.abc import Callable

from celery import Signature, current_app
from celery.utils import uuid
from kombu.exceptions import BatchPublishError, OperationalError
from kombu.utils.functional import retry_over_time


def send(canvas: Signature) -> None:
    """Publish what is to be executed first.

    Raises:
        OperationalError: the broker cannot be reached, for as long as `task_publish_retry_policy` allows.
    """
    if canvas.task != "celery.chord":
        canvas.apply_async()
        return
    # What `chord.run` does before it publishes: from here on every message has its id.
    group_id = uuid()
    canvas.body.freeze(uuid(), group_id=group_id)
    for index, task in enumerate(canvas.tasks):
        task.options |= {"task_id": uuid(), "group_id": group_id, "group_index": index}
    policy = current_app.conf.task_publish_retry_policy
    try:
        # If the answer was lost all are published again: with the same ids, what comes twice does no harm.
        again: Callable[..., None] = retry_over_time
        again(_publish, (OperationalError, BatchPublishError), args=(canvas, group_id), **policy)
    except BatchPublishError as error:
        raise OperationalError(str(error)) from error


def _publish(canvas: Signature, group_id: str) -> None:
    app = current_app
    app.backend.set_chord_size(group_id, len(canvas.tasks))
    with app.producer_or_acquire() as producer, producer.batch():
        for task in canvas.tasks:
            options = app.amqp.router.route({"ignore_result": True, **task.options}, task.task, task.args, {})
            message = app.amqp.create_task_message(
                name=task.task, args=task.args, kwargs={}, chord=canvas.body, **options
            )
            routing = {key: options[key] for key in ("queue", "exchange", "routing_key", "priority") if key in options}
            app.amqp.send_task_message(producer, task.task, message, **routing)
