"""The fixtures of every test: its own environment, real servers that end with it, and checks that nothing is left."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from runner.system import program
from tests import hangs, processes, servers
from tests.waiting import wait_until

# How long an example takes depends on what else the machine does: on two busy processors one of 1 ms took over 200 ms.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

_TERMINAL = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}


def pytest_configure() -> None:
    """Take Ctrl-C, also where a shell started the tests in the background: it ignores SIGINT there, as do all children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Thrice as many as there are processors for ``-n auto``: most tests wait for processes."""
    return 3 * (os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """End a test that hangs, also where Hypothesis, or a step that the test executes, would keep pytest-timeout from it."""
    if settings.timeout and settings.timeout > 0:
        watch = hangs.Watch(item.nodeid, settings.timeout)
        item.cancel_timeout = watch.end  # type: ignore[attr-defined]  # pytest-timeout calls it
    return True


@pytest.fixture(autouse=True)
def own_directory(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """HOME and TMPDIR of this test alone, and no `RUNNER_*`. Afterwards no process or temporary file of it is left.

    Its path is short enough for a socket, and its name is how its processes are known.
    """
    tmp_path_factory.getbasetemp()  # pytest asks for TMPDIR once, and must not be given this test's
    folder = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    for name in os.environ:
        if name.startswith(("RUNNER_", "XDG_")) or name in _TERMINAL:  # pytest-xdist sets COLUMNS
            monkeypatch.delenv(name)
    for variable in ("HOME", "TMPDIR"):
        (folder / variable.lower()).mkdir(mode=0o700)
        monkeypatch.setenv(variable, str(folder / variable.lower()))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(
        program, "_name", "python -m runner"
    )  # a test that calls the command line in this process sets it
    yield folder
    try:
        wait_until(lambda: not processes.carrying(folder.name), "the processes of the test have ended")
        assert not list((folder / "tmpdir").iterdir()), "the test left temporary files"
    except AssertionError as error:
        left = processes.carrying(folder.name)
        for pid in left:
            processes.kill(pid)
        # What a command says of a fault of ours is in a file that is gone afterwards.
        told = [path.read_text() for path in (folder / "tmpdir").glob("runner-traceback-*")]
        pytest.fail("\n".join([f"{error}: {left}", *told]), pytrace=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def state_dir(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory; the settings name it, also those of the processes that a test starts."""
    folder = own_directory / "state"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("RUNNER_STATE_DIR", str(folder))
    return folder


@pytest.fixture
def start_valkey(own_directory: Path) -> Iterator[Callable[..., servers.Server]]:
    """Start an external Valkey with any options: `start_valkey("--requirepass", "x")`."""
    started: list[servers.Server] = []

    def start(*options: str) -> servers.Server:
        started.append(servers.start(own_directory / f"valkey-{len(started)}", *options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def valkey(start_valkey: Callable[..., servers.Server]) -> servers.Server:
    """An external Valkey, with an append-only file, as a user is advised to have."""
    return start_valkey("--appendonly", "yes")  # defence: KEPT
