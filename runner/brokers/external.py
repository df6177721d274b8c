"""A broker URL to a connection, and to the certainty that what is there may be used."""

from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from runner.settings import celery_url

CONNECT_WITHIN = 2.0  # seconds


def connect(url: str, **options: Any) -> "redis.Redis":
    """A client for any URL that Celery takes; options are those of redis-py, and win.

    A command whose connection breaks is sent again, for about two seconds: the time of a restart. So it may be executed
    twice. One that gets no answer within 10 s is not: the server may be frozen, and others wait.
    """
    url = celery_url(url)
    defaults: dict[str, Any] = {
        "decode_responses": True,
        "socket_connect_timeout": CONNECT_WITHIN,
        "socket_timeout": 10.0,
        "retry": Retry(ExponentialBackoff(cap=1, base=0.05), 5, supported_errors=(redis.ConnectionError,)),
    }
    if url.startswith("redis+socket:"):
        url = url.replace("redis+socket:", "unix:", 1).replace("?virtual_host=", "?db=", 1)
    else:
        defaults["socket_keepalive"] = True
    return redis.Redis.from_url(url, **(defaults | options))


def check(url: str, *, insecure: bool = False) -> None:
    client = connect(url, socket_timeout=CONNECT_WITHIN)
    client.ping()
    client.close()
