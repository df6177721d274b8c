"""A command's arguments to what it printed."""

import json
import os
import selectors
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal, NoReturn, TypeVar

from celery import shared_task

Result = TypeVar("Result")
Format = Literal["text", "lines", "json", "jsonl"]

# Waits until nobody holds the other end of its standard input, and then ends the group whose id it was told first. If it
# was told none, whoever was to tell it died within the milliseconds of the start, and the command is looked for by the mark
# in its environment, which is there by then: until its `exec` it holds that other end, too. (On macOS, without /proc, it stays.)
# POSIX spells it "kill -s KILL -- -ID"; dash 0.5.12 refuses "kill -KILL -- -ID".
_WATCHDOG = """
if read -r group; then read -r _; kill -s KILL -- "-$group"; else
  for found in $(grep -ls "$0" /proc/[0-9]*/environ); do
    group=${found#/proc/} && kill -s KILL -- "-${group%/environ}"
  done
fi
"""
_STDERR_SHOWN = 2000  # bytes, from the end: that is where a program says what stopped it
_CHUNK = 64 * 1024
_LOOK_EVERY = 0.05  # seconds; see _output


class CommandFailure(Exception):
    """A command that could not be started, or did not do what it should.

    Args:
        message: what went wrong, naming the command.
        retryable: false where the same command would fail again.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


@shared_task(name="command.run")
def run(
    argv: list[str],
    *,
    cwd: str = ".",
    env: dict[str, str] | None = None,
    stdin: str = "",
    format: Format = "text",  # noqa: A002 - the word a user of the YAML expects
    fields: list[str] | None = None,
    separator: str = "\t",
    labels: dict[str, Any] | None = None,
    ok_codes: Sequence[int] = (0,),
    max_bytes: int = 5 * 1024 * 1024,
) -> Any:
    """Run a command and return what it prints: text, lines, JSON, or records.

    There is no shell: `argv` is the program and its arguments, and nothing in them is expanded. Whatever the command
    starts ends with it: when it exits, fails or is interrupted, and within a second of the worker's own death. Only a
    process that makes a session of its own (`setsid`, a daemon) escapes that.

    Args:
        argv: the program and its arguments. Numbers become text.
        cwd: the directory to run it in.
        env: variables to add to the worker's own.
        stdin: text for its standard input, which is empty otherwise.
        format: text, lines (a list, without the line ends), json, or jsonl (a list, one value per line).
        fields: names for the parts of each line: the result is one object per line. The last part may contain the
            separator.
        separator: what stands between the parts; with `fields`.
        labels: added to each object of the result, so that a reader can tell where it comes from.
        ok_codes: exit codes that are no failure.
        max_bytes: of its standard output.

    Raises:
        CommandFailure: with the exit code and the end of what it wrote to standard error.
    """
    words = _words(argv)
    with _given(stdin) as given, _group(words, cwd, env or {}, given) as process:
        printed, complaint = _output(process, words[0], max_bytes)
    if process.returncode not in ok_codes:
        raise CommandFailure(f"{words[0]} {_ending(process.returncode)}{_said(complaint)}")
    value = _parsed(printed.decode("utf-8", errors="replace"), format, fields, separator, words[0])
    return _labelled(value, labels, words[0]) if labels else value


@contextmanager
def _given(stdin: str) -> Iterator[int]:
    """A file descriptor of the text. A file and not a pipe: the command may read it when it likes, or never."""
    if not stdin:
        yield subprocess.DEVNULL
        return
    with TemporaryFile() as file:
        file.write(stdin.encode(errors="replace"))
        file.seek(0)
        yield file.fileno()


def _words(argv: object) -> list[str]:
    if not isinstance(argv, list) or not argv or not all(_is_word(word) for word in argv):
        message = f'argv is a list of the program and its arguments, such as ["git", "log"], not {argv!r:.80}'
        raise CommandFailure(message, retryable=False)
    return [str(word) for word in argv]


def _is_word(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


@contextmanager
def _group(words: list[str], cwd: str, env: Mapping[str, str], stdin: int) -> Iterator[subprocess.Popen[bytes]]:
    """The command, as the leader of a process group that outlives neither this block nor this process.

    A process that is SIGKILLed cannot clean up, so a watchdog stands beside the command, in a session of its own that
    no signal to ours reaches. It reads a pipe whose other end only this process has: when that closes, here or because
    there is no process any more, it ends the group.

    The start is made in a thread, because an exception that a signal raises (a time limit) is raised in the main one
    only: within `Popen` it would leave a command behind that nobody knows.
    """
    mark = uuid.uuid4().hex
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # ours, as it is
    with (
        _watchdog(mark) as watchdog,
        ThreadPoolExecutor(1, initializer=signal.pthread_sigmask, initargs=(signal.SIG_SETMASK, mask)) as starter,
        _submitted(
            starter, _started, words, cwd, {**env, "COMMAND_RUN_MARK": mark}, stdin, watchdog
        ).result() as process,
    ):
        try:
            yield process
        finally:
            _end(process)


def _submitted(starter: ThreadPoolExecutor, call: Callable[..., Result], *args: Any) -> "Future[Result]":
    """`submit`, with no signal meanwhile: in the middle of `Thread.start` (Python 3.11) one ends the new thread with a traceback.

    That thread begins with no signal either, and is to take back the mask that its commands inherit.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return starter.submit(call, *args)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _watchdog(mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _WATCHDOG, mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        bufsize=0,
    )


def _started(
    words: list[str], cwd: str, env: Mapping[str, str], stdin: int, watchdog: subprocess.Popen[bytes]
) -> subprocess.Popen[bytes]:
    if not Path(cwd).is_dir():
        raise CommandFailure(f"{words[0]} cannot be run in {cwd}: no such directory", retryable=False)
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **{name: str(value) for name, value in env.items()}},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a group to end, and no terminal on which git or ssh could wait for a password
            bufsize=0,
        )
    except FileNotFoundError as error:
        message = f"{words[0]} is not found: neither on the worker's PATH nor as a path from {cwd}"
        raise CommandFailure(message, retryable=False) from error
    except (OSError, ValueError) as error:  # not executable, too many arguments, a NUL in one
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandFailure(f"{words[0]} cannot be started: {reason}", retryable=False) from error
    try:
        assert watchdog.stdin  # noqa: S101 - for mypy: it is a pipe
        watchdog.stdin.write(b"%d\n" % process.pid)
    except (OSError, ValueError) as error:  # it was killed, or the step was interrupted and its pipe is closed already
        _end(process)
        process.communicate()
        raise CommandFailure(f"{words[0]} was ended: there is no watchdog to guard it") from error
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the group. Its id is nobody else's: ids would have to go all the way round since its leader was reaped."""
    with suppress(ProcessLookupError, PermissionError):  # no one is left; macOS says EPERM where only zombies are
        os.killpg(process.pid, signal.SIGKILL)


def _output(process: subprocess.Popen[bytes], name: str, max_bytes: int) -> tuple[bytes, bytes]:
    """All of standard output and the end of standard error, until the command has ended.

    Its children may hold the pipes open for longer (`sh -c 'sleep 100 &'`), so the end of the pipes is not waited for:
    the command is looked at between reads, and when it has ended, so has its group.
    """
    printed, complaint = bytearray(), bytearray()
    ended = False
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout or -1, selectors.EVENT_READ, printed)
        waiting.register(process.stderr or -1, selectors.EVENT_READ, complaint)
        while waiting.get_map():
            if not ended and process.poll() is not None:
                ended = True
                _end(process)
            ready = waiting.select(0 if ended else _LOOK_EVERY)
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                key.data.extend(chunk)
                if not chunk:
                    waiting.unregister(key.fileobj)
            del complaint[:-_STDERR_SHOWN]
            if len(printed) > max_bytes:
                raise CommandFailure(f"{name} printed more than {max_bytes:,} bytes (max_bytes)", retryable=False)
            if ended and not ready:
                break
    process.wait()
    return bytes(printed), bytes(complaint)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _said(complaint: bytes) -> str:
    text = complaint.decode("utf-8", errors="replace").strip()
    return f": {text}" if text else ", and wrote nothing to standard error"


def _parsed(text: str, wanted: Format, fields: list[str] | None, separator: str, name: str) -> Any:
    if fields:
        return _records(_lines(text), fields, separator, name)
    match wanted:
        case "text":
            return text
        case "lines":
            return _lines(text)
        case "json":
            return _loaded(text, f"the output of {name}")
        case "jsonl":
            lines = enumerate(_lines(text), start=1)
            return [_loaded(line, f"line {number} of the output of {name}") for number, line in lines if line.strip()]
        case unknown:
            raise CommandFailure(f"format is text, lines, json or jsonl, not {unknown!r}", retryable=False)


def _lines(text: str) -> list[str]:
    """Split at line feeds only: `str.splitlines` also splits at form feeds, U+001E, U+2028 and others."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def _records(lines: list[str], fields: list[str], separator: str, name: str) -> list[dict[str, str]]:
    records = []
    for number, line in enumerate(lines, start=1):
        parts = line.split(separator, len(fields) - 1) if separator else [line]
        if len(parts) != len(fields):
            message = f"line {number} of the output of {name} has {len(parts)} of {len(fields)} fields"
            raise CommandFailure(f"{message} between {separator!r}: {line!r:.80}", retryable=False)
        records.append(dict(zip(fields, parts, strict=True)))
    return records


def _loaded(text: str, what: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CommandFailure(f"{what} is not JSON: {error}; it starts with {text[:40]!r}", retryable=False) from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _labelled(value: Any, labels: dict[str, Any], name: str) -> Any:
    records = value if isinstance(value, list) else [value]
    if not all(isinstance(record, dict) for record in records):
        message = f"labels need objects, and the output of {name} has others; use fields, or format json or jsonl"
        raise CommandFailure(message, retryable=False)
    labelled = [{**labels, **record, **labels} for record in records]
    return labelled if isinstance(value, list) else labelled[0]
