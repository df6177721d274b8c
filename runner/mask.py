"""A plan's secrets, and anything that is to be shown, to the same without them."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from runner.plan import Plan

MASK = "***"
# A shorter secret is masked only where it is the whole value: "42" or "no" stand in too many texts by chance.
_SHORTEST = 4

Value = TypeVar("Value")


def inputs(plan: Plan) -> dict[str, Any]:
    """The plan's inputs by name, those that are secret as ``***``."""
    return {name: MASK if name in plan.secrets else value for name, value in plan.inputs.items()}


def mask(value: Value, plan: Plan) -> Value:
    """Any JSON value or text, every secret in it replaced by ``***``.

    A secret is also found as it stands in a URL, in JSON and in a Python representation. Found it must be: what a task
    makes of a secret (its upper case, its hash) is not.
    """
    secrets = [plan.inputs[name] for name in plan.secrets if name in plan.inputs]
    leaves = [leaf for secret in secrets for leaf in _leaves(secret)]
    masked: Value = _mask(value, leaves, _written(tuple(map(str, leaves)))) if leaves else value
    return masked


def name(step_id: str, plan: Plan) -> str:
    """A step's id as it may be shown: that of an item has its key, which may be made of a secret."""
    return mask(step_id, plan) if "[" in step_id else step_id


def _mask(value: Any, leaves: list[Any], written: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {_mask(key, leaves, written): _mask(each, leaves, written) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_mask(each, leaves, written) for each in value]
    if any(value == leaf and type(value) is type(leaf) for leaf in leaves):
        return MASK
    if isinstance(value, str):
        for secret in written:
            value = value.replace(secret, MASK)
    return value


def _leaves(secret: Any) -> Iterator[Any]:
    """The texts and numbers of a secret; null and booleans tell nothing, and masking them would mask too much."""
    if isinstance(secret, Mapping):
        secret = list(secret.values())
    if isinstance(secret, list | tuple):
        for each in secret:
            yield from _leaves(each)
    elif secret is not None and secret != "" and not isinstance(secret, bool):
        yield secret


@lru_cache(maxsize=16)
def _written(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Every way in which the secrets are written inside a text, the longest first: one may be part of another."""
    ways = {
        way
        for secret in secrets
        if len(secret) >= _SHORTEST
        for way in (
            secret,
            repr(secret)[1:-1],
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            quote(secret),
            quote(secret, safe=""),
            quote_plus(secret),
        )
    }
    return tuple(sorted(ways, key=len, reverse=True))
