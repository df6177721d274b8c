"""Options to a real Valkey, on a socket and on a free TCP port, which lasts as long as the test."""

import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import redis

from runner.brokers import connect, embedded
from tests.waiting import wait_until


@dataclass
class Server:
    """A broker that is not ours: nobody but its test starts or stops it."""

    folder: Path
    options: tuple[str, ...]
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> Path:
        return self.folder / "server.sock"

    @property
    def socket_url(self) -> str:
        return f"redis+socket://{self.socket}?virtual_host=0"

    def client(self) -> redis.Redis:
        return connect(self.url)

    def start(self) -> None:
        """Start it, also again: it listens where it did, and has what is in its append-only file."""
        command = [
            str(embedded.valkey_binary()),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--unixsocket",
            str(self.socket),
        ]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--dir", str(self.folder), "--save", "", *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: _answers(self.port) or self.process.poll() is not None, "the server answers")
        assert self.process.poll() is None, (self.folder / "server.log").read_text(encoding="utf-8")

    def stop(self) -> None:
        """SIGKILL: what is in no file is lost."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: it accepts connections, and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


def start(folder: Path, *options: str) -> Server:
    """A Valkey with these options (`"--requirepass", "x"`), answering; it keeps its files in the folder."""
    folder.mkdir(mode=0o700, exist_ok=True)
    server = Server(folder, options, free_port())
    server.start()
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
