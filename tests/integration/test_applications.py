"""Celery applications that people have: with ours in one process, beside it on one broker, and executing its steps."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from runner.ledger.ledger import Ledger
from runner.settings import read_settings
from tests import processes, tls
from tests.command_line import DEFAULT, ROOT, Answer, runner
from tests.servers import Server, free_port
from tests.waiting import SLACK, wait_until
from tests.workers import working
from tests.workflow import write_workflow, yaml_step

NOBODY = f"redis://127.0.0.1:{free_port()}"  # where an application of the user's has its broker, when it runs
FAST = {"RUNNER_LEASE": "1", "RUNNER_RECONCILE_EVERY": "0.5", "RUNNER_GRACE": "1"}


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def python(code: str, folder: Path, **env: str) -> Answer:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{folder}"} | env,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def shared(valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A broker that this test's workers and runs use, and the test's folder in their Python path."""
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    return valkey


class TestTheEnvironmentOfAnotherApplication:
    """Celery puts these variables before an application's own configuration (celery#4284)."""

    CELERYS: ClassVar[dict[str, Any]] = {
        "CELERY_BROKER_URL": f"{NOBODY}/1",
        "CELERY_BROKER_READ_URL": f"{NOBODY}/2",
        "CELERY_BROKER_WRITE_URL": f"{NOBODY}/3",
        "CELERY_RESULT_BACKEND": f"{NOBODY}/4",
        "CELERY_LOADER": "default",
        "CELERY_CONFIG_MODULE": "no_such_module",
    }

    @pytest.mark.usefixtures("state_dir")
    def test_a_run_with_a_private_valkey_does_not_obey_variables_of_celery(self) -> None:
        answer = runner("run", DEFAULT, "--topic", "x", **self.CELERYS)

        assert answer.code == 0, answer.stderr

    @pytest.mark.usefixtures("state_dir")
    def test_a_run_from_a_django_project_works(self, tmp_path: Path) -> None:
        """Celery's fixup for Django is made wherever the variable is set: it reads the name of the loader, and sets Django up."""
        (tmp_path / "shop").mkdir()
        write(tmp_path / "shop", "settings.py", "SECRET_KEY = 'a secret'\nINSTALLED_APPS = []\n")

        answer = runner("run", DEFAULT, "--topic", "x", DJANGO_SETTINGS_MODULE="shop.settings", cwd=tmp_path)

        assert answer.code == 0, answer.stderr


class TestAModuleWithAnApplicationOfItsOwn:
    """The first example of Celery's own tutorial, as the module of a workflow (OpenTranscribe#485, celery#2568)."""

    MODULE = f"""
from celery import Celery, shared_task

app = Celery("proj", broker="{NOBODY}/0", backend="{NOBODY}/1")

@app.task
def add(x, y):
    return x + y

@app.task(bind=True)
def whose(self):
    return [self.app.main, type(self.backend).__name__]

@app.task(autoretry_for=(ValueError,), retry_backoff=True)
def retried():
    raise ValueError("never")

@shared_task
def double(values):
    return [2 * value for value in values]
"""
    WORKFLOW = """
name: own
include: [proj]
collectors:
  - {id: one, task: proj.add, with: {x: 1, y: 2}}
  - {id: many, task: proj.add, foreach: [1, 2, 3], with: {x: "${{ item }}", y: 1}}
gather: {task: gather.concat}
stages:
  - {id: double, task: proj.double}
"""

    @pytest.fixture
    def workflow(self, tmp_path: Path) -> str:
        write(tmp_path, "proj.py", self.MODULE)
        return write(tmp_path, "own.yaml", self.WORKFLOW.replace("gather: {task: gather.concat}\n", ""))

    @pytest.mark.usefixtures("state_dir")
    def test_tasks_of_an_included_application_are_executed_in_a_private_run(self, workflow: str) -> None:
        answer = runner("run", workflow)

        assert answer.code == 0, answer.stderr
        assert json.loads(answer.stdout) == [6, 4, 6, 8]

    @pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
    @pytest.mark.parametrize(
        "command",
        [
            ("runner", "worker", "--include", "proj"),
            ("celery", "-A", "runner.celery_app", "worker", "-linfo", "-I", "proj"),
        ],
    )
    @pytest.mark.usefixtures("shared")
    def test_tasks_of_an_included_application_are_executed_by_a_shared_worker(
        self, pool: str, command: tuple[str, ...], workflow: str, tmp_path: Path
    ) -> None:
        with working(tmp_path / "log", *command, "--pool", pool):
            answer = runner("run", workflow)

        assert answer.code == 0, answer.stderr
        assert json.loads(answer.stdout) == [6, 4, 6, 8]

    @pytest.mark.usefixtures("state_dir", "workflow")
    def test_a_task_of_an_included_application_is_bound_to_the_runs_application(self, tmp_path: Path) -> None:
        """`self.retry`, `self.update_state` and the like would otherwise wait for its broker."""
        file = write(tmp_path, "whose.yaml", "name: whose\ninclude: [proj]\ncollectors: [{id: a, task: proj.whose}]\n")

        assert json.loads(runner("run", file).stdout) == [["runner", "Backend"]]

    @pytest.mark.usefixtures("state_dir", "workflow")
    def test_a_retry_that_a_task_of_an_included_application_asks_for_is_the_workflows(self, tmp_path: Path) -> None:
        file = write(
            tmp_path,
            "retried.yaml",
            "name: r\ninclude: [proj]\ncollectors: [{id: a, task: proj.retried, retry: {max_retries: 1, delay: 10ms}}]\n",
        )

        answer = runner("run", file, "--json")

        assert (answer.code, answer.json["steps"][0]["attempts"]) == (1, 2)
        assert answer.json["steps"][0]["error"]["type"] == "ValueError"

    @pytest.mark.usefixtures("state_dir")
    def test_an_included_application_that_cannot_be_set_up_is_named(self, tmp_path: Path) -> None:
        write(tmp_path, "broken.py", "from celery import Celery\napp = Celery()\napp.config_from_object('no_such')\n")
        write(
            tmp_path,
            "broken.yaml",
            "name: b\ninclude: [broken]\ncollectors: [{id: a, task: collector_1, with: {topic: x}}]\n",
        )

        answer = runner("run", str(tmp_path / "broken.yaml"))

        assert answer.code == 1
        assert "an included module has a Celery application that cannot be set up" in answer.stderr


class TestTwoTasksOfOneName:
    """A task of the user's with the name of a built-in one was executed by a shared worker, and not in a private run."""

    @pytest.fixture
    def workflow(self, tmp_path: Path) -> str:
        write(
            tmp_path,
            "mine.py",
            "from celery import shared_task\n\n@shared_task(name='gather.concat')\ndef concat(values):\n    return 'mine'\n",
        )
        return write(
            tmp_path,
            "two.yaml",
            "name: two\ninclude: [mine]\ncollectors: [{id: a, task: collector_1, with: {topic: x}}]\ngather: {task: gather.concat}\n",
        )

    @pytest.mark.usefixtures("state_dir")
    def test_of_two_tasks_of_one_name_the_users_is_executed_in_a_private_run(self, workflow: str) -> None:
        assert json.loads(runner("run", workflow).stdout) == "mine"

    @pytest.mark.parametrize(
        "include", [{"RUNNER_INCLUDE": "mine"}, {"RUNNER_INCLUDE": "runner.collectors.gather,mine"}]
    )
    @pytest.mark.usefixtures("shared")
    def test_of_two_tasks_of_one_name_the_users_is_executed_by_a_shared_worker(
        self, include: dict[str, str], workflow: str, tmp_path: Path
    ) -> None:
        with working(tmp_path / "log", "runner", "worker", **include):
            assert json.loads(runner("run", workflow).stdout) == "mine"

    def test_of_two_tasks_of_one_name_the_users_is_executed_by_an_application(
        self, workflow: str, shared: Server, tmp_path: Path
    ) -> None:
        write(
            tmp_path,
            "shop.py",
            f"from celery import Celery\napp = Celery('shop', broker={shared.url!r}, include=['mine'])\n",
        )
        with serving(tmp_path / "log", *SHOP, "-I", "runner.adopt"):
            assert json.loads(runner("run", workflow).stdout) == "mine"

    @pytest.mark.parametrize("command", ["validate", "tasks"])
    def test_of_two_tasks_of_one_name_every_command_says_which_counts(self, command: str, workflow: str) -> None:
        answer = runner(command, workflow)

        assert answer.code == 0
        assert "gather.concat is a task of runner.collectors.gather and of mine: that of mine counts" in answer.stderr

    @pytest.mark.usefixtures("state_dir")
    def test_of_two_tasks_of_one_name_doctor_says_which_counts(self, workflow: str) -> None:
        assert "that of mine counts" in runner("doctor", workflow).stdout


class TestAProcessThatImportsUs:
    """Django and Flask import what their tasks import; their own `@shared_task`s were then sent to our broker."""

    def test_a_process_that_imports_runner_keeps_its_application(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            "shop.py",
            "import threading\nfrom celery import Celery, current_app\n"
            "app = Celery('shop', broker='memory://')\napp.set_default()\n"
            "from runner import adopt, celery_app, tasks\n"
            "names = [current_app.main]\n"
            "thread = threading.Thread(target=lambda: names.append(current_app.main)); thread.start(); thread.join()\n"
            "print(names, tasks.collector_1.app.main)\n",
        )

        assert python("import shop", tmp_path).stdout == "['shop', 'shop'] shop\n"

    def test_a_process_keeps_its_application_also_where_runner_is_imported_first(self, tmp_path: Path) -> None:
        code = "from runner import celery_app; from celery import Celery, current_app; app = Celery('shop'); print(current_app.main)"

        assert python(code, tmp_path).stdout == "shop\n"

    def test_a_worker_of_an_application_that_imports_runner_starts_no_private_valkey(
        self, valkey: Server, state_dir: Path, tmp_path: Path
    ) -> None:
        write(
            tmp_path,
            "shop.py",
            f"from runner import celery_app\nfrom celery import Celery\napp = Celery('shop', broker={valkey.url!r})\n",
        )
        with serving(tmp_path / "log", *SHOP, PYTHONPATH=str(tmp_path)):
            assert list(state_dir.iterdir()) == []

    def test_an_application_gets_the_result_of_a_task_of_ours(self, valkey: Server, tmp_path: Path) -> None:
        """It waited for ever, although the state was SUCCESS."""
        code = (
            "from runner.celery_app import app\n"
            "result = app.send_task('collector_request', ['tea'])\nprint(result.get(timeout=20))\nprint(result.get(timeout=20))\n"
        )
        with working(tmp_path / "log", "runner", "worker", RUNNER_BROKER_URL=valkey.url):
            answer = python(code, tmp_path, RUNNER_BROKER_URL=valkey.url)

        assert answer.code == 0, answer.stderr
        first, second = answer.stdout.splitlines()
        assert first == second
        assert first.startswith("request-")

    @pytest.mark.parametrize("task", ["collector_1", "gather.concat"])
    def test_an_application_gets_the_result_of_any_task_that_it_calls(
        self, task: str, valkey: Server, tmp_path: Path
    ) -> None:
        """Results were ignored: `.get()` gave None, or waited for ever, by whether the caller has imported the task."""
        arguments = {"collector_1": ["tea"], "gather.concat": [[[1], [2]]]}
        code = (
            f"from runner.celery_app import app\nprint(app.send_task({task!r}, {arguments[task]!r}).get(timeout=20))\n"
        )
        with working(tmp_path / "log", "runner", "worker", RUNNER_BROKER_URL=valkey.url):
            answer = python(code, tmp_path, RUNNER_BROKER_URL=valkey.url)

        assert answer.code == 0, answer.stderr
        assert answer.stdout.startswith("[")


SHOP = ("celery", "-A", "shop", "worker", "-linfo", "-c2", "-n", "shop@here")
TASKS = """
@app.task(name="shop.prices")
def prices(topic):
    return [topic, 1]

@app.task(name="shop.slow")
def slow(journal, seconds):
    import os, time
    with open(journal, "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(seconds)
    return 1
"""


class TestAnApplicationThatExecutesSteps:
    """Public projects that were adopted: one line is added to what they include, and nothing else is changed."""

    @pytest.fixture(autouse=True)
    def env(self, valkey: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        variables = {
            "RUNNER_BROKER_URL": valkey.url,
            "RUNNER_TASKS": "shop.*",
            "PYTHONPATH": f"{ROOT}:{tmp_path}",
        } | FAST
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    @pytest.fixture
    def workflow(self, tmp_path: Path) -> str:
        return write(
            tmp_path,
            "shop.yaml",
            "name: shop\ncollectors:\n  - {id: prices, task: shop.prices, with: {topic: tea}}\n"
            "  - {id: one, task: collector_1, with: {topic: tea}}\n"
            "gather: {task: gather.concat}\nstages: [{id: count, task: records.count}]\n",
        )

    @pytest.mark.parametrize(
        ("include", "words"), [("include=['runner.adopt']", ()), ("", ("-I", "runner.adopt"))], ids=["include", "-I"]
    )
    def test_an_application_executes_its_own_tasks_and_the_built_in_ones(
        self, include: str, words: tuple[str, ...], valkey: Server, tmp_path: Path, workflow: str
    ) -> None:
        shop(tmp_path, valkey, include)
        with serving(tmp_path / "log", *SHOP, *words):
            answer = runner("run", workflow)

        assert answer.code == 0, answer.stderr
        assert json.loads(answer.stdout) == {"count": 7}

    def test_sends_itself_what_follows_a_step_if_the_ledger_may_be_elsewhere(
        self, valkey: Server, tmp_path: Path, workflow: str
    ) -> None:
        """The ledger sends it in a round trip of its own, and is here under another name: nobody knows that it is the same."""
        url = valkey.url.replace("127.0.0.1", "localhost")
        shop(tmp_path, valkey, "include=['runner.adopt']", f"broker_url={url!r}")
        with serving(tmp_path / "log", *SHOP):
            answer = runner("run", workflow)

        assert answer.code == 0, answer.stderr
        assert json.loads(answer.stdout) == {"count": 7}

    def test_an_application_sends_again_what_a_killed_worker_held(self, valkey: Server, tmp_path: Path) -> None:
        """With `runner.worker.execute` alone, as the documents had it, nobody did: there was no reconciler."""
        shop(tmp_path, valkey, "include=['runner.adopt']")
        journal = tmp_path / "journal"
        slow = yaml_step("a", "shop.slow", {"journal": str(journal), "seconds": 1})
        file = str(write_workflow(tmp_path / "slow.yaml", collectors=[slow]))
        with working(tmp_path / "log", *SHOP, TMPDIR=str(tmp_path)):
            run_id = runner("run", file, "--detach").stdout.strip()
            wait_until(lambda: journal.exists() and journal.read_text(), "the collector has started")
            # The worker is killed at the end of the block, with its pool.
        wait_until(lambda: not processes.is_running(int(journal.read_text())), "its process is gone")

        with serving(tmp_path / "log2", *SHOP):
            wait_until(lambda: status(valkey, run_id) == "succeeded", "the run has succeeded", 60)

    def test_doctor_says_that_no_worker_reconciles(self, valkey: Server, tmp_path: Path) -> None:
        shop(tmp_path, valkey, "include=['runner.worker.execute']")
        with serving(tmp_path / "log", *SHOP):
            answer = runner("doctor")

        assert "no worker reconciles (shop@here)" in answer.stdout
        assert "include runner.adopt" in answer.stdout

    def test_doctor_finds_nothing_wrong_with_an_application(self, valkey: Server, tmp_path: Path) -> None:
        shop(tmp_path, valkey, "include=['runner.adopt']")
        with serving(tmp_path / "log", *SHOP):
            wait_until(Ledger.of(valkey.client(), read_settings()).is_led, "the reconciler has begun")
            answer = runner("doctor", "--json")

        assert [warning["problem"] for warning in answer.json["warnings"] if "worker" in warning["problem"]] == []

    @pytest.mark.parametrize(
        "configuration",
        [
            "result_backend=None",
            "result_backend='rpc://'",
            "result_backend='cache+memory://'",
            "result_backend='redis://127.0.0.1:1/0'",
            "result_backend=URL, result_backend_transport_options={'global_keyprefix': 'shop_'}",
            "task_serializer='pickle', result_serializer='pickle', accept_content=['json', 'pickle']",
            "task_acks_late=False, task_reject_on_worker_lost=False, task_acks_on_failure_or_timeout=False",
            "task_ignore_result=False, result_extended=True, worker_deduplicate_successful_tasks=True, result_backend=URL",
        ],
    )
    def test_an_application_gathers_at_once_whatever_its_result_backend_is(
        self, configuration: str, valkey: Server, tmp_path: Path, workflow: str
    ) -> None:
        """The fan-in came by the reconciler alone, seconds later, and left keys that never expire."""
        shop(tmp_path, valkey, "include=['runner.adopt']", configuration)
        with serving(tmp_path / "log", *SHOP, RUNNER_GRACE="3600"):
            answer = runner("run", workflow, "--timeout", "20", RUNNER_RECONCILE_EVERY="3600")

        assert answer.code == 0, answer.stderr
        assert json.loads(answer.stdout) == {"count": 7}
        client = valkey.client()
        keys = {str(key) for key in client.scan_iter() if client.ttl(key) == -1}
        assert {key for key in keys if not key.startswith(("_kombu.", "unacked"))} == set()

    @pytest.mark.parametrize("scheme", ["redis", "rediss"])
    def test_a_run_obeys_the_tls_options_of_its_applications_broker(
        self, scheme: str, valkey: Server, tmp_path: Path, workflow: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every step raised: the ledger was asked for without TLS, or without the authority to trust."""
        with tls.terminated(tmp_path, valkey.port) as (port, authority):
            options = {"ssl_cert_reqs": "required", "ssl_ca_certs": str(authority)}
            url = f"{scheme}://127.0.0.1:{port}/0"
            shop(tmp_path, valkey, "include=['runner.adopt']", f"broker_url={url!r}, broker_use_ssl={options!r}")
            monkeypatch.delenv("RUNNER_BROKER_URL")
            with serving(tmp_path / "log", *SHOP):
                monkeypatch.setenv("RUNNER_BROKER_URL", f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority}")
                answer = runner("run", workflow)

        assert answer.code == 0, answer.stderr
        assert json.loads(answer.stdout) == {"count": 7}

    @pytest.mark.parametrize(
        ("configuration", "reason"),
        [
            ("broker_url='sentinel://127.0.0.1:1;sentinel://127.0.0.1:2'", "its broker is sentinel"),
            ("broker_url='amqp://127.0.0.1:1'", "its broker is amqp"),
            ("broker_url=[URL, 'redis://127.0.0.1:1/0']", "it has several brokers"),
            ("broker_url=URL + ';redis://127.0.0.1:1/0'", "it has several brokers"),
            ("broker_read_url='redis://127.0.0.1:1/0'", "it has several brokers"),
            ("broker_transport_options={'global_keyprefix': 'shop_'}", "global_keyprefix='shop_'"),
            ("broker_transport_options={'sep': ':', 'priority_steps': list(range(10))}", "has another sep"),
            ("broker_transport_options={'priority_steps': [0, 1]}", "other priority_steps"),
            ("task_serializer='pickle', accept_content=['pickle']", "accept_content is without json"),
        ],
    )
    def test_an_application_whose_settings_would_lose_steps_is_refused_with_the_reason(
        self, configuration: str, reason: str, valkey: Server, tmp_path: Path
    ) -> None:
        """Each step raised, was sent again for ever, or was waited for without a word."""
        shop(tmp_path, valkey, "include=['runner.adopt']", configuration)

        worker = subprocess.run(
            [sys.executable, "-m", *SHOP], capture_output=True, text=True, check=False, timeout=30, cwd=tmp_path,
            env=os.environ | {"C_FORCE_ROOT": "1"},
        )  # fmt: skip
        doctor = runner("doctor")

        assert worker.returncode == 1
        assert f"error: the Celery application shop: {reason}" in worker.stderr.replace(
            "broker_transport_options has ", ""
        ) or (reason in worker.stderr)
        assert "worker shop@here was refused" in doctor.stdout
        assert reason in doctor.stdout

    def test_an_application_is_admitted_again_once_its_settings_are_put_right(
        self, valkey: Server, tmp_path: Path
    ) -> None:
        Ledger.of(valkey.client(), read_settings()).refuse("shop@here", "accept_content is without json")
        shop(tmp_path, valkey, "include=['runner.adopt']")
        with serving(tmp_path / "log", *SHOP):
            assert "was refused" not in runner("doctor").stdout

    def test_an_application_that_is_refused_as_a_client_records_no_run(self, valkey: Server, tmp_path: Path) -> None:
        """With a key prefix at the client alone, the messages of an accepted run were lost."""
        shop(tmp_path, valkey, "", "broker_transport_options={'global_keyprefix': 'shop_'}")

        answer = python(
            "import shop; from runner.tasks import collector_request; collector_request('tea')",
            tmp_path,
        )

        assert "ApplicationUnfit" in answer.stderr
        assert valkey.client().zcard("runner:runs") == 0

    def test_an_application_starts_a_run_on_its_own_broker_and_queue(self, valkey: Server, tmp_path: Path) -> None:
        """`collector_request` looked for the private Valkey, and for a queue that nobody serves."""
        shop(tmp_path, valkey, "include=['runner.adopt']", "task_default_queue='shop'")
        code = "from shop import app; print(app.send_task('collector_request', ['tea']).get(timeout=20))"
        with serving(tmp_path / "log", *SHOP, PYTHONPATH=str(tmp_path)):
            run_id = python(code, tmp_path).stdout.strip()
            wait_until(lambda: status(valkey, run_id) == "succeeded", "the run has succeeded", 20)


class TestAnErrorTracker:
    """Sentry had an event for each attempt that was retried, and one issue for the failures of all steps."""

    TRACKER = """
import functools, json, logging, os
from celery import shared_task
from celery.signals import worker_ready, celeryd_after_setup

@shared_task
def plain():
    raise ValueError("%s")

@shared_task(bind=True)
def bound(self):
    raise ValueError("bound")

@shared_task(autoretry_for=(ValueError,))
def itself():
    raise ValueError("itself")

@shared_task
def gathered(values):
    raise KeyError("gathered")

def told(what, *words):
    with open(os.environ["EVENTS"], "a") as file:
        print(json.dumps([what, *words]), file=file)

class Events(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.ERROR:
            told(record.msg, record.step, record.workflow, record.error_type)

def around(call):
    @functools.wraps(call)
    def inner(*args, **kwargs):
        try:
            return call(*args, **kwargs)
        except Exception as error:
            told(f"raised {error!r}")
            raise
    return inner

@celeryd_after_setup.connect
def track(instance, **_):
    # As Sentry 2: around the class's call where Celery has changed it, as it has in a worker, else around the function.
    logging.getLogger().addHandler(Events())
    for name, task in instance.app.tasks.items():
        if name.startswith("tracker."):
            type(task).__call__ = around(type(task).__call__)
            task.run = around(task.run)
"""

    @pytest.mark.usefixtures("state_dir")
    def test_an_error_tracker_gets_each_failed_step_once_and_under_its_name(self, tmp_path: Path) -> None:
        write(tmp_path, "tracker.py", self.TRACKER)
        twice = {"max_retries": 2, "delay": "10ms"}
        once = {"max_retries": 1, "delay": "10ms"}
        file = write_workflow(
            tmp_path / "t.yaml",
            include=["tracker"],
            collectors=[
                *(
                    yaml_step(name, f"tracker.{name}", required=False, retry=twice)
                    for name in ("plain", "bound", "itself")
                ),
                yaml_step("many", "tracker.bound", foreach=[1, 2], required=False),
                yaml_step("good", "collector_1", {"topic": "x"}),
            ],
            gather=yaml_step("all", "tracker.gathered", min_success=1, retry=once),
        )

        answer = runner("run", str(file), EVENTS=str(tmp_path / "events"))

        assert answer.code == 1
        events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
        assert sorted(events) == [
            ["t.all failed: %s: %s", "all", "t", "KeyError"],
            ["t.bound failed: %s: %s", "bound", "t", "ValueError"],
            ["t.itself failed: %s: %s", "itself", "t", "ValueError"],
            ["t.many failed: %s: %s", "many[0]", "t", "ValueError"],
            ["t.many failed: %s: %s", "many[1]", "t", "ValueError"],
            ["t.plain failed: %s: %s", "plain", "t", "ValueError"],
        ]


@contextmanager
def serving(log: Path, *command: str, **env: str) -> Iterator[None]:
    """A worker of a user's application, terminated at the end of the block: one that is killed leaves Celery's directory."""
    with working(log, *command, C_FORCE_ROOT="1", **env) as process:
        yield
        process.terminate()
        process.wait(10 * SLACK)


def shop(folder: Path, server: Server, include: str = "", configuration: str = "") -> None:
    """An application of the user's, `shop.py`, whose broker and results are on the server."""
    write(
        folder,
        "shop.py",
        f"from celery import Celery\nURL = {server.url!r}\n"
        f"app = Celery('shop', {include})\napp.conf.update(broker_url=URL, result_backend=URL)\n"
        f"app.conf.update({configuration})\n{TASKS}",
    )


def status(server: Server, run_id: str) -> str:
    with server.client() as client:
        return str(client.hget(f"runner:{{{run_id}}}:run", "status"))
