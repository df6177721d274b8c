"""A worker's connection to the broker breaks while it holds messages."""

from typing import Any

from celery import Celery

from runner.messages.dead_letters import OwnTransport
from tests.servers import Server


def test_a_channel_gives_its_messages_back_after_its_connection_was_collected(valkey: Server) -> None:
    """Found by the chaos run: of a broker that was killed, kombu 5.7 collects the connection, then closes its channels.

    A channel that was waiting for a message then had no address to give the others back to, and the worker ended.
    """
    with Celery(broker=valkey.url).connection_for_read() as connection:
        connection.transport_cls = OwnTransport
        channel: Any = connection.default_channel
        with connection.SimpleQueue("celery") as queue:
            queue.put("x")
            queue.get(timeout=60)
            channel._disconnect_pools()
            connection.transport.client = None

            channel.close()

    with valkey.client() as client:
        assert client.llen("celery") == 1
        assert client.hlen("unacked") == 0
