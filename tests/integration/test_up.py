"""`up`: broker, worker and Flower begin together, and end together."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests import processes
from tests.command_line import DEFAULT, ROOT, runner
from tests.servers import Server
from tests.waiting import wait_until

SLOW = str(ROOT / "tests" / "workflows" / "slow.yaml")


WITH_OUR_TASKS = {"PYTHONPATH": str(ROOT / "tests" / "workflows"), "RUNNER_INCLUDE": "observed"}

pytestmark = pytest.mark.usefixtures("state_dir")


@dataclass(frozen=True)
class Up:
    """A running `up`: its process, and what it and its worker and its Flower say."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def url(self) -> str:
        return self.said.partition("Flower: ")[2].splitlines()[0]

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)  # as a terminal does


@contextmanager
def up(log: Path, *words: str, **env: str) -> Iterator[Up]:
    """`up` with everything of it ready, on a free port."""
    command = [sys.executable, "-m", "runner", "up", "--port", "0", *words]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=ROOT, env=os.environ | env, process_group=0
        )
    started = Up(process, log)
    try:
        wait_until(
            lambda: process.poll() is not None or (" ready." in started.said and "Flower: " in started.said),
            "worker and Flower are ready",
            timeout=20,
        )
        assert process.poll() is None, started.said
        yield started
    finally:
        process.kill()
        process.wait()


def test_up_executes_steps_and_shows_them(valkey: Server, tmp_path: Path) -> None:
    with up(tmp_path / "log", "--broker", valkey.url) as started:
        answer = runner("run", DEFAULT, "--topic", "python", "--broker", valkey.url)

        assert answer.code == 0, answer.stderr
        assert httpx.get(started.url, trust_env=False).status_code == 200


def test_up_says_where_the_broker_is_without_its_password(start_valkey: Callable[..., Server], tmp_path: Path) -> None:
    server = start_valkey("--requirepass", "s3cret")
    url = server.url.replace("://", "://:s3cret@")

    with up(tmp_path / "log", "--broker", url) as started:
        assert f"broker: {server.url.replace('://', '://:***@')}" in started.said
        assert "s3cret" not in started.said


def test_ctrl_c_of_up_lets_the_worker_finish(valkey: Server, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with up(tmp_path / "log", "--broker", valkey.url, **WITH_OUR_TASKS) as started:
        runner("run", SLOW, "--journal", str(journal), "--seconds", "2", "--detach", "--broker", valkey.url)
        wait_until(lambda: words_of(journal, "START") == 2, "both collectors are being executed")

        started.interrupt()

        assert started.process.wait(60) == 0
        assert words_of(journal, "END") == 2


def test_ctrl_c_twice_of_up_gives_back_what_is_being_executed(valkey: Server, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with up(tmp_path / "log", "--broker", valkey.url, **WITH_OUR_TASKS) as started:
        runner("run", SLOW, "--journal", str(journal), "--seconds", "60", "--detach", "--broker", valkey.url)
        wait_until(lambda: words_of(journal, "START") == 2, "both collectors are being executed")

        started.interrupt()
        wait_until(lambda: "once more" in started.said, "the first is answered")
        started.interrupt()

        assert started.process.wait(60) == 130
        assert words_of(journal, "END") == 0
        assert valkey.client().llen("celery") == 2


@pytest.mark.parametrize("part", ["worker", "flower"])
def test_up_ends_with_its_worker_or_flower_and_its_exit_code_says_so(
    part: str, tmp_path: Path, own_directory: Path
) -> None:
    with up(tmp_path / "log") as started:
        processes.kill(main_process(part, own_directory.name))

        assert started.process.wait(60) == 1
        assert "has ended by itself" in started.said


def test_up_that_is_killed_leaves_nothing(tmp_path: Path, own_directory: Path) -> None:
    with up(tmp_path / "log") as started:
        started.process.kill()

        wait_until(lambda: not processes.carrying(own_directory.name), "worker, Flower and Valkey have ended")


def test_up_ends_if_the_port_of_flower_is_taken(valkey: Server) -> None:
    answer = runner("up", "--port", str(valkey.port))

    assert answer.code == 2
    assert f"127.0.0.1:{valkey.port}: Address already in use" in answer.stderr


def main_process(command: str, word: str) -> int:
    """The process of one of its commands; the children of a worker's pool start later, and look the same."""
    return min(pid for pid, line in processes.carrying(word).items() if f"runner {command} " in line)


def words_of(journal: Path, word: str) -> int:
    """How often the collectors of the slow workflow have noted a word."""
    return journal.read_text(encoding="utf-8").count(f" {word} ") if journal.exists() else 0
