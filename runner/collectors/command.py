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
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal, TypeVar

from celery import shared_task

from runner.collectors.labels import add_labels
from runner.ledger.values import text_of
from runner.system.home import at_home
from runner.text import parse_json

Result = TypeVar("Result")
Format = Literal["text", "lines", "json", "jsonl"]

# What a command inherits of the worker's environment: where programs and the user's files are, language and time zone, the
# proxies and certificates without which no download works. Anything else may be a secret of the worker
# (RUNNER_BROKER_URL has the broker's password), and a command that prints its environment would put it into the ledger.
INHERITED = (
    "PATH",
    "LD_LIBRARY_PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "XDG_*_HOME",
    "XDG_RUNTIME_DIR",
    "TMPDIR",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "*_PROXY",
    "*_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
)

# Reads the id of a process group, waits until no process has the other end of its standard input open, and kills the group.
# If it reads no id, the worker died within the milliseconds of the start: the command is then found by the mark in its
# environment, which is set by then, as until its `exec` the command has that other end open, too. (On macOS, without /proc, it stays.)
# POSIX spells it "kill -s KILL -- -ID"; dash 0.5.12 refuses "kill -KILL -- -ID".
_WATCHDOG = """
if read -r group; then read -r _; kill -s KILL -- "-$group"; else  # defence: WATCHDOG
  for found in $(grep -ls "$0" /proc/[0-9]*/environ); do
    group=${found#/proc/} && kill -s KILL -- "-${group%/environ}"  # defence: BY_MARK
  done
fi
"""
_STDERR_SHOWN = 2000  # bytes, from the end: that is where a program says what stopped it
_CHUNK = 64 * 1024
_LOOK_EVERY = 0.05  # seconds; see _output


class CommandFailure(Exception):
    """A command that could not be started, or failed.

    Args:
        message: what went wrong, naming the command.
        retryable: false where the same command would fail again.
        names: what `retry.on` and `not_on` may call it: `exit_2`, or the signal that ended it, `SIGKILL`.
    """

    def __init__(self, message: str, *, retryable: bool = True, names: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.names = names


@shared_task(name="command.run")
def run(
    stdin: Any = None,  # defence: STDIN_FIRST
    *,
    argv: list[str],  # defence: ARGV_BY_NAME
    cwd: str = ".",
    env: dict[str, Any] | None = None,
    pass_env: list[str] | None = None,
    stdin_format: Format | None = None,
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

    In a gather or a stage the command reads the value before from its standard input; what is executed, the file alone says.
    The command inherits a few variables of the worker's environment (`PATH`, `HOME`, language, time zone, proxies) and
    none that may be a secret.

    Args:
        stdin: the command's standard input; empty by default. In a gather or a stage it is the value before.
        argv: the program and its arguments. Numbers become text.
        cwd: the directory to run it in; a leading `~` is the worker's home directory.
        env: variables for the command. Numbers and booleans become text; null leaves a variable out, also an inherited one.
        pass_env: names of more variables that it inherits from the worker, with `*` for any characters.
        stdin_format: how `stdin` is written: text, lines (a list of texts, one a line), json, or jsonl (a list, one JSON
            value a line). By default a text as it is, nothing for null, and JSON for anything else.
        format: text, lines (a list, without the line ends), json, or jsonl (a list, one value per line).
        fields: names for the parts of each line: the result is one object per line. The last part may contain the
            separator.
        separator: what stands between the parts; with `fields`.
        labels: added to each object of the result, to say where it comes from.
        ok_codes: exit codes that count as success.
        max_bytes: the most bytes of standard output.

    Raises:
        CommandFailure: with the exit code and the end of what it wrote to standard error.
    """
    words = _words(argv)
    environment = _environment(env or {}, pass_env or [])
    with _file_of(_input(stdin, stdin_format)) as given, _group(words, at_home(cwd), environment, given) as process:
        printed, complaint = _output(process, words[0], max_bytes)
    if process.returncode not in ok_codes:
        message = f"{words[0]} {_ending(process.returncode)}{_said(complaint)}"
        raise CommandFailure(message, names=(_ending_name(process.returncode),))
    value = _parsed(printed.decode("utf-8-sig", errors="replace"), format, fields, separator, words[0])
    return _labelled(value, labels, words[0]) if labels else value


def _input(value: Any, wanted: Format | None) -> bytes:
    """Return the bytes of the command's standard input."""
    match wanted or ("text" if value is None or isinstance(value, str) else "json"):
        case "text":
            text = "" if value is None else _line(value, "stdin")
        case "json":
            text = _json(value) + "\n"
        case "lines":
            lines = [_line(item, f"item {number} of stdin") for number, item in enumerate(_items(value), start=1)]
            if broken := next((number for number, line in enumerate(lines, start=1) if "\n" in line), None):
                message = f"item {broken} of stdin has a line end in it, and would be two lines: use stdin_format jsonl"
                raise CommandFailure(message, retryable=False)
            text = "".join(line + "\n" for line in lines)
        case "jsonl":
            text = "".join(_json(item) + "\n" for item in _items(value))
        case unknown:
            raise CommandFailure(f"stdin_format is text, lines, json or jsonl, not {unknown!r}", retryable=False)
    try:
        return text.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise CommandFailure(f"stdin cannot be written as UTF-8: {error.reason}", retryable=False) from error


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        message = f"stdin is a {type(value).__name__}, and stdin_format lines or jsonl needs a list"
        raise CommandFailure(message, retryable=False)
    return value


def _line(value: Any, what: str) -> str:
    if not _is_plain(value):
        message = f"{what} is a {type(value).__name__}, and no text: use stdin_format json or jsonl"
        raise CommandFailure(message, retryable=False)
    return _as_text(value)


def _json(value: Any) -> str:
    # A lone surrogate has no UTF-8; with a backslash it is JSON.
    return json.dumps(value, ensure_ascii=False, default=text_of).encode(errors="backslashreplace").decode()


@contextmanager
def _file_of(content: bytes) -> Iterator[int]:
    """Return a descriptor of the bytes. It is a file, not a pipe: the command may read it at any time, or never."""
    if not content:
        yield subprocess.DEVNULL
        return
    with TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


def _environment(env: Mapping[str, Any], pass_env: Sequence[str]) -> dict[str, str]:
    if not isinstance(env, Mapping):
        raise CommandFailure(f"env is a mapping of names to texts, not {env!r:.80}", retryable=False)
    if isinstance(pass_env, str) or not all(isinstance(name, str) for name in pass_env):
        raise CommandFailure(f"pass_env is a list of names, not {pass_env!r:.80}", retryable=False)
    for name, value in env.items():
        if value is not None and not _is_plain(value):
            message = f"the variable {name} under env is a {type(value).__name__}, and no text"
            raise CommandFailure(message, retryable=False)
    patterns = (*INHERITED, *pass_env)
    # defence: NO_SECRETS
    inherited = {
        name: value for name, value in os.environ.items() if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    return {
        **{name: value for name, value in inherited.items() if name not in env},
        **{name: _as_text(value) for name, value in env.items() if value is not None},
    }


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _as_text(value: Any) -> str:
    """Format a value as expressions do within text: a boolean is `true`, not Python's `True`."""
    return value if isinstance(value, str) else json.dumps(value)


def _words(argv: object) -> list[str]:
    if not isinstance(argv, list) or not argv or not all(_is_word(word) for word in argv):
        message = f'argv is a list of the program and its arguments, such as ["git", "log"], not {argv!r:.80}'
        raise CommandFailure(message, retryable=False)
    return [str(word) for word in argv]


def _is_word(value: object) -> bool:
    return _is_plain(value) and not isinstance(value, bool)


@contextmanager
def _group(words: list[str], cwd: str, env: Mapping[str, str], stdin: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command as the leader of a process group that outlives neither this block nor this process.

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
        env={"PATH": os.environ.get("PATH", os.defpath)},
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
            env=env,
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
    """Kill the group. Its id is not reused yet: ids would have to wrap around since its leader was reaped."""
    with suppress(ProcessLookupError, PermissionError):  # no one is left; macOS says EPERM where only zombies are
        os.killpg(process.pid, signal.SIGKILL)


def _output(process: subprocess.Popen[bytes], name: str, max_bytes: int) -> tuple[bytes, bytes]:
    """Read all of standard output and the end of standard error, until the command has exited.

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


def _ending_name(code: int) -> str:
    """Return the name that `retry.on` may use for it."""
    if code >= 0:
        return f"exit_{code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal_{-code}"


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
        return parse_json(text)
    except (ValueError, RecursionError) as error:
        raise CommandFailure(f"{what} is not JSON: {error}; it starts with {text[:40]!r}", retryable=False) from error


def _labelled(value: Any, labels: dict[str, Any], name: str) -> Any:
    records = value if isinstance(value, list) else [value]
    if not all(isinstance(record, dict) for record in records):
        message = f"labels need objects, and the output of {name} has others; use fields, or format json or jsonl"
        raise CommandFailure(message, retryable=False)
    labelled = add_labels(records, labels)
    return labelled if isinstance(value, list) else labelled[0]
