"""`tasks`, and the completions of a shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import DEFAULT, ROOT, runner

pytestmark = pytest.mark.usefixtures("state_dir")

SCRIPT = Path(sys.executable).with_name("runner")


def completed(words: str, **env: str) -> list[str]:
    """What bash offers for the last of the words."""
    number = len(words.split(" ")) - 1
    done = subprocess.run(
        [SCRIPT],
        env={**os.environ, "_RUNNER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=30,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_list_of_tasks_has_the_values_of_a_format() -> None:
    told = runner("tasks").stdout
    assert "format: Literal['json', 'text', 'bytes'] | None = None" in told
    assert "paths: str | list[str]" in told
    assert "Patterns" not in told
    assert "Keys" not in told


def test_a_task_is_shown_with_its_docstring_and_an_example() -> None:
    answer = runner("tasks", "http.get")
    assert answer.code == 0
    assert answer.stdout.startswith("http.get  Get a URL")
    assert "Args:\n    url: http or https." in answer.stdout
    assert "example\n    collectors:\n      - id: http_get\n        task: http.get\n" in answer.stdout
    assert "files.read" not in answer.stdout


def test_a_task_of_a_file_is_shown_with_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from celery import shared_task\n\n@shared_task(name='shop.prices')\n"
        'def prices(city: str):\n    """Prices.\n\n    \\x1b[31mOf a city.\n    """\n'
    )
    file = tmp_path / "w.yaml"
    file.write_text("name: w\ninclude: [shop]\n")
    told = runner("tasks", str(file), "shop.prices").stdout
    assert f"{tmp_path}/shop.py:4" in told
    assert r"\x1b[31mOf a city." in told
    assert "task: shop.prices\n" in told


def test_the_tasks_of_a_file_are_one_json_object_with_their_parameters_and_examples(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from celery import shared_task\n\n@shared_task(name='shop.prices')\n"
        'async def prices(city: str, *, unit: Literal["kg", "t"] = "kg", **more):\n    """Prices."""\n'
    )
    file = tmp_path / "w.yaml"
    file.write_text("name: w\ninclude: [shop]\n")
    document = runner("tasks", str(file), "shop.prices", "--json", RUNNER_TASKS="elsewhere.*").json
    [task] = document["tasks"]
    assert (document["elsewhere"], document["warnings"]) == (["elsewhere.*"], [])
    assert (task["name"], task["file"], task["line"], task["async"]) == ("shop.prices", f"{tmp_path}/shop.py", 4, True)
    assert [(each["name"], each["required"], each["choices"]) for each in task["parameters"]] == [
        ("city", True, []),
        ("unit", False, ["kg", "t"]),
    ]
    assert (task["summary"], task["any_other_name"]) == ("Prices.", True)
    assert "task: shop.prices" in task["example"]


def test_the_json_of_tasks_has_every_task_of_the_list() -> None:
    names = [task["name"] for task in runner("tasks", "--json").json["tasks"]]
    assert names == [line.split()[0] for line in runner("tasks").stdout.splitlines() if line[:1].strip()]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("http.gt",), 2, "Did you mean http.get?"),
        ((DEFAULT, "http.gt"), 2, "Did you mean http.get?"),
        (("nope.yaml",), 3, "nope.yaml: error[E100]: no such file"),
        (("folder/nope",), 3, "folder/nope: error[E100]: no such file"),
        ((DEFAULT, "http.get", "x"), 2, "a FILE and a NAME"),
    ],
)
def test_a_task_or_a_file_that_is_not_there_is_named(words: tuple[str, ...], code: int, told: str) -> None:
    answer = runner("tasks", *words)
    assert answer.code == code
    assert told in answer.stderr


@pytest.mark.parametrize(
    "words",
    ["run", "validate", "graph", "doctor", "tasks", "validate x.yaml", "run --inputs-file", "resume x --file"],
)
def test_a_shell_completes_the_name_of_a_file(words: str) -> None:
    """With completion turned on, no shell completed a file's name any more after `runner run`."""
    assert "file,workf" in completed(f"runner {words} workf")


def test_a_shell_completes_commands_tasks_and_options_of_the_file() -> None:
    assert completed("runner resu") == ["plain,resume"]
    assert "plain,http.get" in completed("runner tasks http")
    assert completed(f"runner run {DEFAULT} --top") == ["plain,--topic"]


@pytest.mark.parametrize("words", ["runner run nope.yaml --", "runner run - --", "runner run /etc/passwd --"])
def test_a_file_that_cannot_be_read_breaks_no_completion(words: str) -> None:
    assert "plain,--dry-run" in completed(words)


def test_settings_that_are_wrong_break_no_completion() -> None:
    assert "plain,--dry-run" in completed(f"runner run {DEFAULT} --", RUNNER_LEASE="soon")
    assert completed("runner tasks workf", RUNNER_LEASE="soon") == ["file,workf"]
