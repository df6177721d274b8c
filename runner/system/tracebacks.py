"""An unexpected exception to a file with its traceback; the last five files are kept."""

import os
import stat
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path

KEPT_TRACEBACKS = 5
_PREFIX = "runner-traceback-"


def save_traceback(error: BaseException) -> str:
    """Write the traceback to a new file in the temporary directory.

    Returns:
        A clause for the error message: where the file is, or why it could not be written (a full disk, say). It never
        raises, so that the error itself is reported with its exit code.
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
    """Keep the newest four, and so room for one more: a script that runs every minute must not fill the disk."""
    ours: list[tuple[float, Path]] = []
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*.txt"):
        with suppress(OSError):  # another command may remove it at the same time
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                ours.append((status.st_mtime, path))
    for _, path in sorted(ours, reverse=True)[KEPT_TRACEBACKS - 1 :]:
        with suppress(OSError):
            path.unlink()
