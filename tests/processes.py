"""A word to the processes that carry it in their environment or command line: those that a test has started."""

import os
import signal
from pathlib import Path

PROC = Path("/proc")  # where there is none (macOS), nothing is found


def carrying(word: str) -> dict[int, str]:
    """Process id → command line; not of this process, and not of zombies."""
    found = {}
    for folder in PROC.glob("[0-9]*"):
        command = _read(folder / "cmdline")
        # Valkey writes its title over its environment: of the two at least one has the word.
        if command and word.encode() in command + _read(folder / "environ") and int(folder.name) != os.getpid():
            found[int(folder.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def is_running(pid: int) -> bool:
    """Whether there is such a process; a zombie is none."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not PROC.is_dir() or bool(_read(PROC / str(pid) / "cmdline"))


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has stopped it."""
    return _stat(PROC / str(pid))[:1] == [b"T"]


def children(parent: int) -> list[int]:
    """The processes that a process has started, such as a worker its pool; not zombies."""
    return _where(1, parent)


def in_session(leader: int) -> list[int]:
    """The processes of a session, which has the id of its leader; not zombies."""
    return _where(3, leader)


def kill(pid: int) -> None:
    """SIGKILL, also for one that has just ended by itself."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _where(field: int, value: int) -> list[int]:
    """Those whose `stat` has this value in this field, counted from the state."""
    found = []
    for folder in PROC.glob("[0-9]*"):
        words = _stat(folder)
        if words and words[0] != b"Z" and int(words[field]) == value:
            found.append(int(folder.name))
    return found


def _stat(folder: Path) -> list[bytes]:
    """The fields of `stat` (proc(5)) behind the name: the state, the parent, the group, the session."""
    return _read(folder / "stat").rpartition(b")")[2].split()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile, or is not ours
        return b""
