"""An exception, whatever it is, to what can be recorded of it. Nothing here raises: it is called where a task has failed.

An exception is code of its author's: its text, its attributes and even the name of its class may be computed, and the
computation may fail (celery #298, weblate #5041). What cannot be found out is left out.
"""

import math
import operator
import re
import traceback as tracebacks
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from runner.ledger.entries import Error

Thing = TypeVar("Thing")

# Bytes of UTF-8. A message of 300 MB made a worker's memory 6.8 GB, as it is copied wherever it is recorded and shown.
MESSAGE_LIMIT = 8 * 1024
TRACEBACK_LIMIT = 64 * 1024
NAME_LIMIT = 200
FAMILY = 100  # causes and members of a group that are read of one exception
MEMBERS = 20  # of a group whose tracebacks are told
FRAMES = 2000  # that are read of a traceback: a recursion may have been allowed a million

_SURROGATES = re.compile("[\ud800-\udfff]")  # halves of a pair: no text that UTF-8 can carry, and no JSON to Lua
_OURS = {str(Path(__file__).parents[1] / "worker" / name) for name in ("call.py", "step_task.py")}
_CELERY = str(Path("celery", "app", "task.py"))


def error(raised: BaseException) -> Error:
    """Its class, its message and the frames of the user's code, within their limits."""
    return Error(class_name(raised), _message_with_members(raised), traceback(raised))


def class_name(raised: BaseException) -> str:
    return name_of(type(raised)) or "Exception"


def name_of(cls: type) -> str:
    """A class's name; empty if it cannot be told."""
    return _asked(lambda: valid(cls.__name__, NAME_LIMIT))[0] or ""


def message(raised: BaseException) -> str:
    """What it says; where it says nothing or cannot, how it is written."""
    told, failed = _asked(lambda: valid(str(raised)))
    if told:
        return told
    written = _asked(lambda: valid(repr(raised)))[0] or class_name(raised)
    return f"{written} (str() of it raised {class_name(failed)})" if failed else written


def valid(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text with half a surrogate pair escaped, cut to its limit; what is left out is counted.

    Args:
        limit: bytes of UTF-8.
    """
    text = str.__str__(text)  # of a class derived from str, whose methods may do anything
    begin = _SURROGATES.sub(_escaped, text[:limit])  # defence: VALID
    data = begin.encode()
    if len(text) <= limit and len(data) <= limit:
        return begin
    kept = data[: limit - 40].decode(errors="ignore")
    left = len(text) - len(text[:limit]) + len(begin) - len(kept)
    return f"{kept}… ({left:,} more characters)"


def traceback(raised: BaseException) -> str:
    """The frames of the user's task, and the exception: frames of ours and of Celery's say nothing to its author.

    As Python does, it tells what an exception was raised from, or while which other was handled, and the members of a
    group. Empty where there is none: what was raised by us, before the task began.
    """
    text = _with_its_causes(raised, set())
    return _cut_middle(text, TRACEBACK_LIMIT) if text else ""


def names(raised: BaseException) -> frozenset[str]:
    """What it, what it was raised from, and the members of a group may be called.

    Each is called by its classes, with and without their modules, ``http_…``, and what its attribute ``names`` has.
    """
    return frozenset().union(*map(_names, _family(raised)))


def says_final(raised: BaseException) -> bool:
    """Whether it says that trying again cannot help, or, where it says nothing, the next that does of those it comes of.

    Of a group, one member is enough: all of them are tried again together.
    """
    return _says_final(raised, set()) or False


def wait(raised: BaseException) -> float | None:
    """Seconds before which trying again cannot help: the longest that it, its members or its causes say."""
    said = [seconds(attribute(each, "retry_after")) for each in _family(raised)]
    return max((each for each in said if each is not None), default=None)


def seconds(value: Any) -> float | None:
    """A number of seconds that an exception says to wait; None if it is none, is negative, or is not a number."""
    return _asked(lambda: _seconds(value))[0]


def attribute(raised: BaseException, name: str) -> Any:
    """An attribute of it; None if it has none, or none that can be read."""
    return _asked(lambda: getattr(raised, name, None))[0]


def _message_with_members(raised: BaseException) -> str:
    """Of a group, also what its first members say: "unhandled errors in a TaskGroup" says nothing."""
    members = _members(raised)
    if not members:
        return message(raised)
    told = [f"{class_name(each)}: {message(each)}" for each in members[:3]]
    return valid(f"{message(raised)}: {'; '.join(told)}{'; …' if len(members) > 3 else ''}")


def _names(raised: BaseException) -> set[str]:
    classes = _asked(lambda: type(raised).__mro__)[0] or ()
    found = {name for cls in classes if (name := name_of(cls))} - {"object", "BaseException"}
    found |= {name for cls in classes if (name := _qualified(cls))}
    for ask in (lambda: _statuses(attribute(raised, "status_code")), lambda: _own(attribute(raised, "names"))):
        found |= _asked(ask)[0] or set()
    return found


def _family(raised: BaseException) -> list[BaseException]:
    """It, its members, what it was raised from, and theirs; each once."""
    family: dict[int, BaseException] = {}
    left = [raised]
    while left and len(family) < FAMILY:
        each = left.pop(0)
        if id(each) not in family:
            family[id(each)] = each
            left += [*_members(each), *filter(None, [_cause(each)])]
    return list(family.values())


def _members(raised: BaseException) -> tuple[BaseException, ...]:
    if not issubclass(type(raised), BaseExceptionGroup):
        return ()
    members = attribute(raised, "exceptions")
    return tuple(each for each in members if issubclass(type(each), BaseException)) if type(members) is tuple else ()


def _cause(raised: BaseException) -> BaseException | None:
    """What it was raised from, explicitly: what was merely being handled says nothing about it."""
    cause = attribute(raised, "__cause__")
    return cause if issubclass(type(cause), BaseException) else None


def _says_final(raised: BaseException, seen: set[int]) -> bool | None:
    if id(raised) in seen or len(seen) > FAMILY:
        return None
    seen.add(id(raised))
    own = attribute(raised, "retryable")
    if own is not None:
        return own is False
    if members := _members(raised):
        return any(_says_final(each, seen) for each in members)
    cause = _cause(raised)
    return None if cause is None else _says_final(cause, seen)


def _asked(ask: Callable[[], Thing]) -> tuple[Thing | None, BaseException | None]:
    """What there is, or why it cannot be found out."""
    try:
        return ask(), None
    except BaseException as failed:  # noqa: BLE001 - what is asked is the user's code, and the answer no part of the step
        return None, failed


def _statuses(code: Any) -> set[str]:
    number = operator.index(code)
    return {f"http_{number}", f"http_{number // 100}xx"} if 100 <= number <= 999 else set()


def _own(given: Any) -> set[str]:
    several = given if isinstance(given, list | tuple | set | frozenset) else ()
    return {valid(name, NAME_LIMIT) for name in several if isinstance(name, str)}


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf if value > 0 else -math.inf
    return number if number >= 0 else None


def _qualified(cls: type) -> str:
    return _asked(lambda: valid(f"{cls.__module__}.{cls.__qualname__}", NAME_LIMIT))[0] or ""


_FROM = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING = "\nDuring handling of the above exception, another exception occurred:\n\n"


def _with_its_causes(raised: BaseException, seen: set[int]) -> str:
    """What it came of first, as Python tells it; each exception is told once."""
    parts: list[str] = []
    each: BaseException | None = raised
    while each is not None and id(each) not in seen and len(seen) < FAMILY:
        seen.add(id(each))
        parts.append(_alone(each, seen))
        cause, context = _cause(each), attribute(each, "__context__")
        hidden = attribute(each, "__suppress_context__")
        following = cause or (context if not hidden and issubclass(type(context), BaseException) else None)
        if following is not None and id(following) not in seen:
            parts.append(_FROM if cause is not None else _DURING)
        each = following
    return "".join(reversed(parts))


def _alone(raised: BaseException, seen: set[int]) -> str:
    """Its frames, what it says, and its members."""
    stack = _asked(lambda: list(_frames(raised)))[0] or []
    members = _members(raised)
    if not stack and not members and not seen - {id(raised)}:
        return ""  # of ours, and all there is
    lines = _asked(lambda: _formatted(stack))[0] or "".join(_bare(*each) for each in stack)
    lines += _last_lines(raised)
    for number, member in enumerate(members[:MEMBERS], start=1):
        told = _with_its_causes(member, seen).splitlines()
        lines += f"  | member {number} of {len(members)}:\n" + "".join(f"  | {line}\n" for line in told)
    left = len(members) - MEMBERS
    return lines + (f"  | … and {left} more\n" if left > 0 else "")


def _frames(raised: BaseException) -> Iterator[tuple[FrameType, int]]:
    """The frames below the last of ours, the first and the last of them if they are too many."""
    stack = list(tracebacks.walk_tb(raised.__traceback__))
    ours = [at for at, (frame, _) in enumerate(stack) if _is_ours(frame.f_code.co_filename)]
    kept = stack[ours[-1] + 1 :] if ours else stack
    if len(kept) <= FRAMES:
        yield from kept
    else:
        yield from kept[: FRAMES // 2]
        yield from kept[-FRAMES // 2 :]


def _is_ours(file: str) -> bool:
    return file in _OURS or file.endswith(_CELERY)


def _formatted(stack: list[tuple[FrameType, int]]) -> str:
    return "".join(tracebacks.StackSummary.extract(iter(stack)).format())


def _bare(frame: FrameType, line: int) -> str:
    """A frame without its line of source, which a loader of its own may refuse to tell."""
    return f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}\n'


def _last_lines(raised: BaseException) -> str:
    """As Python ends a traceback; made here, as Python's own copies a message of any size, and trusts every attribute."""
    said = message(raised)
    if issubclass(type(raised), SyntaxError):  # where in its text the fault is
        said = _asked(lambda: "".join(tracebacks.format_exception_only(raised)).partition(": ")[2])[0] or said
    name = _qualified(type(raised)).removeprefix("builtins.").removeprefix("__main__.") or class_name(raised)
    notes = attribute(raised, "__notes__")
    lines = [f"{name}: {said}" if said else name]
    lines += [valid(note) for note in (notes if type(notes) is list else []) if type(note) is str]
    return "\n".join(lines).rstrip("\n") + "\n"


def _cut_middle(text: str, limit: int) -> str:
    """A traceback's two ends: where the task began, and where it failed, which says more."""
    text = _SURROGATES.sub(_escaped, text)
    data = text.encode()
    if len(data) <= limit:
        return text
    begin = data[: limit // 4].decode(errors="ignore")
    end = data[-(limit - limit // 4 - 60) :].decode(errors="ignore")
    return f"{begin}\n… {len(text) - len(begin) - len(end):,} characters left out …\n{end}"


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
