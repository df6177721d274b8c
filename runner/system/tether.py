"""A pipe from the parent to the exit of this process when the parent exits."""

import os
import signal
import threading


def end_with_parent(tether: int) -> None:
    """Kill this process and its pool when the parent exits, however it exits.

    Args:
        tether: the descriptor of a pipe whose other end only the parent has open.
    """
    os.set_inheritable(tether, False)  # not for the programs that steps start

    def wait() -> None:
        while os.read(tether, 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="tether", daemon=True).start()
