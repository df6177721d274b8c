"""A function and a JSON value to what it returns, worked out in a process that is ended if it takes too much."""

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

IDLE = 1.0  # seconds after which a process that is asked nothing ends: the items of a `foreach` ask one after the other
WALL = 60.0  # seconds: a process that is not even given the processor is waited for no longer

_SERVE = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from runner.language import sandbox; sandbox.serve(*sys.argv[2:])"
_CHUNK = 1 << 16


class TooMuch(Exception):
    """The function takes more time or memory than it may, or returns more."""


class Sandbox:
    """A process that calls one function as often as it is asked to; it is started when it is needed, and ends when idle.

    Code that holds the interpreter, as an extension in another language does, can be ended in no other way: neither a
    signal nor a thread gets in between.

    Args:
        function: ``module:name``, called with one JSON value; what it returns is JSON too.
        seconds: of the processor that one call may take.
        memory: bytes of its address space.
        size: bytes of JSON that it may return.
    """

    def __init__(self, function: str, *, seconds: int, memory: int, size: int) -> None:
        self._words = (function, str(seconds), str(memory), str(size))
        self._seconds, self._memory = seconds, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # the process that started it: a fork of that one starts its own
        self._lock = threading.Lock()

    def call(self, argument: Any) -> Any:
        """What the function returns.

        Raises:
            TooMuch: it was ended, or its value is too large.
        """
        line = json.dumps(argument).encode() + b"\n"
        with self._lock:
            answer = self._answer(line) or self._answer(line)  # it may have ended just now, having been idle
        told = json.loads(answer or b'{"exceeded": "was ended"}')
        if "value" not in told:
            raise TooMuch(told["exceeded"])
        return told["value"]

    def _answer(self, line: bytes) -> bytes:
        """One line of the process's; empty if it had ended by itself."""
        process = self._started()
        try:
            answer = _exchange(process, line)
        except BaseException:  # an interrupt, a timeout of the step: what it would answer is for nobody
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
                process_group=0,  # Ctrl-C is for us
            )
        return self._process


def _exchange(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    """The line that a process answers to this one; empty if it ends instead, or takes too long."""
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
    """End a process that may have ended by itself, and say with which code it did."""
    process.kill()  # of no effect on one that is ending: how it does is decided
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            if pipe is not None:
                pipe.close()
    return process.wait()


def serve(function: str, seconds: str, memory: str, size: str) -> None:
    """What the process does: answer each line of standard input, until that ends or none has come for a while."""
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
