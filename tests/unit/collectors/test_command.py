"""command.run, with real processes."""

import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from runner.collectors.command import INHERITED, CommandFailure, run
from runner.worker.call import call
from runner.worker.endings import Failure
from tests.processes import carrying
from tests.waiting import wait_until


def failure(argv: Any, **arguments: Any) -> CommandFailure:
    with pytest.raises(CommandFailure) as raised:
        run(argv=argv, **arguments)
    return raised.value


def members(group: int) -> list[str]:
    """The processes of a group; a zombie has ended, even before it is reaped."""
    table = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in table.splitlines()]
    return [" ".join(row) for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def children() -> list[str]:
    """Processes that this one started and has not reaped: the watchdog must not be among them."""
    me = str(os.getpid())
    table = subprocess.run(["ps", "-A", "-o", "ppid=,pid=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in table.splitlines() if line.split()[0] == me and "ps -A" not in line]


def watchdogs() -> list[str]:
    return [line for line in children() if "read -r group" in line]


def test_the_text_that_a_command_prints_is_returned_as_it_is() -> None:
    assert run(argv=["printf", "a\nb\n"]) == "a\nb\n"


def test_the_lines_that_a_command_prints_are_returned_without_their_ends() -> None:
    assert run(argv=["printf", r"a\r\n\nb\036c"], format="lines") == ["a", "", "b\x1ec"]


def test_a_command_without_output_returns_no_lines() -> None:
    assert run(argv=["true"], format="lines") == []


def test_the_json_that_a_command_prints_is_returned_as_its_value() -> None:
    assert run(argv=["echo", '{"a": [1]}'], format="json") == {"a": [1]}


def test_the_jsonl_that_a_command_prints_is_a_value_per_line() -> None:
    assert run(argv=["printf", r'{"a": 1}\n\n{"a": 2}\n'], format="jsonl") == [{"a": 1}, {"a": 2}]


def test_output_of_a_command_that_is_not_json_is_reported_with_its_start() -> None:
    assert "the output of echo is not JSON" in str(failure(["echo", "NaN"], format="json"))


def test_fields_make_a_record_of_each_line_and_the_last_keeps_the_rest() -> None:
    records = run(argv=["printf", r"1\tx\ty\n2\tz\n"], fields=["id", "text"], labels={"kind": "row"})
    assert records == [{"kind": "row", "id": "1", "text": "x\ty"}, {"kind": "row", "id": "2", "text": "z"}]


def test_a_line_of_a_command_with_too_few_fields_is_named() -> None:
    assert "line 1 of the output of echo has 1 of 2 fields" in str(failure(["echo", "x"], fields=["id", "text"]))


def test_labels_of_a_command_need_objects() -> None:
    assert "labels need objects" in str(failure(["echo", "x"], labels={"kind": "row"}))


def test_nothing_in_the_arguments_of_a_command_is_expanded() -> None:
    assert run(argv=["echo", "$HOME", "*", "; true", 5]) == "$HOME * ; true 5\n"


def test_standard_input_is_given_to_a_command() -> None:
    assert run(argv=["cat"], stdin="grüße") == "grüße"


def test_standard_input_of_a_command_is_empty_by_default() -> None:
    assert run(argv=["cat"]) == ""


def test_a_command_need_not_read_more_input_than_a_pipe_holds() -> None:
    assert run(argv=["true"], stdin="x" * 1_000_000) == ""


@pytest.mark.parametrize(
    ("value", "stdin_format", "read"),
    [
        ("text\n", None, "text\n"),
        (None, None, ""),
        ({"ü": [1]}, None, '{"ü": [1]}\n'),
        (["a", 2, True], None, '["a", 2, true]\n'),
        (5, None, "5\n"),
        (True, "text", "true"),
        ("text", "json", '"text"\n'),
        (None, "json", "null\n"),
        (["a", 2, True], "lines", "a\n2\ntrue\n"),
        ([], "lines", ""),
        ([{"a": 1}, None], "jsonl", '{"a": 1}\nnull\n'),
        (["\ud800"], "json", '["\\ud800"]\n'),
    ],
)
def test_the_value_before_comes_on_standard_input_as_its_format_says(value: Any, stdin_format: Any, read: str) -> None:
    assert run(value, argv=["cat"], stdin_format=stdin_format) == read


@pytest.mark.parametrize(
    ("value", "stdin_format", "message"),
    [
        (["a\nb"], "lines", "item 1 of stdin has a line end in it"),
        (["a", None], "lines", "item 2 of stdin is a NoneType, and no text"),
        ("a", "lines", "stdin is a str, and stdin_format lines or jsonl needs a list"),
        ({}, "jsonl", "stdin is a dict, and stdin_format lines or jsonl needs a list"),
        ([], "text", "stdin is a list, and no text"),
        ("\ud800", None, "stdin cannot be written as UTF-8"),
        ("a", "csv", "stdin_format is text, lines, json or jsonl, not 'csv'"),
    ],
)
def test_a_value_that_its_format_cannot_hold_is_refused(value: Any, stdin_format: Any, message: str) -> None:
    error = failure(["cat"], stdin=value, stdin_format=stdin_format)
    assert message in str(error)
    assert error.retryable is False


def environment(**arguments: Any) -> dict[str, str]:
    """What a command finds in its environment."""
    return dict(line.split("=", 1) for line in run(argv=["env"], format="lines", **arguments))


def test_variables_are_added_to_the_environment_of_a_command_as_text() -> None:
    found = environment(env={"A": "1", "B": 2, "C": True})
    assert {name: found[name] for name in "ABC"} == {"A": "1", "B": "2", "C": "true"}


def test_a_variable_of_a_command_that_is_null_is_left_out() -> None:
    """urllib3#1285's neighbour: null came as the text "None", so that an optional input without a value was a wrong one."""
    assert {"A", "HOME"} & environment(env={"A": None, "HOME": None}).keys() == set()


def test_a_variable_of_a_command_that_is_a_list_is_refused() -> None:
    assert "the variable A under env is a list, and no text" in str(failure(["env"], env={"A": [1]}))


def test_a_command_inherits_no_variable_that_may_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_BROKER_URL", "redis://:hunter2@example.org")
    monkeypatch.setenv("LC_TIME", "C")
    monkeypatch.setenv("https_proxy", "http://proxy.example.org")
    inherited = environment().keys() - {"COMMAND_RUN_MARK"}
    assert {"PATH", "HOME", "TMPDIR", "LC_TIME", "https_proxy"} <= inherited
    assert not {name for name in inherited if not any(fnmatchcase(name, pattern) for pattern in INHERITED)}


def test_a_command_inherits_the_variables_that_the_file_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "a")
    monkeypatch.setenv("AWS_REGION", "b")
    monkeypatch.setenv("GITHUB_TOKEN", "c")
    assert environment(pass_env=["AWS_*"]).items() >= {("AWS_PROFILE", "a"), ("AWS_REGION", "b")}
    assert "GITHUB_TOKEN" not in environment(pass_env=["AWS_*"])


def test_pass_env_that_is_a_text_is_refused() -> None:
    assert "pass_env is a list of names, not 'HOME'" in str(failure(["env"], pass_env="HOME"))


@pytest.mark.parametrize(("script", "name"), [("exit 2", "exit_2"), ("kill -KILL $$", "SIGKILL")])
def test_a_command_that_fails_is_named_by_its_exit_code_or_signal(script: str, name: str) -> None:
    """`retry.on: [exit_2]` was valid, and matched nothing."""
    found = call(run, (), {"argv": ["sh", "-c", script]}, timeout=None, value_limit=1000)
    assert isinstance(found, Failure)
    assert name in found.names


def test_a_command_runs_in_its_directory(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    assert run(argv=["ls"], cwd=str(tmp_path)) == "here\n"


def test_a_leading_tilde_of_the_directory_is_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "here").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(argv=["ls"], cwd="~/data") == "here\n"


def test_a_command_that_fails_shows_the_code_and_the_end_of_standard_error() -> None:
    error = failure(["sh", "-c", "seq 100000 >&2; echo because >&2; exit 3"])
    assert str(error).startswith("sh exited with code 3: ")
    assert str(error).endswith("because")
    assert len(str(error)) < 2100
    assert error.retryable


def test_a_command_ended_by_a_signal_names_it() -> None:
    assert "sh was ended by SIGTERM" in str(failure(["sh", "-c", "kill -TERM $$"]))


def test_other_exit_codes_of_a_command_can_be_no_failure() -> None:
    assert run(argv=["sh", "-c", "echo none; exit 1"], ok_codes=[0, 1]) == "none\n"


def test_a_command_that_is_not_found_is_named_and_not_retried() -> None:
    error = failure(["no-such-command-here"])
    assert "no-such-command-here is not found" in str(error)
    assert error.retryable is False


def test_a_command_that_cannot_be_executed_is_named(tmp_path: Path) -> None:
    (tmp_path / "script").touch(mode=0o600)
    assert "./script cannot be started: " in str(failure(["./script"], cwd=str(tmp_path)))


def test_a_directory_of_a_command_that_is_not_there_is_named() -> None:
    assert "ls cannot be run in /no/such: no such directory" in str(failure(["ls"], cwd="/no/such"))


@pytest.mark.parametrize("argv", ["git log", [], ["ls", None], ["ls", ["-l"]], ["ls", True], {"git": "log"}])
def test_argv_is_a_list_of_words(argv: Any) -> None:
    assert "argv is a list of the program and its arguments" in str(failure(argv))


@pytest.mark.parametrize("word", ["a\0b", "x" * 3_000_000], ids=["NUL", "3 MB"])
def test_an_argument_that_no_command_can_have_is_an_error(word: str) -> None:
    assert "echo cannot be started: " in str(failure(["echo", word]))


def test_output_of_a_command_over_the_limit_ends_it() -> None:
    assert "yes printed more than 1,000 bytes" in str(failure(["yes"], max_bytes=1000))


def test_no_child_is_left_after_a_command() -> None:
    before = children()
    run(argv=["true"])
    assert children() == before


def test_no_child_is_left_after_a_command_that_cannot_start() -> None:
    before = children()
    failure(["no-such-command-here"])
    assert children() == before


def test_what_the_command_left_behind_ends_with_it(tmp_path: Path) -> None:
    """The sleep holds the pipe of standard output open: waiting for its end would take longer than a test may."""
    group = int(run(argv=["sh", "-c", "sleep 1000 & echo $$"], cwd=str(tmp_path)))
    wait_until(lambda: not members(group), "the sleep has ended")


def test_a_child_of_a_command_that_keeps_printing_does_not_hold_the_step() -> None:
    output = run(argv=["sh", "-c", "echo first; (while :; do sleep 0.001; echo x; done) &"])
    assert output.startswith("first\n")


def test_a_command_that_closed_its_output_is_waited_for(tmp_path: Path) -> None:
    run(argv=["sh", "-c", "exec >&- 2>&-; sleep 0.3; touch mark"], cwd=str(tmp_path))
    assert (tmp_path / "mark").exists()


def test_an_interrupted_command_ends_with_its_group(tmp_path: Path) -> None:
    """A time limit is an exception that a signal raises in the main thread."""
    pid = tmp_path / "pid"

    def interrupt(_signal: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(TimeoutError):
            run(argv=["sh", "-c", f"trap '' TERM INT; echo $$ > {pid}; sleep 100 & sleep 100; sleep 100"])
    finally:
        signal.signal(signal.SIGALRM, before)
    wait_until(lambda: not members(int(pid.read_text())), "the command has ended")


@pytest.mark.parametrize("milliseconds", [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6])
def test_an_interruption_during_the_start_of_a_command_leaves_nothing(tmp_path: Path, milliseconds: float) -> None:
    """An exception within `subprocess.Popen` leaves its process running: so the start is not made in the main thread.

    With the start in the main thread, or without the watchdog, 1 and 1.5 ms leave a sleep behind.
    """
    mark = f"20.{os.getpid()}{int(milliseconds * 10):03}"

    def interrupt(_signal: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, milliseconds / 1000)
    try:
        # Python drops an exception that a signal raises within a finalizer: then the sleep ends by itself, after 20 s.
        with suppress(TimeoutError):
            run(argv=["sleep", mark], cwd=str(tmp_path))
    finally:
        signal.signal(signal.SIGALRM, before)
    wait_until(lambda: not carrying(mark), "the sleep has ended", 2)


def test_a_command_ends_when_the_worker_process_is_killed(tmp_path: Path) -> None:
    """F02b. A process that is SIGKILLed cannot clean up: without the watchdog, `mark` is there after 6 s."""
    pid, mark = tmp_path / "pid", tmp_path / "mark"
    script = f"echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 6; touch {mark}"
    code = f"from runner.collectors.command import run; run(argv=['sh', '-c', {script!r}])"
    worker = subprocess.Popen([sys.executable, "-c", code])
    wait_until(pid.exists, "the command runs")
    group = int(pid.read_text())

    worker.kill()
    worker.wait()

    wait_until(lambda: not members(group), "the command and its sleep have ended")
    assert not mark.exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="without /proc, it stays")
def test_a_command_ends_when_the_worker_process_is_killed_as_it_starts_it() -> None:
    """Killed between the start and telling the watchdog, it left the command behind: 10 of 10 times."""
    mark = f"100.{os.getpid()}"
    code = (
        "import os, subprocess\n"
        "class Dying(subprocess.Popen):\n"
        "    def __init__(self, words, **options):\n"
        "        super().__init__(words, **options)\n"
        "        words[0] == 'sleep' and os.kill(os.getpid(), 9)\n"
        "subprocess.Popen = Dying\n"
        "from runner.collectors.command import run\n"
        f"run(argv=['sleep', '{mark}'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False)

    assert ended.returncode == -signal.SIGKILL
    wait_until(lambda: not carrying(mark), "the sleep has ended")


def test_a_killed_watchdog_does_not_harm_the_command(tmp_path: Path) -> None:
    pid, go = tmp_path / "pid", tmp_path / "go"
    script = f"echo $$ > {pid}; while ! test -e {go}; do sleep 0.02; done; sleep 100 & echo $$"
    with ThreadPoolExecutor(max_workers=1) as thread:
        running = thread.submit(run, argv=["sh", "-c", script])
        try:
            wait_until(pid.exists, "the command runs")
            wait_until(lambda: len(watchdogs()) == 1, "there is one watchdog")
            [watchdog] = watchdogs()
            os.kill(int(watchdog.split()[1]), signal.SIGKILL)
        finally:
            go.touch()
        group = int(running.result())
    wait_until(lambda: not members(group), "the sleep has ended")


def test_a_failure_of_a_command_survives_the_way_from_a_pool_process() -> None:
    error = pickle.loads(pickle.dumps(CommandFailure("x", retryable=False, names=("exit_2",))))  # noqa: S301 - our own
    assert (str(error), error.retryable, error.names) == ("x", False, ("exit_2",))


@pytest.mark.parametrize(("format_", "value"), [("text", '{"a": 1}\n'), ("json", {"a": 1}), ("jsonl", [{"a": 1}])])
def test_a_byte_order_mark_is_no_part_of_the_output_of_a_command(format_: Any, value: Any) -> None:
    """Programs that were written on Windows begin with one; JSON was refused for it."""
    printed = r"\357\273\277{\"a\": 1}\n"
    assert run(argv=["printf", printed], format=format_) == value
