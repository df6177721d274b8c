"""A message to people or programs elsewhere: a webhook or an e-mail."""

import base64
import hashlib
import hmac
import time
import uuid
from json import dumps
from typing import Any, Literal

import httpx
from celery import shared_task

from runner import note
from runner.collectors.client import (
    HTTPFailure,
    answered,
    exchange,
    raise_for_status,
    request_of,
    require_mappings,
    require_usable,
    secrets_sent,
    shown,
    url_of,
)
from runner.collectors.smtp import PORTS, EmailFailure, Server, email_of, send
from runner.language.redact import hide
from runner.ledger.values import text_of

_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


@shared_task(name="notify.webhook", bind=True)
async def webhook(
    self: Any,
    value: Any = None,
    *,
    url: str,
    text: str | None = None,
    json: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
    secret: str | None = None,
    total_timeout: float = 30,
) -> dict[str, int]:
    """Post JSON to a URL, such as the webhook of a chat: `{"text": …}`, an object of yours, or the value before.

    The value of the step is `{status}`. An answer of 429, 5xx or none at all is worth another try, and `Retry-After` is
    passed on; any other one but 2xx is not. A redirect is not followed, as it would become a GET without the message: the
    failure says where it leads. Messages of failures name the host only: the path of a webhook is often its password.

    Each request has the headers `webhook-id`, the same for every attempt of a step, so that a receiver can drop what it has
    already, and `webhook-timestamp`, Unix seconds of the attempt. With a `secret`, `webhook-signature` has `v1,` and the
    Base64 of the HMAC-SHA256 of `{id}.{timestamp}.{body}`, whose key is the decoded secret, as Standard Webhooks 1.0.0
    defines it (https://www.standardwebhooks.com). A receiver computes the same from the bytes that it received, compares
    the two in constant time, and refuses a timestamp that is more than five minutes off: a replay. There are libraries
    that do it.

    Args:
        value: the value before. It is the JSON that is sent if there is neither `text` nor `json`, and is ignored otherwise.
        url: http or https. Slack, Mattermost and Rocket.Chat take `text`; Discord does so if `/slack` is added to its URL.
        text: sent as `{"text": text}`.
        json: the object to send, as it is.
        headers: sent with the request; null is left out.
        secret: to sign with: the Base64 of 24 to 64 random bytes, with or without `whsec_` before it, as
            `openssl rand -base64 32` prints them.
        total_timeout: seconds from the first byte sent to the answer.

    Raises:
        HTTPFailure: with `status_code`, `retryable` and `retry_after`.
    """
    require_mappings(json=json, headers=headers)
    target = url_of(url)
    name = _host_of(target)
    require_usable(target, name)
    body = _body(value, text, json)
    signed = _signed(f"msg_{_message_id(self.request.id, str(target).encode(), body)}", body, secret)
    if taken := next((each for each in headers or {} if str(each).lower() in {_ID, _TIMESTAMP, _SIGNATURE}), None):
        raise HTTPFailure(f"the header {taken} is set by notify.webhook itself", retryable=False)
    async with exchange(target, name, total_timeout) as client:
        request = request_of(
            client, "POST", target, headers or {}, name=name, content=body, content_type="application/json"
        )
        request.headers.update(signed)
        answer = await client.send(request, stream=True)
        try:
            secrets = [*secrets_sent(target, headers or {}, answer), *_path_secrets(target), secret or ""]
            _raise_for_redirect(answer, name, secrets)
            await raise_for_status(answer, name, secrets)
        finally:
            await answer.aclose()
    return {"status": answer.status_code}


@shared_task(name="notify.email", bind=True)
def email(
    self: Any,
    value: Any = None,  # noqa: ARG001 - a stage is handed it
    *,
    to: str | list[str],
    subject: str,
    text: str,
    sender: str,
    host: str,
    port: int | None = None,
    security: Literal["starttls", "tls", "none"] = "starttls",
    user: str | None = None,
    password: str | None = None,
    timeout: float = 30,
) -> dict[str, Any]:
    """Send an e-mail in plain text over SMTP.

    The value of the step is `{accepted, refused}`: the addresses for which the server accepted it, and those that it
    refused, each with its words, which are in the notes, too. If it is accepted for nobody, the step fails: an answer of 4xx
    or none at all is worth another try, 5xx is not (a wrong password, an unknown address). Every attempt has the same
    `Message-ID`, by which a mailbox may drop what it has already.

    Args:
        value: ignored: the value before. What the e-mail has of it, `text` says.
        to: an address, also with a name (`Ann <ann@example.org>`), or a list of them.
        subject: one line.
        text: of any length.
        sender: the address that it comes from, also with a name.
        host: of the mail server.
        port: by default 587 for starttls, 465 for tls, 25 for none.
        security: starttls (encrypt before anything is sent, or fail), tls (encrypted from the start), or none.
        user: to log in with; by default there is no login.
        password: of the user. Without encryption it is sent to the machine itself only (`localhost`).
        timeout: seconds that each answer of the server may take.

    Raises:
        EmailFailure: with `smtp_code` and `retryable`.
    """
    port = PORTS.get(security) if port is None else port
    server = Server(host=host, port=port or 0, security=security, timeout=timeout, user=user, password=password)
    addresses = [to] if isinstance(to, str) else to
    if not isinstance(addresses, list) or not addresses:
        raise EmailFailure(f"to is an address or a list of addresses, not {addresses!r:.80}", retryable=False)
    title, content = _text(subject, "subject", EmailFailure), _text(text, "text", EmailFailure)
    said = dumps([addresses, title, content]).encode()
    message_id = _message_id(self.request.id, said)
    message = email_of(sender=sender, to=addresses, subject=title, text=content, message_id=message_id)
    accepted, refused = send(message, server)
    if refused:
        note(refused=refused)
    return {"accepted": accepted, "refused": refused}


def _host_of(url: httpx.URL) -> str:
    """Return a URL for messages, without its path: who knows that of Slack's or Discord's may post there."""
    return shown(url.copy_with(path="/")) + ("" if url.path == "/" else "…")


def _path_secrets(url: httpx.URL) -> list[str]:
    return [url.path, *url.path.split("/"), *url.raw_path.decode("ascii").split("/")]


def _body(value: Any, text: Any, given: dict[str, Any] | None) -> bytes:
    """Return the JSON to send; the bytes that are signed are those that are sent."""
    if text is not None and given is not None:
        raise HTTPFailure('text is sent as {"text": …}, and json as it is: give one of them', retryable=False)
    body = {"text": _text(text, "text", HTTPFailure)} if text is not None else value if given is None else given
    if body is None:
        raise HTTPFailure("there is nothing to send: give text or json", retryable=False)
    # A lone surrogate has no UTF-8; with a backslash it is JSON.
    written = dumps(body, ensure_ascii=False, separators=(",", ":"), default=text_of)
    return written.encode(errors="backslashreplace")


def _text(value: Any, name: str, failure: type[HTTPFailure | EmailFailure]) -> str:
    """Format a value as expressions do within text: a boolean is `true`, not Python's `True`."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return dumps(value)
    raise failure(f"{name} is a text, not a {type(value).__name__}", retryable=False)


def _message_id(step: str | None, *content: bytes) -> str:
    """Return the same id for each attempt of a step, and others for the messages that one step sends by its `then`."""
    return hashlib.sha256(b"\n".join([(step or str(uuid.uuid4())).encode(), *content])).hexdigest()[:32]


def _signed(message_id: str, body: bytes, secret: str | None) -> dict[str, str]:
    """Return the headers of Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks, spec)."""
    headers = {_ID: message_id, _TIMESTAMP: str(int(time.time()))}
    if secret is None:
        return headers
    content = f"{headers[_ID]}.{headers[_TIMESTAMP]}.".encode() + body
    signature = base64.b64encode(hmac.digest(_key(secret), content, "sha256")).decode()
    return {**headers, _SIGNATURE: f"v1,{signature}"}


def _key(secret: str) -> bytes:
    encoded = str(secret).removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        message = "secret is not the Base64 of 24 to 64 random bytes: make one with `openssl rand -base64 32`"
        raise HTTPFailure(message, retryable=False)
    return key


def _raise_for_redirect(answer: httpx.Response, name: str, secrets: list[str]) -> None:
    if answer.next_request is not None:
        place = hide(shown(answer.next_request.url), secrets)
        message = f"{answered(answer, name)} and redirects to {place}, which a POST does not follow: write that URL"
        raise HTTPFailure(message, answer.status_code, retryable=False)
