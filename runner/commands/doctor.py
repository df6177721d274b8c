"""`doctor`: whether runs can be executed here, and what to do where they cannot."""

import platform
from contextlib import suppress
from importlib.metadata import version
from typing import Any, cast

import click
from redis.exceptions import RedisError

from runner import brokers, options, settings


@click.command
@options.broker_options
def command() -> None:
    """Look at the broker and the workers, and say what is wrong with them.

    Warnings leave the exit code at 0; a broker that cannot be used makes it 4.
    """
    libraries = ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "redis"))
    _say("versions", f"Python {platform.python_version()}, {libraries}")
    chosen = settings.read()
    with brokers.open(chosen) as broker:
        _say("broker", f"a private Valkey in {chosen.state_dir}" if broker.embedded else settings.masked(broker.url))
        with suppress(RedisError), brokers.connect(broker.url) as client:  # `warnings` says if INFO is denied
            _say("server", _server(cast("dict[str, Any]", client.info())))
        for warning in brokers.warnings(broker.url):
            _say("warning", warning)
        from runner.celery_app import app  # noqa: PLC0415 - 0.4 s, after what may fail at once

        workers = sorted(name for answer in app.control.ping(timeout=1) for name in answer)
    if workers:
        _say("workers", ", ".join(workers))
    elif broker.embedded:
        _say("workers", "none; `python -m runner run` brings its own")
    else:
        _say("warning", "no worker answers: a run would wait for one (start `python -m runner worker`)")


def _server(info: dict[str, Any]) -> str:
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    return f"{name}, append-only file {'on' if info['aof_enabled'] else 'off'}"


def _say(what: str, words: str) -> None:
    click.echo(f"{what + ':':<10}{words}")
