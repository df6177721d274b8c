"""What keeps a run from going on, to a line every few seconds that names it: the broker, or the workers."""

import time
from collections.abc import Callable

EVERY = 5.0  # seconds


class Outage:
    """What somebody who waits is told, not too often.

    Args:
        say: shows a line.

    ``of_broker`` is whether the broker was last found to be the reason; workers are looked for where it is not.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said_at = -EVERY
        self.of_broker = False

    @property
    def may_say(self) -> bool:
        """Whether it is time for another line; to be asked before anything is looked up for it."""
        return time.monotonic() - self._said_at >= EVERY

    def tell(self, what: str) -> None:
        if self.may_say:
            self._said_at = time.monotonic()
            self._say(what)  # defence: SAID
