"""The words of an error."""

import subprocess
import sys

import pytest

from runner.errors import UnknownRun
from runner.language.faults import Fault, InvalidInputs, InvalidWorkflow, Place
from runner.text import width
from runner.views.problem import problem
from runner.views.screen import Screen


def test_a_problem_is_shown_with_what_to_do_about_it() -> None:
    told = problem(UnknownRun('no run "x\x1b[2J"', hint="`runner runs` lists the runs"))
    assert told == 'error: no run "x\\x1b[2J"\nhint: `runner runs` lists the runs'


def test_every_input_that_does_not_fit_has_its_own_line() -> None:
    assert problem(InvalidInputs('input "a": no\ninput "b": no')) == 'error: input "a": no\nerror: input "b": no'


def test_all_faults_of_a_workflow_are_shown() -> None:
    place = Place("news.yaml", 3, 5, 4, "    nam: x")
    told = problem(InvalidWorkflow((Fault("E020", "unknown key", place), Fault("E012", "nothing", place))))
    assert "news.yaml:3:5: error[E020]: unknown key" in told
    assert "error[E012]" in told


def test_faults_are_shown_without_waiting_for_the_redis_client() -> None:
    asked = "import sys; import runner.cli; print([m for m in ('redis', 'celery', 'rich') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("before", ["a: ", "a: " + "x" * 200, "a: " + "日本語" * 30, "a: " + "\x1b" * 40])
@pytest.mark.parametrize("marked", ["wrong", "wrong" * 40, "誤り" * 20])
@pytest.mark.parametrize("columns", [20, 40, 60, 80])
def test_the_line_of_a_fault_fits_the_screen_with_its_caret(before: str, marked: str, columns: int) -> None:
    """Found in use: at 60 columns the line was cut at 120, wrapped, and the caret stood beneath another row."""
    place = Place("w.yaml", 7, len(before) + 1, len(marked), f"{before}{marked} and more {'after ' * 40}")
    told = problem(InvalidWorkflow((Fault("E020", "no", place),)), screen=Screen(width=columns))
    _, line, carets = told.splitlines()
    assert max(width(line), width(carets)) <= columns
    start = len(carets) - len(carets.lstrip(" |"))
    shown = next(line[at:] for at in range(len(line)) if width(line[:at]) == start)
    assert marked.startswith(shown[:1])
    assert carets.strip(" |") == "^" * carets.count("^") != ""
