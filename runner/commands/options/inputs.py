"""A workflow's inputs to click's options, and the words typed for them to inputs."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from runner.language.inputs import Input

# `--flag` without a value. Inputs of other types must have neither word: with `is_flag=False` or any `flag_value`, None too,
# click 8.5 treats the value as optional, and then a value that begins with "-" as an option.
_ALONE_TRUE: dict[str, Any] = {"is_flag": False, "flag_value": "true"}


def find_file(words: list[str], options: Iterable[click.Parameter]) -> str | None:
    """Find the workflow file in a command line, before its inputs and so its options can be read.

    It is the first word that is neither an option nor an option's value. An unknown option is an input's, with a value.

    Args:
        words: of the command line.
        options: of the command itself.

    Returns:
        The file as typed; None if there is none.
    """
    flags = {
        name for option in options if isinstance(option, click.Option) and option.is_flag for name in option.opts
    } | {"-h", "--help"}
    rest = iter(words)
    for word in rest:
        if word == "--":  # no word after it is an option
            return next(rest, None)
        if word == "-" or not word.startswith("-"):
            return word
        if word not in flags and "=" not in word:
            next(rest, None)
    return None


def input_options(inputs: Mapping[str, Input], taken: Iterable[str]) -> list[click.Option]:
    """Return an option for each input; one with the name of an option of the command can be set with `--input` only.

    Args:
        inputs: of the workflow.
        taken: the command's own options, as ``--json``.
    """
    free = {name: declared for name, declared in inputs.items() if f"--{_dashed(name)}" not in set(taken)}
    return [
        click.Option(
            [f"input_{name}", f"--{_dashed(name)}", *([f"--{name}"] if "_" in name else [])],
            multiple=True,
            metavar=declared.type.upper(),
            help=_help(declared),
            **(_ALONE_TRUE if declared.type == "boolean" else {}),
        )
        for name, declared in free.items()
    ]


def typed_inputs(inputs: Mapping[str, Input], params: Mapping[str, Any], pairs: Iterable[str]) -> dict[str, Any]:
    """Collect what the user typed for each input: with its option, or with ``--input name=value``.

    Args:
        inputs: of the workflow.
        params: of click's context, with ``input_NAME`` for each input's option.
        pairs: each ``--input``.

    Returns:
        A text for each input that was typed; a list of texts for an array, unless that was typed as JSON.

    Raises:
        click.UsageError: a single value or a JSON list was typed twice, or ``--input`` has no ``name=value``.
    """
    words: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--input takes name=value, not {pair!r}")
        words.setdefault(name, []).append(value)
    for name in inputs:
        words.setdefault(name, []).extend(params.get(f"input_{name}") or ())
    typed: dict[str, Any] = {}
    for name, values in words.items():
        several = name in inputs and inputs[name].type == "array"
        if len(values) > 1 and not several:
            raise click.UsageError(f'input "{name}" was passed {len(values)} times')
        if len(values) > 1 and any(map(_is_json_list, values)):
            raise click.UsageError(
                f'input "{name}" was passed {len(values)} times, and once as JSON: pass one JSON list'
            )
        if values:
            one = len(values) == 1 and values[0].lstrip().startswith("[")
            typed[name] = values if several and not one else values[0]
    return typed


def _is_json_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _help(declared: Input) -> str:
    description = declared.description.rstrip(".")
    default = "***" if declared.secret else json.dumps(declared.default, ensure_ascii=False)
    note = "required" if declared.required else f"default: {default}"
    choices = f"one of {', '.join(map(str, declared.enum))}" if declared.enum else ""
    return f"{description}  [{'; '.join(filter(None, [choices, note]))}]"
