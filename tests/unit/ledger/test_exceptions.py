"""Exceptions whose own code fails, or that are too large, to errors."""

import math
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.ledger import exceptions as raised
from runner.ledger.exceptions import (
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    error_of,
    is_final,
    names_of,
    retry_after,
    traceback_of,
    valid_text,
)
from runner.worker.call import call
from runner.worker.endings import Failure


class TextRaises(Exception):
    def __str__(self) -> str:
        raise KeyError("no such placeholder")


class EverythingRaises(Exception):
    def __str__(self) -> str:
        raise SystemExit

    def __repr__(self) -> str:
        raise GeneratorExit


class StatusRaises(Exception):
    response: Any = None

    @property
    def status_code(self) -> int:
        code: int = self.response.status_code
        return code


class AttributesRaise(Exception):
    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)


class ClassRaises(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("I am nobody")


class TracebackRaises(Exception):
    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no traceback")


class NotText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307 - as it is


class Sly(str):
    """A text that lies about itself."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> str:
        raise IndexError(key)

    def __len__(self) -> int:
        return 0

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise LookupError


class SlyText(Exception):
    def __str__(self) -> str:
        return Sly("what it says")


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise AttributeError("anonymous")


class Anonymous(Exception, metaclass=Nameless):
    pass


class Stop(BaseException):
    pass


def looped() -> Exception:
    """An exception that is in the end its own context."""
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    return first


def noted() -> Exception:
    error = ValueError("with notes")
    error.__notes__ = [object(), "look here"]  # type: ignore[list-item]
    return error


def attempt(error: BaseException) -> Failure:
    def fail() -> NoReturn:
        raise error

    found = call(fail, (), {}, timeout=None, value_limit=1000)
    assert isinstance(found, Failure)
    return found


@pytest.mark.parametrize(
    ("make", "type_", "message"),
    [
        (lambda: TextRaises("x"), "TextRaises", "TextRaises('x') (its str() raised KeyError)"),
        (lambda: EverythingRaises("x"), "EverythingRaises", "EverythingRaises (its str() raised SystemExit)"),
        (lambda: StatusRaises("boom"), "StatusRaises", "boom"),
        (lambda: AttributesRaise("boom"), "AttributesRaise", "boom"),
        (lambda: ClassRaises("boom"), "ClassRaises", "boom"),
        (lambda: TracebackRaises("boom"), "TracebackRaises", "boom"),
        (lambda: NotText("x"), "NotText", "NotText('x') (its str() raised TypeError)"),
        (lambda: SlyText("x"), "SlyText", "what it says"),
        (lambda: Anonymous("boom"), "Exception", "boom"),
        (lambda: Stop("enough"), "Stop", "enough"),
        (lambda: SystemExit("no licence"), "SystemExit", "no licence"),
        (lambda: SystemExit(0), "SystemExit", "0"),
        (KeyboardInterrupt, "KeyboardInterrupt", "KeyboardInterrupt()"),
        (lambda: GeneratorExit("left"), "GeneratorExit", "left"),
        (lambda: MemoryError("too much"), "MemoryError", "too much"),
        (looped, "ValueError", "first"),
        (noted, "ValueError", "with notes"),
        (lambda: ValueError("half \ud83d of a pair"), "ValueError", r"half \ud83d of a pair"),
        (lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), "UnicodeDecodeError", None),
    ],
)
def test_whatever_a_task_raises_is_a_failure_with_all_that_can_be_shown(
    make: Callable[[], BaseException], type_: str, message: str | None
) -> None:
    """Celery #298, weblate #5041: the exception's own code raised, and the step was executed for two minutes."""
    error = attempt(make()).error
    assert error.type == type_
    assert error.message == (message or str(make()))
    (error.type + error.message + error.traceback).encode()  # text that UTF-8, and so the ledger, can carry


def test_the_traceback_ends_as_python_ends_one() -> None:
    lines = attempt(noted()).error.traceback.splitlines()
    assert lines[-2:] == ["ValueError: with notes", "look here"]
    assert "in fail" in lines[0]


def test_a_fault_in_python_text_is_reported_with_its_place() -> None:
    def compile_it() -> None:
        compile("a = (", "made.py", "exec")

    found = call(compile_it, (), {}, timeout=None, value_limit=1000)
    assert isinstance(found, Failure)
    assert "was never closed" in found.error.traceback


def test_the_frames_are_shown_without_their_source_where_a_loader_refuses_it() -> None:
    loader = Mock(get_source=Mock(side_effect=RuntimeError("no source")))
    words = {"__name__": "made_here", "__loader__": loader}
    exec(compile("def fail():\n    raise ValueError('here')\n", "<made here>", "exec"), words)  # noqa: S102 - a frame of its own
    found = call(words["fail"], (), {}, timeout=None, value_limit=1000)  # type: ignore[arg-type]
    assert isinstance(found, Failure)
    assert '"<made here>", line 2, in fail\n' in found.error.traceback
    assert found.error.traceback.endswith("ValueError: here\n")


def test_a_recursion_without_end_is_reported_in_a_few_lines() -> None:
    def again() -> None:
        again()

    found = call(again, (), {}, timeout=None, value_limit=1000)
    assert isinstance(found, Failure)
    assert found.error.type == "RecursionError"
    assert len(found.error.traceback.splitlines()) < 20


def test_thousands_of_frames_are_shown_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raised, "FRAMES", 100)

    def down(left: int) -> int:
        return up(left - 1)

    def up(left: int) -> int:
        return down(left - 1) if left > 0 else 1 // 0

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(5000)
    found = call(down, (3000,), {}, timeout=None, value_limit=1000)
    sys.setrecursionlimit(before)
    assert isinstance(found, Failure)
    assert len(found.error.traceback.splitlines()) < 400
    assert found.error.traceback.endswith("ZeroDivisionError: integer division or modulo by zero\n")


@pytest.mark.parametrize("unit", ["x", "\U0001f4a3", "\ud83d", "\0"])
def test_a_message_is_cut_to_8_kb_and_says_how_much_is_left_out(unit: str) -> None:
    """One of 300 MB took a worker to 6.8 GB, one of 600 MB wrote 2 GB of log."""
    error = attempt(ValueError(unit * 1_000_000)).error
    assert len(error.message.encode()) <= MESSAGE_LIMIT
    assert error.message.endswith(" more characters)")
    assert len(error.traceback.encode()) < 2 * MESSAGE_LIMIT


def test_what_is_left_out_of_a_traceback_is_counted() -> None:
    text = valid_text("x" * 10_000)
    kept = text.count("x")
    assert text == f"{'x' * kept}… ({10_000 - kept:,} more characters)"


def test_a_message_of_an_exception_that_fits_is_not_touched() -> None:
    assert valid_text("ä" * 4096) == "ä" * 4096


def test_a_traceback_is_cut_in_its_middle_and_says_how_much_is_left_out() -> None:
    words: dict[str, Any] = {}
    source = (
        "".join(f"def f{n}(): {'pass;' * 200} f{n + 1}()\n" for n in range(300))
        + "def f300(): raise ValueError('end')\n"
    )
    exec(compile(source, "<many>", "exec"), words)  # noqa: S102 - frames with long lines
    error = attempt_of(words["f0"], source)
    assert len(error.encode()) <= TRACEBACK_LIMIT
    assert "characters left out" in error
    assert "in f0" in error
    assert error.endswith("ValueError: end\n")


def attempt_of(function: Callable[[], object], source: str) -> str:
    """The traceback of what it raises, with its lines of source."""
    import linecache  # noqa: PLC0415 - its cache is what this test fills

    linecache.cache["<many>"] = (len(source), None, source.splitlines(keepends=True), "<many>")
    found = call(function, (), {}, timeout=None, value_limit=1000)
    assert isinstance(found, Failure)
    return found.error.traceback


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (7, 7.0),
        (0.5, 0.5),
        (0, 0.0),
        (math.inf, math.inf),
        (10**400, math.inf),
        (math.nan, None),
        (-1, None),
        (-(10**400), None),
        (True, None),
        ("120", None),
        (object(), None),
        (None, None),
    ],
)
def test_the_seconds_of_retry_after_are_a_number_or_nothing(value: Any, seconds: float | None) -> None:
    error = ValueError("slow down")
    setattr(error, "retry_after", value)  # noqa: B010 - mypy forbids the other way
    assert attempt(error).retry_after == seconds


@pytest.mark.parametrize("value", [True, "429", 10**400, -1, object(), None])
def test_a_status_code_that_is_none_names_nothing(value: Any) -> None:
    error = ValueError("odd")
    setattr(error, "status_code", value)  # noqa: B010 - mypy forbids the other way
    assert not [name for name in attempt(error).names if name.startswith("http_")]


PARTS = ("__str__", "__repr__", "__class__", "__traceback__", "__notes__", "exc")
WORDS = ("status_code", "retry_after", "retryable", "names", "args", "__cause__", "__context__", "__dict__")


@given(
    st.sets(st.sampled_from((*PARTS, *WORDS))),
    st.sampled_from([KeyError("no"), SystemExit(1), GeneratorExit(), RecursionError(), MemoryError(), Stop("no")]),
    st.sampled_from([Exception, BaseException, SyntaxError, OSError]),
)
def test_an_exception_of_which_any_part_raises_is_reported(
    parts: set[str], inner: BaseException, base: type[BaseException]
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise inner

    members = {part: refuse if part in {"__str__", "__repr__"} else property(refuse) for part in parts}
    error = attempt(type("Odd", (base,), members)("boom")).error
    assert error.type == "Odd"
    (error.message + error.traceback).encode()


@given(st.text(st.characters(), max_size=50).map(lambda text: text * 500), st.integers(100, 5000))
def test_text_of_any_characters_is_valid_and_within_its_limit(text: str, limit: int) -> None:
    assert len(valid_text(text, limit).encode()) <= limit


class Items(dict[str, Any]):
    def items(self) -> Any:
        raise KeyError("lazy")


@pytest.mark.parametrize("value", [Items(a=1), [Items(a=1)], type("Odd", (), {})()])
def test_a_value_whose_own_code_raises_is_not_json(value: Any) -> None:
    """A value is code of its author's as well."""
    found = call(lambda: value, (), {}, timeout=None, value_limit=1000)
    assert isinstance(found, Failure)
    assert (found.error.type, found.retryable) == ("NotJSON", False)


def test_the_exceptions_of_these_tests_make_python_itself_raise() -> None:
    """What is done here is not done by the standard library."""
    with pytest.raises(KeyError):
        traceback.format_exception_only(AttributesRaise("boom"))


class Unusable(Exception):
    """What a source's answer may be."""

    retryable = False
    retry_after = 7


def _from_a_cause() -> NoReturn:
    try:
        raise ConnectionRefusedError("port 1 refused")
    except OSError as error:
        raise LookupError("no prices") from error


def _while_another_is_handled() -> NoReturn:
    try:
        raise ConnectionRefusedError("port 1 refused")
    except OSError:
        raise LookupError("no prices")  # noqa: B904 - as many write it


def _in_a_group() -> NoReturn:
    raise ExceptionGroup("several", [LookupError("no prices"), ExceptionGroup("inner", [_raised(_from_a_cause)])])


def _in_a_circle() -> NoReturn:
    first, second = LookupError("first"), LookupError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def _raised(function: Callable[[], NoReturn]) -> Exception:
    try:
        function()
    except Exception as error:  # noqa: BLE001 - any
        return error


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        (
            _from_a_cause,
            ["ConnectionRefusedError: port 1 refused", "direct cause of the following", "LookupError: no prices"],
        ),
        (
            _while_another_is_handled,
            ["ConnectionRefusedError: port 1 refused", "During handling of the above", "LookupError: no prices"],
        ),
        (
            _in_a_group,
            [
                "ExceptionGroup: several (2 sub-exceptions)",
                "  | member 1 of 2:",
                "  | LookupError: no prices",
                "  |   | ConnectionRefusedError: port 1 refused",
                "  |   | LookupError: no prices",
            ],
        ),
        (_in_a_circle, ["LookupError: second", "direct cause of the following", "LookupError: first"]),
    ],
)
def test_a_traceback_has_causes_and_members_in_order(function: Callable[[], NoReturn], parts: list[str]) -> None:
    """distributed#2530: of `raise Unusable(…) from error` the error was lost, and of a TaskGroup all that had failed in it."""
    told = traceback_of(_raised(function))
    places = [told.find(part) for part in parts]
    assert -1 not in places, told
    assert places == sorted(places), told


@pytest.mark.parametrize("function", [_from_a_cause, _in_a_group])
def test_retry_on_sees_causes_and_members(function: Callable[[], NoReturn]) -> None:
    names = names_of(_raised(function))
    assert {"LookupError", "OSError", "ConnectionRefusedError", "builtins.ConnectionRefusedError"} <= names


def test_retry_on_does_not_see_what_was_merely_being_handled() -> None:
    """A KeyError that was handled on the way, as in many libraries, says nothing about what went wrong later."""
    assert "ConnectionRefusedError" not in names_of(_raised(_while_another_is_handled))


@pytest.mark.parametrize(
    ("error", "final", "wait"),
    [
        (ExceptionGroup("all", [LookupError(), Unusable()]), True, 7),
        (ExceptionGroup("all", [LookupError(), TimeoutError()]), False, None),
        (Unusable(), True, 7),
        (LookupError(), False, None),
    ],
    ids=repr,
)
def test_one_member_that_is_final_makes_its_group_final(error: Exception, final: bool, wait: float | None) -> None:  # noqa: FBT001 - a case
    assert (is_final(error), retry_after(error)) == (final, wait)


def test_what_an_exception_says_itself_goes_before_what_its_cause_says() -> None:
    error = LookupError()
    error.__cause__ = Unusable()
    assert is_final(error)
    error.retryable = True  # type: ignore[attr-defined]
    assert not is_final(error)


def test_a_group_says_what_its_members_say() -> None:
    assert error_of(_raised(_in_a_group)).message.startswith(
        "several (2 sub-exceptions): LookupError: no prices; ExceptionGroup: inner"
    )
