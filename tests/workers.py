"""A broker to a real worker process on it, ready for work, which lasts as long as the block."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.command_line import ROOT
from tests.waiting import wait_until


@contextmanager
def working(
    log: Path,
    *command: str,
    inside: Sequence[str] = (),
    program: Sequence[str] = (sys.executable, "-m"),
    **env: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker started by `python -m COMMAND`, in a group of its own.

    Args:
        log: the file its output goes to.
        inside: a command that is put before it: ``ip netns exec NAME``.
        program: what executes the command.
        env: what it has in its environment beside ours.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*inside, *program, *command],
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env=os.environ | env,  # defence: WARM
            process_group=0,
        )
    try:
        wait_until(lambda: b" ready." in log.read_bytes() or process.poll() is not None, "the worker is ready", 30)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
