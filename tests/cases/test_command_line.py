"""Bad use of the command line: the C cases of the fault list, each with its exit code and its first words."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import processes
from tests.command_line import DEFAULT, ROOT, runner, start
from tests.servers import Server, free_port
from tests.waiting import wait_until

SLOW = str(ROOT / "tests" / "workflows" / "slow.yaml")

pytestmark = pytest.mark.usefixtures("state_dir")


def test_c01_without_a_command_help_is_shown_and_it_is_an_error() -> None:
    answer = runner()
    assert answer.code == 2
    assert "Usage:" in answer.stdout + answer.stderr


def test_c01_help_is_on_stdout() -> None:
    answer = runner("--help")
    assert (answer.code, answer.stderr) == (0, "")
    assert "validate" in answer.stdout


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "runner/commands").glob("[!_]*.py")))
def test_every_command_has_help(name: str) -> None:
    answer = runner(name, "--help")
    assert answer.code == 0, answer.stderr
    assert f"runner {name}" in answer.stdout


def test_c02_a_misspelt_command_gets_a_suggestion() -> None:
    answer = runner("rnu", "x.yaml")
    assert answer.code == 2
    assert "Did you mean 'run'?" in answer.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", DEFAULT, "second.yaml"),
        ("run", DEFAULT, "--bogus"),
        ("run", DEFAULT, "--timeout"),
        ("show", "--page"),
    ],
)
def test_c03_a_wrong_command_line_gets_one_usage_line(words: tuple[str, ...]) -> None:
    answer = runner(*words)
    assert answer.code == 2
    assert answer.stderr.count("Usage:") == 1


@pytest.mark.parametrize("command", ["run", "validate", "graph"])
def test_c04_a_workflow_file_that_is_not_there_is_named(command: str) -> None:
    answer = runner(command, "nope.yaml")
    assert answer.code == 3
    assert answer.first_line == "nope.yaml: error[E100]: no such file"


def test_validate_prints_every_file_in_one_object_for_a_program(tmp_path: Path) -> None:
    """CI had to take the words apart."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\ncollectors: [{id: a, task: http.gte, with: {url: x}}]\n")
    answer = runner("validate", "--json", DEFAULT, str(bad))
    document = json.loads(answer.stdout)
    assert (answer.code, answer.stderr, document["exit_code"]) == (3, "", 3)
    assert [(each["file"], each["valid"]) for each in document["files"]] == [(DEFAULT, True), (str(bad), False)]
    [fault] = document["files"][1]["faults"]
    assert (fault["code"], fault["file"], fault["line"], fault["column"]) == ("E023", str(bad), 2, 28)
    assert fault["hint"] == 'did you mean "http.get"?'


def test_c04_a_directory_is_no_workflow_file(tmp_path: Path) -> None:
    answer = runner("run", str(tmp_path))
    assert answer.code == 3
    assert f"{tmp_path}: error[E100]:" in answer.first_line


def test_c04_a_workflow_file_that_may_not_be_read_is_named() -> None:
    answer = runner("run", "/proc/self/mem")  # even root gets an I/O error
    assert answer.code == 3
    assert "/proc/self/mem: error[E100]:" in answer.first_line


@pytest.mark.parametrize("stdin", [b"", b"\x00\xff\xfe\x01", b"\x89PNG\r\n\x1a\n"])
def test_c05_standard_input_that_is_no_workflow_is_a_fault(stdin: bytes) -> None:
    answer = runner("run", "-", stdin=stdin)
    assert answer.code == 3
    assert answer.first_line.startswith("<stdin>:1:1: error[E0")


def test_c05_closed_standard_input_is_an_empty_workflow_file() -> None:
    command = f"exec {sys.executable} -m runner run - <&-"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 3
    assert done.stderr.startswith(b"<stdin>:1:1: error[E0")


def test_c06_a_missing_input_is_named() -> None:
    answer = runner("run", DEFAULT)
    assert answer.code == 3
    assert 'input "topic" is missing' in answer.stderr


def test_c06_an_unknown_input_is_named() -> None:
    answer = runner("run", DEFAULT, "--topic", "x", "--input", "topik=y")
    assert answer.code == 3
    assert 'input "topik"' in answer.stderr


def test_c06_an_input_given_twice_is_named() -> None:
    answer = runner("run", DEFAULT, "--topic", "x", "--topic", "y")
    assert answer.code == 2
    assert 'input "topic" was passed 2 times' in answer.stderr


def test_c06_an_input_without_an_equals_sign_is_named() -> None:
    assert runner("run", DEFAULT, "--input", "topic").code == 2


def test_c06_an_input_of_the_wrong_type_is_named() -> None:
    answer = runner("run", SLOW, "--journal", "j", "--seconds", "soon")
    assert answer.code == 3
    assert 'input "seconds"' in answer.stderr
    assert "soon" in answer.stderr


def test_c06_a_secrets_value_is_not_echoed(tmp_path: Path) -> None:
    workflow = tmp_path / "secret.yaml"
    workflow.write_text(
        "name: secret\ninputs:\n  token: {type: string, secret: true, min_length: 20}\n"
        "collectors:\n  - {id: a, task: collector_1, with: {topic: '${{ inputs.token }}'}}\n"
    )
    answer = runner("run", str(workflow), "--token", "hunter2")
    assert answer.code == 3
    assert 'input "token"' in answer.stderr
    assert "hunter2" not in answer.stderr


def test_c08_a_broker_that_refuses_the_connection_is_named() -> None:
    answer = runner("run", DEFAULT, "--topic", "x", "--broker", "redis://:s3cret@127.0.0.1:1")
    assert answer.code == 4
    assert "127.0.0.1:1" in answer.first_line
    assert "s3cret" not in answer.stderr


def test_c09_a_wrong_password_of_the_broker_is_named(start_valkey: Callable[..., Server]) -> None:
    server = start_valkey("--requirepass", "right")
    answer = runner("run", DEFAULT, "--topic", "x", "--broker", f"redis://:wrong@127.0.0.1:{server.port}")
    assert answer.code == 4
    assert "password" in answer.first_line


def test_c09_a_server_that_is_no_redis_is_recognised() -> None:
    with _http_server() as port:
        answer = runner("run", DEFAULT, "--topic", "x", "--broker", f"redis://127.0.0.1:{port}")
    assert answer.code == 4
    assert "no Redis" in answer.first_line


def test_c09_a_read_only_replica_is_refused(start_valkey: Callable[..., Server]) -> None:
    server = start_valkey("--replicaof", f"127.0.0.1 {free_port()}", "--replica-serve-stale-data", "yes")
    answer = runner("run", DEFAULT, "--topic", "x", "--broker", server.url)
    assert answer.code == 4
    assert "replica" in answer.first_line


def test_c10_a_public_broker_without_a_password_is_refused_before_anything_is_sent() -> None:
    answer = runner("run", DEFAULT, "--topic", "x", "--broker", "redis://8.8.8.8:6379")
    assert answer.code == 4
    assert "refusing an unauthenticated broker" in answer.first_line


def test_c11_an_unknown_run_is_named() -> None:
    assert [runner(command, "nope").code for command in ("show", "cancel", "watch")] == [7, 7, 7]


@pytest.mark.parametrize("run_id", ["../../x", "a\nb", "x" * 65])
def test_c11_a_malformed_run_id_is_refused(run_id: str) -> None:
    assert [runner(command, run_id).code for command in ("show", "cancel", "watch")] == [2, 2, 2]


def test_c14_a_state_directory_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    answer = runner("run", DEFAULT, "--topic", "x", RUNNER_STATE_DIR=str(folder))
    assert answer.code == 4
    assert str(folder) in answer.first_line
    assert f"chmod 700 {folder}" in answer.stderr


@pytest.mark.parametrize("folder", ["/", "/etc", "/usr/lib"])
def test_c14_no_hint_closes_a_directory_that_others_need(folder: str) -> None:
    """`RUNNER_STATE_DIR=/` was answered with "chmod 700 /"."""
    answer = runner("runs", RUNNER_STATE_DIR=folder)
    assert answer.code == 4
    assert "chmod" not in answer.stderr
    assert "RUNNER_STATE_DIR" in answer.stderr


def test_c14_a_hint_can_be_pasted_whatever_the_directory_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "a b; c"
    folder.mkdir()
    (folder / "users.lock").touch()
    folder.chmod(0o755)
    command = runner("runs", RUNNER_STATE_DIR=str(folder)).stderr.split("hint: ")[1]
    subprocess.run(["/bin/sh", "-c", command], check=True)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("seconds", ["nan", "inf", "-inf", "1e999", "0", "-1"])
def test_run_timeout_is_a_number_of_seconds(seconds: str) -> None:
    """`--timeout nan` is no time: nothing is ever later than it."""
    answer = runner("run", DEFAULT, "--topic", "x", "--timeout", seconds)
    assert answer.code == 2
    assert "--timeout" in answer.stderr


def test_c14_a_state_directory_that_cannot_be_made_is_named() -> None:
    answer = runner("runs", RUNNER_STATE_DIR="/proc/nowhere")
    assert answer.code == 4
    assert "/proc/nowhere" in answer.first_line


def test_run_json_is_one_object_also_when_the_file_is_faulty(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\ncolectors: []\n")
    answer = runner("run", str(bad), "--json")
    assert answer.code == 3
    assert answer.json["exit_code"] == 3
    assert answer.json["error"]["faults"][0]["line"] == 2


def test_run_json_is_one_object_also_when_the_command_line_is_wrong() -> None:
    answer = runner("run", DEFAULT, "--json", "--bogus")
    assert answer.json["exit_code"] == 2


def test_run_json_is_one_object_also_after_ctrl_c() -> None:
    """`doctor --json` left standard output empty: only commands that wait for a run printed the object."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "doctor", "-", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    # Unlike for a broker, it waits for the file for ever: on a busy machine it gave a silent broker up before the signal.
    wait_until(lambda: _reads_standard_input(process.pid), "it reads the file")
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    error = {"type": "Interrupted", "message": signal.strsignal(signal.SIGINT)}
    assert json.loads(stdout) == {"error": error, "exit_code": 130}


def test_c15_ctrl_c_cancels_and_leaves_nothing_running(tmp_path: Path, own_directory: Path) -> None:
    with _running(tmp_path) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    wait_until(lambda: not processes.carrying(own_directory.name), "nothing is left")
    assert runner("show", "mine", "--json").json["status"] == "cancelled"


def test_c15_a_second_ctrl_c_ends_without_an_answer_of_the_broker_and_names_resume(
    tmp_path: Path, state_dir: Path
) -> None:
    with _running(tmp_path) as process:
        valkey = int((state_dir / "valkey.pid").read_text())
        os.kill(valkey, signal.SIGSTOP)  # so that the first one has something to wait for
        try:
            process.send_signal(signal.SIGINT)
            line = process.stderr.readline() if process.stderr else ""
            while "cancelling" not in line and process.stderr:
                line = process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130  # while the server is frozen: nothing waits for it
            assert "runner resume mine" in (process.stderr.read() if process.stderr else "")
        finally:
            os.kill(valkey, signal.SIGCONT)


def test_c15_sigterm_cancels_a_run(tmp_path: Path) -> None:
    with _running(tmp_path) as process:
        process.terminate()
        assert process.wait(60) == 143
    assert runner("show", "mine", "--json").json["status"] == "cancelled"


@pytest.mark.parametrize("point", ["submit.before_send", "submit.after_send"])
def test_c15_sigterm_cancels_a_run_that_is_being_submitted(point: str, state_dir: Path) -> None:
    """Its worker executes steps by then: on a busy machine the signal left a run behind that nobody executed or cancelled."""
    words = ("run", SLOW, "--journal", str(state_dir / "j"), "--run-id", "mine", "--json")
    answer = runner(*words, RUNNER_CRASHPOINT=point, RUNNER_CRASHPOINT_SIGNAL="SIGTERM")
    assert (answer.code, answer.json["status"]) == (143, "cancelled")
    assert runner("show", "mine", "--json").json["status"] == "cancelled"


def test_c15_sigterm_before_the_run_is_accepted_leaves_none(state_dir: Path) -> None:
    words = ("run", SLOW, "--journal", str(state_dir / "j"), "--run-id", "mine")
    answer = runner(*words, RUNNER_CRASHPOINT="submit.before_accept", RUNNER_CRASHPOINT_SIGNAL="SIGTERM")
    assert answer.code == 143
    assert runner("show", "mine").code == 7


def test_c15_sigint_to_the_whole_foreground_group_is_answered_once(tmp_path: Path, state_dir: Path) -> None:
    with _running(tmp_path) as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    assert "shutdown" not in (state_dir / "logs" / "mine.log").read_text()


def test_c15_the_end_of_the_terminal_leaves_no_process(tmp_path: Path, own_directory: Path) -> None:
    with _running(tmp_path) as process:
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 129
    wait_until(lambda: not processes.carrying(own_directory.name), "nothing is left")


def test_c15_killing_run_leaves_no_process(tmp_path: Path, own_directory: Path) -> None:
    with _running(tmp_path) as process:
        process.kill()
        process.wait()
    wait_until(lambda: not processes.carrying(own_directory.name), "nothing is left")


@pytest.mark.parametrize("words", [("validate", "-"), ("run", "-")])
def test_c15_ctrl_c_while_a_workflow_file_is_read_ends_the_command(words: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", *words], stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    wait_until(lambda: _reads_standard_input(process.pid), "it reads the file")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert b"Traceback" not in (process.communicate()[1] or b"")


def test_c15_ctrl_c_while_run_starts_leaves_nothing(tmp_path: Path, state_dir: Path, own_directory: Path) -> None:
    process = start("run", SLOW, "--journal", str(tmp_path / "j"))
    wait_until((state_dir / "users.lock").exists, "the broker is being started")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "Traceback" not in process.communicate()[1]
    wait_until(lambda: not processes.carrying(own_directory.name), "nothing is left")


@contextmanager
def _running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A run called "mine", in the middle of its collectors, which would take a minute."""
    journal = folder / "journal"
    process = start("run", SLOW, "--journal", str(journal), "--run-id", "mine")
    try:
        wait_until(lambda: journal.exists() and journal.read_text().count("START") == 2, "both collectors have started")
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _http_server() -> Iterator[int]:
    """Sends the reply of a web server, whatever it receives."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(60)


def _reads_standard_input(pid: int) -> bool:
    """It sleeps in a read of file descriptor 0 (Linux: the first words of /proc/PID/syscall)."""
    try:
        return Path(f"/proc/{pid}/syscall").read_text().split()[:2] == ["0", "0x0"]
    except OSError:
        return False


def test_the_list_of_commands_cuts_no_description() -> None:
    """A third of them ended in "...", and what the command does came after it."""
    assert "..." not in runner("--help").stdout.partition("Commands:")[2]
