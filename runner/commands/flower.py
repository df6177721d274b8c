"""`flower`: the web page of Flower, which shows workers and steps."""

import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from runner.brokers import open_broker
from runner.commands.options.shared import broker_options
from runner.errors import RunnerError
from runner.settings import read_settings
from runner.system.interrupts import SIGNALS
from runner.system.tether import end_with_parent

Command = TypeVar("Command", bound=Callable[..., Any])

OFF = {"", "0", "f", "false", "n", "no", "off"}


class FlowerRefused(RunnerError):
    """Flower would be reachable without authentication, or cannot bind its address."""

    exit_code = 2


def flower_options(command: Command) -> Command:
    """Add `--address`, `--port` and `--basic-auth`: where Flower listens, and who may use it."""
    address = click.option(
        "--address",
        default="127.0.0.1",
        show_default=True,
        envvar="FLOWER_ADDRESS",
        help="Address to listen on. One that other machines can reach needs authentication.",
    )
    port = click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=5555,
        show_default=True,
        envvar="FLOWER_PORT",
        help="Port to listen on; 0 chooses a free one.",
    )
    basic_auth = click.option(
        "--basic-auth",
        metavar="USER:PASSWORD",
        default="",
        envvar="FLOWER_BASIC_AUTH",
        help="User and password; separate several by commas. FLOWER_BASIC_AUTH keeps them out of the process list.",
    )
    return address(port(basic_auth(command)))


@click.command
@flower_options
@click.option("--tether", type=int, hidden=True)
@broker_options
def command(address: str, port: int, basic_auth: str, *, tether: int | None) -> None:
    """Start Flower, a web page of workers and steps.

    Without authentication, Flower shows everything and can change nothing: its API is closed. With authentication, only
    /metrics and /healthcheck are open. FLOWER_* variables set Flower's other options.
    """
    check(address, basic_auth)
    if tether is not None:
        end_with_parent(tether)
    with open_broker(read_settings()):
        _serve(address, port, basic_auth)


def check(address: str, basic_auth: str) -> None:
    """Refuse an address that others can reach unless Flower asks for a password.

    Raises:
        FlowerRefused: others could reach Flower without authentication.
    """
    for credential in basic_auth.split(",") if basic_auth else ():
        user, _, password = credential.partition(":")
        if not (user and password and credential.isascii()):  # Flower compares ASCII only
            raise FlowerRefused(
                "--basic-auth takes user:password, in ASCII; a comma separates one from the next",
                "--basic-auth alice:s3cret,bob:s4cret",
            )
    if basic_auth or os.environ.get("FLOWER_AUTH"):
        return
    if os.environ.get("FLOWER_UNAUTHENTICATED_API", "").lower() not in OFF:
        # Flower then accepts scripts of any origin, and its API can start a task such as command.run.
        raise FlowerRefused(
            "FLOWER_UNAUTHENTICATED_API would let every web page that you open execute commands here",
            "unset it, and give --basic-auth user:password to use Flower's API",
        )
    if not _is_loopback(address):
        raise FlowerRefused(
            f"refusing to show Flower at {address or 'every address'} without authentication",
            "give --basic-auth user:password (or FLOWER_BASIC_AUTH), or --address 127.0.0.1",
        )


def _is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address. An empty address is every address."""
    try:
        found = socket.getaddrinfo(address or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise FlowerRefused(f"--address {address}: {error.strerror}") from error
    addresses = [ipaddress.ip_address(str(each[0])) for *_, each in found]
    return all((getattr(each, "ipv4_mapped", None) or each).is_loopback for each in addresses)


def _serve(address: str, port: int, basic_auth: str) -> None:
    # Not at the top: both take 0.5 s, after the checks that may fail at once. Not by `celery flower`, which would execute a
    # flowerconfig.py in the current directory, and has an option to listen on a socket open to everyone.
    from flower.app import Flower  # noqa: PLC0415
    from flower.command import apply_env_options, extract_settings  # noqa: PLC0415
    from flower.urls import settings as page  # noqa: PLC0415
    from tornado.options import options as flower  # noqa: PLC0415

    from runner.celery_app import make_current  # noqa: PLC0415
    from runner.language.task_index import not_installed  # noqa: PLC0415
    from runner.worker.modules import find_modules, import_tasks  # noqa: PLC0415

    # Flower imports them as well, and what one of them raises would be told as a fault of ours.
    included = read_settings().include
    find_modules(not_installed(included), None)
    import_tasks(included)
    app = make_current()

    logging.basicConfig(level=logging.WARNING, format="[%(asctime)s: %(levelname)s/Flower] %(message)s")
    # The first warns four times whenever no worker answers, the second about every page that does not exist.
    for name in ("flower.inspector", "tornado.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
    apply_env_options()
    flower.address, flower.port, flower.unix_socket = address, port, ""
    flower.basic_auth = basic_auth.split(",") if basic_auth else []
    extract_settings()
    web = Flower(capp=app, options=flower, **page)
    try:
        port = web.start_http_server()
    except OSError as error:
        raise FlowerRefused(
            f"Flower cannot listen at {address}:{port}: {error.strerror}", "choose another --port"
        ) from error
    for number in SIGNALS:
        web.io_loop.asyncio_loop.add_signal_handler(number, web.stop)
    host = f"[{address}]" if ":" in address else address or socket.gethostname()
    scheme = "https" if "ssl_options" in page else "http"
    # In the loop, so that the page exists once the line is read.
    web.io_loop.add_callback(click.echo, f"Flower: {scheme}://{host}:{port}/{(flower.url_prefix or '').strip('/')}")
    web.start()
    # Python would wait for its threads, and they for workers, or for an unreachable broker: 15 s, measured.
    sys.stdout.flush()
    os._exit(0)
