"""Valid workflows of pure tasks, as plain data and as YAML. A key that the language gains is added here, so that every property meets it."""

from typing import Any

import yaml
from hypothesis import strategies as st

Data = dict[str, Any]

# Texts that YAML 1.1, JSON, CEL or a terminal might take for something else.
_TRICKY = [
    "",
    "NO",
    "on",
    "null",
    "~",
    "0755",
    "1:30",
    "1e3",
    ".inf",
    "2020-01-01",
    "<<",
    "=",
    "*a",
    "&a",
    "- x",
    "a: b",
]
_TRICKY += [
    "#",
    "'",
    '"',
    "}}",
    "{{",
    "$",
    "%",
    "@x",
    "\t",
    " x ",
    "\n",
    "a\nb\n",
    "\x85",
    "\u2028",
    "\u202e",
    "日本",
    "😀",
    "\\",
]


# Any text, except that it has no expression.
TEXTS = st.one_of(st.sampled_from(_TRICKY), st.text(max_size=12)).filter(lambda text: "${{" not in text)

# Any JSON value, small, with numbers that JSON carries exactly.
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53) + 1, 2**53 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXTS,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)
SLUGS = st.from_regex(r"[a-z][a-z0-9_-]{0,7}", fullmatch=True)

# Ten seconds to 24 hours: long enough for any step of a test.
DURATIONS = st.one_of(
    st.sampled_from(["30s", "5m", "1h30m", "12000ms", "1.5h"]), st.integers(10, 86_400), st.floats(10, 86_400)
)
RETRIES = st.one_of(
    st.integers(0, 100),
    st.fixed_dictionaries(
        {},
        optional={
            "max_retries": st.integers(0, 100),
            "delay": DURATIONS,
            "max_delay": DURATIONS,
            "max_duration": DURATIONS,
            "backoff": st.one_of(st.integers(1, 100), st.floats(1, 100)),
            "jitter": st.one_of(st.sampled_from(["full", "none", 0, 1]), st.floats(0, 1)),
            "on": st.sampled_from(["ConnectionError", ["http_429", "http_5xx"], ["httpx.TimeoutException"], []]),
            "not_on": st.sampled_from([["ValueError"], "http_404"]),
        },
    ),
)

# Keys that any step may have, and that do not change its value.
_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "timeout": st.one_of(st.none(), DURATIONS),
    "retry": RETRIES,
    "priority": st.integers(0, 9),
}
_DEFAULTS = st.fixed_dictionaries({}, optional=_OPTIONS)

# Every workflow has these inputs, each with a value, so that any expression below may stand in any of them.
_NUMBERS = st.integers(-1000, 1000)
_INPUTS: dict[str, st.SearchStrategy[Any]] = {
    "text": st.fixed_dictionaries({"default": TEXTS}, optional={"type": st.just("string"), "description": TEXTS}),
    "number": _NUMBERS.map(lambda number: {"type": "integer", "default": number, "minimum": -1000, "maximum": 1000}),
    "numbers": st.lists(_NUMBERS, max_size=3).map(lambda numbers: {"type": "array", "default": numbers}),
    "flag": st.booleans().map(lambda flag: {"type": "boolean", "default": flag, "enum": [True, False]}),
    "thing": st.dictionaries(st.sampled_from("ab"), _NUMBERS).map(lambda thing: {"type": "object", "default": thing}),
    "share": st.floats(0, 1).map(lambda share: {"type": "number", "default": share, "secret": True}),
    "nothing": st.just({"required": False, "pattern": "^x", "min_length": 1, "max_length": 9}),
}
_EXPRESSIONS = st.sampled_from(
    [
        "${{ inputs.text }}",
        "${{inputs.number}} and ${{ inputs.flag }}",
        "${{ inputs.number + 1 }}",
        "${{ inputs.numbers.map(n, n * 2) }}",
        "${{ inputs.flag ? inputs.thing : {'not': inputs['text']} }}",
        "${{ size(inputs.numbers) > 1 || inputs.text.startsWith('}}') }}",
        "[${{ inputs.nothing }}] ${{ inputs.share }}",
        "${{ run.name }}",
    ]
)
_ARGUMENTS = st.one_of(
    VALUES, _EXPRESSIONS, st.lists(_EXPRESSIONS, max_size=2), st.dictionaries(SLUGS, _EXPRESSIONS, max_size=2)
)


def _call(task: str, arguments: dict[str, st.SearchStrategy[Any]] | None = None) -> st.SearchStrategy[Data]:
    keys: dict[str, st.SearchStrategy[Any]] = {"task": st.just(task)}
    if arguments:
        keys["with"] = st.fixed_dictionaries(arguments)
    return st.fixed_dictionaries(keys, optional=_OPTIONS)


def _or_followed(steps: st.SearchStrategy[Data]) -> st.SearchStrategy[Data]:
    """What follows a collector in the same attempt; some of it is async."""
    thens = st.lists(st.one_of(_STAGES, _call("pure.echo_async")).map(_without_options), max_size=2)
    return st.one_of(steps, st.builds(lambda step, then: step | {"then": then}, steps, thens))


def _without_options(call: Data) -> Data:
    return {key: value for key, value in call.items() if key not in _OPTIONS}


def _or_may_fail(steps: st.SearchStrategy[Data]) -> st.SearchStrategy[Data]:
    """What may fail changes nothing where nothing fails."""
    required = st.fixed_dictionaries({}, optional={"required": st.sampled_from([True, False, None])})
    return st.builds(lambda step, key: step | key, steps, required)


# Each is true of some values of the inputs, and false of others; the second of some items.
_CONDITIONS = st.sampled_from([True, False, "${{ inputs.flag }}", "${{ inputs.number > 0 && inputs.text != '' }}"])
_OF_ITEMS = st.one_of(
    _CONDITIONS, st.sampled_from(["${{ item_index % 2 == 0 }}", "${{ item_index != 1 || inputs.flag }}"])
)
_OF_STAGES = st.one_of(
    _CONDITIONS, st.sampled_from(["${{ value != null }}", "${{ coverage == 1.0 }}", "${{ type(value) == string }}"])
)


@st.composite
def _or_skipped(draw: st.DrawFn, steps: list[Data]) -> list[Data]:
    """Collectors, some of which may have a condition. None where the file says how many must succeed: there may be too few."""
    return [
        {**step, "when": draw(_OF_ITEMS if "foreach" in step else _CONDITIONS)}
        if draw(st.integers(0, 3)) == 0
        else step
        for step in steps
    ]


@st.composite
def _or_passed_over(draw: st.DrawFn, stage: Data) -> Data:
    """A stage that may be skipped, or that may fail."""
    keys = {"when": _OF_STAGES, "required": st.sampled_from([True, False, None])}
    return {**stage, **{key: draw(values) for key, values in keys.items() if draw(st.integers(0, 3)) == 0}}


# Items, and what tells them from one another; the values of the inputs make some of them.
_ITEMS: st.SearchStrategy[Any] = st.one_of(
    st.lists(st.one_of(VALUES, st.just("${{ inputs.thing }}"), st.just(["at ${{ inputs.number }}"])), max_size=4),
    st.sampled_from(["${{ inputs.numbers }}", "${{ range(3) }}", "${{ [inputs.number, 'b'] }}"]),
)


@st.composite
def _foreach(draw: st.DrawFn) -> tuple[Any, str]:
    """What is written under ``foreach``, and what it calls the item."""
    items = draw(_ITEMS)
    if draw(st.booleans()):
        return items, "item"
    name = draw(st.sampled_from(["item", "page", "_x1"]))
    keys = ["${{ item_index }}", "n${{ item_index + 1 }}", f"${{{{ type({name}) == int }}}} ${{{{ item_index }}}}"]
    optional = {
        "key": st.one_of(st.none(), st.sampled_from(keys)),
        "max_items": st.one_of(st.none(), st.integers(9, 99)),
    }
    if name == "item":
        return draw(st.fixed_dictionaries({"items": st.just(items)}, optional=optional)), name
    return draw(st.fixed_dictionaries({"items": st.just(items), "as": st.just(name)}, optional=optional)), name


@st.composite
def _for_each(draw: st.DrawFn) -> Data:
    """A collector of many items, each of which comes to what it is, or says where it stands."""
    foreach, name = draw(_foreach())
    value = st.sampled_from(
        [f"${{{{ {name} }}}}", f"at ${{{{ item_index }}}}: ${{{{ {name} }}}}", "${{ item_index * 2 }}"]
    )
    step = draw(st.one_of(_call("pure.echo", {"value": value}), _call("pure.echo_async", {"value": value})))
    sent = st.fixed_dictionaries(
        {},
        optional={
            "batch": st.one_of(st.just("auto"), st.integers(1, 1000)),
            "max_concurrency": st.integers(1, 1000),
        },
    )
    return {**step, "foreach": foreach, **draw(sent)}


def _tolerance(collectors: int) -> st.SearchStrategy[Data]:
    least = st.one_of(st.none(), st.integers(0, collectors), st.integers(0, 100).map(lambda share: f"{share}%"))
    return st.fixed_dictionaries({}, optional={"min_success": least, "deadline": st.one_of(st.none(), DURATIONS)})


_SUMMAND = st.one_of(_NUMBERS, st.just("${{ inputs.number }}"))
_COLLECTORS = st.one_of(
    _call("pure.echo", {"value": _ARGUMENTS}),
    _call("pure.echo_async", {"value": _ARGUMENTS}),
    _call("pure.add", {"a": _SUMMAND, "b": _SUMMAND}),
    _call("pure.greet", {"name": TEXTS, "loud": st.booleans()}),
)
_STAGES = st.one_of(_call("pure.stage_wrap", {"label": TEXTS}), _call("pure.stage_text"), _call("pure.echo"))
_GATHERS = st.one_of(_call("pure.gather_text"), _call("pure.gather_list", {"tag": TEXTS}), _call("pure.echo"))


# Of a part that follows another: over its value, whatever that is, or beside it.
_VALUE_AS_LIST = "${{ type(value) == list ? value : [value] }}"
_LATER_ITEMS = st.sampled_from(
    [
        _VALUE_AS_LIST,
        {"items": _VALUE_AS_LIST, "as": "page", "key": "n${{ item_index }}"},
        {"items": "${{ [value, inputs.number] }}"},
        {"items": "${{ range(3) }}", "key": "${{ type(value) == int }} ${{ item_index }}"},
    ]
)


@st.composite
def _for_each_later(draw: st.DrawFn) -> Data:
    foreach = draw(_LATER_ITEMS)
    name = foreach.get("as", "item") if isinstance(foreach, dict) else "item"
    value = st.sampled_from([f"${{{{ {name} }}}}", "${{ [value, item_index] }}"])
    return {**draw(_call("pure.echo", {"value": value})), "foreach": foreach}


@st.composite
def _fan_out_stage(draw: st.DrawFn, name: str, *, foreach: bool) -> Data:
    """A stage with collectors, and with a gather or without."""
    alone = st.one_of(_COLLECTORS, _call("pure.echo", {"value": st.just("after ${{ value }}")}))
    kinds = st.one_of(alone, _for_each(), _for_each_later(), _for_each_later()) if foreach else alone
    collectors = draw(st.lists(_or_may_fail(kinds), min_size=1, max_size=3))
    stage: Data = {"id": name, "collectors": [{"id": f"{name}-c{at}", **each} for at, each in enumerate(collectors)]}
    if draw(st.booleans()):
        counted = sum("foreach" not in step for step in collectors)
        stage["gather"] = {**draw(_GATHERS), **draw(_tolerance(counted))}
    if not isinstance(stage.get("gather", {}).get("min_success"), int):
        stage["collectors"] = draw(_or_skipped(stage["collectors"]))
    return stage


_SAID = st.sampled_from(
    [
        "${{ run.status }} ${{ run.attempt }}",
        "${{ error == null ? missing : [error.step] }}",
        "${{ coverage }}",
        "${{ value }}",
    ]
)


@st.composite
def _hooks(draw: st.DrawFn, word: str) -> Data:
    """Hooks of some ends, each of which is executed, skipped or fails by itself: they change nothing."""
    ends = draw(st.sets(st.sampled_from(["on_success", "on_failure", "on_recovered", "finally"]), min_size=1))
    step = st.one_of(
        _call("pure.echo", {"value": _SAID}), _call("pure.add", {"a": st.just("${{ value }}")}).map(_without_options)
    )
    when = st.fixed_dictionaries(
        {}, optional={"when": st.sampled_from([True, False, "${{ run.status == 'succeeded' }}"])}
    )
    return {
        end: [{"id": f"{word}-{end}{at}", **draw(step), **draw(when)} for at in range(draw(st.integers(1, 2)))]
        for end in sorted(ends)
    }


@st.composite
def workflows(
    draw: st.DrawFn, *, max_collectors: int = 4, max_stages: int = 3, foreach: bool = True, later: bool = True
) -> Data:
    """A valid workflow as the data of its file, of the tasks of ``tests/pure_tasks.py``. Every input has a default.

    Args:
        foreach: whether collectors may be repeated for items.
        later: whether stages may fan out, and whether a file may begin with a stage.
    """
    word = draw(SLUGS)
    kinds = st.one_of(_COLLECTORS, _COLLECTORS, _for_each()) if foreach else _COLLECTORS
    collectors = draw(st.lists(_or_may_fail(_or_followed(kinds)), min_size=1, max_size=max_collectors))
    alone = sum("foreach" not in step for step in collectors)
    fans = [later and draw(st.booleans()) for _ in range(draw(st.integers(0, max_stages)))]
    stages = [
        draw(_fan_out_stage(f"{word}-stage{at}", foreach=foreach))
        if each
        else {"id": f"{word}-stage{at}", **draw(_STAGES)}
        for at, each in enumerate(fans)
    ]
    stages = [draw(_or_passed_over(stage)) for stage in stages]
    data: Data = {
        "name": draw(SLUGS),
        "include": ["pure_tasks"],
        "inputs": draw(st.fixed_dictionaries(_INPUTS)),
        "collectors": [{"id": f"{word}{at}", **each} for at, each in enumerate(collectors)],
    }
    if draw(st.booleans()):
        data["description"] = draw(TEXTS)
    if draw(st.booleans()):
        data["defaults"] = draw(
            st.fixed_dictionaries({}, optional={"collectors": _or_may_fail(_DEFAULTS), "stages": _DEFAULTS})
        )
    if draw(st.booleans()):
        data["gather"] = {"id": f"{word}-gather", **draw(_GATHERS), **draw(_tolerance(alone))}
        if draw(st.booleans()) and not _is_any_required(data):  # all of them are needed, so that the result is the same
            data["gather"] |= {"min_success": "100%", "stop": "early"}
    if not isinstance(data.get("gather", {}).get("min_success"), int):
        data["collectors"] = draw(_or_skipped(data["collectors"]))
    if draw(st.booleans()) or stages:
        data["stages"] = stages
    if draw(st.integers(0, 3)) == 0:
        data["hooks"] = draw(_hooks(word))
    if draw(st.integers(0, 3)) == 0:
        data["timeout"] = draw(DURATIONS)
    if later and draw(st.integers(0, 4)) == 0:  # without collectors, the first part is a step that is handed nothing
        first = {"id": f"{word}-first", **draw(_call("pure.echo", {"value": _ARGUMENTS}))}
        return {key: value for key, value in data.items() if key not in {"collectors", "gather"}} | {
            "stages": [first, *stages]
        }
    return data


def _is_any_required(data: Data) -> bool:
    common = data.get("defaults", {}).get("collectors", {}).get("required")
    return any(step.get("required", common) is True for step in data["collectors"])


class _Dumper(yaml.SafeDumper):
    """Writes a value that stands twice out twice: the language allows 50 aliases."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # PyYAML 6.0.3 writes U+0085 between single quotes, where it is a line break, and so a space.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\x85" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(data: Data) -> str:
    """The file of a workflow's data, every key on a line of its own."""
    text: str = yaml.dump(data, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=2**30)
    return text
