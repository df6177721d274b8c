"""A function and a JSON value to its result, computed in a process that is killed if it takes too much."""

import json
import math
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

IDLE = 1.0  # seconds after which an idle process exits: the items of a `foreach` are evaluated one after the other
WALL = 60.0  # seconds until a call is killed even if the process does not get the processor

_SERVE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from runner.language import sandbox; sandbox.serve(*sys.argv[2:])"
_CHUNK = 1 << 16


class TooMuch(Exception):
    """The function takes more time or memory than it may, or returns more."""


class Sandbox:
    """A process that calls one function; it is started when it is needed, and exits when idle.

    Code that holds the interpreter, as an extension in another language does, can be stopped in no other way: neither a
    signal nor a thread interrupts it.

    Args:
        function: ``module:name``, called with one JSON value; its result is JSON, too.
        seconds: of processor time that one call may take.
        memory: bytes of its address space.
        size: bytes of JSON that it may return.
    """

    def __init__(self, function: str, *, seconds: int, memory: int, size: int) -> None:
        self._words = (function, str(seconds), str(memory), str(size))
        self._seconds, self._memory = seconds, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # the process that started it: its forks start their own
        self._lock = threading.Lock()

    def call(self, argument: Any) -> Any:
        """Call the function.

        Raises:
            TooMuch: the call was killed, or its value is too large.
        """
        line = json.dumps(argument).encode() + b"\n"
        with self._lock:
            answer = self._answer(line) or self._answer(line)  # the process may just have exited, being idle
        reply = json.loads(answer or b'{"exceeded": "was ended"}')
        if "value" not in reply:
            raise TooMuch(reply["exceeded"])
        return reply["value"]

    def _answer(self, line: bytes) -> bytes:
        """Return one line of the process; empty if it had exited by itself."""
        process = self._started()
        try:
            answer = _exchange(process, line)
        except BaseException:  # an interrupt, a timeout of the step: nobody needs the answer
            _end(process)
            raise
        if answer:
            return answer
        code = _end(process)
        if code == 0:
            return b""
        reasons = {
            -signal.SIGXCPU: f"takes more than {self._seconds} s of the processor",
            -signal.SIGKILL: f"was ended after {WALL:g} s, or by the system",
        }
        raise TooMuch(reasons.get(code, f"takes more than {self._memory >> 20:,} MiB of memory"))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _SERVE, json.dumps(sys.path), *self._words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C must not reach it
            )
        return self._process


def _exchange(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    """Send a line to a process and return its answer; empty if it exits instead, or takes too long."""
    if process.stdin is None or process.stdout is None:
        return b""
    answer, until = bytearray(), time.monotonic() + WALL
    with suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.flush()
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
            read = os.read(process.stdout.fileno(), _CHUNK) if ready else b""
            if not read:
                return b""
            answer += read
    return bytes(answer)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Kill a process that may have exited by itself, and return its exit code."""
    process.kill()  # without effect on a process that has exited: its code stays
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()
    return process.wait()


def serve(function: str, seconds: str, memory: str, size: str) -> None:
    """Run in the process: answer each line of standard input, until it closes or is idle for a while."""
    module, _, name = function.partition(":")
    called = getattr(import_module(module), name)
    for kind, limit in ((resource.RLIMIT_AS, int(memory)), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # macOS has no limit on the address space
            resource.setrlimit(kind, (limit, limit))
    while select.select([sys.stdin], [], [], IDLE)[0] and (line := sys.stdin.buffer.readline()):
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        until = math.ceil(time.process_time()) + int(seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (until if hard < 0 else min(until, hard), hard))
        try:
            answer = json.dumps({"value": called(json.loads(line))})
        except MemoryError:
            answer = json.dumps({"exceeded": f"takes more than {int(memory) >> 20:,} MiB of memory"})
        if len(answer) > int(size):
            answer = json.dumps({"exceeded": f"comes to {len(answer):,} bytes of JSON, limit {int(size):,}"})
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()
