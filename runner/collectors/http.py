"""A URL to what it answers: JSON, text or bytes."""

import asyncio
import base64
import json
import ssl
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Literal, NoReturn
from weakref import WeakKeyDictionary

import httpx
from celery import shared_task

MAX_REDIRECTS = 10

Format = Literal["json", "text", "bytes"]


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


@shared_task(name="http.get")
async def get(
    url: str,
    *,
    params: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
    format: Format | None = None,  # noqa: A002 - the word a user of the YAML expects
    select: str = "",
    fields: dict[str, str] | None = None,
    labels: dict[str, Any] | None = None,
    total_timeout: float = 30,
    max_bytes: int = 10 * 1024 * 1024,
) -> Any:
    """Get a URL: its JSON, its text, or its bytes in base64.

    Redirects are followed. An answer of 429, 5xx or none at all is worth another try, and `Retry-After` is passed on;
    any other 4xx, and a body that cannot be used, is not.

    Args:
        url: http or https.
        params: added to the query of the URL.
        headers: sent with the request. A redirect to another host does not take them along.
        format: json, text or bytes; by default json if the content type says so, else text.
        select: where in the JSON the value is, as keys and dots: `message.items`.
        fields: for each object of the list, the name of a field and where it is: `{title: full_name, by: user.login}`;
            what an object does not have is null. All fields, as they are, if left out.
        labels: added to each object of the result, so that a reader can tell where it comes from.
        total_timeout: seconds from the first byte sent to the last received, redirects included.
        max_bytes: of the body, after decompression.

    Raises:
        HTTPFailure: with `status_code`, `retryable` and `retry_after`.
    """
    request_url = _checked(url, params)
    name = _shown(request_url)
    seconds = _seconds(total_timeout)
    try:
        with _client() as client:
            async with asyncio.timeout(seconds):
                answer, body = await _fetch(client, request_url, headers or {}, max_bytes)
    except TimeoutError:
        raise HTTPFailure(f"{name} did not answer in full within {seconds:g} s (total_timeout)") from None
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise HTTPFailure(f"{name} cannot be got: {error}", retryable=False) from error
    except httpx.TransportError as error:
        raise HTTPFailure(f"{name} cannot be reached: {str(error) or type(error).__name__}") from error

    value = _decoded(answer, body, format, name)
    for key in filter(None, select.split(".")):
        value = _step_into(value, key, select, name)
    return _records(value, fields, labels or {}, name)


# Those of each event loop: their connections belong to it. A worker process has one loop for as long as it lives, so that
# the many requests of a batch, and the next batch's, share connections.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, list["_Client"]] = WeakKeyDictionary()

# httpcore 1.0 compares every request of a client with every connection of it: 64 at once took four times as long as
# eight clients with eight each (1,000 pages of 100 ms: 6.0 and 1.5 s).
AT_ONCE = 8


@dataclass(slots=True)
class _Client:
    """An httpx client, and how many requests it is busy with."""

    sends: httpx.AsyncClient
    busy: int = 0


@contextmanager
def _client() -> Iterator[httpx.AsyncClient]:
    """One of this loop's that is not too busy."""
    clients = _clients.setdefault(asyncio.get_running_loop(), [])
    chosen = next((each for each in clients if each.busy < AT_ONCE), None)
    if chosen is None:
        # httpx's own timeouts are for one read, which a server that drips never exceeds: `total_timeout` covers them
        # all. How many requests there are at once, `max_concurrency` says.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=AT_ONCE, keepalive_expiry=30)
        chosen = _Client(httpx.AsyncClient(timeout=None, limits=limits, verify=_trust()))  # noqa: S113
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
    """The certificates that are trusted; reading them takes 20 ms."""
    return httpx.create_ssl_context()


def _checked(url: str, params: dict[str, Any] | None) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        if params:
            parsed = parsed.copy_merge_params(params)
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise HTTPFailure(f"the url or its params cannot be used: {error}", retryable=False) from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise HTTPFailure(f'{_shown(parsed)} is not a URL of the form "https://host/path"', retryable=False)
    return parsed


def _shown(url: httpx.URL) -> str:
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))


def _seconds(total_timeout: float) -> float:
    try:
        return float(total_timeout)
    except (TypeError, ValueError):
        raise HTTPFailure(f"total_timeout is a number of seconds, not {total_timeout!r}", retryable=False) from None


async def _fetch(
    client: httpx.AsyncClient, url: httpx.URL, headers: dict[str, Any], max_bytes: int
) -> tuple[httpx.Response, bytes]:
    """Follow redirects here and not in httpx, which reads the body of each of them without a bound."""
    request = _request(client, url, headers)
    for _ in range(MAX_REDIRECTS + 1):
        answer = await client.send(request, stream=True)
        try:
            if answer.next_request is None:
                _raise_for_status(answer)
                return answer, await _body(answer, max_bytes)
        finally:
            await answer.aclose()
        old, request = request.url, answer.next_request
        if (request.url.scheme, request.url.host, request.url.port) not in {
            (old.scheme, old.host, old.port),
            ("https", old.host, None),
        }:
            request = _request(client, request.url, {})
    raise HTTPFailure(f"{_shown(url)} redirects more than {MAX_REDIRECTS} times", retryable=False)


def _request(client: httpx.AsyncClient, url: httpx.URL, headers: dict[str, Any]) -> httpx.Request:
    sent = {"User-Agent": "celery-collectors", "Accept-Encoding": "gzip"} | headers
    try:
        return client.build_request("GET", url, headers={name: str(value) for name, value in sent.items()})
    except (TypeError, ValueError) as error:
        raise HTTPFailure(f"the headers for {_shown(url)} cannot be sent: {error}", retryable=False) from error


def _raise_for_status(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    status = answer.status_code
    message = f"{_shown(answer.url)} answered {status} {answer.reason_phrase}".rstrip()
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise HTTPFailure(message, status, retry_after=_retry_after(answer.headers.get("Retry-After", "")))
    raise HTTPFailure(message, status, retryable=False)


def _retry_after(text: str) -> float | None:
    """Seconds from either form of the header (RFC 9110, 10.2.3); None where it says nothing that can be read."""
    try:
        return max(0.0, float(int(text)))
    except (ValueError, OverflowError):
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


async def _body(answer: httpx.Response, max_bytes: int) -> bytes:
    """The body, decompressed here and not by httpx, whose decoder has no bound: 64 KiB of gzip can be 64 MiB."""
    name = _shown(answer.url)
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise HTTPFailure(f"{name} answered in {encoding}, though only gzip was asked for", retryable=False)
    unzip = None if encoding == "identity" else zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    body = bytearray()
    async for chunk in answer.aiter_raw():
        try:
            body += unzip.decompress(chunk, max_bytes + 1 - len(body)) if unzip else chunk
        except zlib.error as error:
            raise HTTPFailure(f"{name} answered with broken gzip: {error}") from error
        if len(body) > max_bytes:
            raise HTTPFailure(f"{name} answered with more than {max_bytes:,} bytes (max_bytes)", retryable=False)
    if unzip and body and not unzip.eof:
        raise HTTPFailure(f"{name} answered with gzip that ends early")
    return bytes(body)


def _decoded(answer: httpx.Response, body: bytes, wanted: Format | None, name: str) -> Any:
    content_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    match wanted or ("json" if content_type.endswith(("/json", "+json")) else "text"):
        case "bytes":
            return base64.b64encode(body).decode("ascii")
        case "text":
            return _text(body, answer.charset_encoding)
        case "json":
            try:
                return json.loads(body, parse_constant=_refuse)
            except (ValueError, RecursionError) as error:
                start = body[:40].decode("utf-8", errors="replace")
                message = f"{name} answered with what is not JSON: {error}; it starts with {start!r}"
                raise HTTPFailure(message, retryable=False) from error
        case unknown:
            raise HTTPFailure(f"format is json, text or bytes, not {unknown!r}", retryable=False)


def _text(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(charset or "utf-8", errors="replace")
    except (LookupError, ValueError):  # a charset that nobody has heard of
        return body.decode("utf-8", errors="replace")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _step_into(value: Any, key: str, select: str, name: str) -> Any:
    if isinstance(value, dict) and key in value:
        return value[key]
    found = f"the keys {', '.join(list(value)[:20])}" if isinstance(value, dict) else f"a {type(value).__name__}"
    raise HTTPFailure(f'{name} has no "{key}" for select "{select}": there is {found}', retryable=False)


def _records(value: Any, fields: dict[str, str] | None, labels: dict[str, Any], name: str) -> Any:
    if not fields and not labels:
        return value
    records = value if isinstance(value, list) else [value]
    for record in records:
        if not isinstance(record, dict):
            message = f"{name} answered with a {type(record).__name__} where fields or labels need an object"
            raise HTTPFailure(f"{message}; name the list of objects with select", retryable=False)
    shaped = [{**labels, **(_picked(record, fields) if fields else record), **labels} for record in records]
    return shaped if isinstance(value, list) else shaped[0]


def _picked(record: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    picked = {}
    for name, path in fields.items():
        value: Any = record
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        picked[name] = value
    return picked
