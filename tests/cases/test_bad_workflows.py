"""Each `bad/*.yaml` to the faults in the `.txt` beside it, as `validate` prints them; inputs too large to keep are made here."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.language import foreach
from runner.language.faults import CODES, InvalidWorkflow
from runner.language.source import parse_source
from runner.language.task_index import included_modules, read_tasks
from runner.language.workflow_file import check
from runner.views.faults import describe_faults

TESTS = Path(__file__).parents[1]
BAD = Path(__file__).parent / "bad"

_ECHO = "task: pure.echo, with: {value: 1}"
MADE: dict[str, Callable[[], str]] = {
    "Y01-too-large": lambda: "# far too long\n" * 75_000,
    "Y02-500000-brackets": lambda: "[" * 500_000,
    "E002-33-levels": lambda: "a: " + "[" * 32 + "]" * 32,
    "E002-33-levels-by-an-alias": lambda: f"a: &a {'[' * 20}{']' * 20}\nb: {'[' * 12}*a{']' * 12}\n",
    "E002-33-levels-in-block-style": lambda: "".join(f"{' ' * at}a:\n" for at in range(40)),
    "E003-51-aliases": lambda: "a: &a 1\nb:\n" + "- *a\n" * 51,
    "E016-too-many-events": lambda: "a: [" + "1," * 200_000 + "]",
    "E017-long-string": lambda: f"name: bad\ndescription: {'x' * 65_537}\ncollectors: [{{id: a, {_ECHO}}}]",
    "E028-long-values": lambda: f"name: {'a' * 5_000}\ncollectors: [{{id: a, {_ECHO}, timeout: {'9' * 5_000}}}]",
    "E025-long-expression": lambda: (
        f"name: bad\ncollectors: [{{id: a, task: pure.echo, with: {{value: '${{{{ {'1 + ' * 300} 1 }}}}'}}}}]"
    ),
    "E033-10001-collectors": lambda: (
        "name: bad\ncollectors:\n" + "".join(f"- {{id: a{n}, {_ECHO}}}\n" for n in range(10_001))
    ),
    "E033-101-stages": lambda: (
        f"name: bad\ncollectors: [{{id: a, {_ECHO}}}]\nstages:\n"
        + "".join(f"- {{id: s{n}, task: pure.stage_text}}\n" for n in range(101))
    ),
    "E033-101-inputs": lambda: (
        f"name: bad\ncollectors: [{{id: a, {_ECHO}}}]\ninputs:\n" + "".join(f"  i{n}:\n" for n in range(101))
    ),
    "E028-wide-characters": lambda: f"name: bad # 日本\ncollectors: [{{id: a, {_ECHO}, queue: 日本 e\u0301 語}}]",
}


def told(content: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a user reads about a file called bad.yaml."""
    monkeypatch.chdir(TESTS)
    with pytest.raises(InvalidWorkflow) as raised:  # noqa: PT012  either may raise, as for a user
        source = parse_source(content, "bad.yaml")
        modules = ["pure_tasks", *included_modules(source)]
        foreach.check(check(source, read_tasks(modules, ["."])).plan(), source)
    return describe_faults(raised.value.faults) + "\n"


@pytest.mark.parametrize("case", sorted(path.stem for path in BAD.glob("*.yaml")))
def test_a_bad_workflow_is_reported_as_expected(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told((BAD / f"{case}.yaml").read_bytes(), monkeypatch) == (BAD / f"{case}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", MADE)
def test_a_made_bad_workflow_is_reported_as_expected(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(MADE[case]().encode(), monkeypatch) == (BAD / f"{case}.txt").read_text(encoding="utf-8")


def test_every_expectation_has_its_case() -> None:
    assert {path.stem for path in BAD.glob("*.txt")} == {path.stem for path in BAD.glob("*.yaml")} | MADE.keys()


def test_every_code_has_a_case() -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in BAD.glob("*.txt"))
    # E039 needs a file, E100 a path: tests/unit/language has them (test_foreach.py, test_source.py).
    assert {code for code in CODES if f"error[{code}]" not in shown} == {"E039", "E100"}
