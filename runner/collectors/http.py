"""A URL to the response: JSON, text or bytes."""

import asyncio
import base64
import json
import math
import re
import ssl
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Literal
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import httpx
from celery import shared_task

from runner.collectors.charsets import text_codec
from runner.collectors.labels import add_labels
from runner.language.redact import hide
from runner.language.source import kind
from runner.text import parse_json

MAX_REDIRECTS = 10
_MAX_SHOWN = 200  # characters of a URL, or of what a server says, in an error
_SAID_BYTES = 16 * 1024  # that are read of what a 4xx or 5xx says
_SAID_WITHIN = 1  # seconds

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
    *,
    url: str,
    params: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
    format: Format | None = None,  # noqa: A002 - the word a user of the YAML expects
    encoding: str = "",
    select: str = "",
    fields: dict[str, str] | None = None,
    labels: dict[str, Any] | None = None,
    total_timeout: float = 30,
    max_bytes: int = 10 * 1024 * 1024,
) -> Any:
    """Get a URL: its JSON, its text, or its bytes in base64.

    Redirects are followed. An answer of 429, 5xx or none at all is worth another try, and `Retry-After` is passed on;
    any other 4xx, and a body that cannot be used, is not. The failure has the beginning of what a 4xx or 5xx says. Cookies
    are kept for the redirects of one request, and no longer.

    Args:
        url: http or https.
        params: added to the query of the URL; null is left out.
        headers: sent with the request; null is left out. A redirect to another host does not take them along.
        format: json, text or bytes; by default json if the content type, or a `select`, `fields` or `labels`, says so,
            else text. A page of HTML is then a failure: most often it is a login page or an error.
        encoding: of the text or JSON; by default what the answer says, else UTF-8.
        select: where in the JSON the value is, as keys, places in a list, and dots: `message.items`, `pages.0`.
        fields: names of fields, and where each is in the objects: `{title: full_name, by: user.login}`. A field that an
            object lacks is null; one that no object has is a failure, unless it is written with a `?`: `{note:
            user.note?}`. Without this, all fields.
        labels: added to each object of the result, to say where it comes from.
        total_timeout: seconds from the first byte sent to the last received, redirects included.
        max_bytes: of the body, after decompression.

    Raises:
        HTTPFailure: with `status_code`, `retryable` and `retry_after`.
    """
    for argument, value in (("params", params), ("headers", headers), ("fields", fields), ("labels", labels)):
        if value is not None and not isinstance(value, Mapping):
            raise HTTPFailure(
                f"{argument} is a mapping of names to values, not a {type(value).__name__}", retryable=False
            )
    request_url = _checked(url, params)
    name = _shown(request_url)
    seconds = _seconds(total_timeout)
    codec = _codec(encoding)
    try:
        with _client() as client:
            async with asyncio.timeout(seconds):
                answer, body = await _fetch(client, request_url, headers or {}, max_bytes)
    except TimeoutError:
        raise HTTPFailure(f"{name} did not answer in full within {seconds:g} s (total_timeout)") from None
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
        raise HTTPFailure(f"{name} cannot be got: {error}", retryable=False) from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise HTTPFailure(f"{name} cannot be reached{_through_proxy(request_url)}: {reason}") from error
    except ExceptionGroup as group:  # anyio connects in a task group
        raise HTTPFailure(f"{name} cannot be got: {_first(group)}", retryable=False) from group

    wanted = format or ("json" if _is_json(answer) or select or fields or labels else "text")
    if wanted == "text" and not format and _is_html(answer, body):
        beginning = _beginning(answer, body, _sent(request_url, headers or {}, answer))
        message = f"{name} answered with a page of HTML, which begins: {beginning}"
        raise HTTPFailure(f"{message} (if that is what you want, set format: text)", retryable=False)
    value = _decoded(answer, body, wanted, codec)
    for key in filter(None, str(select).split(".")):
        value = _step_into(value, key, select, name)
    return _records(value, fields, labels or {}, name)


def _codec(encoding: str) -> str:
    try:
        codec = text_codec(encoding) if encoding else ""
    except LookupError as error:
        raise HTTPFailure(str(error), retryable=False) from error
    return "utf-8-sig" if codec == "utf-8" else codec


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
        return f" through the proxy {_shown(httpx.URL(proxy))}"
    except httpx.InvalidURL:
        return " through the proxy that the environment names"


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


def _checked(url: str, params: dict[str, Any] | None) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        if params:
            parsed = parsed.copy_merge_params({name: value for name, value in params.items() if value is not None})
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise HTTPFailure(f"the url or its params cannot be used: {error}", retryable=False) from error
    _require_usable(parsed)
    return parsed


def _require_usable(url: httpx.URL) -> None:
    if url.scheme not in {"http", "https"} or not url.host:
        raise HTTPFailure(f'{_shown(url)} is not a URL of the form "https://host/path"', retryable=False)
    if url.port is not None and not 0 < url.port < 2**16:
        raise HTTPFailure(f"{_shown(url)} has the port {url.port}, and the last is 65535", retryable=False)


def _shown(url: httpx.URL) -> str:
    text = str(url.copy_with(username=None, password=None, query=None, fragment=None))
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _seconds(total_timeout: float) -> float:
    try:
        seconds = float(total_timeout)
    except (TypeError, ValueError):
        seconds = math.nan
    if not seconds > 0:
        raise HTTPFailure(f"total_timeout is a number of seconds, not {total_timeout!r}", retryable=False)
    return seconds


async def _fetch(
    client: httpx.AsyncClient, url: httpx.URL, headers: dict[str, Any], max_bytes: int
) -> tuple[httpx.Response, bytes]:
    """Send the request and follow redirects; httpx would read the body of each of them without a limit."""
    cookies = httpx.Cookies()
    request = _request(client, url, headers)
    own_cookies = request.headers.get("Cookie", "")
    for _ in range(MAX_REDIRECTS + 1):
        answer = await client.send(request, stream=True)
        try:
            if answer.next_request is None:
                await _raise_for_status(answer, url, headers)
                return answer, await _body(answer, max_bytes)
        finally:
            await answer.aclose()
        cookies.extract_cookies(answer)
        old, request = request.url, answer.next_request
        _require_usable(request.url)
        if (request.url.scheme, request.url.host, request.url.port) not in {
            (old.scheme, old.host, old.port),
            ("https", old.host, None),
        }:
            request, own_cookies = _request(client, request.url, {}), ""
        _set_cookies(request, own_cookies, cookies)
    raise HTTPFailure(f"{_shown(url)} redirects more than {MAX_REDIRECTS} times", retryable=False)


def _set_cookies(request: httpx.Request, own: str, cookies: httpx.Cookies) -> None:
    """Set the cookies of responses, then those of the file: httpx removes all of them on a redirect."""
    request.headers.pop("Cookie", None)
    cookies.set_cookie_header(request)
    given = request.headers.get("Cookie", "")
    names = {pair.partition("=")[0].strip() for pair in given.split(";")}
    kept = [pair.strip() for pair in own.split(";") if pair.partition("=")[0].strip() not in names]
    if together := "; ".join(filter(None, [*kept, given])):
        request.headers["Cookie"] = together


def _request(client: httpx.AsyncClient, url: httpx.URL, headers: dict[str, Any]) -> httpx.Request:
    # A name may be written in any case, and is sent once.
    sent = httpx.Headers({"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "celery-collectors"})
    try:
        for name, value in headers.items():
            if isinstance(value, list | dict):
                raise TypeError(f"{name} is a {type(value).__name__}, and no text")  # noqa: TRY301 - reported as the others are
            if name.lower() in {"content-length", "transfer-encoding"}:
                raise ValueError(f"{name} is of a body, and there is none")  # noqa: TRY301
            sent.pop(name, None)
            if value is not None:
                sent[name] = text = value if isinstance(value, str) else json.dumps(value)
                if not (
                    text.isascii() and text.isprintable()
                ):  # not left to h11, which tells the value: it may be a secret
                    raise ValueError(f"{name} has a character that no header can have")  # noqa: TRY301
        return client.build_request("GET", url, headers=sent)
    except (AttributeError, TypeError, ValueError) as error:
        raise HTTPFailure(f"the headers for {_shown(url)} cannot be sent: {error}", retryable=False) from error


async def _raise_for_status(answer: httpx.Response, url: httpx.URL, headers: dict[str, Any]) -> None:
    status = answer.status_code
    in_part = status == httpx.codes.PARTIAL_CONTENT and "Range" not in answer.request.headers
    if answer.is_success and not in_part:
        return
    message = f"{_shown(answer.url)} answered {status} {answer.reason_phrase[:_MAX_SHOWN]}".rstrip()
    if in_part:
        raise HTTPFailure(f"{message}, a part of what it has, and all of it was asked for", status)
    body = bytearray()
    with suppress(TimeoutError, httpx.TransportError, HTTPFailure):  # the status is what counts
        async with asyncio.timeout(_SAID_WITHIN):
            await _read(answer, body, _SAID_BYTES)
    if said := _beginning(answer, bytes(body), _sent(url, headers, answer)):
        message = f"{message}: {said}"
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise HTTPFailure(message, status, retry_after=_retry_after(answer.headers.get("Retry-After", "")))
    raise HTTPFailure(message, status, retryable=False)


def _beginning(answer: httpx.Response, body: bytes, secrets: Iterable[str]) -> str:
    """Return the beginning of a body, as one line for an error message."""
    text = hide(body[:_SAID_BYTES].decode(_mark(body) or _charset(answer) or "utf-8", errors="replace"), secrets)
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _MAX_SHOWN else line[:_MAX_SHOWN] + "…"


def _sent(url: httpx.URL, headers: dict[str, Any], answer: httpx.Response) -> Iterator[str]:
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


async def _body(answer: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    await _read(answer, body, max_bytes)
    if len(body) > max_bytes:
        message = f"{_shown(answer.url)} answered with more than {max_bytes:,} bytes (max_bytes)"
        raise HTTPFailure(message, retryable=False)
    return bytes(body)


async def _read(answer: httpx.Response, body: bytearray, limit: int) -> None:
    """Append the response to `body`, until it exceeds the limit.

    It is decompressed here and not by httpx, whose decoder has no bound: 64 KiB of gzip can be 64 MiB.
    """
    name = _shown(answer.url)
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


def _content_type(answer: httpx.Response) -> str:
    text: str = answer.headers.get("Content-Type", "")
    return text.partition(";")[0].strip().lower()[:_MAX_SHOWN]


def _is_json(answer: httpx.Response) -> bool:
    return _content_type(answer).endswith(("/json", "+json"))


def _is_html(answer: httpx.Response, body: bytes) -> bool:
    content_type = _content_type(answer)
    beginning = body[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return content_type in {"text/html", "application/xhtml+xml"} or (
        not content_type and beginning.startswith((b"<!doctype html", b"<html"))
    )


def _decoded(answer: httpx.Response, body: bytes, wanted: Format, codec: str) -> Any:
    match wanted:
        case "bytes":
            return base64.b64encode(body).decode("ascii")
        case "text":
            return _text(answer, body, codec)
        case "json":
            return _json(answer, body, codec)
        case unknown:
            raise HTTPFailure(f"format is json, text or bytes, not {unknown!r}", retryable=False)


def _text(answer: httpx.Response, body: bytes, codec: str) -> str:
    codec = codec or _mark(body) or _charset(answer) or "utf-8"
    try:
        return body.decode(codec)
    except UnicodeDecodeError as error:
        message = f"{_shown(answer.url)} answered with text that is not {codec}: set encoding"
        raise HTTPFailure(message, retryable=False) from error


def _json(answer: httpx.Response, body: bytes, codec: str) -> Any:
    try:
        try:
            text = body.decode(codec or json.detect_encoding(body))
        except UnicodeDecodeError:
            if codec:
                raise
            text = body.decode(_charset(answer) or "utf-8")
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        lines = body[:1000].decode(_charset(answer) or "utf-8", errors="replace").strip().splitlines() or [""]
        content_type = _content_type(answer) or "no content type"
        message = (
            f"{_shown(answer.url)} answered with what is not JSON ({content_type}): {error}; "
            f"it starts with {lines[0][:80]!r}"
        )
        raise HTTPFailure(message, retryable=False) from error


def _mark(body: bytes) -> str:
    """Return the encoding of a byte order mark; empty without one."""
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    return next((codec for mark, codec in marks.items() if body.startswith(mark)), "")


def _charset(answer: httpx.Response) -> str:
    """Return the charset of the content type, if it encodes text: a server must not choose a codec that takes hours."""
    found = re.search(r";\s*charset\s*=\s*\"?([^\s;\"]{1,40})", answer.headers.get("Content-Type", ""), re.IGNORECASE)
    try:
        return text_codec(found[1]) if found else ""
    except LookupError:
        return ""


def _step_into(value: Any, key: str, select: str, name: str) -> Any:
    has, inner = _inside(value, key)
    if has:
        return inner
    are = "are" if isinstance(value, dict) and value else "is"
    raise HTTPFailure(f'{name} has no "{key}" for select "{select}": there {are} {_described(value)}', retryable=False)


def _inside(value: Any, key: str) -> tuple[bool, Any]:
    """Whether an object has this key, or a list this index, and the value there."""
    if isinstance(value, dict):
        return key in value, value.get(key)
    if isinstance(value, list) and re.fullmatch(r"-?[0-9]{1,9}", key) and -len(value) <= int(key) < len(value):
        return True, value[int(key)]
    return False, None


def _described(value: Any) -> str:
    match value:
        case dict() if value:
            return "the keys " + ", ".join(_printable(key) for key in list(value)[:20])
        case list():
            return f"a list of {len(value)}, with places from 0"
    return kind(value)


def _printable(text: str) -> str:
    """Escape a server's text: half of a surrogate pair in it would keep the error from being recorded."""
    return text[:_MAX_SHOWN] if text.isprintable() else ascii(text[:_MAX_SHOWN])


def _records(value: Any, fields: dict[str, str] | None, labels: dict[str, Any], name: str) -> Any:
    if not fields and not labels:
        return value
    records = value if isinstance(value, list) else [value]
    for record in records:
        if not isinstance(record, dict):
            message = f"{name} answered with {kind(record)} where fields or labels need an object"
            raise HTTPFailure(f"{message}; name the list of objects with select", retryable=False)
    shaped = add_labels(_picked(records, fields, name) if fields else records, labels)
    return shaped if isinstance(value, list) else shaped[0]


def _picked(records: list[dict[str, Any]], fields: dict[str, str], name: str) -> list[dict[str, Any]]:
    picked: list[dict[str, Any]] = [{} for _ in records]
    for field, written in fields.items():
        found = [_at(record, str(written).split(".")) for record in records]
        # Else a key of theirs ends so.
        optional = str(written).endswith("?") and all(value is None for _, value in found)
        if optional:
            found = [_at(record, str(written).removesuffix("?").split(".")) for record in records]
        if records and not optional and not any(has for has, _ in found):
            message = f'{name}: no object has "{written}" (fields: {field}); the first has {_described(records[0])}'
            raise HTTPFailure(f'{message}. Write "{written}?" if all may lack it', retryable=False)
        for record, (_, value) in zip(picked, found, strict=True):
            record[field] = value
    return picked


def _at(value: Any, path: list[str]) -> tuple[bool, Any]:
    """Whether there is a value at a path, and the value. Null counts as having any path."""
    for key in path:
        if value is None:
            return True, None
        has, value = _inside(value, key)
        if not has:
            return False, None
    return True, value
