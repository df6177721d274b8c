"""Settings to a broker that may be used: a private Valkey, or the Redis or Valkey at a URL."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from runner.brokers import embedded, external
from runner.brokers.embedded import prepare
from runner.brokers.external import Concern, connect, reason, warnings
from runner.settings import Settings

__all__ = [
    "Broker",
    "Concern",
    "connect",
    "open",
    "prepare",
    "reason",
    "revive",
    "starting",
    "url",
    "warnings",
]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the messages and the ledger are.

    Args:
        url: as Celery and `connect` take it; it may hold a password.
        embedded: it is our own Valkey, which ends when the last who opened it is gone.
    """

    url: str
    embedded: bool


@contextmanager
def open(settings: Settings) -> Iterator[Broker]:  # noqa: A001  # always read as brokers.open
    """The broker that the settings name, checked and ready to be written to.

    Raises:
        BrokerUnavailable: it does not answer, or cannot be written to.
        BrokerUnsafe: it may lose what it is given, or anyone could use it.
        StateDirectoryUnusable: there is no place for a Valkey of our own.
    """
    if settings.broker_url:
        external.check(settings.broker_url, insecure=settings.insecure)
        yield Broker(settings.broker_url, embedded=False)
    else:
        with embedded.serve(settings.state_dir) as url:
            yield Broker(url, embedded=True)


def starting(settings: Settings) -> AbstractContextManager[None]:
    """Have the broker start while something else is done in the block, if it is our own; `open` waits for it there."""
    return nullcontext() if settings.broker_url else embedded.starting(settings.state_dir)


def revive(settings: Settings) -> None:
    """Start the broker again if it is our own, and neither it nor its keeper runs any more."""
    if not settings.broker_url:
        embedded.revive(settings.state_dir)


def url(settings: Settings) -> str:
    """Where the broker that the settings name listens, or would."""
    return settings.broker_url or embedded.url(settings.state_dir)
