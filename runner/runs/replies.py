"""A question to all workers to their replies; a reply in a format that is not accepted (pickle) is only counted."""

from typing import Any

from celery import Celery
from celery.app.control import flatten_reply
from kombu.exceptions import ContentDisallowed
from kombu.transport.virtual import Message

_UNREAD = ""  # no worker has that name


class _Reply(Message):
    """A reply that may not be decodable: Kombu would raise in the middle of all replies."""

    def decode(self) -> Any:
        try:
            return super().decode()  # type: ignore[no-untyped-call]
        except ContentDisallowed:
            return {_UNREAD: str(self.content_type)}


def ask(app: Celery, command: str, *, timeout: float = 1.0) -> tuple[dict[str, Any], int]:
    """Send one of Celery's questions (``registered``, ``active_queues``, ``stats``) to all workers.

    Returns:
        The replies by the worker's name, and the number of those that were not read: to load a pickle is to execute its code.
    """
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        channel.Message = _Reply
        replies = app.control.broadcast(command, reply=True, timeout=timeout, connection=connection, channel=channel)
    read = [reply for reply in replies or () if _UNREAD not in reply]
    return flatten_reply(read), len(replies or ()) - len(read)
