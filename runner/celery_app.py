"""The Celery application: settings to an app that workers, clients and Flower share. `celery -A runner.celery_app worker`."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from billiard import process
from celery import Celery
from celery.loaders.app import AppLoader
from celery.signals import celeryd_after_setup, celeryd_init, worker_process_init

from runner import backend, brokers, catalogue, garbage, settings, worker
from runner.errors import RunnerError
from runner.settings import Settings

# The modules without which a worker executes no step; an app that adopts us includes them.
OURS = ["runner.execute", "runner.reconcile"]

# What a worker uses for as long as it lives: the embedded server ends when nobody does (brokers/embedded.py).
_in_use = contextlib.ExitStack()


def configuration(chosen: Settings) -> dict[str, Any]:
    """Celery's configuration. What is not Celery's default stands with its reason; CELERY.md has the measurements."""
    return {
        "broker_url": brokers.url(chosen),
        "result_backend": backend.url(brokers.url(chosen)),
        # Late acknowledgement: a message is given back when its worker dies, and the ledger keeps it from counting twice.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # Celery's own may notice only after 5 s that a child has died.
        "worker_pool": "runner.prefork:TaskPool",
        # Our results are in the ledger. Of Celery's only the chord's counter is used, which must not expire under it.
        "task_ignore_result": True,
        "result_chord_expires": 0,
        # It skips the chord's count of a task that is delivered again, and the fan-in hangs (measured on 5.7.0).
        "worker_deduplicate_successful_tasks": False,
        "task_default_queue": chosen.queue,
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        # A broker that is away for a while is waited for: the default gives up after 0.6 s.
        "task_publish_retry_policy": {
            "max_retries": 30,
            "interval_start": 0.1,
            "interval_step": 0.2,
            "interval_max": 1,
        },
        "result_backend_always_retry": True,
        "broker_connection_max_retries": None,
        # A broker whose disk is full answers MISCONF, which is no broken connection: without this the worker ends.
        "broker_channel_error_retry": True,
        "broker_connection_retry_on_startup": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "redis_socket_timeout": 10,
        "redis_backend_health_check_interval": 25,
        "broker_transport_options": {
            "visibility_timeout": chosen.visibility,
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
        # Celery's own ends the worker over some messages that it cannot read, and drops the others.
        "worker_consumer": "runner.dead_letters:Consumer",
        "include": [*OURS, *catalogue.offered(chosen)],
    }


class Loader(AppLoader):  # type: ignore[misc]
    """Celery's, which imports modules with the current directory before the standard library; here it comes last."""

    def import_from_cwd(self, module: str, imp: Callable[..., Any] | None = None, package: str | None = None) -> Any:
        worker.find_modules(catalogue.not_installed({module} - {*OURS}), None)
        return (imp or self.import_module)(module, package=package)


app = Celery("runner", loader=Loader)
app.config_from_object(configuration(settings.read()))
app.set_default()


@celeryd_init.connect
def _use_the_broker(**_: Any) -> None:
    """Start or join the embedded server, or check the external one, before the worker connects."""
    try:
        _in_use.enter_context(brokers.open(settings.read()))
    except RunnerError as error:
        sys.exit(f"error: {error}")  # Celery would log another exception of a signal's, and go on


@celeryd_init.connect
def _read_nothing(**_: Any) -> None:
    """Give programs that steps start an empty standard input: one that nobody ends would be read for ever.

    A terminal stays that of a worker without children: a person may debug a step there.
    """
    if not os.isatty(0):
        _empty_standard_input()


@celeryd_after_setup.connect
def _refuse_other_pools(instance: Any, **_: Any) -> None:
    """Refuse those with which what is promised would not hold.

    Gevent (26.9, Celery 5.7.0) leaves messages of a killed worker unacknowledged, and does not come back when the broker does.
    """
    name = instance.pool_cls.__module__.rpartition(".")[2]
    if name not in {"prefork", "thread", "solo"}:  # ours (prefork.py), or Celery's
        sys.exit(f"error: the pool {name} is not supported: use prefork, threads or solo")


@celeryd_after_setup.connect
def _spare_garbage(**_: Any) -> None:
    """What an app has imported, and set up, is not looked through either: 2 % of the default workflow."""
    garbage.spare()


@celeryd_init.connect
def _leave_no_directory(**_: Any) -> None:
    """Have the pool make its shared memory in the temporary directory itself: its files are unlinked at once there.

    By default it makes a directory of its own first, which stays when the worker is killed.
    """
    multiprocessing.current_process()._config["tempdir"] = tempfile.gettempdir()  # type: ignore[attr-defined]  # noqa: SLF001


@worker_process_init.connect
def _read_nothing_in_a_child(**_: Any) -> None:
    """As Celery gives its children: but it replaces `sys.stdin` alone, and not the descriptor, which programs read."""
    if process.current_process().name != "MainProcess":
        _empty_standard_input()


def _empty_standard_input() -> None:
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
        os.dup2(nothing.fileno(), 0)


@worker_process_init.connect
def _end_with_the_worker(**_: Any) -> None:
    """A child of the pool ends with its worker, also a killed one, as it would finish its step unseen otherwise.

    The solo pool has none, and sends the signal in the worker itself, which is not to end with whoever started it.
    """
    if sys.platform == "linux" and process.current_process().name != "MainProcess":
        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
