"""Messages that no worker can read: ten kinds of them, and other kinds of the same."""

import base64
import json
import pickle
import uuid
from collections.abc import Mapping
from typing import Any

QUEUE = "celery"


def body(*args: Any) -> bytes:
    return json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()


def envelope(content: bytes, **changes: Any) -> dict[str, Any]:
    """A message as kombu writes it, for a task of ours, but for what is changed."""
    name = str(uuid.uuid4())
    headers: dict[str, Any] = {
        "lang": "py",
        "task": "runner.collect",
        "id": name,
        "root_id": name,
        "parent_id": None,
        "group": None,
    }
    headers |= {"retries": 0, "timelimit": [None, None], "eta": None, "expires": None, "argsrepr": "()"}
    return {
        "body": base64.b64encode(content).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "correlation_id": name,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": name,
        },
    } | changes


def without(envelope: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in envelope.items() if name != key}


WELL_FORMED = envelope(body("none-22222222", ["a"]))
DEEP = b"[" * 100_000 + b"]" * 100_000
PICKLE = {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
HOSTILE = {
    "pickle content": json.dumps(envelope(pickle.dumps(((), {}, {})), **PICKLE)).encode(),
    "bad JSON body": json.dumps(envelope(b'[["a", ')).encode(),
    "no headers": json.dumps(without(WELL_FORMED, "headers")).encode(),
    "wrong args": json.dumps(envelope(body("none-22222222", [1], "more"))).encode(),
    "deep JSON": DEEP,
    "no body": json.dumps(without(WELL_FORMED, "body")).encode(),
    "wrong body shape": json.dumps(envelope(b"[1, 2]")).encode(),
    "non-JSON envelope": b"hello {",
    "JSON list": b"[1,  2]",
    "binary": bytes(range(256)),
}
# As the ten, in another way: each is met by other code of Celery's or ours.
OTHERS = {
    "pickle of a list": json.dumps(envelope(pickle.dumps([]), **{"content-type": PICKLE["content-type"]})).encode(),
    "bad JSON in the middle": json.dumps(envelope(b"[[1, ")).encode(),
    "wrong keywords": json.dumps(envelope(b'[[1, 2, 3, 4], {"x": 5}, {}]')).encode(),
    "deep JSON in the body": json.dumps(envelope(DEEP)).encode(),
    "a mapping for a body": json.dumps(envelope(b'{"not": "a task"}')).encode(),
    "a sentence": b"this is { no JSON",
}
