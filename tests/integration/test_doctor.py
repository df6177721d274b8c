"""`doctor`: what it reports about a broker and its workers."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.brokers import broker_warnings
from runner.ledger.ledger import Ledger
from runner.messages.dead_letters import DeadLetter, add_dead_letter
from runner.runs.health import broker_problems
from runner.settings import read_settings
from tests.command_line import runner
from tests.servers import Server, free_port
from tests.workers import working

pytestmark = pytest.mark.usefixtures("state_dir")


def test_doctor_finds_nothing_wrong_with_nothing_set_up(state_dir: Path) -> None:
    answer = runner("doctor")

    assert answer.code == 0, answer.stderr
    assert f"private Valkey in {state_dir}" in answer.stdout
    assert "append-only file on" in answer.stdout
    assert "warning" not in answer.stdout


def test_a_broker_without_an_append_only_file_is_a_warning(start_valkey: Callable[..., Server]) -> None:
    answer = runner("doctor", "--broker", start_valkey().url)

    assert answer.code == 0
    assert "set appendonly yes" in answer.stdout


def test_a_broker_without_workers_is_a_warning(valkey: Server) -> None:
    answer = runner("doctor", "--broker", valkey.url)

    assert answer.code == 0
    assert "start `python -m runner worker`" in answer.stdout


def test_doctor_names_the_workers(valkey: Server, tmp_path: Path) -> None:
    with working(tmp_path / "log", "runner", "worker", "--name", "one@here", RUNNER_BROKER_URL=valkey.url):
        assert "workers:  one@here" in runner("doctor", "--broker", valkey.url).stdout


def test_doctor_fails_if_the_broker_cannot_be_used() -> None:
    answer = runner("doctor", "--broker", f"redis://:s3cret@127.0.0.1:{free_port()}")

    assert answer.code == 4
    assert "connection refused" in answer.stderr
    assert "s3cret" not in answer.stderr + answer.stdout


def test_a_worker_that_lacks_a_task_of_the_workflow_is_a_warning(valkey: Server, tmp_path: Path) -> None:
    with working(tmp_path / "log", "runner", "worker", "--name", "one@here", RUNNER_BROKER_URL=valkey.url):
        answer = runner("doctor", workflow(tmp_path), "--broker", valkey.url, RUNNER_TASKS="shop.*")

    assert answer.code == 0
    assert "worker one@here lacks shop.prices" in answer.stdout
    assert "no worker has shop.prices" in answer.stdout
    assert "collector_1" not in answer.stdout


def test_a_task_that_no_worker_has_is_perhaps_misspelt(valkey: Server, tmp_path: Path) -> None:
    """RUNNER_TASKS='myapp.*' lets `myapp.snu` pass in validate: only the workers know that it is `myapp.snow`."""
    file = tmp_path / "misspelt.yaml"
    file.write_text("name: misspelt\ncollectors: [{id: a, task: files.raed, with: {paths: x}}]\n")
    with working(tmp_path / "log", "runner", "worker", "--name", "one@here", RUNNER_BROKER_URL=valkey.url):
        answer = runner("doctor", str(file), "--broker", valkey.url, RUNNER_TASKS="files.*")
    assert "did you mean files.read? Else start a worker that has it" in answer.stdout


def test_the_hint_for_an_adopter_without_a_worker_names_their_own(valkey: Server) -> None:
    """`runner worker` was named, which has none of the application's tasks."""
    answer = runner("doctor", "--broker", valkey.url, RUNNER_TASKS="myapp.*")
    assert "to do: start your application's worker, with runner.adopt among its modules" in answer.stdout
    assert "runner worker" not in answer.stdout


def test_a_queue_that_nobody_serves_is_a_warning(valkey: Server, tmp_path: Path) -> None:
    answer = runner("doctor", workflow(tmp_path), "--broker", valkey.url, RUNNER_TASKS="shop.*")

    assert 'no worker of queue "heavy" replies' in answer.stdout


def test_a_worker_without_processes_is_a_warning_where_a_step_has_a_timeout(valkey: Server, tmp_path: Path) -> None:
    broker = {"RUNNER_BROKER_URL": valkey.url}
    with (
        working(tmp_path / "log", "runner", "worker", "--name", "threads@here", "--pool", "threads", **broker),
        working(tmp_path / "log2", "runner", "worker", "--name", "prefork@here", **broker),
    ):
        answer = runner("doctor", workflow(tmp_path), "--broker", valkey.url, RUNNER_TASKS="shop.*")

    assert "worker threads@here has no child processes that a timeout could kill (prices)" in answer.stdout
    assert "worker prefork@here has no processes" not in answer.stdout


def test_a_step_longer_than_the_visibility_is_a_warning(valkey: Server, tmp_path: Path) -> None:
    answer = runner("doctor", workflow(tmp_path), "--broker", valkey.url, RUNNER_TASKS="shop.*")

    assert "prices may take 2h" in answer.stdout
    assert "RUNNER_VISIBILITY=7260" in answer.stdout


def test_a_worker_of_another_app_on_our_queue_is_a_warning(valkey: Server, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(f"from celery import Celery\napp = Celery('shop', broker={valkey.url!r})\n")
    command = ("celery", "-A", "shop", "worker", "-n", "shop@here", "-c", "1", "-l", "info")
    with working(tmp_path / "log", *command, PYTHONPATH=str(tmp_path)) as shop:
        answer = runner("doctor", "--broker", valkey.url)
        shop.terminate()
        shop.wait(60)

    assert "worker shop@here" in answer.stdout
    assert "include runner.adopt" in answer.stdout


def test_a_worker_that_replies_in_pickle_is_a_warning_and_the_others_are_checked(
    valkey: Server, tmp_path: Path
) -> None:
    """`doctor` failed by itself, as kombu refuses to read a pickle."""
    (tmp_path / "shop.py").write_text(
        f"from celery import Celery\napp = Celery('shop', broker={valkey.url!r})\n"
        "app.conf.update(task_serializer='pickle', accept_content=['json', 'pickle'], result_serializer='pickle')\n"
    )
    command = ("celery", "-A", "shop", "worker", "-n", "shop@here", "-c", "1", "-l", "info")
    with (
        working(tmp_path / "log", *command, PYTHONPATH=str(tmp_path), C_FORCE_ROOT="1") as shop,
        working(tmp_path / "log2", "runner", "worker", "--name", "one@here", RUNNER_BROKER_URL=valkey.url),
    ):
        answer = runner("doctor", "--broker", valkey.url)
        shop.terminate()
        shop.wait(60)

    assert answer.code == 0, answer.stderr
    assert "1 worker of another app replied with a serializer that is refused" in answer.stdout
    assert "workers:  one@here\n" in answer.stdout
    assert "replies" not in answer.stdout


def test_doctor_reports_an_invalid_workflow_before_it_asks_the_broker(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: x\ncolectors: []\n")

    answer = runner("doctor", str(tmp_path / "bad.yaml"), "--broker", f"redis://127.0.0.1:{free_port()}")

    assert answer.code == 3


def test_doctor_counts_dead_letters_and_shows_the_latest_three(valkey: Server) -> None:
    with valkey.client() as client:
        for reason in ("first", "second", "third", "last\n"):
            letter = DeadLetter(at=1.0, queue="celery", reason=reason, message=b"\xff\x1b[31m" + b"x" * 1000)
            add_dead_letter(client, read_settings(), letter)

    answer = runner("doctor", "--broker", valkey.url, TZ="UTC")

    assert answer.code == 0
    assert "4 dead letters" in answer.stdout
    assert r"letter:   1970-01-01 00:00:01 in queue celery: last\n" in answer.stdout
    assert "second" in answer.stdout
    assert "first" not in answer.stdout
    assert r"          \xff\x1b[31mxxx" in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) < 200


def test_doctor_names_a_run_that_waits_and_its_reason(valkey: Server, tmp_path: Path) -> None:
    words = ("--detach", "--run-id", "waiting", "--broker", valkey.url)
    runner("run", workflow(tmp_path), *words, RUNNER_TASKS="shop.*")
    with valkey.client() as client:
        Ledger.of(client, read_settings()).open("waiting").park(
            "prices", "waits for a worker that has shop.prices", seconds=1, limit=1
        )

    assert "run waiting waits for a worker that has shop.prices" in runner("doctor", "--broker", valkey.url).stdout


def test_doctor_json_is_one_object_with_every_dead_letter(valkey: Server) -> None:
    with valkey.client() as client:
        for _ in range(20):
            add_dead_letter(client, read_settings(), DeadLetter(at=1.0, queue="celery", reason="why", message=b"\xff"))

    found = runner("doctor", "--json", "--broker", valkey.url).json

    assert found["workers"] == []
    assert list(found["warnings"][0]) == ["problem", "remedy"]
    letter = {"at": 1.0, "queue": "celery", "reason": "why", "message": "/w=="}
    assert found["dead_letters"] == {"count": 20, "latest": [letter] * 20}


def test_a_clock_that_is_off_is_a_warning(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)

    (warning,) = broker_problems(valkey.url)

    assert "its clock is 1m behind this machine's" in warning.problem


def test_a_replica_that_takes_writes_is_a_warning(valkey: Server) -> None:
    with valkey.client() as client:
        client.config_set("replica-read-only", "no")
        client.replicaof("127.0.0.1", str(free_port()))

    assert "a replica: what is written to it is lost" in [warning.problem for warning in broker_warnings(valkey.url)]


def workflow(folder: Path) -> str:
    path = folder / "shop.yaml"
    path.write_text(
        "name: shop\ncollectors:\n"
        "  - {id: prices, task: shop.prices, timeout: 2h}\n"
        "  - {id: other, task: collector_1, with: {topic: tea}}\n"
        "  - {id: heavy, task: collector_2, with: {topic: tea}, queue: heavy}\n"
    )
    return str(path)


def test_a_misspelt_variable_is_a_warning(valkey: Server) -> None:
    answer = runner("doctor", "--broker", valkey.url, RUNNER_LEASES="9")
    assert "RUNNER_LEASES is no setting, and has no effect" in answer.stdout
    assert "did you mean RUNNER_LEASE?" in answer.stdout
