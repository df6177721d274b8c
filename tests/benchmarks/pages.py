"""A server whose every page takes 100 ms: `python -m tests.benchmarks.pages` prints its port, and serves until it is killed.

A timer and a write for a request: some ten thousand a second, so that it is never what is waited for.
"""

import asyncio
import json
import sys

SECONDS = 0.1


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        *requests, self._received = (self._received + data).split(b"\r\n\r\n")
        for request in requests:
            asyncio.get_running_loop().call_later(SECONDS, self._answer, request.split(b" ", 2)[1])

    def _answer(self, target: bytes) -> None:
        body = json.dumps({"page": int(target.strip(b"/"))})
        assert isinstance(self._transport, asyncio.Transport)
        self._transport.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
