"""A workflow's data to the faults that no single key shows: of ids, tasks, their arguments, expressions."""

import sys
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from runner.language import expressions, steps
from runner.language.expressions import Known
from runner.language.faults import Fault
from runner.language.source import Loc, Source, found, misread
from runner.language.steps import WrittenStep, calls, mapping, step_at, strings, walk
from runner.language.task_index import Parameter, Task, TaskIndex
from runner.text import echo, listed, nearest, printable

INPUT_LIMIT = 100  # each is an option of `run`
# Faults of each kind; a file with more is not searched to its end, because the nearest name of each takes a millisecond.
FAULT_LIMIT = 1_000
_EXPANDED = "expressions are expanded under `with`, `foreach`, `when` and the `key` of a limit only"
_KEY_HINT = "write the whole mapping as one expression: ${{ {inputs.name: 1} }}"
# Only the task knows what the value before means to it: a hint to leave the name out could make it delete a path that
# another machine named.
_FIRST_HINT = "the value before goes there; if the file is to say it, the task must have another first parameter"
_FILLED_HINTS = {"outcomes": "leave it out: it tells how each collector ended"}
_RUN_NAMES = ("id", "name", "started_at")
# Once a run has ended.
_OF_HOOKS: Known = {
    "run": (*_RUN_NAMES, "status", "cause", "attempt"),
    "coverage": None,
    "missing": None,
    "error": None,
    "value": None,
}
_SHOWN = {"name", "description", "id"}
UNNAMED = "gather"  # the gather of the collectors at the top, if the file has none
_SHAPES = {"list": 'write a list: ["…", "…"]', "dict": "write a mapping: {name: value}"}
_SIMPLE = {"str": "a string", "int": "an integer", "float": "a number", "bool": "a boolean"} | {
    "list": "a list",
    "dict": "a mapping",
    "None": "nothing",
}


def faults(source: Source, tasks: TaskIndex, unknown: Collection[Loc] = ()) -> list[Fault]:
    """Yield the faults of data that may be malformed anywhere: a value of the wrong shape is skipped.

    Args:
        unknown: the places of keys that the language does not have; values beneath them are not reported again.
    """
    kinds = (
        include_faults(source, tasks),
        _expression_faults(source, unknown),
        _id_faults(source),
        _task_faults(source, tasks),
        _foreach_faults(source),
        _min_success_faults(source),
        _stop_faults(source),
        _limit_faults(source),
        _shape_faults(source, unknown),
    )
    return [fault for kind in kinds for fault in islice(kind, FAULT_LIMIT)]


def include_faults(source: Source, tasks: TaskIndex) -> Iterator[Fault]:
    """Yield a fault for each module under ``include`` that cannot be read."""
    modules = source.draft.get("include")
    for index, module in enumerate(modules if isinstance(modules, list) else []):
        if isinstance(module, str) and module in tasks.problems:
            hint = _include_hint(module, source)
            message = f"cannot include {echo(module)}: {tasks.problems[module]}"
            yield Fault("E036", message, source.place(("include", index)), hint)


def _include_hint(module: str, source: Source) -> str:
    """Return the hint for a module that cannot be read: the nearest name of a module beside the file."""
    name = module.removesuffix(".py")
    folder = Path() if source.name == "<stdin>" else Path(source.name).parent
    beside = sorted(path.stem for path in islice(folder.glob("*.py"), FAULT_LIMIT))
    near = nearest(name, beside) if name.isidentifier() and name not in beside else ""
    if near:
        return f"did you mean {echo(near)}, which is beside the file?"
    return f"write {echo(name)}, the name of the module" if module != name else ""


def takes(source: Source, tasks: TaskIndex, loc: Loc) -> tuple[str, ...]:
    """Return the names that the task of the step at ``loc`` takes under ``with``; none if it is not known."""
    step = step_at(source.draft, loc)
    name = step.value("task")[0] if step and step.loc == loc else None
    task = tasks.get(name) if isinstance(name, str) else None
    return tuple(parameter.name for parameter in task.parameters) if task else ()


def _expression_faults(source: Source, unknown: Collection[Loc]) -> Iterator[Fault]:
    inputs = source.draft.get("inputs") or {}
    listable = isinstance(inputs, dict) and len(inputs) <= INPUT_LIMIT
    known: Known = {"inputs": tuple(inputs) if listable else None}
    secrets = {f"inputs.{name}" for name, declared in mapping(inputs).items() if is_secret(declared)}
    types = _types(mapping(inputs))
    called = _called(source.draft)
    misshapen = steps.misshapen(source.draft)
    for loc, text in strings(source.draft):
        if loc[0] in misshapen or not ("{" in text or "$" in text):
            continue
        names = _names(loc, called, follows=_follows(loc, source.draft))
        if loc[:1] + loc[2:] == ("limits", "key"):
            names = _names_of_limit(source.draft, str(loc[1]))
        if names is not None:
            there = {**known, **names}
            problem = (
                expressions.check(text, there) or expressions.misspelt(text, there) or expressions.mistyped(text, types)
            )
            if problem:
                yield Fault(problem.code, problem.message, source.place(loc), problem.hint)
            elif shown := _shown_of(source.draft, loc, text, secrets):
                yield Fault("E029", shown, source.place(loc))
        elif "${{" not in text or any(loc[:depth] in unknown for depth in range(1, len(loc) + 1)):
            continue
        elif loc[-1] in _SHOWN and (used := _used(text, secrets)):
            message = f"{used} is secret, and {echo(loc[-1])} is shown"
            yield Fault("E029", message, source.place(loc), _EXPANDED)
        else:
            yield Fault("E026", "no expression is expanded here", source.place(loc), _EXPANDED)
    for loc in _keys(source.draft, ()):
        if loc[0] not in misshapen and _names(loc, called) is not None:
            yield Fault("E026", "no expression is expanded in a key", source.place(loc, key=True), _KEY_HINT)


# A value of each type that has no inner types; a number that is written as an integer is an integer.
_OF_TYPE: Mapping[str, tuple[Any, ...]] = {
    "string": ("a",),
    "integer": (1,),
    "number": (1, 1.5),
    "boolean": (True, False),
}
# Of the others, too, where what is within does not matter.
_OF_ANY_TYPE: Mapping[str, tuple[Any, ...]] = {**_OF_TYPE, "array": ([],), "object": ({},)}
# What an input is declared as for a parameter of a type.
_DECLARED = {"list": "array", "dict": "object", "int": "integer", "float": "number", "bool": "boolean", "str": "string"}


def _types(inputs: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return, for each name of a known type, a value of every type that it may have; an optional input may also be null."""
    types: dict[str, tuple[Any, ...]] = {
        f"run.{name}": ("1970-01-01T00:00:00+00:00",) for name in (*_RUN_NAMES, "status", "cause")
    }
    types["run.attempt"] = (1,)
    for name, declared in inputs.items():
        values = _OF_TYPE.get(str(mapping(declared).get("type", "string")), ())
        nullable = mapping(declared).get("required") is False or mapping(declared).get("default", "") is None
        if values and isinstance(declared, dict | None):
            types[f"inputs.{name}"] = (*values, None) if nullable else values
    return types


def _users(data: Mapping[str, Any], limit: str) -> Iterator[WrittenStep]:
    """Yield the steps that name a limit."""
    for step in walk(data):
        if limit in named_limits(step):
            yield step


def named_limits(step: WrittenStep) -> list[Any]:
    """Return what a step has under ``limits``, of whatever types."""
    value, _ = step.value("limits")
    return value if isinstance(value, list) else [value]


def _names_of_limit(data: Mapping[str, Any], limit: str) -> Known:
    """Return the names that the key of a limit may use besides the inputs: it is worked out for each step that names it."""
    items = {item_name(step.value("foreach")[0]) if step.kind == "collector" else "" for step in _users(data, limit)}
    name = items.pop() if len(items) == 1 else ""
    return {name: None, "item_index": None} if name else {}


def _follows(loc: Loc, data: Mapping[str, Any]) -> bool:
    """Whether a place is in a part before which there is another, whose value it may name; a default holds for every step."""
    return loc[0] == "stages" and (loc[1:2] != (0,) or "collectors" in data)


def _names(loc: Loc, called: Mapping[Loc, str | None], *, follows: bool = False) -> Known | None:
    """Return the names that an expression there may use, besides the inputs; None if no expression is expanded there.

    Args:
        follows: whether there is a value before.
    """
    if loc[:1] == ("hooks",):
        return _OF_HOOKS if loc[3:4] in {("with",), ("when",)} else None
    within = next((loc[:depth] for depth in range(1, len(loc)) if loc[:depth] in called), loc)
    name = called.get(within)
    item: Known = {name: None, "item_index": None} if name else {}
    value: Known = {"value": None} if follows else {}
    coverage: Known = {"coverage": None} if follows or loc[:1] == ("gather",) else {}
    if loc[:1] + loc[2:] == ("stages", "when") or loc == ("defaults", "stages", "when"):
        return {"run": _RUN_NAMES, **value, **coverage}
    match loc[len(within) :]:
        case ("with", *_):
            return {"run": _RUN_NAMES, **item, **value, **coverage}
        case ("then", int(), "with", *_) if name is not None:
            return {"run": _RUN_NAMES, **item, **value, **coverage}
        # Of the first part it is decided before there is a run.
        case ("when",) if name is not None:
            return {**item, **value}
        case ("foreach", "key") if name is not None:
            return {**item, **value}
        # Items of the first part are read before there is a run.
        case ("foreach",) | ("foreach", int(), *_) | ("foreach", "items", "file") | ("foreach", "file") if (
            name is not None
        ):
            return value
        case ("foreach", "items", *rest) if name is not None and (not rest or isinstance(rest[0], int)):
            return value
    return None


def _called(data: Mapping[str, Any]) -> dict[Loc, str | None]:
    """Return each step's name for its item: empty for a collector without one, None for a step that can have none.

    A name in the defaults must hold for every collector.
    """
    called = {
        step.loc: item_name(step.value("foreach")[0]) if step.kind == "collector" else None for step in walk(data)
    }
    names = {name for name in called.values() if name is not None}
    common = names.pop() if len(names) == 1 else ""
    return called | {loc: common if kind == "collector" else None for kind, loc in steps.defaults_places()}


def item_name(foreach: Any) -> str:
    """Return the name of an item; empty for a step that has none."""
    if not isinstance(foreach, dict):
        return "" if foreach is None else "item"
    name = foreach.get("as", "item")
    return name if isinstance(name, str) else "item"


def _shown_of(data: Mapping[str, Any], loc: Loc, text: str, secrets: set[str]) -> str:
    """Say why a secret would be shown: a collector's id has the key of its item, and the name of a file is shown."""
    used = _used(text, secrets)
    if loc[-2:] == ("items", "file") and used:
        return f"{used} is secret, and the name of a file is shown"
    if loc[:1] + loc[2:] == ("limits", "key"):
        lists = [step.value("foreach")[0] for step in _users(data, str(loc[1])) if step.kind == "collector"]
        items = [_used(each, secrets) for foreach in lists for _, each in strings(foreach)]
        if any(item_name(foreach) in _roots(text) for foreach in lists):
            used = used or max(items, default="")
        return f"{used} is secret, and the key of a limit is shown" if used else ""
    if loc[-2:] != ("foreach", "key"):
        return ""
    foreach: Any = data
    for step in loc[:-1]:
        foreach = foreach[step]
    items = [_used(each, secrets) for _, each in strings(foreach.get("items"))]
    if item_name(foreach) in _roots(text):
        used = used or max(items, default="")
    return f"{used} is secret, and the key of an item is shown in the id of its collector" if used else ""


def _roots(text: str) -> set[str]:
    return {name.partition(".")[0] for name in expressions.references(text)}


def is_secret(declared: Any) -> bool:
    """Whether an input is meant to be secret: a malformed ``secret`` counts, because to hide too much costs less."""
    return bool(mapping(declared).get("secret"))


def _used(text: str, secrets: set[str]) -> str:
    """Return the secret input that a text refers to; ``inputs`` alone refers to all of them."""
    used = expressions.references(text)
    return min(secrets if "inputs" in used else secrets & used, default="")


def _keys(value: Any, loc: Loc) -> Iterator[Loc]:
    """Yield the place of every key that has an expression."""
    if isinstance(value, dict):
        yield from ((*loc, key) for key in value if "${{" in key)
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from _keys(each, (*loc, key))


def _id_faults(source: Source) -> Iterator[Fault]:
    found = [
        (step.id, (*step.loc, "id" if step.id == step.data.get("id") else "task"))
        for step in walk(source.draft)
        if step.kind != "gather" or step.loc == ("gather",)
    ]
    found += [(each.data.get("id"), (*each.loc, "id")) for each in steps.fan_outs(source.draft) if each.loc]
    # In the order of the file, where the stages may stand before the collectors: "first" is the one above.
    seen: dict[str, str] = {}
    placed = [(source.place(loc), name, loc) for name, loc in found if isinstance(name, str)]
    unnamed = "collectors" in source.draft and source.draft.get("gather") is None
    for place, name, _ in placed:
        if unnamed and name == UNNAMED:
            hint = "give the collectors a gather, gather: {id: …, task: …}, or this step another id"
            yield Fault(
                "E022", f"{echo(name)} is the name of the collectors' gather, as the file has none", place, hint
            )
    for place, name, loc in sorted(placed, key=lambda each: (each[0].line, each[0].column)):
        if name not in seen:
            seen[name] = f"{place.line}:{place.column}"
        else:
            hint = "give the gather an id of its own" if loc == ("gather", "task") else ""
            yield Fault("E022", f"duplicate id {echo(name)} (first at {seen[name]})", place, hint)


def _foreach_faults(source: Source) -> Iterator[Fault]:
    """``batch`` and ``max_concurrency`` need ``foreach``, and its input is a list; as defaults they apply to collectors with it."""
    declared = mapping(source.draft.get("inputs"))
    for step in walk(source.draft):
        foreach, loc = step.value("foreach")
        items, at = (foreach.get("items"), (*loc, "items")) if isinstance(foreach, dict) else (foreach, loc)
        used = expressions.alone(items) if step.kind == "collector" and isinstance(items, str) else ""
        root, _, name = used.partition(".")
        if root == "inputs" and name in declared:
            kind = (declared[name] or {}).get("type", "string") if isinstance(declared[name], dict | None) else "array"
            if kind in ("string", "integer", "number", "boolean", "object"):  # it may be anything, a list too
                hint = f"declare it: {name}: {{type: array}}"
                yield Fault("E007", f"expected a list, and {used} is of type {kind}", source.place(at), hint)
        if step.kind == "collector" and step.value("foreach")[0] is None:
            for key in ("batch", "max_concurrency"):
                if step.data.get(key) is not None:
                    place = source.place((*step.loc, key), key=True)
                    yield Fault("E028", f"{key} is for a collector that has foreach", place)


def _min_success_faults(source: Source) -> Iterator[Fault]:
    """Yield the fault of a number that is too large; with ``foreach`` it is checked once the items are counted."""
    repeated = {
        step.loc[:-2]
        for step in walk(source.draft)
        if step.kind == "collector" and step.value("foreach")[0] is not None
    }
    for each in steps.fan_outs(source.draft):
        least, collectors = mapping(each.data.get("gather")).get("min_success"), each.data.get("collectors")
        if each.loc in repeated or not (isinstance(least, int) and isinstance(collectors, list)):
            continue
        if least > len(collectors) > 0:
            loc = (*each.loc, "gather", "min_success")
            shown = echo(source.written(loc) or "").strip(
                '"'
            )  # as written: a number that is too large is read as another
            message = f"expected at most {len(collectors):,}, the number of collectors, found {shown}"
            yield Fault("E028", message, source.place(loc))


def _shape_faults(source: Source, unknown: Collection[Loc]) -> Iterator[Fault]:
    """Yield a fault for a file without a step, and for a gather without collectors."""
    data = source.draft
    if "collectors" in data or any(len(loc) == 1 for loc in unknown):  # a key may be misspelt
        return
    if data.get("gather") is not None:
        yield Fault("E021", 'missing required key "collectors" beside gather', source.place(("gather",), key=True))
    elif "stages" not in data:
        hint = "a workflow is collectors, or stages, or both"
        yield Fault("E021", 'missing required key "collectors"', source.first_key(()), hint)
    elif data["stages"] in (None, []):
        yield Fault("E032", "at least one collector or stage", source.place(("stages",)))


def _stop_faults(source: Source) -> Iterator[Fault]:
    """Yield the faults of ``stop: early``: it needs a number that is enough, and cancels what is not needed for that."""
    for fan_out in steps.fan_outs(source.draft):
        gather = mapping(fan_out.data.get("gather"))
        if gather.get("stop") != "early":
            continue
        if gather.get("min_success") in (None, 0, "0%"):
            hint = "write how many are enough, min_success: 3"
            place = source.place((*fan_out.loc, "gather", "stop"))
            yield Fault("E028", "stop: early needs a min_success of at least 1", place, hint)
        for step in walk(source.draft):
            own = step.kind == "collector" and step.loc[:-2] == fan_out.loc
            if own and step.value("required")[0] is True:
                hint = "leave required out, or stop"
                where = source.place(step.value("required")[1])
                yield Fault("E028", f"stop: early cancels collectors, and {echo(step.id)} is required", where, hint)


def _limit_faults(source: Source) -> Iterator[Fault]:
    """Yield the fault of a limit that a step names, and the file does not declare."""
    declared = [name for name in mapping(source.draft.get("limits")) if isinstance(name, str)]
    reported: set[Loc] = set()  # a default is that of many steps
    for step in walk(source.draft):
        value, loc = step.value("limits")
        for at, name in enumerate(named_limits(step)):
            where: Loc = (*loc, at) if isinstance(value, list) else loc
            if not isinstance(name, str) or not steps.is_slug(name) or name in declared or where in reported:
                continue
            reported.add(where)
            near = nearest(name, declared)
            hint = (
                f"did you mean {echo(near)}?" if near else f"declare it: limits: {{{printable(name)}: {{rate: 30/1m}}}}"
            )
            yield Fault("E043", f"no limit {echo(name)} is declared", source.place(where), hint)


def _task_faults(source: Source, tasks: TaskIndex) -> Iterator[Fault]:
    # A task may be defined in the module that cannot be read.
    include = source.draft.get("include") or []
    named = isinstance(include, str) or (isinstance(include, list) and all(isinstance(each, str) for each in include))
    complete = named and not tasks.problems
    reported: set[Loc] = set()  # a fault of a default is one of every step, and is reported once
    for step in calls(source.draft):
        name, loc = step.value("task")
        if not isinstance(name, str) or "${{" in name or loc in reported:
            continue
        if task := tasks.get(name):
            for where, fault in _argument_faults(source, step, task):
                if where not in reported:
                    yield fault
                reported |= {where} if where[:1] == ("defaults",) else set()
        elif complete and not tasks.knows(name):
            hint = _task_hint(name, tasks)
            reported.add(loc)
            yield Fault("E023", f"unknown task {echo(name)}", source.place(loc), hint)


def _task_hint(name: str, tasks: TaskIndex) -> str:
    """Return the hint for an unknown task."""
    near = nearest(name, tasks)
    module = name.rpartition(".")[0]
    beside = [each for each in sorted(tasks) if module and each.startswith(f"{module}.")]
    alike = [each for each in sorted(tasks) if each.rpartition(".")[2] == name.rpartition(".")[2]]
    if len(alike) == 1 and not beside:
        return f"did you mean {echo(alike[0])}?"
    if near and (
        not module or near.rpartition(".")[0] != module or nearest(name.rpartition(".")[2], [near.rpartition(".")[2]])
    ):
        return f"did you mean {echo(near)}?"
    if beside:
        return f"tasks of {printable(module)} are {listed(beside)}"
    own = (
        f"a module of yours is named under include: [{printable(module)}], and a task that only the workers of your application "
        f"have in RUNNER_TASKS='{printable(module)}.*'; "
        if module.isidentifier() and module not in sys.stdlib_module_names
        else ""
    )
    return f"{own}known tasks: {listed(sorted(tasks))}"


def _argument_faults(source: Source, step: WrittenStep, task: Task) -> Iterator[tuple[Loc, Fault]]:
    """Yield the faults of a step's ``with``, compared with the parameters of its task."""
    if task.is_wrapped:
        return
    filled = set()
    if step.kind in {"gather", "then"} or (step.kind == "stage" and not step.leads):
        if task.first is None and not task.takes_more:
            loc = step.value("task")[1]
            role = "stand under `then`" if step.kind == "then" else f"be a {step.kind}"
            message = f"task {echo(task.name)} cannot {role}: it has no parameter for the value before"
            why = "its parameters are keyword-only" if task.parameters else "it has no parameters"
            yield loc, Fault("E034", message, source.place(loc), f"{why}: use it in a collector")
            return
        filled = {task.first.name} if task.first else set()
        filled |= {"outcomes"} if step.kind == "gather" else set()
    arguments = step.arguments()
    if arguments is None:
        return
    parameters = {each.name: each for each in task.parameters if not each.positional_only or each.name in filled}
    for each in task.parameters:
        if each.required and each.name not in parameters:
            loc = step.value("task")[1]
            message = f"task {echo(task.name)} needs {echo(each.name)}, which cannot be given by name"
            yield (
                loc,
                Fault("E031", message, source.place(loc), "the parameters before / take no name: take the / away"),
            )
    # A misspelt name is one fault: the parameter that it stands for is not reported as missing; likewise one beside `with`.
    meant = set(step.data)
    missing = [
        name for name, each in parameters.items() if each.required and name not in filled and name not in arguments
    ]
    for name, (value, loc) in arguments.items():
        if name in filled and name in parameters:
            where = "under `then`" if step.kind == "then" else f"in a {step.kind}"
            message = f"{echo(name)} is filled by the runner {where}"
            yield loc, Fault("E035", message, source.place(loc, key=True), _FILLED_HINTS.get(name, _FIRST_HINT))
        elif name in parameters:
            if off := _off_choice(parameters[name], value):
                yield loc, Fault("E028", off[0], source.place(loc), off[1])
            elif misfit := _misfit(parameters[name], value, source.written(loc)):
                hint = _SHAPES.get(parameters[name].annotation.partition("[")[0].strip(), "")
                yield loc, Fault("E007", misfit, source.place(loc), hint if isinstance(value, str) else "")
            elif of_input := _misfit_of_input(parameters[name], value, mapping(source.draft.get("inputs"))):
                yield loc, Fault("E007", of_input[0], source.place(loc), of_input[1])
        elif not task.takes_any and "${{" not in name:
            good = [each for each in parameters if each not in filled]
            only = missing[0] if len(missing) == 1 else ""
            near = nearest(name, good) or (only if only not in meant else "")
            meant.add(near)
            hint = (f"did you mean {echo(near)}? " if near else "") + f"it takes {listed(good)}"
            message = f"task {echo(task.name)} takes no {echo(name)}"
            yield loc, Fault("E027", message, source.place(loc, key=True), hint)
    for name in missing:
        if name not in meant:
            loc = (*step.loc, "with")
            place = source.place(loc, key=True) if "with" in step.data else source.first_key(step.loc)
            message = f"task {echo(task.name)} needs {echo(name)}"
            yield (*loc, name), Fault("E031", message, place, f"with: {{{name}: …}}")


def _off_choice(parameter: Parameter, value: Any) -> tuple[str, str] | None:
    """Say why a value is not among a parameter's choices, ``Literal["json", "text"] | None``, and which is the nearest."""
    choices = parameter.choices
    if not choices or (isinstance(value, str) and "${{" in value) or any(_is_same(value, each) for each in choices):
        return None
    good = ["null" if each is None else str(each) for each in choices]
    near = nearest(value, good) if isinstance(value, str) else ""
    expected = f"{', '.join(good[:-1])} or {good[-1]}" if len(good) > 1 else good[0]
    message = f"expected {expected} for {echo(parameter.name)}, found {found(value)}"
    return message, f"did you mean {near}?" if near else ""


def _misfit_of_input(parameter: Parameter, value: Any, inputs: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a value that is one input alone cannot be what its parameter is annotated as, and what to declare.

    None of its type may fit: a number may be an integer.
    """
    root, _, name = expressions.alone(value).partition(".") if isinstance(value, str) else ("", "", "")
    declared = inputs.get(name)
    if root != "inputs" or name not in inputs or not isinstance(declared, dict | None):
        return None
    type_ = str(mapping(declared).get("type", "string"))
    values = _OF_ANY_TYPE.get(type_, ())
    kinds = _simple_kinds(parameter)
    if not values or not kinds or any(_fits(each, kinds) for each in values):
        return None
    message = f"expected {_expected(kinds)} for {echo(parameter.name)}, and inputs.{printable(name)} is of type {type_}"
    if type_ not in {"array", "object"} and "str" in kinds:
        return message, f"write ${{{{ string(inputs.{printable(name)}) }}}}"
    good = next((declared for simple, declared in _DECLARED.items() if simple in kinds), "")
    return message, f"declare it: {printable(name)}: {{type: {good}}}" if good else ""


def _is_same(value: Any, choice: Any) -> bool:
    return type(value) is type(choice) and bool(value == choice)


def _misfit(parameter: Parameter, value: Any, written: str | None) -> str:
    """Say why a value does not fit a parameter's annotation; empty if it does, or if the annotation is not a simple one."""
    kinds = _simple_kinds(parameter)
    if not kinds or (isinstance(value, str) and "${{" in value) or _fits(value, kinds):
        return ""
    if "str" in kinds and isinstance(value, bool | int | float):
        return misread(value, written)
    return f"expected {_expected(kinds)} for {echo(parameter.name)}, found {found(value)}"


def _simple_kinds(parameter: Parameter) -> frozenset[str]:
    """Return the types that an annotation allows, ``int | None``; none if one of them is not simple."""
    kinds = frozenset(part.strip().partition("[")[0] for part in parameter.annotation.split("|"))
    return kinds if kinds <= _SIMPLE.keys() else frozenset()


def _fits(value: Any, kinds: Collection[str]) -> bool:
    name = "None" if value is None else type(value).__name__
    return name in kinds or (name == "int" and "float" in kinds)


def _expected(kinds: Collection[str]) -> str:
    return " or ".join(words for simple, words in _SIMPLE.items() if simple in kinds)
