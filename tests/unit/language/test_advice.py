"""Keys of a valid workflow that have no effect."""

from pathlib import Path

import pytest

from runner.language import advice
from runner.language.source import parse_source
from runner.language.spec import read_workflow
from runner.language.task_index import read_tasks
from runner.views.faults import describe_faults
from tests.command_line import runner

SHOP = """
import requests
from celery import shared_task
from urllib3.exceptions import ReadTimeoutError as TooSlow

class Closed(Exception):
    names = ("closed_today",)

@shared_task(name="shop.prices")
def prices(branch): ...
"""


def warned(folder: Path, retry: str, task: str = "shop.prices, with: {branch: ulm}") -> list[str]:
    """The names that a workflow is warned of, in the order of the file."""
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    written = parse_source(f"name: w\ninclude: [shop]\ncollectors: [{{id: a, task: {task}, retry: {retry}}}]", "w.yaml")
    known = read_tasks(["shop", *(f"runner.collectors.{name}" for name in ("http", "command", "notify"))], [folder])
    read_workflow(written, known)
    return [each.message.rpartition(" ")[2].strip('"') for each in advice.warnings(written, known)]


@pytest.mark.parametrize(
    "name",
    [
        *("ConnectionError", "OSError", "Exception", "timed_out", "StepTimedOut", "ProcessDied"),
        *("Closed", "shop.Closed", "closed_today", "TooSlow", "requests.ConnectTimeout", "ReadTimeout", "http_503"),
    ],
)
def test_a_name_that_a_task_of_ones_own_may_raise_is_not_warned_of(name: str, tmp_path: Path) -> None:
    """What a library raises deep within cannot be known: such a name is passed over."""
    assert warned(tmp_path, f"{{on: {name}}}") == []


@pytest.mark.parametrize(
    "name", ["ConectionError", "timeouterror", "TimeOutError", "exit_2", "timeout", "connection_error"]
)
def test_a_name_that_is_nearly_an_exceptions_is_warned_of(name: str, tmp_path: Path) -> None:
    assert warned(tmp_path, f"{{on: {name}}}") == [name]


@pytest.mark.parametrize(
    ("task", "names", "expected"),
    [
        ("http.get, with: {url: u}", "[http_429, http_5xx, HTTPFailure, TimeoutError]", []),
        ("http.get, with: {url: u}", "[exit_2, SIGKILL, ConnectTimeout]", ["exit_2", "SIGKILL", "ConnectTimeout"]),
        ("notify.webhook, with: {url: u}", "[http_429, http_5xx, HTTPFailure, exit_2]", ["exit_2"]),
        (
            "notify.email, with: {to: a, subject: b, text: c, sender: d, host: e}",
            "[EmailFailure, CommandFailure]",
            ["CommandFailure"],
        ),
        ("command.run, with: {argv: [ls]}", "[exit_2, SIGKILL, CommandFailure, OSError]", []),
        ("command.run, with: {argv: [ls]}", "[http_503, HTTPFailure]", ["http_503", "HTTPFailure"]),
    ],
)
def test_what_a_built_in_task_raises_is_known(task: str, names: str, expected: list[str], tmp_path: Path) -> None:
    """Found in use: `retry.on: [exit_2]` was valid, and matched nothing."""
    assert warned(tmp_path, f"{{on: {names}}}", task) == expected
    assert warned(tmp_path, f"{{not_on: {names}}}", task) == expected


def test_a_default_with_a_misspelt_exception_is_warned_of_once(tmp_path: Path) -> None:
    text = "name: w\ndefaults: {collectors: {task: http.get, with: {url: u}, retry: {on: exit_2}}}\ncollectors: [{id: a}, {id: b}]"
    written = parse_source(text, "w.yaml")
    known = read_tasks(["runner.collectors.http"], [tmp_path])
    assert describe_faults(advice.warnings(written, known)).splitlines()[0] == (
        'w.yaml:2:69: warning[W001]: task "http.get" raises nothing that is called "exit_2"'
    )
    assert len(advice.warnings(written, known)) == 1


@pytest.mark.usefixtures("state_dir")
def test_a_warning_of_validate_comes_after_valid_and_leaves_the_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        "name: w\ncollectors: [{id: a, task: http.get, with: {url: u}, retry: {on: exit_2}}]", encoding="utf-8"
    )
    answer = runner("validate", str(file))
    assert (answer.code, answer.stdout) == (0, "")
    assert answer.stderr.splitlines()[:2] == [
        f"{file}: valid",
        f'{file}:2:66: warning[W001]: task "http.get" raises nothing that is called "exit_2"',
    ]


CELERYS = """
from celery import shared_task

@shared_task(name="slow.limited", rate_limit="1/m")
def limited(): ...

@shared_task(name="slow.retried", autoretry_for=(OSError,), retry_backoff=True)
def retried(): ...

@shared_task(name="slow.retrying", bind=True)
def retrying(self):
    raise self.retry()

@shared_task(name="slow.replaced", bind=True)
def replaced(task):
    return task.replace(limited.s())

@shared_task(name="slow.plain", bind=True, soft_time_limit=3)
def plain(self):
    self.update_state(state="HALF")
"""


@pytest.mark.parametrize(
    ("step", "messages"),
    [
        ("task: slow.limited", ['task "slow.limited": rate_limit has no effect in a workflow']),
        ("task: slow.retried", ['task "slow.retried": autoretry_for, retry_backoff has no effect in a workflow']),
        ("task: slow.retried, retry: 3", []),
        ("task: slow.retrying", ['task "slow.retrying": self.retry() has no effect in a workflow']),
        ("task: slow.retrying, retry: 3", []),
        ("task: slow.replaced", ['task "slow.replaced": self.replace() has no effect in a workflow']),
        ("task: slow.plain", []),
    ],
)
def test_what_a_task_asks_of_celery_and_a_step_does_not_do_is_warned_of(
    step: str, messages: list[str], tmp_path: Path
) -> None:
    """A task's `rate_limit` and its own retries were ignored silently."""
    (tmp_path / "slow.py").write_text(CELERYS, encoding="utf-8")
    written = parse_source(f"name: w\ninclude: [slow]\ncollectors: [{{id: a, {step}}}]", "w.yaml")
    known = read_tasks(["slow"], [tmp_path])
    read_workflow(written, known)
    assert [each.message for each in advice.warnings(written, known)] == messages


REPEATED = """
name: w
include: [shop]
collectors:
  - {id: a, task: shop.prices, foreach: FOREACH, with: {branch: BRANCH}}
"""


def warned_of_items(folder: Path, foreach: str, branch: str) -> list[str]:
    (folder / "shop.py").write_text(SHOP, encoding="utf-8")
    written = parse_source(REPEATED.replace("FOREACH", foreach).replace("BRANCH", branch).encode(), "w.yaml")
    known = read_tasks(["shop"], [folder])
    read_workflow(written, known)
    return [f"{each.code} {each.message}" for each in advice.warnings(written, known)]


@pytest.mark.parametrize(
    ("foreach", "branch", "name"),
    [
        ("[1, 2]", "ulm", "item"),
        ("{items: [1, 2], as: page}", '"${{ run.id }}"', "page"),
        ('{items: [1, 2], key: "${{ item }}"}', "ulm", "item"),
    ],
)
def test_a_foreach_whose_item_is_not_used_is_warned_of(foreach: str, branch: str, name: str, tmp_path: Path) -> None:
    """Found in use: a newcomer fetched one URL for each of 500 items, and nothing said so."""
    message = f"W004 {name} is not used under `with`: every collector of the foreach does the same"
    assert warned_of_items(tmp_path, foreach, branch) == [message]


@pytest.mark.parametrize(
    ("foreach", "branch"),
    [
        ("[1, 2]", '"${{ item }}"'),
        ("[1, 2]", '["a ${{ item_index }}"]'),
        ("{items: [1, 2], as: page}", '{"q": "${{ page + 1 }}"}'),
    ],
)
def test_a_foreach_whose_item_is_used_is_not_warned_of(foreach: str, branch: str, tmp_path: Path) -> None:
    assert warned_of_items(tmp_path, foreach, branch) == []
