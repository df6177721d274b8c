"""How the first messages of a run are sent: a small fan-out by the ledger, a large one in kombu's batches."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from runner.brokers import connect
from runner.language.layout import Layout
from runner.language.plan import Plan
from runner.ledger.ledger import Ledger
from runner.messages.canvas import compose_open
from runner.messages.send import TOGETHER, SendingChannel, _producer, send
from tests.plans import make_plan
from tests.servers import Server


@pytest.fixture(params=["tcp", "socket"])
def server(request: pytest.FixtureRequest, valkey: Server, own_directory: Path) -> Iterator[tuple[str, str]]:
    """The URL of one server for the broker, and for the ledger: over TCP, and over a unix socket, as the private one."""
    if request.param == "tcp":
        yield valkey.url, valkey.url
        return
    path = own_directory / "s"
    connect(valkey.url).config_set("save", "")
    valkey.stop()
    valkey.options = (*valkey.options, "--unixsocket", str(path))
    valkey.start()
    yield f"redis+socket://{path}?virtual_host=0", f"unix://{path}?db=0"


@pytest.fixture
def app(server: tuple[str, str]) -> Celery:
    return Celery("tests", broker=server[0], set_as_current=False)


@pytest.fixture
def ledger(server: tuple[str, str]) -> Ledger:
    return Ledger(connect(server[1]), ttl=60)


def wide(collectors: int) -> Plan:
    return make_plan(
        "wide", collectors=" ".join(f"c{number}" for number in range(collectors)), gather="g", stages="s1 s2 s3"
    )


def begin(plan: Plan, app: Celery, ledger: Ledger) -> None:
    ledger.open("run-1", plan).accept()
    canvas = compose_open(plan, "run-1", Layout(), frozenset())
    assert canvas is not None
    send(canvas, app, ledger)


def test_the_ledger_sends_for_the_private_valkey_as_well(app: Celery, ledger: Ledger) -> None:
    """A pool clones its connection, and the clone of a `redis+socket` URL had kombu's transport: it saved no round trip."""
    with _producer(app) as producer:
        assert isinstance(producer.channel, SendingChannel)
        assert ledger.shares(producer.channel.pool.connection_kwargs)


@pytest.mark.parametrize("collectors", [2, TOGETHER, TOGETHER + 1, 2_000])
def test_every_message_of_a_header_is_in_the_queue_once(collectors: int, app: Celery, ledger: Ledger) -> None:
    plan = wide(collectors)
    begin(plan, app, ledger)
    assert ledger.client.llen("celery") == collectors
    assert ledger.client.hlen("runner:{run-1}:chords") == 1


def test_no_command_of_a_large_fan_out_is_larger_than_a_batch(app: Celery, ledger: Ledger) -> None:
    """Ten thousand written-out collectors were one argument of 27 MB: the server was blocked for a second, near its limit.

    The server refuses an argument of more than a megabyte here, its smallest limit; the messages are five together.
    """
    ledger.client.config_set("proto-max-bulk-len", 1 << 20)
    begin(wide(2_000), app, ledger)
    assert ledger.client.llen("celery") == 2_000
