"""The reason why a run makes no progress, the broker or the workers, to a line every few seconds."""

import time
from collections.abc import Callable

EVERY = 5.0  # seconds


class Outage:
    """Says why a run makes no progress, at most every ``EVERY`` seconds.

    Args:
        say: shows a line.

    ``of_broker`` is whether the broker was the last reason found; otherwise the workers are checked.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said_at = -EVERY
        self.of_broker = False

    @property
    def may_say(self) -> bool:
        """Whether it is time for another line; check it before looking up a reason."""
        return time.monotonic() - self._said_at >= EVERY

    def tell(self, what: str) -> None:
        if self.may_say:
            self._said_at = time.monotonic()
            self._say(what)  # defence: SAID


def ignore(_text: str) -> None:
    """Show nothing."""
