"""`flower`: who may use it, and what it shows."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.command_line import DEFAULT, ROOT, runner, start
from tests.servers import Server, free_port
from tests.waiting import wait_until
from tests.workers import working

ALICE = "alice:s3cret"
AUTH = ("alice", "s3cret")
Start = Callable[..., httpx.Client]

pytestmark = pytest.mark.usefixtures("state_dir")


@pytest.fixture
def flower() -> Iterator[Start]:
    """Start Flower at a free port, and return a client of its pages."""
    started: list[subprocess.Popen[str]] = []

    def serve(*words: str, cwd: Path | None = None, **env: str) -> httpx.Client:
        started.append(start("flower", "--port", "0", *words, cwd=cwd, **env))
        return httpx.Client(base_url=url_of(started[-1]), trust_env=False)

    yield serve
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    assert process.stderr
    line = process.stdout.readline()
    assert line.startswith("Flower: http://"), process.stderr.read()
    return line.removeprefix("Flower: ").strip()


def test_flower_shows_steps_under_their_own_names(flower: Start) -> None:
    page = flower("--basic-auth", ALICE)

    runner("run", DEFAULT, "--topic", "python")

    wait_until(lambda: len(tasks(page)) == 6, "Flower has heard of every step")
    assert {task["name"] for task in tasks(page)} == {
        "default.collector_1",
        "default.collector_2",
        "default.collector_3",
        "default.collector_gathering",
        "default.cleanup",
        "default.process",
    }


def test_flower_shows_all_batches_of_a_collector_under_its_name(flower: Start, tmp_path: Path) -> None:
    """Metrics of an exporter had a label for each: `page/9`."""
    page = flower("--basic-auth", ALICE)
    file = tmp_path / "wide.yaml"
    file.write_text(
        "name: wide\ncollectors: [{id: page, task: collector_1, batch: 1, foreach: [1, 2, 3], with: {topic: x}}]\n"
    )

    runner("run", str(file))

    wait_until(lambda: len(tasks(page)) == 4, "Flower has heard of every message")
    assert {task["name"] for task in tasks(page)} == {"wide.page", "wide.gather"}


def test_the_api_of_flower_takes_the_documented_request(flower: Start) -> None:
    page = flower("--basic-auth", ALICE)

    answer = page.post("/api/task/async-apply/collector_request", json={"args": ["python"]}, auth=AUTH)

    assert answer.status_code == 200, answer.text


def test_the_api_of_flower_gives_the_result_of_the_documented_request(
    flower: Start, valkey: Server, tmp_path: Path
) -> None:
    """It waited for ever for a result that was there."""
    page = flower("--basic-auth", ALICE, "--broker", valkey.url)

    with working(tmp_path / "log", "runner", "worker", RUNNER_BROKER_URL=valkey.url):
        answer = page.post("/api/task/apply/collector_request", json={"args": ["python"]}, auth=AUTH, timeout=30)

    assert answer.json()["state"] == "SUCCESS"
    assert answer.json()["result"].startswith("request-")


def test_the_broker_page_of_flower_shows_the_queue_of_the_embedded_broker(flower: Start) -> None:
    page = flower()

    text = page.get("/broker").text

    assert "valkey.sock" in text
    assert "celery" in text.partition("Queue")[2]


def test_the_broker_page_of_flower_shows_the_queue_of_another_broker(flower: Start, valkey: Server) -> None:
    page = flower("--broker", valkey.url)

    text = page.get("/broker").text

    assert f"127.0.0.1:{valkey.port}/0" in text
    assert "celery" in text.partition("Queue")[2]


def test_flower_without_authentication_can_be_looked_at(flower: Start) -> None:
    assert flower().get("/tasks").status_code == 200


def test_the_api_of_flower_without_authentication_is_closed(flower: Start) -> None:
    answer = flower().post("/api/task/send-task/command.run", json={"kwargs": {"argv": ["id"]}})

    assert answer.status_code == 401


def test_flower_with_authentication_lets_nobody_else_in(flower: Start) -> None:
    page = flower("--address", "0.0.0.0", "--basic-auth", ALICE)

    assert [page.get("/tasks", auth=auth).status_code for auth in (None, ("alice", "x"), AUTH)] == [401, 401, 200]


def test_the_password_of_flower_may_come_from_the_environment(flower: Start) -> None:
    page = flower(FLOWER_BASIC_AUTH=ALICE)

    assert [page.get("/tasks", auth=auth).status_code for auth in (None, AUTH)] == [401, 200]


@pytest.mark.parametrize(
    ("command", "address"),
    [("flower", address) for address in ("0.0.0.0", "::", "", "192.0.2.7", "no-such-host.invalid")]
    + [("up", "0.0.0.0")],
)
def test_an_address_of_flower_that_others_reach_is_refused_before_anything_starts(
    command: str, address: str, state_dir: Path
) -> None:
    answer = runner(command, "--address", address, "--port", "0")

    assert answer.code == 2
    assert "--address" in answer.stderr
    assert list(state_dir.iterdir()) == []


def test_an_address_of_flower_from_the_environment_is_refused_as_well() -> None:
    answer = runner("flower", "--port", "0", FLOWER_ADDRESS="0.0.0.0")

    assert answer.code == 2
    assert "without authentication" in answer.stderr


@pytest.mark.parametrize("credential", ["alice", "alice:", ":s3cret", "alice:s3cret,bob", "alice:pässwort"])
def test_a_credential_of_flower_that_lets_anyone_in_or_nobody_is_refused(credential: str) -> None:
    answer = runner("flower", "--port", "0", "--basic-auth", credential)

    assert answer.code == 2
    assert "user:password" in answer.stderr


def test_an_api_of_flower_open_to_every_web_page_is_refused() -> None:
    answer = runner("flower", "--port", "0", FLOWER_UNAUTHENTICATED_API="true")

    assert answer.code == 2
    assert "unset it" in answer.stderr


def test_a_flowerconfig_of_the_current_directory_is_not_executed(flower: Start, tmp_path: Path) -> None:
    """`celery flower` does, and a file could make it listen on a socket open to everyone."""
    (tmp_path / "flowerconfig.py").write_text("open('executed', 'w')\nunix_socket = 'open.sock'\n")

    flower(cwd=tmp_path, PYTHONPATH=str(ROOT))

    assert [path.name for path in tmp_path.iterdir()] == ["flowerconfig.py"]


def test_a_port_of_flower_that_is_taken_is_named(valkey: Server) -> None:
    answer = runner("flower", "--port", str(valkey.port))

    assert answer.code == 2
    assert f"127.0.0.1:{valkey.port}: Address already in use" in answer.stderr


def test_flower_says_at_once_that_the_broker_is_not_there() -> None:
    assert runner("flower", "--port", "0", "--broker", f"redis://127.0.0.1:{free_port()}").code == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_flower_ends_when_it_is_asked_to(number: signal.Signals) -> None:
    process = start("flower", "--port", "0")
    url_of(process)

    process.send_signal(number)

    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")


def tasks(page: httpx.Client) -> list[dict[str, Any]]:
    return list(page.get("/api/tasks", auth=AUTH).json().values())
