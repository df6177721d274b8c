"""The codes of faults and their explanations: every example is validated."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from runner.language import advice, foreach
from runner.language import plan as plans
from runner.language.explanations import MEANINGS, Explanation, explain
from runner.language.faults import InvalidWorkflow
from runner.language.source import parse_source
from runner.language.task_index import tasks_of
from runner.language.workflow_file import check
from runner.settings import Settings
from runner.views.explanation import explanation
from runner.views.screen import Screen

DATA = Path(plans.__file__).with_name("explanations.yaml")
EXPLAINED = [explain(code) for code in MEANINGS]
SHOWN = [each for each in EXPLAINED if each.wrong]
# Too large, too many, not text, not there, or of two modules: no few lines show them.
WITHOUT_EXAMPLE = {"E001", "E015", "E016", "E017", "E033", "E040", "E100", "W002"}

# What an example leaves out when it shows a part of a workflow.
NAME = "name: example\n"
COLLECTORS = "collectors:\n  - {id: one, task: collector_1, with: {topic: tea}}\n"
TASKS = "name: example\ninclude: [sources]\ncollectors: [{id: prices, task: prices}]\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the examples, with a file of items."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "branches.csv").write_text("name\nulm\n")
    return tmp_path


def test_every_code_is_explained_and_no_other() -> None:
    assert list(yaml.safe_load(DATA.read_text(encoding="utf-8"))) == list(MEANINGS)
    assert all(each.why.endswith(".") for each in EXPLAINED)


def test_every_code_has_an_example_but_those_that_no_few_lines_show() -> None:
    assert {each.code for each in EXPLAINED if not each.wrong} == WITHOUT_EXAMPLE
    assert all(each.mended for each in SHOWN)


@pytest.mark.parametrize("explained", SHOWN, ids=lambda explained: str(explained.code))
def test_the_wrong_example_has_the_fault_that_it_explains_and_no_other(explained: Explanation, folder: Path) -> None:
    assert codes(explained.wrong, folder) == [explained.code]


@pytest.mark.parametrize("explained", SHOWN, ids=lambda explained: str(explained.code))
def test_the_mended_example_is_valid(explained: Explanation, folder: Path) -> None:
    assert codes(explained.mended, folder) == []


@pytest.mark.parametrize("width", [20, 80, 200])
def test_an_explanation_fits_the_screen_but_for_its_example(width: int) -> None:
    shown = explanation(Explanation(code="E000", meaning="x", why="word " * 60), screen=Screen(width=width))
    assert max(map(len, shown.splitlines())) <= min(width, 100)


def test_an_explanation_says_all_that_it_has() -> None:
    explained = Explanation(code="E000", meaning="a meaning", why="a reason", wrong="a: 1\n", mended="b: 2\n")
    assert all(getattr(explained, each.name).strip() in explanation(explained) for each in fields(explained))


def codes(example: str, folder: Path) -> list[str]:
    """The codes of what is wrong with an example, or has no effect in it."""
    (folder / "sources.py").write_text(example if example.startswith("from celery") else "")
    try:
        source = parse_source(whole(example), str(folder / "example.yaml"))
        file = check(source, tasks_of(source, Settings()))
        foreach.check(file.plan(), file.source)
        if "file:" in example:  # that is read when the run starts
            file.bind({})
    except InvalidWorkflow as error:
        return [fault.code for fault in error.faults]
    return [fault.code for fault in advice.warnings(file.source, file.tasks)]


def whole(example: str) -> str:
    if example.startswith("from celery"):
        return TASKS
    if not re.match(r"[a-z]+:", example) or example.startswith("name:"):
        return example
    return NAME + example + ("" if re.search(r"^collectors:", example, re.MULTILINE) else COLLECTORS)
