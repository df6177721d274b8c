"""A copy of a process that does something else: tried from processes with one thread, as it is meant for."""

import signal
import subprocess
import sys
from pathlib import Path

from runner.system.fork import kill_group

BEGIN = """
import os, signal, sys
from pathlib import Path
from runner.system.fork import Fork
from runner.system.interrupts import raise_interrupts
log = Path(sys.argv[1])
"""


def ran(program: str, log: Path) -> str:
    """What a program prints that is given a log file."""
    answer = subprocess.run(
        [sys.executable, "-c", BEGIN + program, log], capture_output=True, text=True, check=True, timeout=20
    )
    return answer.stdout


def test_the_output_of_a_fork_goes_to_the_log_and_not_to_ours(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    told = ran("print('ours'); Fork(lambda _: print('its'), log).wait()", tmp_path / "log")
    assert (told, (tmp_path / "log").read_text()) == ("ours\n", "before\nits\n")


def test_a_process_that_has_no_group_of_its_own_yet_is_killed() -> None:
    """SIGTERM before a copy had made its session: `run` ended with 70, "no such process", and left the worker to its tether."""
    with subprocess.Popen(["sleep", "600"]) as process:
        kill_group(process.pid)
        assert process.wait(timeout=20) == -signal.SIGKILL


def test_killing_a_process_that_is_gone_does_nothing() -> None:
    with subprocess.Popen(["true"], start_new_session=True) as process:
        process.wait(timeout=20)
    kill_group(process.pid)


def test_a_fork_ends_with_the_code_it_exits_with(tmp_path: Path) -> None:
    assert ran("print(Fork(lambda _: sys.exit(3), log).wait())", tmp_path / "log") == "3\n"


def test_what_a_fork_raises_is_in_the_log(tmp_path: Path) -> None:
    assert ran("print(Fork(lambda _: 1 / 0, log).wait())", tmp_path / "log") == "1\n"
    assert (tmp_path / "log").read_text().endswith("ZeroDivisionError: division by zero\n")


def test_a_fork_ends_without_our_exit_handlers(tmp_path: Path) -> None:
    program = "import atexit; atexit.register(print, 'the end', flush=True); Fork(lambda _: None, log).wait()"
    assert ran(program, tmp_path / "log") == "the end\n"
    assert (tmp_path / "log").read_text() == ""


def test_the_tether_of_a_fork_ends_with_us(tmp_path: Path) -> None:
    program = """
fork = Fork(lambda tether: print("read", os.read(tether, 1)), log)
print("alive", fork.poll())
os.close(fork._held)
fork.wait()
"""
    assert ran(program, tmp_path / "log") == "alive None\n"
    assert (tmp_path / "log").read_text() == "read b''\n"


def test_a_fork_is_in_a_session_of_its_own_and_has_none_of_our_handlers(tmp_path: Path) -> None:
    program = """
def work(_):
    print(os.getsid(0) == os.getpid(), int(signal.getsignal(signal.SIGINT)), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
with raise_interrupts():
    Fork(work, log).wait()
    print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""
    assert ran(program, tmp_path / "log") == "set()\n"
    assert (tmp_path / "log").read_text() == "True 0 set()\n"
