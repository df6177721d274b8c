"""Settings to a checked broker: a private Valkey, or the Redis or Valkey at a URL."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from runner.brokers.embedded import (
    embedded_valkey,
    prepare_directory,
    restart_valkey,
    starting_valkey,
    valkey_url,
)
from runner.brokers.external import broker_problem, broker_warnings, check_broker, connect
from runner.settings import Settings

__all__ = [
    "Broker",
    "broker_problem",
    "broker_warnings",
    "connect",
    "locate_broker",
    "open_broker",
    "prepare_directory",
    "restart_broker",
    "starting_broker",
]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the messages and the ledger are.

    Args:
        url: as Celery and `connect` take it; it may contain a password.
        embedded: it is the private Valkey, which stops when its last user exits.
    """

    url: str
    embedded: bool


@contextmanager
def open_broker(settings: Settings) -> Iterator[Broker]:
    """Check the broker that the settings name, and keep a private one running for the block.

    Raises:
        BrokerUnavailable: it does not answer, or takes no writes.
        BrokerUnsafe: it may lose what it is given, or anyone could use it.
        StateDirectoryUnusable: there is no directory for a private Valkey.
    """
    if settings.broker_url:
        check_broker(settings.broker_url, insecure=settings.insecure)
        yield Broker(settings.broker_url, embedded=False)
    else:
        with embedded_valkey(settings.state_dir) as url:
            yield Broker(url, embedded=True)


def starting_broker(settings: Settings) -> AbstractContextManager[None]:
    """Start a private broker while the block does something else; `open_broker` within it waits until it answers."""
    return nullcontext() if settings.broker_url else starting_valkey(settings.state_dir)


def restart_broker(settings: Settings) -> None:
    """Start a private broker again if both it and its keeper have exited; leave any other broker alone."""
    if not settings.broker_url:
        restart_valkey(settings.state_dir)


def locate_broker(settings: Settings) -> str:
    """Return the URL at which the broker of the settings listens, whether or not it runs."""
    return settings.broker_url or valkey_url(settings.state_dir)
