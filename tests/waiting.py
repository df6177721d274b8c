"""A condition to the moment it holds. Tests wait for facts, not for times."""

import os
import time
from collections.abc import Callable

# A machine with four other busy processes on two cores takes three times as long. What a test waits for costs nothing
# while it passes, so every bound of a test is this many times what an idle machine needs. TEST_SLACK=1 tries the bounds alone.
SLACK = float(os.environ.get("TEST_SLACK", "4"))


def wait_until(condition: Callable[[], object], fact: str, timeout: float = 10.0) -> None:
    """Return as soon as the condition is true; fail with the fact that did not come about.

    Args:
        timeout: seconds after which an idle machine would have shown the fact; a busy one gets `SLACK` times as many.

    >>> wait_until(lambda: path.exists(), "the file is written")
    """
    timeout *= SLACK
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{timeout:g} s passed, and still not: {fact}"
        time.sleep(0.005)
