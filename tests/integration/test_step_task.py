"""The request, hooks, signals and limits that Celery gives a task, for a task that a step calls."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.command_line import ROOT, Answer, runner, start
from tests.servers import Server
from tests.waiting import wait_until
from tests.workers import working
from tests.workflow import write_workflow, yaml_step

Step = dict[str, Any]

pytestmark = pytest.mark.usefixtures("state_dir")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "tests" / "workflows" / "featured.py", tmp_path)
    return tmp_path


def _run(folder: Path, collector: Step, *words: str, **keys: Any) -> Answer:
    return _run_all(folder, {"collectors": [collector], **keys}, *words)


def _run_all(folder: Path, workflow: Mapping[str, Any], *words: str) -> Answer:
    file = write_workflow(folder / "featured.yaml", include=["featured"], **workflow)
    return runner("run", str(file), "--json", *words, FEATURED_JOURNAL=str(folder / "journal"))


def _journal(folder: Path) -> list[str]:
    return (folder / "journal").read_text().splitlines()


_FOUR: Step = {"foreach": [0, 1, 2, 3], "with": {"n": "${{ item }}"}}


@pytest.mark.parametrize(
    "collector",
    [
        pytest.param(yaml_step("a", "featured.request", batch=1), id="messages"),
        pytest.param(yaml_step("a", "featured.request", batch=4), id="in turn"),
        pytest.param(yaml_step("a", "featured.request", batch=4, max_concurrency=4), id="in threads"),
        pytest.param(yaml_step("a", "featured.request_later", batch=4), id="async"),
    ],
)
def test_each_collector_of_a_foreach_has_a_request_of_its_own(collector: Step, folder: Path) -> None:
    """Celery #1977 and the best-known Flask example: `self.request.id` was None, and `self.update_state` failed by it."""
    answer = _run(folder, {**collector, **_FOUR}, "--run-id", "asked")
    found = answer.json["result"]
    assert [each["headers"] for each in found] == [
        {"run_id": "asked", "step_id": f"a[{n}]", "workflow": "featured"} for n in range(4)
    ]
    assert [each["kwargs"] for each in found] == [{"n": n} for n in range(4)]
    assert len({each["id"] for each in found}) == 4
    assert len({each["root_id"] for each in found}) == 1
    assert {each["hostname"].partition("-")[0] for each in found} == {"worker"}
    assert [(each["retries"], each["is_eager"], each["called_directly"]) for each in found] == [(0, False, False)] * 4
    assert [each["id"] for each in found] == [each.get("before", each["id"]) for each in found], "also after an await"


@pytest.mark.parametrize(
    "step",
    [{"gather": {"task": "featured.request"}}, {"stages": [yaml_step("b", "featured.request")]}],
    ids=["gather", "stage"],
)
def test_a_gather_and_a_stage_have_a_request_too(step: dict[str, Any], folder: Path) -> None:
    found = _run(folder, yaml_step("a", "featured.plain"), **step).json["result"]
    assert found["args"] == [[0]]
    assert found["current"] == found["by its name"] == found["id"]


def test_update_state_of_a_task_is_kept(folder: Path) -> None:
    answer = _run(folder, yaml_step("a", "featured.progress"))
    assert answer.json["result"] == [["PROGRESS", {"done": 1}]], answer.stderr


@pytest.mark.parametrize(
    "collector",
    [
        pytest.param(yaml_step("a", "featured.hooked"), id="in turn"),
        pytest.param(yaml_step("a", "featured.hooked", max_concurrency=3), id="in threads"),
        pytest.param(yaml_step("a", "featured.hooked_later"), id="async"),
    ],
)
def test_the_hooks_of_a_tasks_base_class_are_called(collector: Step, folder: Path) -> None:
    """The workflow's `retry` decides: `on_retry` for what is tried again, `on_failure` for the last."""
    items = {"foreach": ["fine", "fail", "a set"], "batch": 3, "with": {"what": "${{ item }}"}}
    retry = {"max_retries": 1, "delay": "1ms"}
    _run(folder, {**collector, **items, "retry": retry}, gather={"task": "gather.concat", "min_success": 1})
    assert sorted(_journal(folder)) == [
        "after_return a[0] SUCCESS",
        "after_return a[1] FAILURE",
        "after_return a[2] FAILURE",
        "before_start a[0] True fine",
        "before_start a[1] True fail",
        "before_start a[1] True fail",
        "before_start a[2] True a set",
        "on_failure a[1] ConnectionError ExceptionInfo",
        "on_failure a[2] StepFailed ExceptionInfo",
        "on_retry a[1] ConnectionError 0",
        "on_success a[0] fine",
    ]


def test_a_task_class_with_a_call_of_its_own_keeps_it_and_has_the_request(folder: Path) -> None:
    [found] = _run(folder, yaml_step("a", "featured.in_context")).json["result"]
    assert found["in context"] == found["id"] != None  # noqa: E711 - one line


def test_what_a_task_remembers_stays_with_its_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_CONCURRENCY", "1")
    answer = _run(folder, {**yaml_step("a", "featured.remembering", batch=1), **_FOUR})
    assert answer.json["result"] == [1, 1, 1, 1], answer.stderr


@pytest.mark.parametrize("task", ["featured.retrying", "featured.retrying_itself"])
def test_a_tasks_own_retry_is_counted_by_the_workflow_and_sends_nothing(task: str, folder: Path) -> None:
    answer = _run(folder, yaml_step("a", task, retry={"max_retries": 3, "delay": "1ms"}))
    assert answer.json["result"] == ["done"], answer.stderr
    assert _journal(folder) == ["retrying 0", "retrying 1", "retrying 2"]


def test_a_task_that_would_be_replaced_fails_and_says_why(folder: Path) -> None:
    answer = _run(folder, yaml_step("a", "featured.replaced"))
    assert "featured.replaced calls self.replace(), and a step cannot be replaced" in answer.stderr


@pytest.mark.parametrize("foreach", [{}, {"foreach": [1]}, {"foreach": [1, 2], "max_concurrency": 2}])
def test_a_signal_is_sent_for_each_step(foreach: Step, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an application connects for its tasks, as Django's fixup does and OpenTelemetry, was called for messages only."""
    monkeypatch.setenv("FEATURED_SIGNALS", "1")
    collectors = [
        yaml_step("a", "featured.plain", **foreach),
        yaml_step("b", "featured.failing", retry={"max_retries": 1, "delay": "1ms"}),
    ]
    _run_all(folder, {"collectors": collectors, "gather": {"task": "gather.concat", "min_success": 0}})
    of_b = [line.rpartition(" ")[0] for line in _journal(folder) if line.endswith(" b")]
    assert of_b == ["task_prerun", "task_retry", "task_postrun", "task_prerun", "task_failure", "task_postrun"]
    of_a = [line.rpartition(" ")[0] for line in _journal(folder) if not line.endswith(" b")]
    assert sorted(set(of_a)) == ["task_postrun", "task_prerun", "task_success"]


@pytest.mark.parametrize("foreach", [{}, {"foreach": [1, 2], "batch": 2}])
def test_a_tasks_soft_time_limit_interrupts_each_step(foreach: Step, folder: Path) -> None:
    """Celery #2652's neighbour: `soft_time_limit` of a decorator had no effect."""
    answer = _run(folder, yaml_step("a", "featured.soft", **foreach))
    assert "took longer than 0.3 s" in answer.stderr


def test_a_task_may_catch_its_soft_time_limit_and_return(folder: Path) -> None:
    answer = _run(folder, yaml_step("a", "featured.soft", {"catch": True}))
    assert answer.json["result"] == ["what there is so far"], answer.stderr


@pytest.mark.parametrize(
    "workflow",
    [
        {"collectors": [yaml_step("a", "featured.hard")]},
        {"collectors": [yaml_step("a", "featured.hard", foreach=[1, 2], batch=2)]},
        {"collectors": [yaml_step("a", "featured.plain")], "stages": [yaml_step("b", "featured.hard")]},
    ],
    ids=["collector", "foreach", "stage"],
)
def test_a_tasks_time_limit_ends_its_process(workflow: dict[str, Any], folder: Path) -> None:
    answer = _run_all(folder, workflow)
    assert answer.code == 1
    assert "took longer than 1 s, and its process had to be ended" in answer.stderr
    assert set(_journal(folder)) == {"it goes on"}


_APPLICATION = """
from celery import Celery

app = Celery("proj", broker={url!r}, backend={url!r}, include=["runner.worker.execute", "runner.worker.reconcile", "featured"])
app.conf.update(task_default_queue="celery", task_time_limit=2, task_soft_time_limit=1)
"""


@pytest.fixture
def application(folder: Path, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application with limits for its tasks, as cookiecutter-django makes it, and a worker of it with one process."""
    (folder / "proj.py").write_text(_APPLICATION.format(url=valkey.url))
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@contextmanager
def _worker(folder: Path, *options: str) -> Iterator[None]:
    """It ends in its own time: Celery's own pool leaves a temporary directory behind when it is killed."""
    with working(folder / "log", "celery", "-A", "proj", "worker", "-c", "1", "-linfo", *options) as process:
        yield
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_the_limits_of_an_application_are_those_of_each_step(pool: str, application: Path) -> None:
    """cookiecutter-django ships 300 and 60 s: of 20 collectors of a second, in one message, 7 failed at limits of 5 and 3."""
    many = yaml_step("a", "featured.brief", {"n": "${{ item }}"}, foreach=list(range(1, 11)), batch=10)
    with _worker(application, "--pool", pool):
        answer = _run(application, many)
    assert answer.json["result"] == list(range(1, 11)), answer.stderr


@pytest.mark.parametrize("foreach", [{}, {"foreach": [1, 2], "batch": 2}])
def test_an_applications_limit_interrupts_a_step_that_takes_longer(foreach: Step, application: Path) -> None:
    with _worker(application):
        answer = _run(application, yaml_step("a", "featured.forever", **foreach))
    assert answer.code == 1
    assert "took longer than 1 s" in answer.stderr


@pytest.mark.parametrize("arguments", [{"wait": True}, {"wait": False}])
def test_a_task_that_sends_another_in_a_private_run_fails_and_says_why(
    arguments: dict[str, bool], folder: Path
) -> None:
    """Celery #2652: `other.delay().get()` was None, the step succeeded, and the message was left for a later worker."""
    answer = _run(folder, yaml_step("a", "featured.sending", arguments))
    assert answer.code == 1
    assert "NobodyExecutes: featured.plain is sent to a queue that no worker serves" in answer.stderr


def test_a_task_that_sends_another_to_a_shared_worker_gets_its_result_unless_that_is_ignored(
    folder: Path, valkey: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    with working(folder / "log", "runner", "worker", "--include", "featured"):
        steps = [yaml_step("a", "featured.sending"), yaml_step("b", "featured.asking")]
        answer = _run_all(folder, {"collectors": steps})
    assert answer.json["result"] == [4, None], answer.stderr


PLAIN = yaml_step("b", "featured.plain")
TOLERANT = {"task": "gather.concat", "min_success": 1}


@pytest.mark.parametrize(
    ("workflow", "step", "statuses"),
    [
        pytest.param(
            {"collectors": [yaml_step("a", "featured.slow"), PLAIN], "gather": TOLERANT},
            "featured.a",
            {"a": "cancelled", "b": "succeeded", "gather_concat": "succeeded"},
            id="collector",
        ),
        pytest.param(
            {"collectors": [yaml_step("a", "featured.slow", foreach=[1, 2], batch=2), PLAIN], "gather": TOLERANT},
            "featured.a",
            {"a[0]": "cancelled", "a[1]": "cancelled", "b": "succeeded", "gather_concat": "succeeded"},
            id="foreach",
        ),
        pytest.param(
            {"collectors": [PLAIN], "stages": [yaml_step("a", "featured.slow"), yaml_step("c", "featured.slow")]},
            "featured.a",
            {"b": "succeeded", "gather": "succeeded", "a": "cancelled", "c": "not_run"},
            id="stage",
        ),
    ],
)
def test_a_message_that_is_terminated_cancels_its_steps(  # noqa: PLR0917 - a case, and what it needs
    workflow: dict[str, Any],
    step: str,
    statuses: dict[str, str],
    folder: Path,
    valkey: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Flower's *terminate* showed REVOKED, and the step was executed again once its lease had run out."""
    monkeypatch.setenv("RUNNER_BROKER_URL", valkey.url)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("RUNNER_LEASE", "3")
    monkeypatch.setenv("FEATURED_JOURNAL", str(folder / "journal"))
    file = write_workflow(folder / "featured.yaml", include=["featured"], **workflow)
    control = Celery(broker=valkey.url, set_as_current=False).control
    with working(folder / "log", "runner", "worker", "--include", "featured"):
        process = start("run", str(file), "--run-id", "revoked", "--json")
        wait_until((folder / "journal").exists, "the step is executed", timeout=20)
        [active] = (control.inspect(timeout=5).active() or {}).values()
        [message] = [each["id"] for each in active if each["name"] == step]
        control.revoke(message, terminate=True, signal="SIGKILL")
        told, _ = process.communicate(timeout=60)
    found = {each["id"]: each["status"] for each in json.loads(told)["steps"]}
    assert statuses.items() <= found.items()
    assert len(_journal(folder)) == 1, "it was executed once"
