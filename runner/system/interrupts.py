"""SIGINT, SIGTERM and SIGHUP to an exception, raised wherever the program is."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asks this process to exit. As with KeyboardInterrupt, `except Exception` does not catch it.

    Args:
        number: of the signal; the exit code is 128 more.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.strsignal(number))
        self.signal = signal.Signals(number)
        self.exit_code = 128 + number


@contextmanager
def raise_interrupts() -> Iterator[None]:
    """Raise Interrupted in the block for each of `SIGNALS` that arrives, and restore the handlers at its end."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
