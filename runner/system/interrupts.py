"""SIGINT, SIGTERM and SIGHUP to an exception, wherever the program is."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody asks this process to end. As with KeyboardInterrupt, `except Exception` does not stop it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.strsignal(number))
        self.signal = signal.Signals(number)
        self.exit_code = 128 + number


@contextmanager
def raised() -> Iterator[None]:
    """Raise Interrupted in the block for each signal that comes."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
