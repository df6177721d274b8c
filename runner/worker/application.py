"""A Celery application to what keeps it from executing steps, and to the URL of the ledger on its broker."""

import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from celery import Celery
from kombu.serialization import prepare_accept_content

from runner.errors import Finding, RunnerError
from runner.settings import Settings
from runner.settings.broker_url import celery_url

# What kombu puts into the names of keys, by default: a client of another application reads and writes these.
SEPARATOR, PRIORITIES = "\x06\x16", {0, 3, 6, 9}


class ApplicationUnfit(RunnerError):
    """The Celery application cannot send or execute steps."""

    exit_code = 4


def check(app: Celery, settings: Settings) -> None:
    """Return if steps can be sent and executed by this application.

    Raises:
        ApplicationUnfit: they would be lost, or sent again for ever.
    """
    for finding in findings(app, settings):
        raise ApplicationUnfit(f"the Celery application {app.main}: {finding.problem}", finding.remedy)


def findings(app: Celery, settings: Settings) -> Iterator[Finding]:
    """Yield each reason why an application cannot send or execute steps."""
    with app.connection_for_write() as connection:
        transport, urls, options = connection.transport_cls, connection.alt, connection.transport_options or {}
    if transport not in {"redis", "rediss"}:
        yield Finding(f"its broker is {transport}", "steps need one Redis or Valkey")
        return
    if len(urls) > 1 or app.conf.broker_read_url != app.conf.broker_write_url:
        yield Finding("it has several brokers", "steps need one Redis or Valkey: name one URL in broker_url")
        return
    if prefix := options.get("global_keyprefix"):
        yield Finding(
            f"broker_transport_options has global_keyprefix={prefix!r}: a run is sent to queues without it, and would wait for ever",
            "leave it out, and give the application a database of its own",
        )
    if options.get("sep", SEPARATOR) != SEPARATOR or not set(options.get("priority_steps", PRIORITIES)) >= PRIORITIES:
        yield Finding(
            "broker_transport_options has another sep, or other priority_steps: what a run sends would not be found",
            "leave sep out, and have 0, 3, 6 and 9 among the priority_steps",
        )
    accepted: set[str] = prepare_accept_content(app.conf.accept_content)  # type: ignore[no-untyped-call]
    if "application/json" not in accepted:
        yield Finding(
            "accept_content is without json: it would drop every message of a run",
            'accept_content = ["json", …]; its own tasks may keep their serializer',
        )
    try:
        ledger_url(app, settings)
    except ValueError as error:
        yield Finding(
            f"its broker_url, with broker_use_ssl, is none that the ledger can be reached by: {error}",
            "name the same server in RUNNER_BROKER_URL",
        )


def ledger_url(app: Celery, settings: Settings) -> str:
    """Return the URL of the ledger: that of the broker in the settings, or else of the application's broker.

    Raises:
        ValueError: its URL or its TLS options are not supported. The text never shows the password.
    """
    if settings.broker_url:
        return settings.broker_url
    url, tls = str(app.conf.broker_write_url), app.conf.broker_use_ssl
    if tls:
        parts = urlsplit(url)
        more = {name: _as_option(value) for name, value in tls.items()} if isinstance(tls, dict) else {}
        url = urlunsplit(parts._replace(scheme="rediss", query=urlencode(dict(parse_qsl(parts.query)) | more)))
    return celery_url(url)


def _as_option(value: Any) -> str:
    return value.name if isinstance(value, ssl.VerifyMode) else str(value)
