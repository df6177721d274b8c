"""Options to a real Valkey, on a socket and on a free TCP port, that ends with the test."""

import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import redis

from runner import brokers
from runner.brokers import embedded
from tests.waiting import wait_until


@dataclass(frozen=True)
class Server:
    """A broker that is not ours: nobody but its test starts or stops it."""

    port: int
    socket: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        return f"redis+socket://{self.socket}?virtual_host=0"

    def client(self) -> redis.Redis:
        return brokers.connect(self.url)

    def stop(self) -> None:
        """SIGKILL: what it has in memory is lost, unless it was started with an append-only file."""
        self.process.kill()
        self.process.wait()


def start(folder: Path, *options: str, port: int | None = None) -> Server:
    """A Valkey with these options (`"--requirepass", "x"`), answering; keeps its files in the folder."""
    folder.mkdir(mode=0o700, exist_ok=True)
    port = port or free_port()
    address = folder / "server.sock"
    command = [str(embedded.binary()), "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(address)]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--dir", str(folder), "--save", "", *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    server = Server(port, address, process)
    wait_until(lambda: _answers(port) or process.poll() is not None, "the server answers")
    assert process.poll() is None, (folder / "server.log").read_text(encoding="utf-8")
    return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(8).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
