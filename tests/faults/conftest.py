"""Fixtures of the fault tests: settings under which faults pass quickly, a broker of the test's own, and workers to kill."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import Popen

import pytest

from runner.ledger.ledger import Ledger
from tests.faults import flow
from tests.servers import Server
from tests.workers import working

StartWorker = Callable[..., "Popen[bytes]"]


@pytest.fixture(autouse=True)
def soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**flow.SETTINGS, **flow.WITH_OUR_TASKS}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def broker(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A Valkey with an append-only file, which the settings name."""
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    return valkey


@pytest.fixture
def ledger(broker: Server) -> Ledger:
    return flow.ledger(broker.url)


@pytest.fixture
def pool() -> str:
    """That of the workers; test_pools.py has the others."""
    return "prefork"


@pytest.fixture
def start_worker(pool: str, tmp_path: Path) -> Iterator[StartWorker]:
    """Start a worker for two steps at once, in a group of its own: `start_worker("--queues", "a", RUNNER_LEASE="1")`."""
    with ExitStack() as started:
        count = 0

        def start(*words: str, inside: Sequence[str] = (), **env: str) -> "Popen[bytes]":
            nonlocal count
            count += 1
            command = ("runner", "worker", "--pool", pool, "--concurrency", "2", "--name", f"worker-{count}@here")
            log = tmp_path / f"worker-{count}.log"
            return started.enter_context(working(log, *command, *words, inside=inside, **env))

        yield start


@pytest.fixture
def workers(broker: Server, start_worker: StartWorker) -> "list[Popen[bytes]]":  # noqa: ARG001 - it must be up first
    """Two of them."""
    return [start_worker(), start_worker()]


@pytest.fixture
def disk(own_directory: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = own_directory / "disk"
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Write to a disk until nothing fits any more; the file that does it."""
    path = disk / "filler"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path
