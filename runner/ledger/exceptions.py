"""Any exception to an `Error` that can be recorded. No function here raises: they are called where a task has failed.

An exception is its author's code: its text, its attributes and even the name of its class may be computed, and the
computation may fail (celery #298, weblate #5041). What cannot be computed is left out.
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
FAMILY = 100  # exceptions that are read for one: itself, its causes, and the members of groups
MEMBERS = 20  # tracebacks that are recorded of a group
FRAMES = 2000  # read of a traceback: the recursion limit may be a million

_SURROGATES = re.compile("[\ud800-\udfff]")  # halves of a pair: UTF-8 cannot encode them, and Lua refuses them in JSON
_OURS = {str(Path(__file__).parents[1] / "worker" / name) for name in ("call.py", "step_task.py")}
_CELERY = str(Path("celery", "app", "task.py"))


def error_of(raised: BaseException) -> Error:
    """Return its class, its message and the frames of the user's code, within their limits."""
    return Error(class_name(raised), _message_with_members(raised), traceback_of(raised))


def class_name(raised: BaseException) -> str:
    """Return the name of its class; ``Exception`` if it cannot be read."""
    return name_of_class(type(raised)) or "Exception"


def name_of_class(cls: type) -> str:
    """Return a class's name; empty if it cannot be read."""
    return _asked(lambda: valid_text(cls.__name__, NAME_LIMIT))[0] or ""


def message_of(raised: BaseException) -> str:
    """Return its text; its `repr` where the text is empty or cannot be computed."""
    text, error = _asked(lambda: valid_text(str(raised)))
    if text:
        return text
    text = _asked(lambda: valid_text(repr(raised)))[0] or class_name(raised)
    return f"{text} (its str() raised {class_name(error)})" if error else text


def valid_text(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return text that UTF-8 can encode, within a limit.

    Args:
        text: any, also with halves of surrogate pairs, which are escaped.
        limit: bytes of UTF-8; a longer text is cut, and ends with the number of characters left out.
    """
    text = str.__str__(text)  # a subclass of str may override any method
    begin = _SURROGATES.sub(_escaped, text[:limit])  # defence: VALID
    data = begin.encode()
    if len(text) <= limit and len(data) <= limit:
        return begin
    kept = data[: limit - 40].decode(errors="ignore")
    left = len(text) - len(text[:limit]) + len(begin) - len(kept)
    return f"{kept}… ({left:,} more characters)"


def traceback_of(raised: BaseException) -> str:
    """Return the traceback from the user's task on: frames of this package and of Celery do not help its author.

    As Python's, it includes the exceptions that it was raised from, or during whose handling it was raised, and the members
    of a group. Empty where the task has no frame in it: the exception was raised before the task was called.
    """
    text = _with_its_causes(raised, set())
    return _cut_middle(text, TRACEBACK_LIMIT) if text else ""


def names_of(raised: BaseException) -> frozenset[str]:
    """Return the names that `retry.on` may use for it, for its explicit causes, and for the members of a group.

    They are each class of its MRO, with and without the module, ``http_…`` for its ``status_code``, and its attribute ``names``.
    """
    return frozenset().union(*map(_names, _family(raised)))


def is_final(raised: BaseException) -> bool:
    """Whether a retry cannot help: its attribute ``retryable`` is False, or, if it has none, that of its nearest cause.

    One such member of a group is enough, as all members are retried together.
    """
    return _says_final(raised, set()) or False


def retry_after(raised: BaseException) -> float | None:
    """Return the seconds before which a retry cannot help: the longest ``retry_after`` of it, its members and its causes."""
    waits = [seconds_of(attribute_of(each, "retry_after")) for each in _family(raised)]
    return max((each for each in waits if each is not None), default=None)


def seconds_of(value: Any) -> float | None:
    """Return a value as a number of seconds; None if it is no number, is negative or is NaN."""
    return _asked(lambda: _seconds(value))[0]


def attribute_of(raised: BaseException, name: str) -> Any:
    """Return an attribute of it; None if it has none, or cannot compute it."""
    return _asked(lambda: getattr(raised, name, None))[0]


def _message_with_members(raised: BaseException) -> str:
    """Add the messages of a group's first members: "unhandled errors in a TaskGroup" does not help."""
    members = _members(raised)
    if not members:
        return message_of(raised)
    messages = [f"{class_name(each)}: {message_of(each)}" for each in members[:3]]
    return valid_text(f"{message_of(raised)}: {'; '.join(messages)}{'; …' if len(members) > 3 else ''}")


def _names(raised: BaseException) -> set[str]:
    classes = _asked(lambda: type(raised).__mro__)[0] or ()
    found = {name for cls in classes if (name := name_of_class(cls))} - {"object", "BaseException"}
    found |= {name for cls in classes if (name := _qualified(cls))}
    for ask in (lambda: _statuses(attribute_of(raised, "status_code")), lambda: _own(attribute_of(raised, "names"))):
        found |= _asked(ask)[0] or set()
    return found


def _family(raised: BaseException) -> list[BaseException]:
    """Return it, its members, its explicit cause, and theirs; each once."""
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
    members = attribute_of(raised, "exceptions")
    return tuple(each for each in members if issubclass(type(each), BaseException)) if type(members) is tuple else ()


def _cause(raised: BaseException) -> BaseException | None:
    """Return what it was raised from explicitly; an exception that was only being handled says nothing about it."""
    cause = attribute_of(raised, "__cause__")
    return cause if issubclass(type(cause), BaseException) else None


def _says_final(raised: BaseException, seen: set[int]) -> bool | None:
    if id(raised) in seen or len(seen) > FAMILY:
        return None
    seen.add(id(raised))
    own = attribute_of(raised, "retryable")
    if own is not None:
        return own is False
    if members := _members(raised):
        return any(_says_final(each, seen) for each in members)
    cause = _cause(raised)
    return None if cause is None else _says_final(cause, seen)


def _asked(ask: Callable[[], Thing]) -> tuple[Thing | None, BaseException | None]:
    """Return the result and None, or None and the exception that it raised."""
    try:
        return ask(), None
    except BaseException as error:  # noqa: BLE001 - code of an exception's author, which the step does not depend on
        return None, error


def _statuses(code: Any) -> set[str]:
    number = operator.index(code)
    return {f"http_{number}", f"http_{number // 100}xx"} if 100 <= number <= 999 else set()


def _own(names: Any) -> set[str]:
    strings = names if isinstance(names, list | tuple | set | frozenset) else ()
    return {valid_text(name, NAME_LIMIT) for name in strings if isinstance(name, str)}


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf if value > 0 else -math.inf
    return number if number >= 0 else None


def _qualified(cls: type) -> str:
    return _asked(lambda: valid_text(f"{cls.__module__}.{cls.__qualname__}", NAME_LIMIT))[0] or ""


_FROM = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING = "\nDuring handling of the above exception, another exception occurred:\n\n"


def _with_its_causes(raised: BaseException, seen: set[int]) -> str:
    """Format it after its causes, as Python does; each exception once."""
    parts: list[str] = []
    each: BaseException | None = raised
    while each is not None and id(each) not in seen and len(seen) < FAMILY:
        seen.add(id(each))
        parts.append(_alone(each, seen))
        cause, context = _cause(each), attribute_of(each, "__context__")
        hidden = attribute_of(each, "__suppress_context__")
        following = cause or (context if not hidden and issubclass(type(context), BaseException) else None)
        if following is not None and id(following) not in seen:
            parts.append(_FROM if cause is not None else _DURING)
        each = following
    return "".join(reversed(parts))


def _alone(raised: BaseException, seen: set[int]) -> str:
    """Format its frames, its message and its members, without its causes."""
    stack = _asked(lambda: list(_frames(raised)))[0] or []
    members = _members(raised)
    if not stack and not members and not seen - {id(raised)}:
        return ""  # raised by this package, and without a cause
    lines = _asked(lambda: _formatted(stack))[0] or "".join(_bare(*each) for each in stack)
    lines += _last_lines(raised)
    for number, member in enumerate(members[:MEMBERS], start=1):
        text = _with_its_causes(member, seen)
        lines += f"  | member {number} of {len(members)}:\n" + "".join(f"  | {line}\n" for line in text.splitlines())
    left = len(members) - MEMBERS
    return lines + (f"  | … and {left} more\n" if left > 0 else "")


def _frames(raised: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames after the last of this package; the first and the last of them if there are too many."""
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
    """Format a frame without its line of source, which a loader of the user's may fail to return."""
    return f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}\n'


def _last_lines(raised: BaseException) -> str:
    """Format the end of a traceback; Python's own function copies a message of any size, and trusts every attribute."""
    text = message_of(raised)
    if issubclass(type(raised), SyntaxError):  # with the line of source at fault
        text = _asked(lambda: "".join(tracebacks.format_exception_only(raised)).partition(": ")[2])[0] or text
    name = _qualified(type(raised)).removeprefix("builtins.").removeprefix("__main__.") or class_name(raised)
    notes = attribute_of(raised, "__notes__")
    lines = [f"{name}: {text}" if text else name]
    lines += [valid_text(note) for note in (notes if type(notes) is list else []) if type(note) is str]
    return "\n".join(lines).rstrip("\n") + "\n"


def _cut_middle(text: str, limit: int) -> str:
    """Keep a traceback's two ends: where the task began, and, longer, where it failed."""
    text = _SURROGATES.sub(_escaped, text)
    data = text.encode()
    if len(data) <= limit:
        return text
    begin = data[: limit // 4].decode(errors="ignore")
    end = data[-(limit - limit // 4 - 60) :].decode(errors="ignore")
    return f"{begin}\n… {len(text) - len(begin) - len(end):,} characters left out …\n{end}"


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
