"""The documented script: which broker it finds. A small script stands in for Docker, an external program."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.command_line import ROOT
from tests.servers import Server, free_port
from tests.waiting import wait_until

SCRIPT = ROOT / "runner" / "scripts" / "start_celery_and_flower.sh"

pytestmark = pytest.mark.usefixtures("state_dir")


@pytest.fixture(autouse=True)
def path(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that comes first on PATH; its Docker has no containers until a test says otherwise."""
    folder = own_directory / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    docker(folder)
    return folder


def docker(folder: Path, *, port: str = "", addresses: str = "") -> None:
    """A `docker` whose container `redis` has these: as `docker port` and `docker inspect` print them."""
    script = folder / "docker"
    script.write_text(
        '#!/bin/sh\ncase "$1 $*" in\n'
        f'"port port redis 6379/tcp") answer={shlex.quote(port)} ;;\n'
        f'"inspect "*" redis") answer={shlex.quote(addresses)} ;;\n'
        "*) exit 64 ;;\nesac\n"
        '[ -n "$answer" ] || { echo "Error: No such container: redis" >&2; exit 1; }\n'
        'printf "%s\\n" "$answer"\n'
    )
    script.chmod(0o755)


def ended(*words: str, **env: str) -> tuple[int, str]:
    """The exit code and what is said, from a directory that has nothing to do with us."""
    done = subprocess.run(
        [SCRIPT, *words],
        cwd="/",
        env=os.environ | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stderr


def test_the_start_script_asks_a_published_port_of_the_container_first(path: Path) -> None:
    port = free_port()
    docker(path, port=f"0.0.0.0:{port}\n[::]:{port}", addresses="127.0.0.2 ")

    code, stderr = ended()

    assert code == 4
    assert f"redis://localhost:{port}/0: connection refused" in stderr


def test_the_start_script_asks_a_port_at_the_address_where_it_is_published(path: Path) -> None:
    port = free_port()
    docker(path, port=f"127.0.0.2:{port}")

    assert f"redis://127.0.0.2:{port}/0" in ended()[1]


def test_the_start_script_asks_a_container_without_a_published_port_at_its_address(path: Path) -> None:
    docker(path, addresses="127.0.0.2 127.0.0.3 ")

    code, stderr = ended(RUNNER_BROKER_URL="redis://127.0.0.4/0")

    assert code == 4
    assert "redis://127.0.0.2:6379/0: connection refused" in stderr


def test_the_start_script_passes_over_a_stopped_container(path: Path) -> None:
    docker(path, addresses=" ")

    assert "redis://127.0.0.4/0: connection refused" in ended(RUNNER_BROKER_URL="redis://127.0.0.4/0")[1]


def test_the_start_script_takes_the_url_of_the_environment_without_a_container() -> None:
    assert "redis://127.0.0.4/0: connection refused" in ended(RUNNER_BROKER_URL="redis://127.0.0.4/0")[1]


def test_the_start_script_takes_an_option_before_all_else(path: Path, valkey: Server) -> None:
    docker(path, port=f"0.0.0.0:{valkey.port}")

    assert "redis://127.0.0.4/0: connection refused" in ended("--broker", "redis://127.0.0.4/0")[1]


def test_the_start_script_refuses_an_address_that_others_can_reach() -> None:
    code, stderr = ended("--address", "0.0.0.0")

    assert code == 2
    assert "without authentication" in stderr


def test_the_start_script_starts_worker_and_flower_on_a_broker_of_their_own(own_directory: Path) -> None:
    log = own_directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [SCRIPT, "--port", "0"], cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        )
    wait_until(lambda: b" ready." in log.read_bytes() and b"Flower: " in log.read_bytes(), "both are ready")
    said = log.read_text(encoding="utf-8")

    page = httpx.get(said.partition("Flower: ")[2].splitlines()[0], trust_env=False)
    os.killpg(process.pid, signal.SIGINT)

    assert page.status_code == 200
    assert "valkey.sock" in said
    assert process.wait(60) == 0
