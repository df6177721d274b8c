"""Values of tasks to the JSON that is stored, and back."""

import enum
import json
import math
import subprocess
import sys
from collections import Counter, OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from runner.ledger import codec
from runner.ledger.values import UnknownType, decode_value, encode_value, text_of

AT = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))


class Colour(enum.StrEnum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


class Money:
    """A type of an application's own."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]


class Keyed(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 1, 2, 3, 4, 5),  # noqa: DTZ001 - without a zone, as many applications have it
        AT,
        date(2024, 1, 2),
        time(3, 4, 5),
        Decimal("1.10"),
        UUID(int=7),
        b"text",
        b"\xff\x00",
    ],
    ids=lambda value: f"{type(value).__name__} {value}",
)
def test_a_value_that_celerys_json_carries_comes_back_as_what_it_was(value: Any) -> None:
    """Django tasks return datetimes and Decimals, and Celery's own serializer carries them: here they were refused."""
    carried = {"deep": [{"one": value}], "two": value}
    assert decode_value(encode_value(carried)) == carried
    assert type(decode_value(encode_value(value))) is type(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (AT, "2024-01-02T03:04:05.678901+02:00"),
        (date(2024, 1, 2), "2024-01-02"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (b"text", "text"),
        (b"\xff\x00", "/wA="),
    ],
    ids=str,
)
def test_a_value_that_json_lacks_is_shown_as_text(value: Any, text: str) -> None:
    assert codec.shown(encode_value([{"a": value}])) == [{"a": text}]
    assert text_of(value) == text


def test_a_type_that_an_application_has_registered_is_carried_and_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kombu_json, "_encoders", dict(kombu_json._encoders))
    monkeypatch.setattr(kombu_json, "_decoders", dict(kombu_json._decoders))
    kombu_json.register_type(Money, "money", lambda money: {"cents": money.cents}, lambda stored: Money(**stored))
    stored = encode_value([Money(110)])
    assert decode_value(stored) == [Money(110)]
    assert codec.shown(stored) == [{"cents": 110}]
    monkeypatch.undo()
    with pytest.raises(UnknownType, match="a value of the type 'money' cannot be read here"):
        decode_value(stored)


@pytest.mark.parametrize(
    "imitation",
    [
        {"__type__": "datetime", "__value__": "no date"},
        {"__type__": "os.system", "__value__": ["id"]},
        {"__type__": "pairs", "__value__": [["a", 1]]},
        {"__type__": {"a": 1}, "__value__": {"__type__": "uuid", "__value__": {"hex": "x"}}},
        {"__type__": "bytes"},
        {"__type__": "bytes", "__value__": "x", "more": 1},
    ],
    ids=str,
)
def test_a_mapping_that_looks_like_a_stored_value_stays_a_mapping(imitation: Any) -> None:
    """What `http.get` returns may be anything; kombu's JSON would take it for what it says it is, or fail to read it."""
    value = {"answer": [imitation, AT]}
    assert decode_value(encode_value(value)) == value
    assert codec.shown(encode_value([imitation])) == [imitation]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({1: "a", "1": "b"}, "1 is of type int"),
        ({None: 1, "null": 2}, "None is of type NoneType"),
        ([{"deep": [{True: 1}]}], "True is of type bool"),
        ({"rows": ({1.5: 1},)}, "1.5 is of type float"),
        ({"by": Counter([1, 1])}, "1 is of type int"),
        ({math.nan: 1}, "nan is of type float"),
        ({(1, 2): 1}, r"\(1, 2\) is of type tuple"),
    ],
    ids=str,
)
def test_a_key_of_a_value_that_is_not_text_is_refused_wherever_it_is(value: Any, key: str) -> None:
    """Celery #2703: of `{1: "a", "1": "b"}` one value was lost, silently."""
    with pytest.raises(TypeError, match=f"the key {key}, and a key must be text"):
        encode_value(value)


def test_two_keys_of_a_value_with_one_text_are_refused() -> None:
    with pytest.raises(TypeError, match="two of its keys are the same text"):
        encode_value({Keyed("a"): 1, Keyed("a"): 2})


def test_an_object_with_a_json_of_its_own_may_not_lose_a_key_either() -> None:
    class Told:
        def __json__(self) -> Any:
            return {1: "a", "1": "b"}

    with pytest.raises(TypeError, match="a key must be text"):
        encode_value([Told()])


@pytest.mark.parametrize(
    ("value", "json_text"),
    [
        (Point(1, 2), "[1,2]"),
        ({Colour.RED: Colour.RED}, '{"red":"red"}'),
        (OrderedDict(b=1, a=(1, 2)), '{"b":1,"a":[1,2]}'),
        ("a\ud800é", '"a\\ud800\\u00e9"'),
    ],
    ids=str,
)
def test_a_value_that_python_takes_for_json_is_stored_as_json(value: Any, json_text: str) -> None:
    assert encode_value(value) == json_text


@pytest.mark.parametrize("value", [{1, 2}, [math.nan], object(), [timedelta(1)]])
def test_a_value_that_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_value(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append({"again": value})
    with pytest.raises((RecursionError, ValueError)):
        encode_value(value)


_KEYS = st.sampled_from(["__type__", "__value__", "datetime", "bytes", "a", "hex", "é"]) | st.text(max_size=3)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["pairs", "uuid", "decimal"])
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC))
)
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner), max_leaves=20)


@given(_VALUES)
def test_any_value_that_is_stored_comes_back_as_what_it_was(value: Any) -> None:
    assert decode_value(encode_value(value)) == value


@given(_VALUES)
def test_any_value_is_shown_as_json_alone(value: Any) -> None:
    shown = codec.shown(encode_value(value))
    assert json.loads(json.dumps(shown)) == shown


def test_showing_values_imports_no_celery() -> None:
    code = "import sys, runner.ledger.codec; print(sorted({'celery', 'kombu'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "[]\n"
