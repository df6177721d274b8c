"""Functions for a sandbox to call: one that returns, and some that must be ended."""

import os
from typing import Any


def echo(value: Any) -> Any:
    """The value itself."""
    return value


def repeat(times: int) -> str:
    """A text as long as that."""
    return "x" * times


def whoami(_: Any) -> int:
    """The process that calls it."""
    return os.getpid()


def spin(_: Any) -> None:
    """Never returns, and uses the processor."""
    while True:
        pass


def hoard(_: Any) -> int:
    """Takes more memory than it may."""
    return len(bytearray(4 << 30))


def abort(_: Any) -> None:
    """Ends its process, as a library does that gets no memory."""
    os.abort()
