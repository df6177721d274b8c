"""Standard output and standard error to streams that never raise: what cannot be written is dropped.

A run is worth more than the lines about it: its terminal may close, the reader of a pipe may exit, a disk may be full, a
service may be started with a closed descriptor.
"""

import io
import os
import select
import sys

NO_READER = 141  # the exit code that a shell reports for a process killed by SIGPIPE: 128 + 13


class Stream(io.FileIO):
    """A descriptor to write to; ``lost`` is the error of the last write that failed, or None."""

    lost: OSError | None = None

    def write(self, data: object) -> int:
        rest = memoryview(data).cast("B")  # type: ignore[arg-type] # a buffer, as the layer above has them
        size = len(rest)
        while rest:
            try:
                count = super().write(rest)
            except OSError as error:
                self.lost = error
                break
            if count is None:  # another process that shares the descriptor has made it non-blocking
                select.select([], [self], [])
            rest = rest[count or 0 :]
        return size


_streams: dict[str, Stream] = {}


def secure_streams() -> None:
    """Replace standard output and standard error by streams that never raise.

    A closed descriptor is opened on /dev/null: the next file to be opened would get its number.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, os.O_RDWR), True
            )  # open() takes the lowest free number, which is this one
    for descriptor, name in enumerate(("stdout", "stderr"), start=1):
        stream = getattr(sys, name)
        if stream is not None and stream is not getattr(sys, f"__{name}__"):
            continue  # replaced already: a test captures it
        if isinstance(stream, io.TextIOWrapper):
            stream.flush()
        _streams[name] = Stream(descriptor, "wb", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(_streams[name]),
            encoding=stream.encoding if stream is not None else "utf-8",
            errors="backslashreplace",  # box characters on a terminal that is not UTF-8
            line_buffering=stream is None or stream.line_buffering or stream.write_through,
        )
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)  # Celery logs to it


def exit_code_after_output(code: int) -> int:
    """Return the exit code of the process, once its output is flushed.

    Args:
        code: of the command. Where it is 0 but standard output could not be written, `NO_READER` is returned in its place.
    """
    sys.stdout.flush()
    lost = _streams["stdout"].lost if "stdout" in _streams else None
    if lost is None:
        return code
    if not isinstance(lost, BrokenPipeError):
        sys.stderr.write(f"error: standard output cannot be written: {lost.strerror}\n")
    return code or NO_READER  # defence: NO_DELIVERY
