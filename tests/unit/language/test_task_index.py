"""The facts about a task that its source shows."""

import sys
from pathlib import Path

import pytest

from runner.language.faults import InvalidWorkflow
from runner.language.source import parse_source
from runner.language.spec import read_workflow
from runner.language.task_index import Parameter, Task, TaskIndex, read_tasks, tasks_of
from runner.settings import Settings


def tasks_in(folder: Path, text: str) -> TaskIndex:
    (folder / "tasks_under_test.py").write_text(text, encoding="utf-8")
    return read_tasks(["tasks_under_test"], [folder])


def faults_of(text: str, folder: Path) -> list[str]:
    """The codes of what is wrong with a workflow that includes the module `shop` of a folder."""
    written = parse_source(text, str(folder / "a.yaml"))
    try:
        read_workflow(written, read_tasks(["shop"], [folder]))
    except InvalidWorkflow as error:
        return [fault.code for fault in error.faults]
    return []


def only_task(folder: Path, text: str) -> Task:
    (task,) = tasks_in(folder, text).values()
    return task


@pytest.mark.parametrize(
    "decorator",
    [
        "@shared_task",
        "@shared_task()",
        "@celery.shared_task",
        "@app.task",
        "@app.task(queue='x')",
        "@a.b.task",
        "@other\n@app.task",
    ],
)
def test_a_task_is_known_by_its_decorator(decorator: str, tmp_path: Path) -> None:
    assert only_task(tmp_path, f"{decorator}\ndef work(): ...").name == "tasks_under_test.work"


@pytest.mark.parametrize(
    "text",
    [
        "def work(): ...",
        "@task\ndef work(): ...",
        "@app.tasks\ndef work(): ...",
        "class A:\n  @app.task\n  def work(self): ...",
    ],
)
def test_a_function_that_is_no_task_at_the_top_of_a_module_is_not_listed(text: str, tmp_path: Path) -> None:
    assert not tasks_in(tmp_path, text)


@pytest.mark.parametrize("name", ['"a.b"', "NAME"])
def test_the_name_that_a_decorator_gives_a_task_counts(name: str, tmp_path: Path) -> None:
    assert only_task(tmp_path, f'NAME = "a.b"\n@shared_task(name={name})\ndef work(): ...').name == "a.b"


def test_a_task_name_that_only_running_the_module_would_tell_is_not_guessed(tmp_path: Path) -> None:
    assert not tasks_in(tmp_path, '@shared_task(name=f"a.{b}")\ndef work(): ...')


def test_the_parameters_of_a_task_are_as_written(tmp_path: Path) -> None:
    task = only_task(
        tmp_path,
        '@app.task\nasync def work(a: str, /, b: "list[int]", c=1 + 1, *, d: int | None = None, e): "Say.\\n\\nMore."',
    )
    assert task.parameters == (
        Parameter(name="a", annotation="str", positional_only=True),
        Parameter(name="b", annotation="list[int]"),
        Parameter(name="c", required=False, default="1 + 1"),
        Parameter(name="d", annotation="int | None", required=False, default="None", keyword_only=True),
        Parameter(name="e", keyword_only=True),
    )
    assert (task.is_async, task.summary, task.line, task.takes_any, task.takes_more) == (True, "Say.", 2, False, False)


def test_a_bound_task_has_no_self(tmp_path: Path) -> None:
    task = only_task(tmp_path, "@app.task(bind=True)\ndef work(self, first, *rest, **options): ...")
    assert [parameter.name for parameter in task.parameters] == ["first"]
    assert task.first == Parameter(name="first")
    assert (task.takes_any, task.takes_more) == (True, True)


def test_a_task_without_positional_parameters_has_no_first(tmp_path: Path) -> None:
    assert only_task(tmp_path, "@app.task\ndef work(*, a): ...").first is None


def test_a_module_in_a_package_is_found_without_importing_the_package(tmp_path: Path) -> None:
    package = tmp_path / "package_under_test" / "inner"
    package.mkdir(parents=True)
    (package / "tasks.py").write_text("@app.task\ndef work(): ...", encoding="utf-8")
    (package.parent / "__init__.py").write_text("raise RuntimeError", encoding="utf-8")
    found = read_tasks(["package_under_test.inner.tasks"], [tmp_path])
    assert list(found) == ["package_under_test.inner.tasks.work"]
    assert "package_under_test" not in sys.modules


def test_of_two_tasks_of_one_name_the_later_one_counts(tmp_path: Path) -> None:
    for module in ("one", "two"):
        (tmp_path / f"{module}.py").write_text("@app.task(name='same')\ndef work(): ...", encoding="utf-8")
    assert read_tasks(["one", "two"], [tmp_path])["same"].module == "two"


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        ("no_such_module.at_all", "no such module"),
        ("../up", "not the dotted name"),
        ("a b", "not the dotted name"),
        ("broken", "broken.py:2:"),
        ("binary", "binary.py"),
        ("deep", "deep.py"),
    ],
)
def test_a_module_that_cannot_be_read_is_a_problem_and_not_an_error(module: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("a = 1\ndef (:\n", encoding="utf-8")
    (tmp_path / "binary.py").write_bytes(b"\x00\xff")
    (tmp_path / "deep.py").write_text("(" * 5_000, encoding="utf-8")
    found = read_tasks([module], [tmp_path])
    assert not found
    assert problem in found.problems[module]


def test_a_declared_task_is_known_though_nothing_else_is_known_of_it() -> None:
    declared = read_tasks([], [], ["myapp.*"])
    assert declared.knows("myapp.work")
    assert not declared.knows("other.work")
    assert "myapp.work" not in declared


def test_a_workflow_has_the_tasks_beside_it_and_those_of_the_settings(tmp_path: Path) -> None:
    for module in ("beside", "sited"):
        (tmp_path / f"{module}.py").write_text("@app.task\ndef work(): ...", encoding="utf-8")
    workflow = parse_source("include: [beside, 5]", str(tmp_path / "workflow.yaml"))
    found = tasks_of(workflow, Settings(include=["sited"], tasks=["elsewhere.*"]))
    assert {"beside.work", "sited.work"} <= set(found)
    assert found.knows("elsewhere.work")


@pytest.mark.parametrize(
    ("alias", "annotation", "shown"),
    [
        ("Format = Literal['text', 'csv']", "Format", "Literal['text', 'csv']"),
        ("Format = Literal['text', 'csv']", "Format | None", "Literal['text', 'csv'] | None"),
        ("Format = Literal['text', 'csv']", "'Format | None'", "Literal['text', 'csv'] | None"),
        ("Keys = str | list[str]", "Keys", "str | list[str]"),
        ("Keys: TypeAlias = str | list[str]", "dict[str, Keys]", "dict[str, str | list[str]]"),
        ("Key = Literal['a']\nKeys = list[Key]", "Keys", "list[Literal['a']]"),
        ("Tree = dict[str, Tree]", "Tree", "dict[str, Tree]"),
        ("Limit = 5", "Limit", "Limit"),
        ("Keys = str | list[str]", "elsewhere.Keys", "elsewhere.Keys"),
        ("Keys = str | list[str]", "'not a type ('", "not a type ("),
    ],
)
def test_an_annotation_is_shown_with_what_its_names_stand_for(
    alias: str, annotation: str, shown: str, tmp_path: Path
) -> None:
    """`tasks` said `format: Format`, and which formats there are was nowhere."""
    task = only_task(tmp_path, f"{alias}\n@app.task\ndef work(a: {annotation}): ...")
    assert task.parameters[0].annotation == shown


def test_the_whole_docstring_is_kept(tmp_path: Path) -> None:
    task = only_task(tmp_path, '@app.task\ndef work(): """Say.\n\n    More.\n    """')
    assert task.doc == "Say.\n\nMore."


def test_the_value_before_never_says_what_a_built_in_task_executes_reads_or_fetches() -> None:
    """It was `argv` of `command.run`, and the URL of `http.get`: what a server answered was executed, or fetched with our headers."""
    kinds = ("command", "files", "gather", "http", "records", "write")
    built_in = read_tasks([f"runner.collectors.{kind}" for kind in kinds])

    assert {name: task.first.name if task.first else None for name, task in built_in.items()} == {
        "command.run": "stdin",
        "files.read": None,
        "files.search": None,
        "gather.concat": "values",
        "gather.merge": "values",
        "gather.outcomes": "values",
        "http.get": None,
        "records.count": "records",
        "records.dedupe": "records",
        "records.sort": "records",
        "write.csv": "records",
        "write.json": "value",
        "write.jsonl": "records",
    }


def test_a_default_of_a_parameter_that_is_nested_deeply_is_not_written_out(tmp_path: Path) -> None:
    """A sum of 400 terms was exit 70."""
    text = f"@app.task\ndef work(a={'+'.join('1' * 900)}, b: {'|'.join('x' * 900)} = 1): ..."
    assert [(each.name, each.required) for each in only_task(tmp_path, text).parameters] == [("a", False), ("b", False)]


@pytest.mark.parametrize("arguments", ["", "with: {branch: ulm}", "with: {other: 1}"])
def test_of_a_task_with_a_decorator_of_its_own_no_argument_is_missed(arguments: str, tmp_path: Path) -> None:
    """Celery PR 10281: a decorator that injects an argument was reported as `needs "session"`."""
    (tmp_path / "shop.py").write_text(
        "@shared_task(name='w')\n@with_session\ndef work(session, branch): ...", encoding="utf-8"
    )
    assert faults_of(f"name: a\ninclude: [shop]\ncollectors: [{{id: a, task: w, {arguments}}}]", tmp_path) == []


@pytest.mark.parametrize(
    ("signature", "step", "told"),
    [
        ("a, /", "collectors: [{id: a, task: w, with: {a: 1}}]", ["E027", "E031"]),
        ("a, /", "collectors: [{id: a, task: w}]", ["E031"]),
        ("a=1, /", "collectors: [{id: a, task: w}]", []),
        ("a=1, /", "collectors: [{id: a, task: w, with: {a: 1}}]", ["E027"]),
        ("a, /", "collectors: [{id: a, task: pure}]\ngather: {task: w}", []),
        ("a, b, /", "collectors: [{id: a, task: pure}]\ngather: {task: w, with: {b: 1}}", ["E027", "E031"]),
        ("a, /, b", "collectors: [{id: a, task: pure}]\nstages: [{id: s, task: w, with: {b: 1}}]", []),
    ],
)
def test_a_parameter_that_takes_no_name_cannot_be_given_one(
    signature: str, step: str, told: list[str], tmp_path: Path
) -> None:
    """It was valid, and the call failed with a TypeError."""
    text = f"@shared_task(name='w')\ndef work({signature}): ...\n@shared_task(name='pure')\ndef pure(): ..."
    (tmp_path / "shop.py").write_text(text, encoding="utf-8")
    assert sorted(faults_of(f"name: a\ninclude: [shop]\n{step}", tmp_path)) == told
