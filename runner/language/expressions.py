r"""``${{ … }}`` in the strings of a workflow: its references, its problems, and its value.

A dotted path (``inputs.topic``) is looked up; anything more is CEL, by the package ``common-expression-language``, with
some functions more (functions.py), and with ``range(3)``, which is ``[0, 1, 2]``, and ``range(1, 3)``, ``[1, 2]``. To write
``${{`` itself, write ``${{ "${{" }}``.
"""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import product
from typing import Any

from runner.language.faults import InvalidExpression
from runner.language.functions import FUNCTIONS, Calls, Misused
from runner.language.sandbox import Sandbox, TooMuch
from runner.text import echo, listed, nearest, printable

LENGTH_LIMIT = 1_000
MACRO_LIMIT = 3
# The most that nested macros over the longest list may cost: its length to the power of their depth + 1. A list of 5,000 in
# one macro, of 292 in two, of 70 in three take about three seconds each (cel 0.10 copies the list at every step).
WORK_LIMIT = 25_000_000
VALUE_LIMIT = 5 * 1024 * 1024  # bytes of JSON in the value of one expression
SECONDS_LIMIT = 5  # of the processor, for one expression
MEMORY_LIMIT = 1 << 30  # bytes, for one expression
VALUE_WEIGHT = 16  # bytes that any value counts as in the estimate of an expression's memory
HERE_LIMIT = (
    100_000_000  # of what is copied, by that estimate, in this process, which nothing can interrupt: about 0.2 s
)
HERE_RANGE = 50  # the longest range that needs no estimate
ITEM_LIMIT = 1_000_000  # of a range, and of a `foreach`

# The roots of every name, and the members of those whose members are known (None: any).
Known = Mapping[str, Collection[str] | None]

_MACROS = {"all", "exists", "exists_one", "filter", "map"}
_TYPES = {
    "bool",
    "bytes",
    "double",
    "duration",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
    "uint",
}
_FUNCTIONS = {
    *("size", "contains", "startsWith", "endsWith", "matches", "has", "dyn", "type"),
    *("string", "int", "uint", "double", "bytes", "timestamp", "duration"),
    *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
    *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    "range",
    *FUNCTIONS,
    *_MACROS,
}
_WORDS = {"true", "false", "null", "in"}
# The reserved words of CEL's grammar: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
_KEYWORDS = {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop"}
_KEYWORDS |= {"namespace", "package", "return", "var", "void", "while"}
# A workflow may not use these as names; `env` will have a meaning.
RESERVED = frozenset(_WORDS | _TYPES | _KEYWORDS | {"inputs", "run", "item_index", "value", "coverage", "env"})
_TOKEN = re.compile(
    r"""
      (?P<string>
        (?: [bB]?[rR] (?: \"{3}[\s\S]*?\"{3} | '{3}[\s\S]*?'{3} | "[^"\n]*" | '[^'\n]*' ) )
      | (?: [bB]? (?: \"{3}(?:\\[\s\S]|[^\\])*?\"{3} | '{3}(?:\\[\s\S]|[^\\])*?'{3}
                    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' ) )
      )
    | (?P<name> [A-Za-z_][A-Za-z0-9_]* )
    | (?P<number> 0[xX][0-9a-fA-F]+[uU]? | \d+(?:\.\d+)?(?:[eE][+-]?\d+)?[uU]? )
    | (?P<space> \s+ | //[^\n]* )
    | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_METHODS = {"contains", "startsWith", "endsWith", "matches"}
_MISTYPED = re.compile("No such overload|Unsupported operation|is not defined for the values")
_TYPED_LIMIT = 4  # names of one expression that `mistyped` tries with every type of each
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_OTHER_BRACES = re.compile(
    r"""
      (?<![${]) \{\{ [-~]? \s* (?P<path> [A-Za-z_][\w.]*+ ) (?P<rest> [^{}]{0,200}? ) \s* [-~]? \}\}
    | (?: \$\{ | \$\( | (?<![${]) \{ ) \s* (?P<dotted> [A-Za-z_]\w*\.[A-Za-z_]\w* ) \s* [})]
    """,
    re.VERBOSE | re.ASCII,
)
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,15})")
_RANGE = re.compile(r"range\s*\((.*)\)", re.DOTALL)


_SANDBOX = Sandbox(
    "runner.language.expressions:worked_out", seconds=SECONDS_LIMIT, memory=MEMORY_LIMIT, size=VALUE_LIMIT
)
# Names in the expressions of other systems, and how they are written here.
_ELSEWHERE = {
    "secrets": "declare an input that is secret: true, and write ${{ inputs.NAME }}",
    "env": "the environment is not read: declare an input, and write ${{ inputs.NAME }}",
    "vars": "declare an input, and write ${{ inputs.NAME }}",
    "github": "the facts about a run are in run",
    "steps": "a stage gets the value before it, and needs no name for it",
    **dict.fromkeys(
        (
            "needs",
            "collectors",
            "collector",
            "gather",
            "stages",
            "jobs",
            "tasks",
            "outputs",
            "values",
            "previous",
        ),
        "a stage gets the value before it, and needs no name for it",
    ),
    "value": "value is what the part before has made: it is for stages, and for the collectors of a stage",
    "item": "item is for a collector that has foreach",
    "matrix": "a collector is repeated with foreach, and what it is for is called item",
}
_DAY_HINT = 'for the day of the run, write run.started_at.format("%Y-%m-%d")'
_NO_FUNCTION = {
    **dict.fromkeys(("now", "today", "date", "strftime", "formatDate"), _DAY_HINT),
    **dict.fromkeys(("substr", "slice"), "did you mean substring?"),
    **dict.fromkeys(("lowerAscii", "toLowerCase", "downcase"), "did you mean lower?"),
    **dict.fromkeys(("upperAscii", "toUpperCase", "upcase"), "did you mean upper?"),
    "strip": "did you mean trim?",
    "len": "did you mean size?",
}
_HINTS = {
    r"\bif\b.*\belse\b": "a choice is written a ? b : c",
    r"(?<!\|)\|(?!\|)": "there are no filters (|); or is written ||",
    r"\b(and|or|not)\b": "write &&, || and !",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of an expression: its code, the message, and the hint."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """The facts about an expression that its words show, without parsing.

    Args:
        paths: each name that no macro binds, with its members: ``("inputs", "topic")``.
        functions: the names of the functions that are called.
        uses: how often a value is named, also by a name that a macro binds.
        macros: their number.
        depth: how deep macros are nested.
        items: more than the longest list in the expression has.
    """

    paths: tuple[tuple[str, ...], ...]
    functions: tuple[str, ...]
    uses: int
    macros: int
    depth: int
    items: int


def expand(value: Any, names: Mapping[str, Any]) -> Any:
    """Return a JSON value with every ``${{ }}`` in its strings evaluated.

    A string that is one expression becomes its value and keeps the type; in the middle of text it becomes text.

    Args:
        value: of any depth; keys are left as they are.
        names: the values of ``inputs``, ``run`` ….

    Raises:
        InvalidExpression: one cannot be evaluated with these names.

    >>> expand({"url": "https://example.org/${{ inputs.page }}"}, {"inputs": {"page": 3}})
    {'url': 'https://example.org/3'}
    """
    match value:
        case str():
            return _expand(value, names)
        case list():
            return [expand(each, names) for each in value]
        case dict():
            return {key: expand(each, names) for key, each in value.items()}
        case _:
            return value


def check(text: str, known: Known) -> Problem | None:
    """Return the first problem of the expressions in a string that can be known before a run."""
    try:
        parts = _split(text)
        expressions = [part for part in parts if isinstance(part, _Expression)]
        problems = [_check(each.text, known) for each in expressions]
    except _Malformed as malformed:
        return malformed.problem
    return next((problem for problem in problems if problem), None)


def misspelt(text: str, known: Known) -> Problem | None:
    """Return the problem of the first expression in another language's braces: ``{{ inputs.topic }}``, ``${inputs.topic}``.

    Only one that begins with a name of ours is reported: a template for another program has names of its own. Within a
    single brace it must have a member, too, because ``${item}`` may be the shell's.
    """
    try:
        parts = _split(text)
    except _Malformed:
        return None
    for part in parts:
        for found in _OTHER_BRACES.finditer(part) if isinstance(part, str) else ():
            path = found["path"] or found["dotted"]
            root, dot, _ = path.partition(".")
            if root in known and (dot or known[root] is None):
                hint = f"write ${{{{ {path}{' …' if found['rest'] else ''} }}}}"
                return Problem(
                    "E042", f"{echo(found[0])[1:-1]} is not expanded: expressions are written ${{{{ … }}}}", hint
                )
    return None


def is_one(text: str) -> bool:
    """Whether a string is one expression, and so keeps the type of its value; true also if it does not parse."""
    try:
        parts = _split(text)
    except _Malformed:
        return True
    return len(parts) == 1 and isinstance(parts[0], _Expression)


def alone(text: str) -> str:
    """Return the name in a string that is one expression of one name: ``inputs.topic``; empty for any other string."""
    try:
        match _split(text):
            case (_Expression(text=path),) if _PATH.fullmatch(path):
                return path
    except _Malformed:
        pass
    return ""


def references(value: Any) -> frozenset[str]:
    """Return the names that a JSON value refers to: ``{"inputs.topic", "run.id"}``; ``inputs`` alone for all inputs.

    An expression that does not parse refers to nothing.
    """
    match value:
        case str():
            try:
                expressions = [part.text for part in _split(value) if isinstance(part, _Expression)]
            except _Malformed:
                return frozenset()
            return frozenset(".".join(path[:2]) for each in expressions for path in _reading(each).paths)
        case list():
            return frozenset().union(*map(references, value))
        case dict():
            return frozenset().union(*map(references, value.values()))
        case _:
            return frozenset()


@dataclass(frozen=True, slots=True)
class _Expression:
    text: str


class _Malformed(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.problem = Problem("E025", message, hint)


# The arguments of a step are expanded for every item of a `foreach`; few workflows have more strings than the cache holds.
@lru_cache(maxsize=1024)
def _split(text: str) -> tuple[str | _Expression, ...]:
    """Split a string into its text and its expressions, in order."""
    parts: list[str | _Expression] = []
    rest = 0
    while (start := text.find("${{", rest)) >= 0:
        end = _end(text, start + 3)
        parts += [text[rest:start], _Expression(text[start + 3 : end].strip())]
        rest = end + 2
    parts.append(text[rest:])
    return tuple(part for part in parts if part != "")


def _end(text: str, start: int) -> int:
    """Return the offset of the ``}}`` that ends the expression at ``start``: not one in a string literal or at the end of a map."""
    depth = 0
    position = start
    while position < len(text) and position - start <= LENGTH_LIMIT + 2:
        found = _TOKEN.match(text, position, start + LENGTH_LIMIT + 100)
        if found is None:
            break
        if found["mark"] == "{":
            depth += 1
        elif found["mark"] == "}":
            if depth == 0 and text.startswith("}}", position):
                return position
            depth = max(0, depth - 1)
        # A comment must not swallow the end of its expression.
        position = position + 2 if found[0].startswith("//") else found.end()
    if len(text) - start > LENGTH_LIMIT and text.find("}}", start) >= 0:
        raise _Malformed(f"expression longer than {LENGTH_LIMIT:,} characters")
    raise _Malformed(f"{echo(text[start - 3 : start + 30])} has no }}}}", "an expression is written ${{ … }}")


def mistyped(text: str, types: Mapping[str, Collection[Any]]) -> Problem | None:
    """Return the problem of the first expression that fails for any inputs, because their types do not go together.

    Only expressions of names with known types, without a choice and without a macro, are tried: with those, the value of
    a part, and whether the part is evaluated at all, depends on the values of the inputs.

    Args:
        types: of each name (``inputs.topic``) a value of every type that it may have.
    """
    try:
        expressions = [part.text for part in _split(text) if isinstance(part, _Expression)]
    except _Malformed:
        return None
    return next(filter(None, (_mistyped(each, types) for each in expressions)), None)


def _mistyped(text: str, types: Mapping[str, Collection[Any]]) -> Problem | None:
    reading = _reading(text)
    paths = sorted({".".join(path) for path in reading.paths})
    open_ended = reading.macros or {"range", *FUNCTIONS}.intersection(reading.functions) or "?" in text
    if _PATH.fullmatch(text) or open_ended or not types.keys() >= set(paths) or len(paths) > _TYPED_LIMIT:
        return None
    problem = None
    for values in product(*(types[path] for path in paths)):
        names: dict[str, dict[str, Any]] = {}
        for path, value in zip(paths, values, strict=True):
            root, _, member = path.partition(".")
            names.setdefault(root, {})[member] = value
        try:
            _compiled(text).execute(names)
        except BaseException as error:
            if not _is_from_cel(error):
                raise
            line = _first_line(error)
            if not _MISTYPED.search(line):  # the value fails, not its type: another value may pass
                return None
            problem = problem or Problem("E038", f"{_shown(text)}: {line}", _overload_hint(text))
        else:
            return None
    return problem


def _overload_hint(text: str) -> str:
    """Return the hint for operators and functions that do not take values of these types."""
    words = [found[0] for found in _TOKEN.finditer(text) if found.lastgroup not in {"space", "string"}]
    called = next((word for at, word in enumerate(words[:-1]) if word in _METHODS and words[at + 1] == "("), "")
    if called and words[max(0, words.index(called) - 1)] != ".":
        return f'it is called on the text: inputs.NAME.{called}("a")'
    if any(pair in text for pair in ("||", "&&")):
        return 'a choice is written a ? b : c, as inputs.NAME != "" ? inputs.NAME : "x"; && and || take booleans'
    return "types do not mix: convert with double(…), int(…) or string(…)"


def _check(text: str, known: Known) -> Problem | None:
    if not text:
        return Problem("E025", "empty expression", f"names are {listed(_good_names(known))}")
    if not _PATH.fullmatch(text):
        _compiled(text)
    reading = _reading(text)
    for path in reading.paths:
        problem = _unknown(path, known)
        if problem:
            return problem
    for function in reading.functions:
        if function not in _FUNCTIONS:
            near = nearest(function, sorted(_FUNCTIONS))
            near = f"did you mean {near}?" if near else f"functions are {', '.join(sorted(_FUNCTIONS))}"
            hint = _NO_FUNCTION.get(function, near)
            return Problem("E024", f"unknown function {echo(function)} in {_shown(text)}", hint)
    return None


def _unknown(path: tuple[str, ...], known: Known) -> Problem | None:
    root, *members = path
    if root in known:
        allowed = known[root]
        if allowed is None or not members or members[0] in allowed:
            return None
    name = ".".join(path[:2])
    good = _good_names(known)
    of_root = known.get(root)
    near = next((each for each in good if each.partition(".")[2] == name), "")
    if of_root and members:  # the root exists: its member is misspelt
        near = near or (f"{root}.{member}" if (member := nearest(members[0], sorted(of_root))) else "")
    else:
        near = near or nearest(name, good) or nearest(root, [each for each in known if known[each] is None])
    elsewhere = "" if root == "item" and "item_index" in known else _ELSEWHERE.get(root, "")
    advice = f"{elsewhere}; " if elsewhere else f"did you mean {near}? " if near else ""
    hint = f"{advice}names are {listed(good)}"
    return Problem("E024", f"{echo(name)[1:-1]} is not a name that an expression can use", hint)


def _good_names(known: Known) -> list[str]:
    """Return every name that can be used; if the members of a root are not known, the root alone."""
    return [
        name
        for root, members in known.items()
        for name in ([root] if members is None else [f"{root}.{member}" for member in sorted(members)])
    ]


def _expand(text: str, names: Mapping[str, Any]) -> Any:
    if "${{" not in text:
        return text
    try:
        parts = _split(text)
    except _Malformed as malformed:
        raise InvalidExpression(malformed.problem.message) from malformed
    values = [part if isinstance(part, str) else _evaluate(part.text, names) for part in parts]
    if len(parts) == 1 and isinstance(parts[0], _Expression):
        return _copy(values[0])
    return "".join(map(_text, values))


def _copy(value: Any) -> Any:
    """Copy a list or a mapping: a task may change its arguments, and all steps share the inputs."""
    match value:
        case list():
            return [_copy(each) for each in value]
        case dict():
            return {key: _copy(each) for key, each in value.items()}
        case _:
            return value


def _text(value: Any) -> str:
    """Return a value as part of a text: strings as they are, null as nothing, the rest as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _evaluate(text: str, names: Mapping[str, Any]) -> Any:
    if _PATH.fullmatch(text):
        return _look_up(text, names)
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        if ends := _range_alone(text):
            return _range([_evaluate(end, names) for end in ends], ITEM_LIMIT)
        program = _compiled(text)
    except _Malformed as malformed:
        raise InvalidExpression(malformed.problem.message) from malformed
    except _OutOfRange as problem:
        raise InvalidExpression(f"{_shown(text)}: {problem}") from problem
    reading = _reading(text)
    needed = _needed(names, reading)
    longest, weight = _measured(needed)
    longest = max(longest, reading.items, HERE_RANGE if "range" in reading.functions else 0)
    if reading.depth and longest ** (reading.depth + 1) > WORK_LIMIT:
        raise InvalidExpression(f"{_shown(text)}: a list of {longest:,} is too long for {reading.depth} nested macros")
    if _is_much(reading, longest, weight + len(text)):
        return _apart(text, needed)
    try:
        return _worked_out(program, text, reading, needed, HERE_RANGE)
    except _TooLongHere:
        return _apart(text, needed)
    except InvalidExpression as problem:
        if isinstance(problem.__cause__, KeyError) and (others := _others(problem.__cause__, reading, names)):
            raise InvalidExpression(f"{problem}{others}") from problem.__cause__
        raise


def _is_much(reading: _Reading, longest: int, weight: int) -> bool:
    """Whether an expression may make a large value, or take long, estimated from its words and the sizes of its values.

    Each macro may use its values as often as there are names; CEL copies the result of a macro so far at each item.
    """
    made: int = weight * reading.uses ** max(1, reading.macros) * longest**reading.depth
    return made > VALUE_LIMIT or made * (longest if reading.depth else 1) > HERE_LIMIT


def _apart(text: str, names: dict[str, Any]) -> Any:
    """Evaluate an expression in a process that can be killed: nothing can interrupt CEL."""
    try:
        reply = _SANDBOX.call([text, names])
    except TooMuch as problem:
        raise InvalidExpression(f"{_shown(text)} {problem}") from problem
    if "problem" in reply:
        raise InvalidExpression(reply["problem"], reply["hint"])
    return reply["value"]


def worked_out(argument: list[Any]) -> dict[str, Any]:
    """Evaluate an expression in the process of `_apart`; return ``{value}``, or ``{problem, hint}``."""
    text, names = argument
    try:
        return {"value": _worked_out(_compiled(text), text, _reading(text), names, None)}
    except InvalidExpression as error:
        return {"problem": str(error), "hint": error.hint}


def _worked_out(program: Any, text: str, reading: _Reading, needed: dict[str, Any], range_limit: int | None) -> Any:
    """Return the value of a CEL program, as JSON.

    Args:
        range_limit: the longest range that may be evaluated in this process; None in the process that can be killed.
    """
    try:
        return _plain(_executed(program, reading, needed, range_limit), text)
    except (InvalidExpression, _TooLongHere):
        raise
    except (Misused, _OutOfRange) as problem:
        raise InvalidExpression(f"{_shown(text)}: {problem}") from problem
    except KeyError as error:
        raise InvalidExpression(f"{_shown(text)}: there is no {error}") from error
    except BaseException as error:
        if not _is_from_cel(error):
            raise
        line = _first_line(error)
        hint = _overload_hint(text) if _MISTYPED.search(line) else ""
        raise InvalidExpression(f"{_shown(text)}: {line}", hint) from error


def _needed(names: Mapping[str, Any], reading: _Reading) -> dict[str, Any]:
    """Return the names that the expression refers to: CEL copies all its arguments, and an input may have a million items."""
    needed: dict[str, Any] = {}
    whole = {path[0] for path in reading.paths if len(path) == 1}
    for root, *members in reading.paths:
        value = names.get(root)
        if root in whole or not isinstance(value, Mapping):
            needed |= {root: value} if root in names else {}
        else:
            there = needed.setdefault(root, {})
            there |= {member: value[member] for member in members if member in value}
    return needed


def _executed(program: Any, reading: _Reading, names: dict[str, Any], range_limit: int | None) -> Any:
    used = {"range", *FUNCTIONS}.intersection(reading.functions)
    if not used:
        return program.execute(names)
    import cel  # noqa: PLC0415 - it compiled the program, and so is imported already

    # A range is a list like any other: under macros it may not be longer than an input may be.
    limit = int(WORK_LIMIT ** (1 / (reading.depth + 1)) + 1e-6) if reading.depth else ITEM_LIMIT
    calls = Calls()

    def range_(*ends: Any) -> list[int]:
        made = _range(ends, limit)
        if range_limit is not None and len(made) > range_limit:
            raise _TooLongHere
        return made

    functions = {name: calls.bound(name, FUNCTIONS[name]) for name in used - {"range"}}
    if "range" in used:
        functions["range"] = calls.bound("range", range_, [])
    try:
        value = program.execute(cel.Context(variables=names, functions=functions))
    except BaseException as error:
        if calls.problems and _is_from_cel(error):
            raise calls.problems[0] from error
        raise
    if calls.problems:
        raise calls.problems[0]
    return value


class _TooLongHere(Exception):
    """A range that must be evaluated in a process that can be killed."""


class _OutOfRange(Exception):
    """Two integers are expected, and not too far apart."""


def _range(ends: Sequence[Any], limit: int) -> list[int]:
    if len(ends) not in (1, 2) or not all(isinstance(end, int) and not isinstance(end, bool) for end in ends):
        raise _OutOfRange("range takes one integer or two: range(3) is [0, 1, 2], range(1, 3) is [1, 2]")
    start, stop = ends if len(ends) == 2 else (0, ends[0])
    if stop - start > limit:
        raise _OutOfRange(f"a range of {stop - start:,}, limit {limit:,}")
    return list(range(start, stop))


@lru_cache(maxsize=1024)
def _range_alone(text: str) -> tuple[str, ...]:
    """Return the arguments of an expression that is one call of ``range``, which needs no CEL; empty for any other."""
    found = _RANGE.fullmatch(text)
    if found is None:
        return ()
    depth, ends, start = 0, [], found.start(1)
    for token in _TOKEN.finditer(text, start, found.end(1)):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token[0], 0)
        if depth < 0:  # "range(2) + size([3])": that bracket was not the last
            return ()
        if token[0] == "," and depth == 0:
            ends.append(text[start : token.start()].strip())
            start = token.end()
    ends.append(text[start : found.end(1)].strip())
    return tuple(ends) if all(ends) else ()


def _look_up(path: str, names: Mapping[str, Any]) -> Any:
    if path in {"true", "false", "null"}:
        return {"true": True, "false": False, "null": None}[path]
    value: Any = names
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise InvalidExpression(f"{_shown(path)}: there is no {echo(name)}{_keys(value)}")
        value = value[name]
    return value


def _others(missing: KeyError, reading: _Reading, names: Mapping[str, Any]) -> str:
    """List the keys that exist instead of the missing one."""
    for root, *members in reading.paths:
        if members and members[0] == str(missing).strip("'"):
            return _keys(names.get(root))
    return ""


def _keys(value: Any) -> str:
    """List the keys of a mapping: a CSV file with semicolons has one column, whose name then shows the mistake."""
    return f"; it has {listed([echo(key) for key in value])}" if isinstance(value, Mapping) and value else ""


def _plain(value: Any, text: str) -> Any:
    """Return the result of CEL as JSON: a timestamp becomes its ISO text; bytes, durations and the like are refused."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case datetime():
            return value.isoformat()
        case list():
            return [_plain(each, text) for each in value]
        case dict() if all(isinstance(key, str) for key in value):
            # Sorted, so that every process has the same order: CEL's maps have none.
            return {key: _plain(value[key], text) for key in sorted(value)}
        case dict():
            raise InvalidExpression(f"{_shown(text)}: the keys of a map must be strings")
    raise InvalidExpression(f"{_shown(text)}: {type(value).__name__} {echo(value)} is not a JSON value; use string(…)")


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Any:
    """Compile an expression to a CEL program.

    Raises:
        _Malformed: it does not parse, or is too long or too deep.
    """
    # Not at the top: its __init__ imports typer and prompt_toolkit, 0.16 s that most workflows never need.
    import cel  # noqa: PLC0415

    if len(text) > LENGTH_LIMIT:
        raise _Malformed(f"expression longer than {LENGTH_LIMIT:,} characters")
    if _reading(text).depth > MACRO_LIMIT:
        raise _Malformed(f"more than {MACRO_LIMIT} nested macros in {_shown(text)}")
    try:
        return cel.compile(text)
    except BaseException as error:
        if not _is_from_cel(error):
            raise
        hint = next((hint for sign, hint in _HINTS.items() if re.search(sign, text)), "")
        raise _Malformed(f"{_shown(text)} does not parse: {_first_line(error)}", hint) from error


def _is_from_cel(error: BaseException) -> bool:
    """Whether CEL raised it. A panic of the Rust library is a BaseException of no public type (pyo3), and an ordinary error here."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


# Messages of the Rust library, in the words of the language.
_PLAIN_WORDS = (
    (re.compile(r"Parsing Error: Error \{.*"), "not a duration, as 90s or 1h30m"),
    (re.compile(r"Function '(\w+)' error: "), r"\1: "),
    (re.compile(r"Undefined variable or function: '(\w+)'"), r"\1 is not defined for the values that it is given"),
)


def _syntax_error(words: str) -> str:
    """Return what the parser (ANTLR) says in words of the language, without the list of what could follow."""
    words = words.partition(" expecting ")[0].replace("at '<EOF>'", "at its end")
    if "'<EOF>'" in words:
        return "it ends too early"
    if re.match(r"token recognition error at: '['\"]", words):
        return "a quote that is opened in it is closed nowhere"
    return re.sub(
        r"^(token recognition error at:|extraneous input|mismatched input|no viable alternative at input)",
        "unexpected",
        words,
    )


def _first_line(error: BaseException) -> str:
    """One line of a message of cel; of a parse error ``unexpected '2' at its character 3``, as 1:3 is no place in the file."""
    text = str(error)
    found = re.search(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)", text)
    line = _syntax_error(found[3]) if found else text.partition("\n")[0].partition(". ")[0]
    if found and found[1] == "1" and line.startswith("unexpected"):
        line = f"{line} at its character {found[2]}"
    for words, ours in _PLAIN_WORDS:
        line = words.sub(ours, line)
    return printable(line)[:200]


@lru_cache(maxsize=4096)
def _reading(text: str) -> _Reading:
    """Read the words of an expression, keeping track of the names that macros bind."""
    tokens = [found for found in _TOKEN.finditer(text) if found.lastgroup != "space"]
    paths: list[tuple[str, ...]] = []
    functions: list[str] = []
    scopes: list[str | None] = []  # one for each open bracket: the name that its macro binds
    depth = uses = 0
    binds = False  # the next name is one that a macro binds
    for index, token in enumerate(tokens):
        word = token[0]
        uses += token.lastgroup == "name"
        before = tokens[index - 1][0] if index else ""
        after = tokens[index + 1][0] if index + 1 < len(tokens) else ""
        if token["mark"] and word in "([{":
            scopes.append(None)
            binds = word == "(" and before in _MACROS and index > 1 and tokens[index - 2][0] == "."
            if binds:
                scopes[-1] = ""
        elif token["mark"] and word in ")]}":
            if scopes:
                scopes.pop()
        elif token["name"] and binds and after == ",":
            scopes[-1] = word
            binds = False
        elif token["name"] and after == "(" and word not in _WORDS:
            functions.append(word)
        elif token["name"] and before != "." and word not in _WORDS and word not in _TYPES and word not in scopes:
            paths.append((word, *_members(tokens, index + 1)))
        depth = max(depth, sum(scope is not None for scope in scopes))
    items = sum(token[0] == "," for token in tokens) + 1
    macros = sum(name in _MACROS for name in functions)
    return _Reading(paths=tuple(paths), functions=tuple(functions), uses=uses, macros=macros, depth=depth, items=items)


def _members(tokens: list[re.Match[str]], index: int) -> Iterator[str]:
    """Yield the member that follows a name: ``.topic`` or ``["topic"]``."""
    words = [token[0] for token in tokens[index : index + 3]]
    match words:
        case [".", name, *rest] if tokens[index + 1]["name"] and rest[:1] != ["("]:
            yield name
        case ["[", name, "]"] if tokens[index + 1]["string"] and name[0] in "\"'" and "\\" not in name:
            yield name.strip("\"'")


def _measured(value: Any) -> tuple[int, int]:
    """Return the length of the longest list or map in a JSON value, and about how many bytes of memory the value takes."""
    match value:
        case list():
            inner = [_measured(each) for each in value]
        case Mapping():
            inner = [_measured(each) for each in value.values()]
        case str():
            return 0, VALUE_WEIGHT + len(value)
        case _:
            return 0, VALUE_WEIGHT
    return max([len(value), *(longest for longest, _ in inner)]), VALUE_WEIGHT + sum(weight for _, weight in inner)


def _shown(text: str) -> str:
    return f"${{{{ {echo(text)[1:-1]} }}}}"
