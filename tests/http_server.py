"""A real HTTP server on a free loopback port, with answers that are slow, broken, endless or recovering.

    with serve({"/news": [{"title": "a"}]}) as server:
        server.url("/news?fail=2&delay=0.5")

Pages of the caller return their JSON; one with a query is found by that query alone. To any of them, the query adds: `delay`, seconds before the answer; `fail`, how
many times it fails first, with `status` (default 503) and `retry_after`, if given. Beside them:

    /status/404     that status              /text    "grüße" in ISO 8859-1
    /gzip           {"packed": true}, zipped /bomb    1 GiB of zeros, 1 MiB zipped
    /loop           a redirect to itself     /to?url= a redirect there
    /drip           a byte per 0.1 s         /hang    nothing, ever
    /drop           half a body              /echo    the headers and query that came
    /members        /gzip in three members   /log-in  a page of HTML
    /cookie?url=    a redirect with a cookie /latin   "grüße" in ISO 8859-1, and does not say so
    /charset/x      `text` in UTF-8, said to be in x      /raw  {"page": 1}, said to be text
    /html           /log-in, and no content type          /said   400, and `server.said`
    /moved/…        a redirect to `server.said`

A POST is answered as a GET is, and kept in `server.posts`.
"""

import gzip
import json
import threading
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit


class Post(NamedTuple):
    """A POST that has come."""

    path: str
    headers: dict[str, str]
    body: bytes


class Server(ThreadingHTTPServer):
    """The server, what it has been asked for, and whether it is about to close."""

    daemon_threads = False  # so that closing waits for every answer, and no thread is left
    request_queue_size = 1024  # 5 by default: of a hundred clients at once some wait 1, 3, 7 s for another try of TCP

    def __init__(self, pages: Mapping[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages = dict(pages)
        self.said = ""
        self.requests: list[str] = []
        self.posts: list[Post] = []
        self.asked: Counter[str] = Counter()
        self.closing = threading.Event()

    def url(self, target: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{target}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what many of these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.posts.append(Post(self.path, headers, body))
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.server.requests.append(self.path)
        self.server.asked[parts.path] += 1
        self.server.closing.wait(float(query.get("delay", 0)))
        if self.server.asked[parts.path] <= int(query.get("fail", 0)):
            wait = {"Retry-After": query["retry_after"]} if "retry_after" in query else {}
            self._answer(b"not now", int(query.get("status", 503)), wait)
        elif page := {self.path, parts.path} & self.server.pages.keys():
            self._json(self.server.pages[max(page, key=len)])
        else:
            self._special(parts.path, query)

    def _special(self, path: str, query: dict[str, str]) -> None:
        match path.split("/")[1:]:
            case ["status", status]:
                self._answer(b"as you wish", int(status), {"Retry-After": query.get("retry_after", "")})
            case ["text"]:
                self._answer("grüße".encode("latin-1"), headers={"Content-Type": "text/plain; charset=iso-8859-1"})
            case ["gzip"]:
                packed = gzip.compress(b'{"packed": true}')
                self._answer(packed, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})
            case ["members"]:
                packed = b"".join(gzip.compress(part) for part in (b'{"pack', b"", b'ed": true}')) + bytes(20)
                self._answer(packed, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})
            case ["log-in"]:
                page = b"<!DOCTYPE html>\n<title>Log in</title>"
                self._answer(page, headers={"Content-Type": "text/html; charset=utf-8"})
            case ["html"]:
                self._answer(b"\n<!DOCTYPE html>\n<title>Log in</title>")
            case ["said"]:
                self._answer(self.server.said.encode(), 400)
            case ["cookie"]:
                self._answer(b"", 302, {"Location": query["url"], "Set-Cookie": "session=new; Path=/"})
            case ["latin"]:
                self._answer("grüße".encode("latin-1"), headers={"Content-Type": "text/plain"})
            case ["raw"]:
                self._answer(b'\xef\xbb\xbf{"page": 1}', headers={"Content-Type": "text/plain"})
            case ["charset", charset]:
                text = query.get("text", "grüße")
                self._answer(text.encode(), headers={"Content-Type": f"text/plain; charset={charset}"})
            case ["bomb"]:
                self._start(200, {"Content-Encoding": "gzip"})
                self._write_zeros()
            case ["loop"]:
                self._answer(b"", 302, {"Location": "/loop"})
            case ["to"]:
                self._answer(b"", 302, {"Location": query["url"]})
            case ["moved", *_]:
                self._answer(b"", 302, {"Location": self.server.said})
            case ["drip"]:
                self._start(int(query.get("status", 200)))
                while not self.server.closing.wait(0.1):
                    self.wfile.write(b".")
            case ["hang"]:
                self.server.closing.wait()
            case ["drop"]:
                self._start(200, {"Content-Length": "100"})
                self.wfile.write(b"only this")
            case ["echo"]:
                headers = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
                self._json({"headers": headers, "query": query})
            case _:
                self._answer(b"no such page", 404)

    def _write_zeros(self) -> None:
        packer = zlib.compressobj(wbits=31)
        for _ in range(1024):
            if self.server.closing.is_set():
                return
            self.wfile.write(packer.compress(bytes(1024 * 1024)))
        self.wfile.write(packer.flush())

    def _json(self, value: Any) -> None:
        self._answer(json.dumps(value).encode(), headers={"Content-Type": "application/json"})

    def _answer(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._start(status, {"Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def _start(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is BaseHTTPRequestHandler's
        """Tests read `server.requests` instead."""


@contextmanager
def serve(pages: Mapping[str, Any] | None = None) -> Iterator[Server]:
    with Server(pages or {}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
