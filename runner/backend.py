"""Celery's Redis backend, of which a chord's counter is all that we use: nobody subscribes to a result."""

from typing import Any

from celery.backends.redis import RedisBackend
from celery.backends.redis import ResultConsumer as Subscriber


class Unsubscribed(Subscriber):  # type: ignore[misc]
    """No subscriptions: results are read from the ledger.

    Celery 5.7 subscribes to every message of a chord, also one whose result is ignored, and does not end it (celery
    #4824, #5320). Ending the process then takes a round trip for each.
    """

    def start(self, *_: Any, **__: Any) -> None:
        pass

    def consume_from(self, task_id: str) -> None:
        pass

    def cancel_for(self, task_id: str) -> None:
        pass


class Backend(RedisBackend):  # type: ignore[misc]
    ResultConsumer = Unsubscribed

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """In one round trip: Celery 5.7 also forgets who had claimed an earlier chord of this id, and ours is new each time."""
        self._set_chord_key(self.get_key_for_group(group_id, ".s"), chord_size)


def url(broker_url: str) -> str:
    """What `result_backend` is for a broker: Celery takes the class of the backend before a plus sign."""
    return f"{Backend.__module__}.{Backend.__qualname__}+{broker_url.replace('redis+socket:', 'socket:', 1)}"
