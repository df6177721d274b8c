"""Runs that are started, awaited, cancelled and resumed from Python: a script, a Django view, a FastAPI handler.

The application, its views and its handlers are those of the page about it (runner/runs/README.md).
"""

import asyncio
import importlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from weakref import WeakSet

import django
import httpx
import pytest
from celery import Celery, _state
from django.conf import settings as django_settings
from django.test import AsyncClient, Client
from django.urls import path

import runner
from runner.ledger.ledger import Ledger
from runner.worker import process
from tests import from_python
from tests.command_line import DEFAULT, ROOT
from tests.command_line import runner as command
from tests.servers import Server
from tests.waiting import SLACK, wait_until
from tests.workers import working
from tests.workflow import write_workflow, yaml_step

PAGE = ROOT / "runner" / "runs" / "README.md"
WORKER = ("celery", "-A", "shop", "worker", "-linfo", "-c2")
FAST = {"RUNNER_LEASE": "1", "RUNNER_RECONCILE_EVERY": "0.5", "RUNNER_GRACE": "1"}
LONG = 20.0 * SLACK  # seconds: what a test waits for comes sooner

# Waits until the file of its argument exists.
GATE = ["sh", "-c", 'until test -e "$0"; do sleep 0.02; done']
urlpatterns: list[Any] = []  # of the Django views, once they are imported


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the files of the page, from which Python imports."""
    for name, text in re.findall(
        r"<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    return tmp_path


@pytest.fixture
def broker(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The broker of the page's application. This process has no other, and keeps nothing of it."""
    for name, value in ({"CELERY_BROKER_URL": valkey.url} | FAST).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_state, "_apps", WeakSet())  # those of other tests
    before = _state._tls.current_app, _state.default_app
    process.settings.cache_clear()
    yield valkey
    _state._tls.current_app, _state.default_app = before
    process.settings.cache_clear()


@pytest.fixture
def app(folder: Path, broker: Server) -> Iterator[Celery]:  # noqa: ARG001 - both are there before it is imported
    """The application of the page, in this process; nobody executes its steps."""
    its: Celery = imported("shop").app
    yield its
    its.close()
    for name in ("shop", "views", "api"):
        sys.modules.pop(name, None)


@pytest.fixture
def worker(app: Celery, folder: Path) -> Iterator[Celery]:
    """The application of the page, with a worker."""
    with working(folder / "log", *WORKER, C_FORCE_ROOT="1") as started:
        yield app
        (folder / "open").touch()  # a worker that is terminated waits for the collectors that it executes
        started.terminate()
        started.wait(10 * SLACK)


def imported(name: str) -> ModuleType:
    importlib.invalidate_caches()
    return importlib.import_module(name)


def gated(folder: Path, *, number: int = 1) -> str:
    """A workflow whose collectors end once the file `open` exists."""
    argv = {"argv": [*GATE, str(folder / "open")]}
    return str(
        write_workflow(
            folder / "gated.yaml", collectors=[yaml_step(f"wait_{n}", "command.run", argv) for n in range(number)]
        )
    )


def failing(folder: Path) -> str:
    """A workflow whose stage fails until the file `repaired` exists, and one of whose collectors may fail."""
    test = {"argv": ["test", "-e", str(folder / "repaired")]}
    return str(
        write_workflow(
            folder / "failing.yaml",
            collectors=[
                yaml_step("numbers", "collector_1", {"topic": "tea"}),
                yaml_step("late", "command.run", test, required=False),
            ],
            gather={"task": "gather.concat", "min_success": 1},
            stages=[yaml_step("check", "command.run", test)],
        )
    )


def script(code: str, folder: Path, **env: str) -> str:
    """What a script prints, in a process of its own; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG,
        cwd=folder,
        env=os.environ | env,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


class TestAScript:
    """With nothing configured, and on an application's own broker."""

    pytestmark = pytest.mark.usefixtures("state_dir")

    def test_a_script_with_nothing_configured_has_the_result(self, folder: Path) -> None:
        assert script(
            f"import runner; print(runner.start({DEFAULT!r}, {{'topic': 'tea'}}, run_id='once').result())", folder
        ) == ("{'request_id': 'once', 'item_count': 12}\n")

    def test_the_run_of_a_script_is_one_of_the_history_and_left_nothing_in_its_queue(self, folder: Path) -> None:
        script(f"import runner; runner.start({DEFAULT!r}, {{'topic': 'tea'}}, run_id='once').wait()", folder)

        assert command("show", "once", "--json").json["status"] == "succeeded"

    def test_a_run_that_its_script_has_left_is_resumed_by_another(self, folder: Path) -> None:
        script(f"import runner; runner.start({gated(folder)!r}, run_id='left')", folder)
        (folder / "open").touch()

        assert script("import runner; print(runner.Run.get('left').resume().wait())", folder) == "succeeded\n"

    def test_a_module_that_the_private_worker_cannot_import_fails_the_run(self, folder: Path) -> None:
        (folder / "broken.py").write_text(
            "from celery import shared_task\nimport nothing_of_that_name\n@shared_task(name='broken.a')\ndef a(): pass\n"
        )
        file = write_workflow(folder / "broken.yaml", include=["broken"], collectors=[yaml_step("a", "broken.a")])
        code = f"import runner\nrun = runner.start({str(file)!r})\ntry: run.result()\nexcept runner.RunFailed as error: print(error.cause)"

        assert "ModuleNotFoundError: No module named 'nothing_of_that_name'" in script(code, folder)

    @pytest.mark.usefixtures("broker")
    def test_a_script_on_its_own_application_names_its_tasks_without_a_setting(self, folder: Path) -> None:
        """The command line needs RUNNER_TASKS: it does not look into an application."""
        with (folder / "shop.py").open("a", encoding="utf-8") as file:
            file.write('\n\n@app.task(name="shop.prices")\ndef prices(topic):\n    return [topic, 1]\n')
        write_workflow(folder / "prices.yaml", collectors=[yaml_step("prices", "shop.prices", {"topic": "tea"})])
        with working(folder / "log", *WORKER, C_FORCE_ROOT="1") as started:
            answer = script("import shop, runner; print(runner.start('prices.yaml').result())", folder)
            started.terminate()
            started.wait(10 * SLACK)

        assert answer == "[['tea', 1]]\n"

    @pytest.mark.parametrize("configured", ["nothing", "a broker"])
    def test_a_process_keeps_its_signals_its_logging_and_its_streams(
        self,
        configured: str,
        folder: Path,
        valkey: Server,
    ) -> None:
        code = f"""
import json, logging, signal
def state():
    loggers = [logging.getLogger(), logging.getLogger("runner")]
    handlers = [str(signal.getsignal(each)) for each in signal.valid_signals()]
    return handlers, [(str(each.handlers), each.level, each.propagate, each.disabled) for each in loggers]
before = state()
import runner
run = runner.start({DEFAULT!r}, {{"topic": "tea"}})
run.cancel()
run.wait()
print(state() == before)
"""
        env = {"nothing": {}, "a broker": {"RUNNER_BROKER_URL": valkey.url}}[configured]

        assert script(code, folder, **env) == "True\n"


class TestWhichApplication:
    @pytest.mark.usefixtures("worker")
    def test_a_thread_of_a_web_server_finds_the_application_of_its_process(self) -> None:
        """Celery's current application is that of the thread that imported it: in any other it is one for RabbitMQ."""
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(runner.start, "news.yaml", {"topic": "tea"}).result()

        assert run.result(LONG) == {"count": 9}

    def test_of_several_applications_one_is_named(self, app: Celery, valkey: Server) -> None:
        other = Celery("other", broker=valkey.url, set_as_current=False)
        with closing(other), ThreadPoolExecutor(1) as pool:
            with pytest.raises(
                runner.ApplicationUnfit, match=r"this process has several Celery applications: .*other.*shop"
            ):
                pool.submit(runner.start, "news.yaml", {"topic": "tea"}).result()
            named = pool.submit(runner.start, "news.yaml", {"topic": "tea"}, app=other).result()

        assert named.status == "pending"
        assert app.main == "shop"

    def test_an_application_keeps_being_the_current_one(self, app: Celery, valkey: Server) -> None:
        other = Celery("other", broker=valkey.url, set_as_current=False)
        runner.start("news.yaml", {"topic": "tea"}, app=other)

        assert _state._tls.current_app is app

    @pytest.mark.usefixtures("folder", "broker")
    def test_an_application_with_rabbitmq_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CELERY_BROKER_URL")
        with pytest.raises(runner.ApplicationUnfit, match="its broker is amqp"):
            runner.start("news.yaml", {"topic": "tea"}, app=Celery("rabbits", broker="amqp://"))

    @pytest.mark.usefixtures("app")
    def test_a_broker_that_is_away_is_an_error_of_ours(self, valkey: Server) -> None:
        valkey.stop()

        with pytest.raises(runner.BrokerUnavailable, match="connection refused"):
            runner.start("news.yaml", {"topic": "tea"})

    @pytest.mark.usefixtures("app")
    def test_a_broker_that_goes_away_is_an_error_of_ours(self, valkey: Server) -> None:
        run = runner.start("news.yaml", {"topic": "tea"})
        valkey.stop()

        with pytest.raises(runner.BrokerUnavailable, match="connection refused"):
            _ = run.status


class TestARun:
    @pytest.mark.usefixtures("worker")
    def test_a_run_is_started_by_a_path_or_a_file_that_was_loaded(self) -> None:
        file = runner.load("news.yaml")

        runs = [runner.start(each, {"topic": "tea"}) for each in ("news.yaml", Path("news.yaml"), file)]

        assert [run.result(LONG) for run in runs] == [{"count": 9}] * 3

    @pytest.mark.usefixtures("worker")
    def test_the_same_run_id_starts_nothing_new(self) -> None:
        first = runner.start("news.yaml", {"topic": "tea"}, run_id="once")
        first.wait(LONG)
        again = runner.start("news.yaml", {"topic": "tea"}, run_id="once")

        assert (again.id, again.status) == ("once", "succeeded")
        with pytest.raises(runner.OtherRun, match="it has other inputs: topic"):
            runner.start("news.yaml", {"topic": "coffee"}, run_id="once")

    def test_faults_of_a_file_and_of_inputs_are_raised_and_nothing_is_started(
        self, app: Celery, broker: Server
    ) -> None:
        with pytest.raises(runner.InvalidInputs, match='input "topci" is unknown'):
            runner.start("news.yaml", {"topci": "tea"})
        with pytest.raises(runner.InvalidWorkflow):
            runner.start("no such file.yaml")
        with pytest.raises(runner.MalformedRunId):
            runner.start("news.yaml", {"topic": "tea"}, run_id="a b")

        assert app.main == "shop"
        assert Ledger(broker.client()).runs() == []

    @pytest.mark.usefixtures("app")
    def test_an_unknown_run_is_an_error_of_ours(self) -> None:
        with pytest.raises(runner.UnknownRun, match='no run "nothing"'):
            runner.Run.get("nothing")

    @pytest.mark.usefixtures("worker")
    def test_a_failed_run_says_what_failed_where_and_why(self, folder: Path) -> None:
        run = runner.start(failing(folder))

        with pytest.raises(runner.RunFailed) as raised:
            run.result(LONG)

        failed = raised.value
        assert (failed.run_id, failed.status, failed.step) == (run.id, "failed", "check")
        assert failed.cause == "stage check failed"
        assert re.fullmatch(r".*failing\.yaml:\d+:\d+", failed.place)
        assert failed.reason
        assert str(failed) == f"run {run.id} has failed: stage check failed; check ({failed.place}): {failed.reason}"
        assert run.wait(timeout=0) == "failed"

    @pytest.mark.usefixtures("worker")
    def test_a_partial_run_has_a_result_and_names_what_is_missing(self, folder: Path) -> None:
        file = write_workflow(
            folder / "partial.yaml",
            collectors=[
                yaml_step("a", "collector_1", {"topic": "tea"}),
                yaml_step("b", "command.run", {"argv": ["false"]}),
            ],
            gather={"task": "gather.concat", "min_success": 1},
            stages=[yaml_step("count", "records.count")],
        )
        run = runner.start(file)

        assert run.result(LONG) == {"count": 5}
        assert run.status == "partial"
        assert [each.id for each in run.snapshot().missing] == ["b"]

    def test_a_run_that_has_not_ended_in_time_says_what_it_waits_for(self, app: Celery) -> None:
        run = runner.start("news.yaml", {"topic": "tea"})

        with pytest.raises(
            runner.StillRunning,
            match=r"has not ended after 0\.1 s: waits for a worker, and there is none: start your app",
        ):
            run.result(timeout=0.1)
        with pytest.raises(TimeoutError):
            run.wait(timeout=0)
        assert (app.main, run.status) == ("shop", "pending")

    @pytest.mark.usefixtures("worker")
    def test_a_cancelled_run_has_the_cause_that_was_given(self, folder: Path) -> None:
        run = runner.start(gated(folder))

        assert run.cancel("the order was withdrawn") == "cancelled"
        with pytest.raises(runner.RunFailed, match="was cancelled: the order was withdrawn") as raised:
            run.result(LONG)
        assert raised.value.status == "cancelled"

    @pytest.mark.usefixtures("worker")
    def test_a_cancelled_run_is_resumed_and_executes_the_rest(self, folder: Path) -> None:
        run = runner.start(gated(folder))
        run.cancel()
        (folder / "open").touch()

        assert run.resume().wait(LONG) == "succeeded"

    @pytest.mark.usefixtures("worker")
    def test_events_are_followed_to_the_end(self) -> None:
        run = runner.start("news.yaml", {"topic": "tea"})

        events = list(run.events())

        assert [events[0].event, events[-1].event, events[-1].status] == ["accepted", "ended", "succeeded"]
        assert [each.step for each in events if each.event == "finished"][-2:] == ["gather_concat", "count"]

    @pytest.mark.usefixtures("worker")
    def test_secrets_are_in_no_event_and_in_the_result_all_the_same(self, folder: Path) -> None:
        file = write_workflow(
            folder / "secret.yaml",
            inputs={"token": {"type": "string", "secret": True}},
            collectors=[
                yaml_step("a", "command.run", {"argv": ["sh", "-c", "echo $0 >&2; exit 1", "${{ inputs.token }}"]})
            ],
            gather={"task": "gather.list", "min_success": 0},
        )
        file.write_text(file.read_text("utf-8").replace("task: gather.list", "task: gather.concat"), encoding="utf-8")
        run = runner.start(file, {"token": "s3cr3t-t0ken"})
        run.wait(LONG)

        assert "s3cr3t-t0ken" not in "".join(map(repr, [*run.events(), run.snapshot()]))

    def test_a_run_that_the_broker_has_lost_ends_every_wait(self, app: Celery, valkey: Server) -> None:
        """Its stream of events never has an end."""
        run = runner.start("news.yaml", {"topic": "tea"})
        with ThreadPoolExecutor(2) as pool:
            waits: list[Future[Any]] = [pool.submit(run.wait), pool.submit(lambda: list(run.events()))]
            Ledger(valkey.client()).forget(run.id)

            assert [type(each.exception(LONG)) for each in waits] == [runner.UnknownRun] * 2
        assert app.main == "shop"

    @pytest.mark.usefixtures("worker")
    def test_every_public_name_has_the_type_that_the_examples_say(self) -> None:
        """tests/from_python.py is checked by mypy, and does what it says."""
        assert asyncio.run(from_python.awaited("news.yaml")) == from_python.called("news.yaml") == {"count": 9}


class TestAwaiting:
    @pytest.mark.usefixtures("worker")
    def test_what_is_awaited_is_what_is_called(self, folder: Path) -> None:
        async def main() -> None:
            run = await runner.astart(gated(folder))
            assert await run.acancel("enough") == "cancelled"
            with pytest.raises(runner.RunFailed, match="enough"):
                await run.aresult(LONG)
            (folder / "open").touch()
            await run.aresume()
            events = [event.event async for event in run.aevents()]
            assert (events[0], events[-1]) == ("resumed", "ended")
            again = await runner.Run.aget(run.id)
            assert (await again.await_end(LONG), await again.astatus()) == ("succeeded", "succeeded")
            assert (await again.asnapshot()).run.id == run.id

        asyncio.run(main())

    @pytest.mark.usefixtures("worker")
    def test_a_hundred_awaited_runs_take_no_thread_each(self, folder: Path) -> None:
        """With one thread for the whole loop, another call is answered while a hundred are awaited, and followed."""
        file = runner.load(gated(folder))

        async def main() -> list[Any]:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
            runs = [await runner.astart(file, run_id=f"many-{n}") for n in range(100)]
            awaited = [asyncio.ensure_future(run.await_end(4 * LONG)) for run in runs]
            followed = [asyncio.ensure_future(last(run)) for run in runs]
            await asyncio.sleep(0)
            assert await runs[0].astatus() in {"pending", "running"}
            assert len([each for each in threading.enumerate() if each.name == "runs awaited"]) == 1
            (folder / "open").touch()
            return [await asyncio.gather(*awaited), await asyncio.gather(*followed)]

        assert asyncio.run(main()) == [["succeeded"] * 100, ["succeeded"] * 100]

    @pytest.mark.usefixtures("worker")
    def test_a_loop_that_was_closed_costs_no_other_its_events(self) -> None:
        """The thread that reads for all of them could not hand the closed one its events, and gave up on all."""
        run = runner.start("news.yaml", {"topic": "tea"})
        closed = asyncio.new_event_loop()
        closed.close()
        run._door.watchers.events_of(run.id, lambda some: cast("None", closed.call_soon_threadsafe(print, some)))

        assert asyncio.run(last(run)) == "succeeded"

    @pytest.mark.usefixtures("app")
    def test_the_thread_that_waits_ends_when_nobody_waits(self) -> None:
        run = runner.start("news.yaml", {"topic": "tea"})
        with pytest.raises(runner.StillRunning):
            run.wait(0.01)

        wait_until(lambda: "runs awaited" not in {each.name for each in threading.enumerate()}, "the thread has ended")

    @pytest.mark.usefixtures("app")
    def test_a_frozen_broker_blocks_no_event_loop(self, valkey: Server) -> None:
        async def main() -> str:
            run = await runner.astart("news.yaml", {"topic": "tea"})
            waits = [asyncio.ensure_future(run.await_end(LONG)), asyncio.ensure_future(run.astatus())]
            valkey.freeze()
            asked = asyncio.ensure_future(run.asnapshot())
            for _ in range(50):
                await asyncio.sleep(0.001)
            assert not asked.done()
            valkey.thaw()
            assert (await asked).run.status == "pending"
            waits[0].cancel()
            return str(await waits[1])

        assert asyncio.run(main()) == "pending"

    @pytest.mark.usefixtures("app")
    def test_a_wait_that_is_cancelled_or_timed_out_leaves_the_run_as_it_is(self) -> None:
        async def main() -> str:
            run = await runner.astart("news.yaml", {"topic": "tea"})
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await run.aresult()
            with pytest.raises(runner.StillRunning, match="waits for a worker"):
                await run.aresult(timeout=0.05)
            return await run.astatus()

        assert asyncio.run(main()) == "pending"

    @pytest.mark.usefixtures("app")
    def test_a_run_that_the_broker_has_lost_ends_every_await(self, valkey: Server) -> None:
        async def main() -> list[Any]:
            run = await runner.astart("news.yaml", {"topic": "tea"})
            waits = [asyncio.ensure_future(each) for each in (run.aresult(), last(run))]
            await asyncio.sleep(0)
            await asyncio.to_thread(Ledger(valkey.client()).forget, run.id)
            return await asyncio.gather(*waits, return_exceptions=True)

        assert [type(each) for each in asyncio.run(main())] == [runner.UnknownRun] * 2


async def last(run: runner.Run) -> str:
    """The status of the last event of a run."""
    events = [event async for event in run.aevents()]
    return events[-1].status


class TestDjango:
    @pytest.fixture
    def site(self, worker: Celery) -> Celery:
        """The views of the page, below a site."""
        if not django_settings.configured:
            django_settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"], SECRET_KEY="a secret")
            django.setup()
        views = imported("views")
        urlpatterns[:] = [
            path("reports", views.create),
            path("runs/<run_id>", views.show),
            path("runs/<run_id>/result", views.result),
        ]
        return worker

    @pytest.mark.usefixtures("site")
    def test_a_django_view_starts_a_run_and_another_shows_it(self) -> None:
        created = Client().post("/reports", {"topic": "tea"})
        run = runner.Run.get(created.json()["id"])
        run.wait(LONG)

        assert created.status_code == 202
        assert Client().get(f"/runs/{run.id}").json() == {"id": run.id, "status": "succeeded"}
        assert Client().get("/runs/nothing").status_code == 404

    @pytest.mark.usefixtures("site")
    def test_an_async_django_view_awaits_a_run(self) -> None:
        run = runner.start("news.yaml", {"topic": "tea"})

        async def main() -> Any:
            return await AsyncClient().get(f"/runs/{run.id}/result")

        assert json.loads(asyncio.run(main()).content) == {"result": {"count": 9}}

    @pytest.mark.usefixtures("site")
    def test_a_django_view_says_what_failed(self, folder: Path) -> None:
        run = runner.start(failing(folder))

        answer = Client().get(f"/runs/{run.id}/result")

        assert (answer.status_code, answer.json()["step"], answer.json()["error"]) == (
            502,
            "check",
            "stage check failed",
        )


class TestFastAPI:
    @pytest.mark.usefixtures("worker")
    def test_a_fastapi_handler_awaits_a_run(self) -> None:
        async def main(client: httpx.AsyncClient) -> httpx.Response:
            return await client.post("/reports/tea")

        assert call(main).json() == {"count": 9}

    @pytest.mark.usefixtures("worker")
    def test_a_fastapi_handler_streams_the_events_of_a_run(self) -> None:
        run = runner.start("news.yaml", {"topic": "tea"})

        async def main(client: httpx.AsyncClient) -> httpx.Response:
            return await client.get(f"/runs/{run.id}/events")

        lines = call(main).text.splitlines()
        assert (lines[0].strip(), lines[-1]) == ("accepted", "ended  succeeded")

    @pytest.mark.usefixtures("worker")
    def test_ten_requests_at_once_are_all_answered(self) -> None:
        async def main(client: httpx.AsyncClient) -> list[Any]:
            answers = await asyncio.gather(*(client.post(f"/reports/{n}") for n in range(10)))
            return [each.json() for each in answers]

        assert call(main) == [{"count": 9}] * 10


def call(use: Any) -> Any:
    """What a client of the page's handlers gets."""

    async def main() -> Any:
        transport = httpx.ASGITransport(app=imported("api").api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=LONG) as client:
            return await use(client)

    return asyncio.run(main())
