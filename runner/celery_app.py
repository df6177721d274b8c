"""Settings to the Celery application of workers, clients and Flower: `celery -A runner.celery_app worker`."""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

from billiard import process
from celery import Celery, _state
from celery.app.utils import Settings as CelerySettings
from celery.loaders.app import AppLoader
from celery.signals import celeryd_after_setup, celeryd_init, worker_init, worker_process_init

from runner.brokers import locate_broker, open_broker
from runner.errors import RunnerError
from runner.language.task_index import not_installed, offered_modules, precedence
from runner.settings import Settings, read_settings
from runner.system.gc_freeze import freeze
from runner.worker import backend
from runner.worker.modules import find_modules
from runner.worker.process import in_use

logger = logging.getLogger(__name__)

# The modules without which a worker executes no step.
OURS = ["runner.worker.execute", "runner.worker.reconcile"]

# The variables that Celery reads before its configuration.
CELERY_URLS = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND")


def configuration(settings: Settings) -> dict[str, Any]:
    """Return Celery's configuration. Each value that is not the default has its reason beside it; measured on Celery 5.7.0."""
    return {
        "broker_url": locate_broker(settings),
        "result_backend": backend.url(locate_broker(settings)),
        # Late acknowledgement: a message is redelivered when its worker dies, and the ledger keeps it from counting twice.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # Celery's own pool may notice a dead child only after 5 s.
        "worker_pool": "runner.worker.prefork:TaskPool",
        # It skips the chord's count of a task that is delivered again, and the fan-in hangs (measured on 5.7.0).
        "worker_deduplicate_successful_tasks": False,
        "task_default_queue": settings.queue,
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        # Wait for a broker that is away for a while: the default gives up after 0.6 s.
        "task_publish_retry_policy": {
            "max_retries": 30,
            "interval_start": 0.1,
            "interval_step": 0.2,
            "interval_max": 1,
        },
        "result_backend_always_retry": True,
        "broker_connection_max_retries": None,
        # A broker whose disk is full replies MISCONF, which is no broken connection: without this the worker exits.
        "broker_channel_error_retry": True,  # defence: REFUSED_WRITES
        "broker_connection_retry_on_startup": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "redis_socket_timeout": 10,
        "redis_backend_health_check_interval": 25,
        "broker_transport_options": {
            "visibility_timeout": settings.visibility,
            # Without these, kombu 5.7 looks for messages of dead workers every 100 s, and for 300 s not at all if the
            # worker that was looking is the one that died.
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 10,
            "socket_timeout": 10,
            "socket_connect_timeout": 2,
            "health_check_interval": 25,
        },
        "worker_hijack_root_logger": True,
        # Celery's own consumer exits on some messages that it cannot read, and drops the others.
        "worker_consumer": "runner.messages.dead_letters:Consumer",  # defence: CONSUMER
        "include": [*OURS, *offered_modules(settings)],
        "runner_include": settings.include,  # read by `precedence`: which of two tasks of one name is used
    }


class Loader(AppLoader):  # type: ignore[misc]
    """Celery's loader, with the current directory last: Celery puts it before the standard library."""

    def import_from_cwd(self, module: str, imp: Callable[..., Any] | None = None, package: str | None = None) -> Any:
        find_modules(not_installed({module} - {*OURS}), None)
        return (imp or self.import_module)(module, package=package)


class Configuration(CelerySettings):  # type: ignore[misc]
    """Celery's settings, without those of the environment.

    Celery 5.7 prefers `CELERY_BROKER_URL` and its like. They belong to an application of the user's: this worker would take
    that application's messages, and drop those whose task it does not have.
    """

    broker_url = property(lambda self: self["broker_url"])  # defence: OBEYED
    broker_read_url = broker_write_url = broker_url
    result_backend = property(lambda self: self["result_backend"])


class NobodyExecutes(RunnerError):
    """A task of a private run sends another task."""


class Application(Celery):  # type: ignore[misc]
    """Celery that reads its own settings only, and prefers one of two tasks of one name as `task_index.precedence` does."""

    def on_init(self) -> None:
        """Give the settings the class above: Celery creates the object itself, and keeps it when it is configured."""
        object.__setattr__(self._conf, "__class__", Configuration)  # an assignment would be a setting

    def _task_from_fun(self, fun: Callable[..., Any], name: str | None = None, **options: Any) -> Any:
        """Register a function as a task.

        Celery 5.7 keeps the first of a name, and those with `@shared_task` come in the order of a set.
        """
        name = name or self.gen_task_name(fun.__name__, fun.__module__)
        if name in self._tasks and self.precedence(fun) > self.precedence(self._tasks[name]):
            del self._tasks[name]
        return super()._task_from_fun(fun, name=name, **options)

    def send_task(self, name: str, *args: Any, **options: Any) -> Any:
        """Send a message, unless no worker would execute it.

        Raises:
            NobodyExecutes: this is the private worker of one run, which executes the steps of that run only.
        """
        if self.conf.get("runner_alone") and not name.startswith(("runner.", "celery.")):
            raise NobodyExecutes(
                f"{name} is sent to a queue that no worker serves: a run with a private Valkey has one worker, for its own steps."
                f" Make {name} a step, call its function, or name a broker in RUNNER_BROKER_URL and start workers"
            )
        return super().send_task(name, *args, **options)

    def precedence(self, task: Any) -> tuple[int, int]:
        """Return a key that is the greater for the one of two tasks that is used: see `task_index.precedence`."""
        function = getattr(task, "_decorated_fun", task)
        line = getattr(getattr(function, "__code__", None), "co_firstlineno", 0)
        return precedence(function.__module__, self.conf.get("runner_include", ())), line

    def take_tasks(self, others: Iterable[Celery]) -> None:
        """Register the tasks of other applications of this process here as well, bound to this application.

        A module of the user's may have a `Celery(…)` of its own, with `@app.task`; a step is executed by this application,
        which has the broker and the results of the run.

        Args:
            others: the applications, in the order of registration.
        """
        for other in others:
            other.finalize()
            for name, task in other.tasks.items():
                registered = self.tasks.get(name)
                if registered is None or self.precedence(task) > self.precedence(registered):
                    self._tasks.pop(name, None)  # Celery would warn of the second one
                    self.register_task(type(type(task).__name__, (type(task),), {})())


# Not the current app, nor the default one: a process that imports this may have an application of its own.
app = Application(
    "runner", loader=f"{__name__}:{Loader.__qualname__}", set_as_current=False
)  # a name, as Django's fixup reads it
app.config_from_object(configuration(read_settings()))


def make_current() -> Application:
    """Make it the current application of this process, as a command needs; a worker's process gets it from Celery."""
    app.set_current()
    app.set_default()
    return app


@celeryd_init.connect
def _use_the_broker(instance: Any, **_: Any) -> None:
    """Start or join the embedded server, or check the external one, before the worker connects."""
    if instance.app is not app:
        return
    try:
        in_use.enter_context(open_broker(read_settings()))
    except RunnerError as error:
        sys.exit(f"error: {error}")  # Celery logs any other exception of a signal handler, and continues


@worker_init.connect
def _take_tasks_of_included_apps(sender: Any, **_: Any) -> None:
    """After all modules are imported, those of ``-I`` included, and before the pool is created."""
    if sender.app is not app:
        return
    try:
        # defence: TAKEN
        app.take_tasks(sorted(_state._get_active_apps() - {app}, key=lambda other: str(other.main)))  # noqa: SLF001
    except Exception as error:  # noqa: BLE001 - an application of the user's, with a configuration of any kind
        sys.exit(f"error: an included module has a Celery application that cannot be set up: {error}")


@celeryd_after_setup.connect
def _name_what_is_not_obeyed(instance: Any, **_: Any) -> None:
    if instance.app is app and (named := [name for name in CELERY_URLS if os.environ.get(name)]):
        logger.warning("%s: ignored; this worker reads RUNNER_BROKER_URL only", ", ".join(named))


@celeryd_init.connect
def _read_nothing(instance: Any, **_: Any) -> None:
    """Give the programs that steps start an empty standard input: one without an end would block them for ever.

    A terminal is kept for a worker without children, where a step may be debugged.
    """
    if instance.app is app and not os.isatty(0):
        _empty_standard_input()  # defence: EMPTY_INPUT


@celeryd_after_setup.connect
def _refuse_other_pools(instance: Any, **_: Any) -> None:
    """Refuse pools that break the delivery guarantee (gevent, eventlet, custom).

    Gevent (26.9, Celery 5.7.0) leaves messages of a killed worker unacknowledged, and does not reconnect to a restarted broker.
    """
    name = instance.pool_cls.__module__.rpartition(".")[2] if instance.app is app else "prefork"
    if name not in {"prefork", "thread", "solo"}:  # of worker/prefork.py, or of Celery  # defence: POOLS
        sys.exit(f"error: the pool {name} is not supported: use prefork, threads or solo")


@celeryd_after_setup.connect
def _freeze_imports(instance: Any, **_: Any) -> None:
    """Freeze what an application has imported and set up, too: 2 % of the default workflow."""
    if instance.app is app:
        freeze()


@celeryd_init.connect
def _leave_no_directory(instance: Any, **_: Any) -> None:
    """Create the pool's shared memory in the temporary directory itself, where its files are unlinked at once.

    By default the pool creates a directory of its own for them, which a killed worker leaves behind.
    """
    if instance.app is app:
        multiprocessing.current_process()._config["tempdir"] = tempfile.gettempdir()  # type: ignore[attr-defined]  # noqa: SLF001


@worker_process_init.connect
def _read_nothing_in_a_child(**_: Any) -> None:
    """Empty a child's standard input: Celery replaces `sys.stdin` only, not the descriptor that programs read."""
    if process.current_process().name != "MainProcess":
        _empty_standard_input()  # defence: EMPTY_CHILD


def _empty_standard_input() -> None:
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
        os.dup2(nothing.fileno(), 0)


@worker_process_init.connect
def _end_with_the_worker(**_: Any) -> None:
    """Kill a child of the pool when its worker dies: it would finish its step unseen otherwise.

    The solo pool has no children and sends this signal in the worker itself, which must not die with the process that
    started it.
    """
    if sys.platform == "linux" and process.current_process().name != "MainProcess":  # defence: NO_CHILD
        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
