"""The surroundings of a run: its standard streams, the files beside its YAML, and a server that others end."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from runner.brokers import embedded, locate_broker, open_broker
from runner.errors import BrokerUnavailable, StateDirectoryUnusable
from runner.ledger.ledger import Ledger
from runner.messages.destination import Destination
from runner.runs import follow
from runner.runs.session import Session
from runner.runs.wait_options import WaitOptions
from runner.settings import read_settings
from tests import processes
from tests.command_line import ROOT, runner
from tests.faults import flow
from tests.faults.journal import Journal
from tests.servers import Server
from tests.waiting import wait_until
from tests.workers import working
from tests.workflow import write_workflow, yaml_step

READS = """
name: reads
include: [faulty]
collectors:
  - {id: alone, task: faulty.reads_input}
  - {id: several, foreach: [1, 2], task: faulty.reads_input}
  - {id: command, task: command.run, with: {argv: [cat]}}
gather: {id: gather, task: gather.concat}
"""
INSTALLED = str(Path(sys.executable).with_name("runner"))
OURS = [sys.executable, "-m", "runner"]


@pytest.fixture
def reads(tmp_path: Path) -> str:
    """A workflow whose programs read standard input to its end."""
    shutil.copy(flow.FOLDER / "faulty.py", tmp_path)
    return written(tmp_path / "reads.yaml", READS)


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.usefixtures("state_dir")
def test_a_program_that_reads_standard_input_ends_in_the_worker_of_run(reads: str) -> None:
    """rq#2187: descriptor 0 was the pipe by which the worker notices the end of `run`, and `cat`, ssh or ffmpeg read it."""
    assert runner("run", reads).stdout == '["", "", "", ""]\n'


@pytest.mark.usefixtures("state_dir")
def test_a_program_that_reads_standard_input_ends_in_a_worker_that_was_started_again(tmp_path: Path) -> None:
    """rq#2187: the first worker is a copy of `run`, every further one a new interpreter."""
    file = write_workflow(
        tmp_path / "again.yaml",
        include=["faulty"],
        collectors=[yaml_step("one", "command.run", {"argv": ["cat"]})],
        gather=yaml_step("down", "faulty.gather", {"journal": f"{tmp_path}/j", "seconds": 2, "dies": 1}),
        stages=[yaml_step("reads", "faulty.reads_input")],
    )

    answer = runner("run", str(file), "--json")

    assert (answer.code, answer.json["result"]) == (0, ""), answer.stderr
    assert len(Journal(tmp_path / "j").starts("gather")) == 2, "the worker was taken down once"


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
@pytest.mark.parametrize(
    "worker", [("runner", "worker"), ("celery", "-A", "runner.celery_app", "worker", "-l", "info")]
)
def test_a_program_that_reads_standard_input_ends_in_a_worker_whose_own_is_left_open(
    worker: tuple[str, ...], pool: str, reads: str, tmp_path: Path
) -> None:
    """rq#2187: a supervisor may give a worker a pipe that it never ends."""
    os.mkfifo(tmp_path / "pipe")
    inside = ["sh", "-c", 'exec "$@" <>"$0"', str(tmp_path / "pipe")]
    with working(tmp_path / "log", *worker, "--pool", pool, "--concurrency", "2", inside=inside):
        assert runner("run", reads).stdout == '["", "", "", ""]\n'


@pytest.mark.usefixtures("broker")
def test_a_program_that_reads_standard_input_ends_in_the_worker_of_up(reads: str, tmp_path: Path) -> None:
    """rq#2187: as in the worker of `run`."""
    with working(tmp_path / "log", "runner", "up", "--port", "0"):
        assert runner("run", reads).stdout == '["", "", "", ""]\n'


@pytest.mark.usefixtures("state_dir")
@pytest.mark.parametrize("streams", ["2>&-", ">&-", "<&- >&- 2>&-", "2> >(head -n 1)", "2>/dev/full"])
def test_a_run_whose_streams_are_closed_full_or_gone_continues_to_its_end(streams: str, tmp_path: Path) -> None:
    """`run` ended in the middle with exit code 70 or 141, and with it the run that it had accepted."""
    ended = shell(f"run {flow.SMALL} --journal {tmp_path}/j --seconds 0.5 --run-id small {streams}")

    assert ended.returncode == 0, ended.stderr
    assert flow.show("small")["status"] == "succeeded"


@pytest.mark.usefixtures("state_dir")
@pytest.mark.parametrize("output", [">/dev/full", "| true; exit ${PIPESTATUS[0]}", "--json >/dev/full 2>/dev/full"])
def test_a_run_whose_result_cannot_be_delivered_continues_to_its_end_and_says_so_by_its_exit_code(
    output: str, tmp_path: Path
) -> None:
    """Its exit code was 70 for a full disk; silence is not success."""
    ended = shell(f"run {flow.SMALL} --journal {tmp_path}/j --seconds 0.5 --run-id small {output}")

    assert (ended.returncode, ended.stderr.count("Traceback")) == (141, 0)
    assert flow.show("small")["status"] == "succeeded"


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("words", ["tasks", "runs", "doctor", "schema", f"graph {flow.FLOW}", f"validate {flow.FLOW}"])
@pytest.mark.parametrize(
    ("streams", "code"),
    [("2>&-", 0), (">&-", 0), ("2>/dev/full", 0), (">/dev/full", 141), ("| true; exit ${PIPESTATUS[0]}", 141)],
)
def test_every_command_ends_as_promised_whatever_its_streams_are(words: str, streams: str, code: int) -> None:
    """With standard error closed each of them ended with exit code 70."""
    ended = shell(f"{words} {streams}")

    assert ended.returncode == (0 if words.startswith("validate") else code), ended.stderr


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_a_worker_works_whatever_its_streams_are(streams: str, tmp_path: Path) -> None:
    worker = subprocess.Popen(
        ["bash", "-c", f"exec {' '.join(OURS)} worker --concurrency 1 {streams}"], cwd=ROOT, process_group=0
    )
    try:
        assert runner("run", flow.SMALL, "--journal", str(tmp_path / "j")).code == 0
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def shell(words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", f"{' '.join(OURS)} {words}"], capture_output=True, text=True, check=False, cwd=ROOT, timeout=30
    )


PLAIN = f"""
name: plain
collectors:
  - {{id: one, task: command.run, with: {{argv: ["{sys.executable}", -c, 'import os; print(os.environ.get("PYTHONPATH"))']}}}}
"""
INCLUDES = """
name: includes
include: [beside]
collectors: [{id: one, task: beside.names}]
gather: {id: gather, task: gather.concat}
"""
BESIDE = """
import helper, httpx, queue
from celery import shared_task
@shared_task
def names():
    return [helper.__name__, *(bool(each.__file__.startswith({folder!r})) for each in (helper, httpx, queue))]
"""
SHADOWS = ("httpx", "queue", "json", "sitecustomize", "celery", "redis", "runner")


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """A directory of modules that have the names of others, and say so when they are executed."""
    folder = tmp_path / "yard"
    folder.mkdir()
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r} + ' ')\n")
    return folder


@pytest.mark.usefixtures("state_dir")
def test_a_module_beside_a_yaml_takes_the_place_of_no_other(yard: Path, tmp_path: Path) -> None:
    """`httpx.py`, `queue.py` or `sitecustomize.py` beside a workflow that includes nothing was executed."""
    file = written(yard / "plain.yaml", PLAIN)

    answer = runner("run", file)

    assert (answer.code, (tmp_path / "executed").exists()) == (0, False)
    assert str(yard) not in answer.stdout


@pytest.mark.usefixtures("state_dir")
def test_a_module_in_the_current_directory_takes_the_place_of_no_other(yard: Path, tmp_path: Path) -> None:
    """The YAML's directory is where most people are; `runner` is the installed command, which does not look there."""
    written(yard / "plain.yaml", PLAIN)

    ended = subprocess.run([INSTALLED, "run", "plain.yaml"], cwd=yard, capture_output=True, text=True, check=False)

    assert (ended.returncode, (tmp_path / "executed").exists()) == (0, False), ended.stderr


@pytest.mark.usefixtures("state_dir")
def test_python_m_runner_imports_its_own_libraries_whatever_is_in_the_current_directory(
    yard: Path, tmp_path: Path
) -> None:
    """`-m` puts the current directory before the standard library."""
    (yard / "runner.py").unlink()  # Python itself would execute that one
    (yard / "sitecustomize.py").unlink()
    written(yard / "plain.yaml", PLAIN)

    answer = runner("run", "plain.yaml", cwd=yard)

    assert (answer.code, (tmp_path / "executed").exists()) == (0, False), answer.stderr


@pytest.mark.usefixtures("state_dir")
def test_an_included_module_has_its_neighbours_and_the_real_libraries(yard: Path, tmp_path: Path) -> None:
    """A module under `include` is found beside the YAML, and so is what it imports, but after everything else."""
    file = written(yard / "includes.yaml", INCLUDES)
    written(yard / "beside.py", BESIDE.format(folder=str(yard)))
    written(yard / "helper.py", "")

    answer = runner("run", file)

    assert answer.stdout == '["helper", true, false, false]\n', answer.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("words", [("worker",), ("up", "--port", "0")])
def test_a_shared_worker_is_not_led_astray_by_modules_in_its_directory(
    words: tuple[str, ...], yard: Path, tmp_path: Path
) -> None:
    """testplan#74: `up` beside a `runner.py` ended at once, as the processes that it starts took that one for us."""
    written(yard / "beside.py", BESIDE.format(folder=str(yard)))
    written(yard / "helper.py", "")
    file = written(yard / "includes.yaml", INCLUDES)

    with working(
        tmp_path / "log", *words, inside=["env", "--chdir", str(yard)], program=[INSTALLED], RUNNER_INCLUDE="beside"
    ):
        assert runner("run", file).stdout == '["helper", true, false, false]\n'
    assert not (tmp_path / "executed").exists()


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize(
    ("fault", "mend", "reason"),
    [
        (
            lambda client: client.config_set("requirepass", "new"),
            lambda client: client.config_set("requirepass", ""),
            "it asks for a password",
        ),
        (
            lambda client: client.config_set("maxclients", 1),
            lambda client: client.config_set("maxclients", 1000),
            "it has reached its limit of clients",
        ),
        (
            lambda client: client.replicaof("127.0.0.1", "1"),
            lambda client: client.replicaof("NO", "ONE"),
            "replica",
        ),
    ],
    ids=["rotated password", "too few clients", "lost primary"],
)
def test_a_run_that_waits_for_its_broker_says_why_every_few_seconds(  # noqa: PLR0917 - its parameters, and what it needs
    fault: Callable[[redis.Redis], object],
    mend: Callable[[redis.Redis], object],
    reason: str,
    tmp_path: Path,
    broker: Server,
    start_worker: Callable[..., "subprocess.Popen[bytes]"],
) -> None:
    """`run` said nothing until its timeout."""
    start_worker()
    run = flow.begin(tmp_path, "--seconds", "60", file=flow.SMALL, run_id="small")
    run.journal.await_start("only")
    with broker.client() as client:
        fault(client)
        client.client_kill_filter(_type="normal", skipme=True)
        assert run.command.stderr
        said = [next(line for line in run.command.stderr if "waits" in line) for _ in range(2)]
        mend(client)

    assert [line.startswith("run small waits for the broker") for line in said] == [True, True], said
    assert [reason in line for line in said] == [True, True], said
    assert runner("cancel", "small").code == 0
    assert run.end(within=90).code == 6


def test_a_run_whose_workers_are_gone_says_so_every_few_seconds(
    tmp_path: Path, ledger: Ledger, start_worker: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    """It said so before its first step only."""
    worker = start_worker()
    run = flow.begin(tmp_path, "--seconds", "60", file=flow.SMALL, run_id="small")
    run.journal.await_start("only")
    os.killpg(worker.pid, signal.SIGKILL)

    assert run.command.stderr
    said = [next(line for line in run.command.stderr if "waits" in line) for _ in range(2)]

    assert said == ["run small waits for a worker, and there is none: start `python -m runner worker`\n"] * 2
    assert runner("cancel", "small").code == 0
    assert run.end(within=90).code == 6
    assert ledger.open("small").info().status == "cancelled"


def test_a_run_whose_broker_was_waited_for_in_vain_says_how_to_go_on(
    broker: Server, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its minute it said "the broker: Error 111", and nothing of `resume`."""
    settings = read_settings()
    monkeypatch.setattr(follow, "FOLLOW_PATIENCE", 0.0)
    broker.stop()

    with pytest.raises(
        BrokerUnavailable, match=r"run small is left as it is: broker .*: connection refused"
    ) as refused:
        follow.follow(
            "small",
            Session(ledger=ledger, destination=Destination(queue="celery"), worker=None, settings=settings),
            WaitOptions(),
            lambda: None,
        )

    assert refused.value.hint == "`python -m runner resume small` continues it, once the broker is back"


def kill_twice(state_dir: Path) -> None:
    first = server(state_dir)
    processes.kill(first)
    wait_until(
        lambda: server(state_dir) not in {0, first} and embedded._ask(state_dir / "valkey.sock", state_dir),
        "another answers",
    )
    processes.kill(server(state_dir))


@pytest.mark.usefixtures("soon_over")
@pytest.mark.parametrize(
    "fault",
    [
        lambda state_dir: os.kill(server(state_dir), signal.SIGTERM),
        kill_twice,
        lambda state_dir: os.kill(keeper(state_dir), signal.SIGTERM),
        lambda state_dir: processes.kill(keeper(state_dir)),
    ],
    ids=["SIGTERM", "killed twice", "SIGTERM to its keeper", "keeper killed"],
)
def test_a_private_valkey_that_is_stopped_is_started_again_and_the_run_continues(
    fault: Callable[[Path], None], tmp_path: Path, state_dir: Path
) -> None:
    """`run` waited for 60 seconds, and never said `resume`."""
    run = flow.begin(tmp_path)
    run.journal.await_start("three")

    fault(state_dir)

    answer = run.end(within=60)
    assert answer.code == 0, answer.stderr
    assert answer.json["status"] == "succeeded"


def server(state_dir: Path) -> int:
    """The process of the private Valkey, or 0 for a moment."""
    file = state_dir / "valkey.pid"
    return int(file.read_text(encoding="ascii") or 0) if file.exists() else 0


def keeper(state_dir: Path) -> int:
    status = Path(f"/proc/{server(state_dir)}/stat").read_text(encoding="ascii")
    return int(status.rpartition(")")[2].split()[1])


def test_up_starts_its_private_valkey_again(tmp_path: Path, state_dir: Path) -> None:
    """Its worker and its Flower waited for ever."""
    with working(tmp_path / "log", "runner", "up", "--port", "0"):
        processes.kill(keeper(state_dir))

        answer = runner("run", flow.SMALL, "--journal", str(tmp_path / "j"))

    assert answer.code == 0, answer.stderr


@pytest.mark.parametrize("target", ["ours", "missing"])
def test_a_socket_directory_that_is_a_link_is_refused(target: str, own_directory: Path) -> None:
    """Anyone may have made it under /tmp before us: it led to a directory of ours, such as ~/.ssh, and was followed."""
    (own_directory / "ours").mkdir(mode=0o700)
    settings = read_settings(state_dir=own_directory / ("long" * 25))
    folder = Path(locate_broker(settings).removeprefix("redis+socket://").partition("?")[0]).parent
    folder.symlink_to(own_directory / target)

    try:
        with pytest.raises(StateDirectoryUnusable, match=str(folder)), open_broker(settings):
            pass
    finally:
        folder.unlink()
    assert not list((own_directory / "ours").iterdir())
