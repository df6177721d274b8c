"""A user's value for an input to the value that its declaration accepts, or to the reason why it accepts none."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import SchemaError, SchemaValidator, core_schema

from runner.language import schema_errors
from runner.language.faults import Fault, InvalidInput, InvalidWorkflow
from runner.language.source import Loc, Source, found, is_json, read_source
from runner.text import echo, listed

Type = Literal["string", "integer", "number", "boolean", "array", "object"]


class Input(BaseModel, extra="forbid", strict=True, frozen=True):
    """A typed parameter of the workflow: an option of `run`, and `inputs.NAME` in an expression."""

    type: Type = Field("string", description="What values it takes.")
    description: str = Field("", description="Shown in the help of `run`.")
    required: bool = Field(True, description="Whether it must be given. Without this key: unless it has a default.")
    default: Any = Field(None, description="Its value when it is not given.")
    enum: list[Any] | None = Field(None, min_length=1, description="The only values it may have.")
    pattern: str | None = Field(
        None, max_length=1000, description="A regular expression that is found in it (anchor it with ^ and $)."
    )
    minimum: float | None = Field(None, description="The least number.")
    maximum: float | None = Field(None, description="The greatest number.")
    min_length: int | None = Field(None, ge=0, description="The least number of characters, or of items.")
    max_length: int | None = Field(None, ge=0, description="The greatest number of characters, or of items.")
    secret: bool = Field(False, description="Whether its value is never shown.")

    @model_validator(mode="before")
    @classmethod
    def _required_without_default(cls, data: Any) -> Any:
        if data is None:  # `topic:` alone is a required string
            return {}
        return {"required": "default" not in data, **data} if isinstance(data, dict) else data

    def accept(self, value: Any, *, from_text: bool = True) -> Any:
        """Return the value of this input that a user gave.

        Args:
            value: a JSON value; or the text of one, as the command line has it.
            from_text: whether a string stands for a value of another type (``"5"`` for 5).

        Raises:
            InvalidInput: it does not fit; the message never shows a secret.
        """
        if from_text and isinstance(value, str):
            value = _from_text(value, self.type)
        if value is None and not self.required:
            return None
        if problem := _misfit(self, value):
            raise InvalidInput(problem[1] if self.secret else f"{problem[1]}, found {found(value)}")
        return int(value) if self.type == "integer" else value


def read(path: str, declared: Mapping[str, Input]) -> dict[str, Any]:
    """Return the values in a file of inputs, by the input's name; `accept` checks whether they fit.

    Raises:
        InvalidWorkflow: the file is not YAML or JSON, or has a fault. No secret is shown.
    """
    secret = [(name,) for name, each in declared.items() if each.secret]
    written = read_source(path, of="file of inputs", secret=bool(secret))
    if written.faults:
        raise InvalidWorkflow(tuple(written.hide(written.faults, secret)))
    return written.data


def faults(written: Source) -> Iterator[Fault]:
    """Yield the faults of inputs that are well formed, but whose default, enum or pattern do not fit the rest."""
    inputs = written.draft.get("inputs")
    for name, said in inputs.items() if isinstance(inputs, dict) else ():
        try:
            declared = Input.model_validate(said)
        except ValidationError:
            continue
        for loc, code, message in _declaration_faults(declared):
            at = ("inputs", name, *loc)
            value = said[loc[0]] if len(loc) == 1 else said[loc[0]][loc[1]]
            if message.startswith("expected"):
                yield schema_errors.fault(code, message, value, at, written)
            else:
                yield Fault(code, message, written.place(at))


def _from_text(text: str, type_: Type) -> Any:
    """Convert a text of the command line to the input's type; return the text itself if it cannot be converted."""
    word = text.strip().lower()
    match type_:
        case "integer" if re.fullmatch(r"[+-]?[0-9]{1,20}", word):
            return int(word)
        case "number" if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", word):
            return int(word) if re.fullmatch(r"[+-]?[0-9]{1,20}", word) else float(word)
        case "boolean":
            words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False}
            return {**words, "0": False}.get(word, text)
        case "array" | "object":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return text
        case _:
            return text


_CLASSES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_EXPECTED = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}


def _misfit(declared: Input, value: Any) -> tuple[str, str] | None:
    """Return the code of the fault and what was expected, if a value does not fit its declaration."""
    wrong = _wrong_type(declared.type, value)
    if wrong:
        return wrong
    if declared.enum is not None and value not in declared.enum:
        good = "the values under enum" if declared.secret else listed([echo(each) for each in declared.enum])
        return "E028", f"expected one of {good}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if declared.minimum is not None and value < declared.minimum:
            return "E028", f"expected at least {declared.minimum:g}"
        if declared.maximum is not None and value > declared.maximum:
            return "E028", f"expected at most {declared.maximum:g}"
    if isinstance(value, str | list):
        unit = "characters" if isinstance(value, str) else "items"
        if declared.min_length is not None and len(value) < declared.min_length:
            return "E028", f"expected at least {declared.min_length} {unit}"
        if declared.max_length is not None and len(value) > declared.max_length:
            return "E028", f"expected at most {declared.max_length} {unit}"
    if isinstance(value, str) and declared.pattern is not None and not _matches(declared.pattern, value):
        return "E028", f"expected a match of {echo(declared.pattern)}"
    return None


def _wrong_type(type_: Type, value: Any) -> tuple[str, str] | None:
    misplaced = isinstance(value, bool) and type_ != "boolean"  # in Python, True is an int
    if misplaced or not isinstance(value, _CLASSES[type_]):
        return "E007", f"expected {_EXPECTED[type_]}"
    if isinstance(value, float) and type_ == "integer" and not value.is_integer():
        return "E007", "expected an integer"
    if not is_json(value):
        return "E018", "expected a value that JSON can carry: text, and numbers between -2^53 and 2^53"
    return None


@lru_cache(maxsize=256)
def _regex(pattern: str) -> SchemaValidator:
    """Pydantic's regular expressions are Rust's: they search in linear time, whatever the pattern; Python's may not end."""
    return SchemaValidator(core_schema.str_schema(pattern=pattern))


_PIECE = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\{\d+(?:,\d*)?\}|.", re.DOTALL)


def _states(pattern: str) -> int:
    """Return about how large a pattern becomes when its counts are written out: ``(a{10}){10}`` has a hundred of ``a``."""
    groups, last = [0], 0
    for piece in _PIECE.findall(pattern):
        if piece == "(":
            groups.append(0)
            last = 0
        elif piece == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif len(piece) > 2 and piece[0] == "{":
            times = max(int(number[:9] or 1) for number in piece[1:-1].split(","))
            groups[-1] += last * (times - 1)
            last *= times
        else:
            last = 1
            groups[-1] += 1
    return sum(groups)


def _matches(pattern: str, value: str) -> bool:
    try:
        _regex(pattern).validate_python(value)
    except (ValidationError, SchemaError):
        return False
    return True


_APPLIES = {
    "pattern": {"string"},
    "minimum": {"integer", "number"},
    "maximum": {"integer", "number"},
    "min_length": {"string", "array"},
    "max_length": {"string", "array"},
}


def _declaration_faults(declared: Input) -> Iterator[tuple[Loc, str, str]]:
    for key, types in _APPLIES.items():
        if getattr(declared, key) is not None and declared.type not in types:
            yield (key,), "E028", f"{key} is for an input of type {' or '.join(sorted(types))}, not {declared.type}"
    for least, most in (("minimum", "maximum"), ("min_length", "max_length")):
        low, high = getattr(declared, least), getattr(declared, most)
        if low is not None and high is not None and low > high:
            yield (most,), "E028", f"expected at least {low:g}, the {least}"
    if declared.pattern is not None:
        try:
            _regex(declared.pattern)
        except SchemaError as error:
            if "size limit" in str(error):
                yield ("pattern",), "E037", "a pattern that is too large: its counts, written out, have over 10 MiB"
                return
            why = str(error).rpartition("error: ")[2].partition("\n")[0]
            yield ("pattern",), "E037", f"not a regular expression: {why}"
            return
    wrong: list[tuple[Loc, tuple[str, str] | None]] = [
        (("enum", at), _wrong_type(declared.type, each)) for at, each in enumerate(declared.enum or [])
    ]
    # Linear is not always short: a pattern of 100,000 states takes 2.5 s for 500 characters.
    short = not isinstance(declared.default, str) or _states(declared.pattern or "") * len(declared.default) < 1_000_000
    if declared.default is not None and short:
        wrong.append((("default",), _misfit(declared, declared.default)))
    for loc, problem in wrong:
        if problem and problem[0] != "E018":  # which the source reports
            yield loc, *problem
