"""A request to its response, by the clients of this event loop; a failure says whether a retry helps."""

import asyncio
import base64
import json
import math
import re
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Literal
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import httpx

from runner.collectors.charsets import text_codec
from runner.language.redact import hide

MAX_SHOWN = 200  # characters of a URL, or of what a server says, in an error
_SAID_BYTES = 16 * 1024  # that are read of what a 4xx or 5xx says
_SAID_WITHIN = 1  # seconds


class HTTPFailure(Exception):
    """A request that gave no usable answer.

    Args:
        message: what went wrong, naming the URL without its query and password, which may be secrets.
        status_code: what the server answered, if it answered.
        retryable: false where the same request would fail again.
        retry_after: seconds that the server asks to wait before the next try.
    """

    def __init__(
        self,
        message: str,
        status_code: int | None = None,
        *,
        retryable: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.retryable = retryable
        self.retry_after = retry_after


@asynccontextmanager
async def exchange(url: httpx.URL, name: str, total_timeout: float) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client for one request and its redirects; what keeps them from ending is raised as HTTPFailure.

    Args:
        name: of the URL, for messages.
        total_timeout: seconds for all of it.
    """
    seconds = _seconds(total_timeout)
    try:
        with _client() as client:
            async with asyncio.timeout(seconds):
                yield client
    except TimeoutError:
        raise HTTPFailure(f"{name} did not answer in full within {seconds:g} s (total_timeout)") from None
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise HTTPFailure(f"{name} cannot be requested: {error}", retryable=False) from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise HTTPFailure(f"{name} cannot be reached{_through_proxy(url)}: {reason}") from error
    except ExceptionGroup as group:  # anyio connects in a task group
        raise HTTPFailure(f"{name} cannot be requested: {_first(group)}", retryable=False) from group


def require_mappings(**arguments: Any) -> None:
    """Raise HTTPFailure for an argument that is neither null nor a mapping, by its name."""
    for argument, value in arguments.items():
        if value is not None and not isinstance(value, Mapping):
            raise HTTPFailure(
                f"{argument} is a mapping of names to values, not a {type(value).__name__}", retryable=False
            )


def url_of(url: str, params: dict[str, Any] | None = None) -> httpx.URL:
    """Return the URL with the params in its query; raise HTTPFailure if they cannot be parsed."""
    try:
        parsed = httpx.URL(url)
        if params:
            parsed = parsed.copy_merge_params({name: value for name, value in params.items() if value is not None})
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        # "Invalid port: 'pa'" of https://me:pa/ss@host/: a password. Not `from error`, as a traceback has the words of the cause.
        reason = re.sub(r"(?<=Invalid port): .*", "", str(error))
        raise HTTPFailure(f"the url or its params cannot be used: {reason}", retryable=False) from None
    return parsed


def require_usable(url: httpx.URL, name: str) -> None:
    """Raise HTTPFailure for a URL that is not http or https, or has a port that cannot exist."""
    if url.scheme not in {"http", "https"} or not url.host:
        raise HTTPFailure(f'{name} is not a URL of the form "https://host/path"', retryable=False)
    if url.port is not None and not 0 < url.port < 2**16:
        raise HTTPFailure(f"{name} has the port {url.port}, and the last is 65535", retryable=False)


def shown(url: httpx.URL) -> str:
    """Return the URL for a message: without its query and password, which may be secrets."""
    text = str(url.copy_with(username=None, password=None, query=None, fragment=None))
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def _seconds(total_timeout: float) -> float:
    try:
        seconds = float(total_timeout)
    except (TypeError, ValueError):
        seconds = math.nan
    if not seconds > 0:
        raise HTTPFailure(f"total_timeout is a number of seconds, not {total_timeout!r}", retryable=False)
    return seconds


# Those of each event loop: their connections belong to it. A worker process has one loop for as long as it lives, so that
# the many requests of a batch, and the next batch's, share connections.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, list["_Client"]] = WeakKeyDictionary()

# httpcore 1.0 compares every request of a client with every connection of it: 64 at once took four times as long as
# eight clients with eight each (1,000 pages of 100 ms: 6.0 and 1.5 s).
AT_ONCE = 8


@dataclass(slots=True)
class _Client:
    """An httpx client, and how many requests it is executing."""

    sends: httpx.AsyncClient
    busy: int = 0


@contextmanager
def _client() -> Iterator[httpx.AsyncClient]:
    """Return a client of this event loop that executes fewer than `AT_ONCE` requests."""
    clients = _clients.setdefault(asyncio.get_running_loop(), [])
    chosen = next((each for each in clients if each.busy < AT_ONCE), None)
    if chosen is None:
        # httpx's own timeouts are for one read, which a server that drips never exceeds: `total_timeout` covers them
        # all. How many requests there are at once, `max_concurrency` says.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=AT_ONCE, keepalive_expiry=30)
        try:
            chosen = _Client(httpx.AsyncClient(timeout=None, limits=limits, verify=_trust()))  # noqa: S113
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise HTTPFailure(f"the proxy that the environment names cannot be used: {error}") from error
        chosen.sends.headers.clear()  # else it sends its own `User-Agent` where the file says null
        # A cookie of one site's user is none of the next collector's.
        chosen.sends.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        clients.append(chosen)
    chosen.busy += 1
    try:
        yield chosen.sends
    finally:
        chosen.busy -= 1


@cache
def _trust() -> ssl.SSLContext:
    """Load the trusted certificates, once: that takes 20 ms."""
    return httpx.create_ssl_context()


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _through_proxy(url: httpx.URL) -> str:
    """Name the proxy that the environment sets for the URL: where no server answers, the proxy may be down."""
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(url.host):
        return ""
    try:
        return f" through the proxy {shown(httpx.URL(proxy))}"
    except httpx.InvalidURL:
        return " through the proxy that the environment names"


def request_of(
    client: httpx.AsyncClient,
    method: Literal["GET", "POST"],
    url: httpx.URL,
    headers: Mapping[str, Any],
    *,
    name: str,
    content: bytes | None = None,
    content_type: str | None = None,
) -> httpx.Request:
    """Return a request with the headers of the file, where null leaves one out; raise HTTPFailure if one cannot be sent."""
    # A name may be written in any case, and is sent once.
    sent = httpx.Headers({"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "celery-collectors"})
    if content_type:
        sent["Content-Type"] = content_type
    try:
        for header, value in headers.items():
            if isinstance(value, list | dict):
                raise TypeError(f"{header} is a {type(value).__name__}, and no text")  # noqa: TRY301 - reported as the others are
            if header.lower() in {"content-length", "transfer-encoding"}:
                raise ValueError(f"{header} is derived from the body")  # noqa: TRY301
            sent.pop(header, None)
            if value is not None:
                sent[header] = text = value if isinstance(value, str) else json.dumps(value)
                if not (
                    text.isascii() and text.isprintable()
                ):  # not left to h11, which tells the value: it may be a secret
                    raise ValueError(f"{header} has a character that no header can have")  # noqa: TRY301
        return client.build_request(method, url, headers=sent, content=content)
    except (AttributeError, TypeError, ValueError) as error:
        raise HTTPFailure(f"the headers for {name} cannot be sent: {error}", retryable=False) from error


def answered(answer: httpx.Response, name: str) -> str:
    """Return the beginning of a message about the status of a response."""
    return f"{name} answered {answer.status_code} {answer.reason_phrase[:MAX_SHOWN]}".rstrip()


async def raise_for_status(answer: httpx.Response, name: str, secrets: Iterable[str]) -> None:
    """Raise HTTPFailure unless the status is 2xx, with the beginning of what the server says.

    Args:
        name: of the URL, for the message.
        secrets: that are left out of what the server says.
    """
    if answer.is_success:
        return
    status, message = answer.status_code, answered(answer, name)
    body = bytearray()
    with suppress(TimeoutError, httpx.TransportError, HTTPFailure):  # the status is what counts
        async with asyncio.timeout(_SAID_WITHIN):
            await read(answer, body, _SAID_BYTES)
    if said := beginning(answer, bytes(body), secrets):
        message = f"{message}: {said}"
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise HTTPFailure(message, status, retry_after=_retry_after(answer.headers.get("Retry-After", "")))
    raise HTTPFailure(message, status, retryable=False)


def beginning(answer: httpx.Response, body: bytes, secrets: Iterable[str]) -> str:
    """Return the beginning of a body, as one line for an error message."""
    text = hide(body[:_SAID_BYTES].decode(mark(body) or charset(answer) or "utf-8", errors="replace"), secrets)
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "…"


def secrets_sent(url: httpx.URL, headers: Mapping[str, Any], answer: httpx.Response) -> Iterator[str]:
    """Yield the values of query, headers and password, whole and in words: they may be secret, and servers echo them."""
    for each in (url, answer.request.url):
        yield from (*each.params.values(), each.username, each.password)
    for value in (*headers.values(), *answer.request.headers.get_list("Cookie")):
        text = value if isinstance(value, str) else json.dumps(value)
        yield text
        for word in re.split(r"[\s;,]+", text):
            yield from (word, word.partition("=")[2])
            with suppress(ValueError):  # of basic authentication
                yield from base64.b64decode(word, validate=True).decode().split(":")


def _retry_after(text: str) -> float | None:
    """Return the seconds of either form of the header (RFC 9110, 10.2.3); None if it cannot be parsed."""
    try:
        return max(0.0, float(int(text)))
    except (ValueError, OverflowError):
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


async def read(answer: httpx.Response, body: bytearray, limit: int) -> None:
    """Append the response to `body`, until it exceeds the limit.

    It is decompressed here and not by httpx, whose decoder has no bound: 64 KiB of gzip can be 64 MiB.
    """
    name = shown(answer.url)
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise HTTPFailure(f"{name} answered in {encoding}, though only gzip was asked for", retryable=False)
    unzip = None if encoding == "identity" else _Gunzip()
    async for chunk in answer.aiter_raw():
        try:
            body += unzip.decompress(chunk, limit + 1 - len(body)) if unzip else chunk
        except zlib.error as error:
            raise HTTPFailure(f"{name} answered with broken gzip: {error}") from error
        if len(body) > limit:
            return
    if unzip and body and not unzip.ended:
        raise HTTPFailure(f"{name} answered with gzip that ends early")


class _Gunzip:
    """The members of a gzip file to their content, one after the other (RFC 1952, 2.2)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def ended(self) -> bool:
        return self._member.eof

    def decompress(self, chunk: bytes, limit: int) -> bytes:
        unpacked = bytearray()
        while len(unpacked) < limit:
            if self._member.eof:
                chunk = chunk.lstrip(b"\0")  # a file may be filled up with zeros, as gzip itself allows
                if not chunk:
                    break
                self._member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            unpacked += self._member.decompress(chunk, limit - len(unpacked))
            if not self._member.eof:
                break
            chunk = self._member.unused_data
        return bytes(unpacked)


def mark(body: bytes) -> str:
    """Return the encoding of a byte order mark; empty without one."""
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    return next((codec for bytes_, codec in marks.items() if body.startswith(bytes_)), "")


def charset(answer: httpx.Response) -> str:
    """Return the charset of the content type, if it encodes text: a server must not choose a codec that takes hours."""
    found = re.search(r";\s*charset\s*=\s*\"?([^\s;\"]{1,40})", answer.headers.get("Content-Type", ""), re.IGNORECASE)
    try:
        return text_codec(found[1]) if found else ""
    except LookupError:
        return ""
