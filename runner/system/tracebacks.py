"""An exception that nobody expected to a file with its traceback, of which the last few are kept."""

import os
import stat
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path

KEPT = 5
_PREFIX = "runner-traceback-"


def save(error: BaseException) -> str:
    """Write a new file in the temporary directory, and return the words that say where it is, or why it is nowhere.

    Where the disk is full, or no directory can be written to, the error itself is told all the same, with its exit code.
    """
    try:
        _remove_old()
        with tempfile.NamedTemporaryFile(
            "w", prefix=_PREFIX, suffix=".txt", delete=False, errors="backslashreplace"
        ) as file:
            traceback.print_exception(error, file=file)
    except OSError as failure:
        return f"the traceback cannot be saved: {failure.strerror or failure}"
    return f"the traceback is in {file.name}"


def _remove_old() -> None:
    """Leave room for one more: a script that calls us every minute is not to fill the disk."""
    ours: list[tuple[float, Path]] = []
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*.txt"):
        with suppress(OSError):  # another command removes it, too
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                ours.append((status.st_mtime, path))
    for _, path in sorted(ours, reverse=True)[KEPT - 1 :]:
        with suppress(OSError):
            path.unlink()
