"""A condition to the moment it holds. Tests wait for facts, not for times."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], fact: str, timeout: float = 10.0) -> None:
    """Return as soon as the condition is true; after `timeout` seconds fail with the fact that did not come about.

    >>> wait_until(lambda: path.exists(), "the file is written")
    """
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{timeout:g} s passed, and still not: {fact}"
        time.sleep(0.005)
