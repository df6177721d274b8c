"""Commands, and data that came from outside: what is executed the file alone says, and no secret of the worker goes along."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import Answer, runner
from tests.faults.conftest import StartWorker
from tests.http_server import serve
from tests.servers import Server
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")


def run(folder: Path, collectors: list[dict[str, Any]], **keys: Any) -> Answer:
    return runner("run", str(write_workflow(folder / "outside.yaml", collectors=collectors, **keys)), "--json")


@pytest.fixture
def words(tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """Two collectors whose values are words of a server: `touch`, and a path."""
    with serve({"/touch": "touch", "/path": str(tmp_path / "pwned")}) as server:
        yield [yaml_step(name, "http.get", {"url": server.url(f"/{name}")}) for name in ("touch", "path")]


@pytest.mark.parametrize(
    "place",
    [
        pytest.param({"gather": {"task": "command.run"}}, id="gather"),
        pytest.param({"stages": [yaml_step("s", "command.run")]}, id="stage"),
    ],
)
def test_the_reply_of_a_server_is_never_executed(
    place: dict[str, Any], words: list[dict[str, Any]], tmp_path: Path
) -> None:
    """The value before was `argv`: a URL that answered `["touch", "pwned"]` was executed, and `validate` said "valid"."""
    answer = run(tmp_path, words, **place)

    assert not (tmp_path / "pwned").exists(), "the server's words were executed"
    assert answer.code == 3
    assert 'task "command.run" needs "argv"' in answer.stderr


def test_a_command_reads_the_value_before_from_its_standard_input(words: list[dict[str, Any]], tmp_path: Path) -> None:
    answer = run(
        tmp_path,
        words,
        gather={"task": "command.run", "with": {"argv": ["cat"], "stdin_format": "lines", "format": "lines"}},
        stages=[yaml_step("s", "command.run", {"argv": ["cat"], "format": "json"})],
    )

    assert (answer.code, answer.json["result"]) == (0, ["touch", str(tmp_path / "pwned")])
    assert not (tmp_path / "pwned").exists()


def test_a_command_does_not_inherit_the_password_of_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_valkey: Callable[..., Server], start_worker: StartWorker
) -> None:
    """A command inherited the worker's whole environment, RUNNER_BROKER_URL with its password in it."""
    url = start_valkey("--requirepass", "hunter2").url.replace("://", "://:hunter2@")
    monkeypatch.setenv("RUNNER_BROKER_URL", url)
    monkeypatch.setenv("API_TOKEN", "hunter2")
    start_worker()

    answer = run(tmp_path, [yaml_step("env", "command.run", {"argv": ["env"], "format": "lines"})])

    [lines] = answer.json["result"]
    assert not [line for line in lines if "hunter2" in line], "a secret of the worker was inherited"
    assert {"PATH", "HOME"} <= {line.partition("=")[0] for line in lines}
