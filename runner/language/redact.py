"""A plan's secrets and a value to show, to that value without the secrets."""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from html import escape
from typing import Any, TypeVar

from runner.language.ids import is_item
from runner.language.plan import Plan
from runner.text import printable

MASK = "***"
# A shorter secret is redacted only where it is the whole value: "42" or "no" stand in too many texts by chance.
_SHORTEST = 4

Value = TypeVar("Value")


def redact_inputs(plan: Plan) -> dict[str, Any]:
    """Return the plan's inputs by name, the secret ones as ``***``."""
    return {name: MASK if name in plan.secrets else value for name, value in plan.inputs.items()}


def redact(value: Value, plan: Plan) -> Value:
    """Replace every secret in a JSON value or a text by ``***``.

    A secret is also found percent-encoded, in JSON, HTML and a Python representation, with any of its characters escaped or
    not; in Base64; and each line of it alone. A value that a task derives from a secret (its upper case, its hash) is not
    recognized.
    """
    secrets = [plan.inputs[name] for name in plan.secrets if name in plan.inputs]
    leaves = [leaf for secret in secrets for leaf in _leaves(secret)]
    redacted: Value = _redacted(value, leaves, _pattern(tuple(map(str, leaves)))) if leaves else value
    return redacted


def hide(text: str, secrets: Iterable[str]) -> str:
    """Replace every one of the secrets in a text by ``***``, in all the encodings of `redact`."""
    pattern = _pattern(tuple(secrets))
    return pattern.sub(MASK, text) if pattern else text


def redact_line(text: str, plan: Plan) -> str:
    """Return a text for a log or a message: without secrets, and on one line without control characters."""
    return printable(redact(text, plan))


def redact_id(step_id: str, plan: Plan) -> str:
    """Return a step's id to show: that of an item has its key, which may be made of a secret."""
    return redact(step_id, plan) if is_item(step_id) else step_id


def _redacted(value: Any, leaves: list[Any], secret: re.Pattern[str] | None) -> Any:
    if isinstance(value, Mapping):
        return {_redacted(key, leaves, secret): _redacted(each, leaves, secret) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each, leaves, secret) for each in value]
    if any(value == leaf and type(value) is type(leaf) for leaf in leaves):
        return MASK
    return secret.sub(MASK, value) if secret and isinstance(value, str) else value


def _leaves(secret: Any) -> Iterator[Any]:
    """Yield the texts and numbers of a secret; null and booleans reveal nothing, and to redact them would redact too much."""
    if isinstance(secret, Mapping):
        secret = list(secret.values())
    if isinstance(secret, list | tuple):
        for each in secret:
            yield from _leaves(each)
    elif secret is not None and secret != "" and not isinstance(secret, bool):
        yield secret


@lru_cache(maxsize=16)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return a pattern for all encodings of the secrets inside a text, the longest first: one may be part of another."""
    lines = {line.strip() for secret in secrets for line in secret.splitlines()}
    whole = sorted((each for each in {*secrets, *lines} if len(each) >= _SHORTEST), key=len, reverse=True)
    ways = [
        *("".join(map(_ways, re.findall(r"\\+|[^\\]", each))) for each in whole),  # defence: ENCODED
        *(way for each in whole for way in _base64(each)),
    ]
    return re.compile("|".join(ways)) if ways else None


@lru_cache(maxsize=256)
def _ways(char: str) -> str:
    """Return a pattern for a character, as itself or escaped. No list of encoders: httpx, curl and browsers escape different ones.

    Each time that a text is quoted again, its backslashes double; twice is as far as we go, so that the search stays linear.
    """
    if char.isascii() and char.isalnum():
        return char
    if char[0] == "\\":  # a row of them
        return rf"(?:\\{{{len(char)},{4 * len(char)}}}|(?i:(?:%(?:25)*5c|&#(?:0*92|x0*5c);|\\u005c){{{len(char)}}}))"
    utf8, utf16 = char.encode("utf-8", "surrogatepass"), char.encode("utf-16-be", "surrogatepass")
    percent = "".join(f"%(?:25)*{byte:02x}" for byte in utf8)  # %25 is "%": a URL within a URL is encoded twice
    number = f"&#(?:0*{ord(char)}|x0*{ord(char):x});"
    unicode = "".join(rf"\\{{1,4}}u{unit}" for unit in re.findall("....", utf16.hex()))
    names = {repr(char)[1:-1], json.dumps(char)[1:-1], char.encode("unicode_escape").decode()}
    escaped = [rf"\\{{1,4}}{re.escape(each[1:])}" for each in sorted(names) if len(each) > 1 and each[0] == "\\"]
    plain = [re.escape(escape(char)), rf"\\{{0,4}}{re.escape(char)}", *([r"\+"] if char == " " else [])]
    # The longest first: "%" stands at the beginning of "%25", too.
    return f"(?:(?i:{percent}|{number}|{unicode})|{'|'.join([*escaped, *plain])})"


def _base64(secret: str) -> Iterator[str]:
    """Yield the parts of a secret's Base64 that do not depend on the text around it, as in a header of basic authentication."""
    content = secret.encode("utf-8", "surrogatepass")
    for before in range(3):
        bits = 8 * (before + len(content))
        known = base64.b64encode(b"\0" * before + content).decode()[-(-8 * before // 6) : bits // 6]
        if len(known) >= 2 * _SHORTEST:
            yield re.escape(known).replace(r"\+", "[+-]").replace("/", "[/_]")
