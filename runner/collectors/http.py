"""A URL to the response: JSON, text or bytes."""

import base64
import json
import re
from typing import Any, Literal

import httpx
from celery import shared_task

from runner.collectors.charsets import text_codec
from runner.collectors.client import (
    MAX_SHOWN,
    HTTPFailure,
    answered,
    beginning,
    charset,
    exchange,
    mark,
    raise_for_status,
    read,
    request_of,
    require_mappings,
    require_usable,
    secrets_sent,
    shown,
    url_of,
)
from runner.collectors.labels import add_labels
from runner.language.source import kind
from runner.text import parse_json

MAX_REDIRECTS = 10

Format = Literal["json", "text", "bytes"]


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
    require_mappings(params=params, headers=headers, fields=fields, labels=labels)
    request_url = url_of(url, params)
    name = shown(request_url)
    require_usable(request_url, name)
    codec = _codec(encoding)
    async with exchange(request_url, name, total_timeout) as client:
        answer, body = await _fetch(client, request_url, headers or {}, max_bytes)

    wanted = format or ("json" if _is_json(answer) or select or fields or labels else "text")
    if wanted == "text" and not format and _is_html(answer, body):
        begins = beginning(answer, body, secrets_sent(request_url, headers or {}, answer))
        message = f"{name} answered with a page of HTML, which begins: {begins}"
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


async def _fetch(
    client: httpx.AsyncClient, url: httpx.URL, headers: dict[str, Any], max_bytes: int
) -> tuple[httpx.Response, bytes]:
    """Send the request and follow redirects; httpx would read the body of each of them without a limit."""
    cookies = httpx.Cookies()
    request = request_of(client, "GET", url, headers, name=shown(url))
    own_cookies = request.headers.get("Cookie", "")
    for _ in range(MAX_REDIRECTS + 1):
        answer = await client.send(request, stream=True)
        try:
            if answer.next_request is None:
                _raise_for_part(answer)
                await raise_for_status(answer, shown(answer.url), secrets_sent(url, headers, answer))
                return answer, await _body(answer, max_bytes)
        finally:
            await answer.aclose()
        cookies.extract_cookies(answer)
        old, request = request.url, answer.next_request
        require_usable(request.url, shown(request.url))
        if (request.url.scheme, request.url.host, request.url.port) not in {
            (old.scheme, old.host, old.port),
            ("https", old.host, None),
        }:
            request, own_cookies = request_of(client, "GET", request.url, {}, name=shown(request.url)), ""
        _set_cookies(request, own_cookies, cookies)
    raise HTTPFailure(f"{shown(url)} redirects more than {MAX_REDIRECTS} times", retryable=False)


def _set_cookies(request: httpx.Request, own: str, cookies: httpx.Cookies) -> None:
    """Set the cookies of responses, then those of the file: httpx removes all of them on a redirect."""
    request.headers.pop("Cookie", None)
    cookies.set_cookie_header(request)
    given = request.headers.get("Cookie", "")
    names = {pair.partition("=")[0].strip() for pair in given.split(";")}
    kept = [pair.strip() for pair in own.split(";") if pair.partition("=")[0].strip() not in names]
    if together := "; ".join(filter(None, [*kept, given])):
        request.headers["Cookie"] = together


def _raise_for_part(answer: httpx.Response) -> None:
    if answer.status_code == httpx.codes.PARTIAL_CONTENT and "Range" not in answer.request.headers:
        message = f"{answered(answer, shown(answer.url))}, a part of what it has, and all of it was asked for"
        raise HTTPFailure(message, answer.status_code)


async def _body(answer: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    await read(answer, body, max_bytes)
    if len(body) > max_bytes:
        message = f"{shown(answer.url)} answered with more than {max_bytes:,} bytes (max_bytes)"
        raise HTTPFailure(message, retryable=False)
    return bytes(body)


def _content_type(answer: httpx.Response) -> str:
    text: str = answer.headers.get("Content-Type", "")
    return text.partition(";")[0].strip().lower()[:MAX_SHOWN]


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
    codec = codec or mark(body) or charset(answer) or "utf-8"
    try:
        return body.decode(codec)
    except UnicodeDecodeError as error:
        message = f"{shown(answer.url)} answered with text that is not {codec}: set encoding"
        raise HTTPFailure(message, retryable=False) from error


def _json(answer: httpx.Response, body: bytes, codec: str) -> Any:
    try:
        try:
            text = body.decode(codec or json.detect_encoding(body))
        except UnicodeDecodeError:
            if codec:
                raise
            text = body.decode(charset(answer) or "utf-8")
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        lines = body[:1000].decode(charset(answer) or "utf-8", errors="replace").strip().splitlines() or [""]
        content_type = _content_type(answer) or "no content type"
        message = (
            f"{shown(answer.url)} answered with what is not JSON ({content_type}): {error}; "
            f"it starts with {lines[0][:80]!r}"
        )
        raise HTTPFailure(message, retryable=False) from error


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
    return text[:MAX_SHOWN] if text.isprintable() else ascii(text[:MAX_SHOWN])


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
