"""`worker`: starts a Celery worker that executes steps."""

import os
import socket
from collections.abc import Sequence
from typing import Any

import click

from runner.brokers import open_broker
from runner.commands.options.shared import broker_options
from runner.language.task_index import not_installed
from runner.settings import read_settings, split_words
from runner.system.gc_freeze import frozen_imports
from runner.system.tether import end_with_parent
from runner.worker.modules import find_modules, import_tasks

POOLS = ("prefork", "threads", "solo")


@click.command
@click.option(
    "--concurrency", "-c", type=click.IntRange(min=1), help="Steps to execute at once. Default: the CPUs, at least 4."
)
@click.option("--pool", type=click.Choice(POOLS), default="prefork", show_default=True, help="Celery's pool.")
@click.option("--queues", "-Q", metavar="A,B", help="Queues to serve, separated by commas. Default: RUNNER_QUEUE.")
@click.option("--include", multiple=True, metavar="MODULE", help="Module with tasks to import, besides RUNNER_INCLUDE.")
@click.option(
    "--events",
    "-E",
    is_flag=True,
    help="Send task events from the start; Flower turns them on some seconds after it starts.",
)
@click.option("--name", metavar="NAME@HOST", help="The worker's name. Default: a unique one.")
@click.option(
    "--loglevel",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least severe messages to log.",
)
@click.option("--tether", type=int, hidden=True, help="End when the other end of this pipe is closed.")
@click.option("--beside", hidden=True, help="Where the modules of --include are looked for first.")
@click.option("--bare", is_flag=True, hidden=True, help="Import the modules of --include, and no built-in tasks.")
@broker_options
def command(
    *,
    concurrency: int | None,
    pool: str,
    queues: str | None,
    include: tuple[str, ...],
    events: bool,
    name: str | None,
    loglevel: str,
    tether: int | None,
    beside: str | None,
    bare: bool,
) -> int:
    """Start a Celery worker that executes steps.

    It stops at Ctrl-C or SIGTERM. The first Ctrl-C lets running steps finish, the second returns them to the queue.
    """
    if tether is not None:
        end_with_parent(tether)  # defence: TETHER
    settings = read_settings()
    asked = [*settings.include, *include]
    find_modules(not_installed(asked), beside)
    import_tasks(asked)
    with frozen_imports():
        app = _app(bare=bare, include=asked)
    with open_broker(settings):
        node = app.Worker(
            hostname=name or _node_name(),
            pool=None if pool == "prefork" else pool,  # our prefork pool is in the configuration
            concurrency=concurrency or settings.slots,
            queues=split_words(queues or "") or [settings.queue],
            include=list(include),
            loglevel=loglevel,
            # Workers do not need to know one another; to wait for the others' clocks costs a second at every start.
            without_mingle=True,
            without_gossip=True,
            quiet=tether is not None,
            # Events take a third of the time of a short step (measured: the default workflow, 34 to 26 ms). A worker that
            # lives as long as one run exits before Flower could ask for them.
            task_events=events or tether is not None,
        )
        node.start()
        return int(node.exitcode or 0)


def _node_name() -> str:
    """Return a name that no other worker has."""
    return f"worker-{os.getpid()}@{socket.gethostname()}"


def _app(*, bare: bool, include: Sequence[str]) -> Any:
    """Return the Celery application, with all that a worker imports and makes once; nothing connects before its first use."""
    # Not at the top: 0.25 s, after the checks that may fail at once. The embedded broker may be starting meanwhile.
    from runner.celery_app import OURS, make_current  # noqa: PLC0415
    from runner.worker import process  # noqa: PLC0415

    app = make_current()  # defence: CURRENT
    process.serve(app)  # defence: SERVED_AS_CURRENT
    app.conf.runner_include = include
    if bare:
        app.conf.include = OURS  # a run's own worker serves that run: httpx alone takes it 0.1 s
        app.conf.runner_alone = True
    import_tasks(app.conf.include)  # before Celery does, whose traceback does not say which module fails
    app.loader.init_worker()
    _ = app.Worker, app.backend, process.ledger()  # before the fork: else each process of the pool makes the last two
    return app
