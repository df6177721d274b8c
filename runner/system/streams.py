"""Standard output and standard error that cannot end the program: what does not go through is left out.

A run that is under way is worth more than the lines about it: its terminal may go, the reader of a pipe may have enough,
a disk may be full, a service may be started with a descriptor closed.
"""

import io
import os
import select
import sys

GONE = 141  # as a shell says it of a process that SIGPIPE has ended: 128 + 13


class Stream(io.FileIO):
    """A descriptor to write to, of which ``lost`` says why something could not be written."""

    lost: OSError | None = None

    def write(self, data: object) -> int:
        rest = memoryview(data).cast("B")  # type: ignore[arg-type] # a buffer, as the layer above has them
        size = len(rest)
        while rest:
            try:
                written = super().write(rest)
            except OSError as error:
                self.lost = error
                break
            if written is None:  # somebody who shares the descriptor has made it one that does not wait
                select.select([], [self], [])
            rest = rest[written or 0 :]
        return size


_streams: dict[str, Stream] = {}


def secure() -> None:
    """Let this process write to standard output and standard error whatever they are.

    A descriptor that is closed becomes /dev/null, as the next file to be opened would have its number.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it has the lowest number that is free
    for descriptor, name in enumerate(("stdout", "stderr"), start=1):
        stream = getattr(sys, name)
        if stream is not None and stream is not getattr(sys, f"__{name}__"):
            continue  # somebody listens here
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


def exit_code(code: int) -> int:
    """The code to end with: another one where all is well, but standard output had no reader."""
    sys.stdout.flush()
    lost = _streams["stdout"].lost if "stdout" in _streams else None
    if lost is None:
        return code
    if not isinstance(lost, BrokenPipeError):
        sys.stderr.write(f"error: standard output cannot be written: {lost.strerror}\n")
    return code or GONE  # defence: NO_DELIVERY
