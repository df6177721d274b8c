"""A task's value to the JSON that is stored, and back: every type that Celery's JSON carries is kept.

A datetime, date, time, Decimal, UUID or bytes, and whatever an application has registered with kombu, is stored as kombu
writes it, ``{"__type__": …, "__value__": …}``. A mapping with just these keys, which any web site may return, is stored as
its pairs.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from kombu.utils import json as kombu_json

from runner.errors import RunnerError
from runner.ledger.codec import MARKS, PAIRS, as_text

_SCALARS = frozenset({str, int, float, bool, type(None)})


class UnknownType(RunnerError):
    """A value was stored by a worker that has registered a type which this one has not."""


def encode_value(value: Any) -> str:
    """Return a value as JSON, in ASCII.

    Raises:
        TypeError, ValueError: naming the part that JSON cannot hold: a set, NaN, a key that is not text.
        RecursionError: it is nested too deeply, or contains itself.
    """
    if type(value) not in _SCALARS and _has_imitations(value):
        value = _in_pairs(value)
    return _encoded(value)


def decode_value(text: str) -> Any:
    """Return the value that was encoded.

    Args:
        text: of `encode_value`.

    Raises:
        UnknownType: no module of this process has registered the type of a value.
    """
    return json.loads(text, object_hook=_decoded) if '"__type__"' in text else json.loads(text)


def text_of(value: Any) -> Any:
    """Return the text of a value that JSON does not have: a datetime as ISO 8601, a Decimal or UUID as its `str`.

    For ``json.dumps(…, default=text_of)``.

    Raises:
        TypeError: it has no type that can be stored.
    """
    return as_text(_default(value))


_default: Callable[[Any], Any] = kombu_json.JSONEncoder().default


def _stored(value: Any) -> Any:
    stored = _default(value)
    _has_imitations(stored)  # an object's own `__json__` may have keys that are not text
    return stored


_encoded = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_stored).encode


def _has_imitations(value: Any) -> bool:
    """Whether a mapping in it looks like a stored value; every key is checked on the way.

    Python's encoder converts a key that is a number or null to text, and one of two may be lost: ``{1: …, "1": …}``
    (celery #2703).

    Raises:
        TypeError: a key is not text.
    """
    if isinstance(value, dict):
        _check_keys(value)
        parts: Iterable[Any] = value.values()
        found = value.keys() == MARKS
    elif isinstance(value, list | tuple):
        parts, found = value, False
    else:
        return False
    # The items of a list of numbers, or of a record of texts, need no check one by one.
    if not _SCALARS.issuperset(map(type, parts)):
        for part in parts:
            found = _has_imitations(part) or found
    return found


_TEXT = frozenset({str})


def _check_keys(mapping: dict[Any, Any]) -> None:
    if _TEXT.issuperset(map(type, mapping)):
        return
    for key in mapping:
        if not isinstance(key, str):
            raise TypeError(
                f"the key {key!r:.80} is of type {type(key).__name__}, and a key must be text: use str(key)"
            )
    if len({str.__str__(key) for key in mapping}) < len(mapping):  # subclasses of str may define their own equality
        raise TypeError("two of its keys are the same text")


def _in_pairs(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {key: _in_pairs(part) for key, part in value.items()}
        return {"__type__": PAIRS, "__value__": list(plain.items())} if plain.keys() == MARKS else plain
    return [_in_pairs(part) for part in value] if isinstance(value, list | tuple) else value


def _decoded(mapping: dict[str, Any]) -> Any:
    if mapping.keys() != MARKS:
        return mapping
    if mapping["__type__"] == PAIRS:
        return dict(mapping["__value__"])
    try:
        return kombu_json.object_hook(mapping)
    except ValueError as error:
        message = (
            f"a value of the type {mapping['__type__']!r:.80} cannot be read here: import the module that registers it"
        )
        raise UnknownType(message) from error
