"""A pipe from the parent of a process to the end of the process, as soon as the parent has ended."""

import os
import signal
import threading


def end_with_parent(tether: int) -> None:
    """End this process and its pool as soon as the other end of this pipe is closed: only our parent has that one."""
    os.set_inheritable(tether, False)  # what our steps start has no use for it

    def wait() -> None:
        while os.read(tether, 1024):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="tether", daemon=True).start()
