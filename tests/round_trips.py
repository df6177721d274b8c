"""A way to a server that counts the round trips made over it: how often a client has said something and had to wait."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Way:
    """Where a client connects to, and what it began each of its round trips with."""

    port: int
    trips: list[bytes] = field(default_factory=list)


@contextmanager
def counted(port: int) -> Iterator[Way]:
    """A way to the server at that port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        way = Way(listening.getsockname()[1])
        open_: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    server = socket.create_connection(("127.0.0.1", port))
                    open_.extend((client, server))
                    turn = [True]  # whether the server spoke last
                    threading.Thread(target=forth, args=(client, server, turn), daemon=True).start()
                    threading.Thread(target=back, args=(server, client, turn), daemon=True).start()

        def forth(client: socket.socket, server: socket.socket, turn: list[bool]) -> None:
            with suppress(OSError):
                while data := client.recv(65536):
                    if turn[0]:
                        way.trips.append(data[:200])
                    turn[0] = False
                    server.sendall(data)
                server.shutdown(socket.SHUT_WR)

        def back(server: socket.socket, client: socket.socket, turn: list[bool]) -> None:
            with suppress(OSError):
                while data := server.recv(65536):
                    turn[0] = True
                    client.sendall(data)
                client.shutdown(socket.SHUT_WR)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield way
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for each in open_:
                each.close()
