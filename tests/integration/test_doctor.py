"""`doctor`: what it says of a broker and its workers, and what it makes of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import runner
from tests.servers import Server, free_port
from tests.workers import working

pytestmark = pytest.mark.usefixtures("state_dir")


def test_with_nothing_set_up_nothing_is_wrong(state_dir: Path) -> None:
    answer = runner("doctor")

    assert answer.code == 0, answer.stderr
    assert f"private Valkey in {state_dir}" in answer.stdout
    assert "append-only file on" in answer.stdout
    assert "warning" not in answer.stdout


def test_a_broker_without_an_append_only_file_is_a_warning(start_valkey: Callable[..., Server]) -> None:
    answer = runner("doctor", "--broker", start_valkey().url)

    assert answer.code == 0
    assert "set appendonly yes" in answer.stdout


def test_a_broker_without_workers_is_a_warning(valkey: Server) -> None:
    answer = runner("doctor", "--broker", valkey.url)

    assert answer.code == 0
    assert "start `python -m runner worker`" in answer.stdout


def test_workers_are_named(valkey: Server, tmp_path: Path) -> None:
    with working(tmp_path / "log", "runner", "worker", "--name", "one@here", RUNNER_BROKER_URL=valkey.url):
        assert "workers:  one@here" in runner("doctor", "--broker", valkey.url).stdout


def test_a_broker_that_cannot_be_used_makes_it_fail() -> None:
    answer = runner("doctor", "--broker", f"redis://:s3cret@127.0.0.1:{free_port()}")

    assert answer.code == 4
    assert "connection refused" in answer.stderr
    assert "s3cret" not in answer.stderr + answer.stdout
