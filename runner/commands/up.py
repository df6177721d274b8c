"""`up`: starts broker, worker and Flower together, in the foreground."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import click

from runner.brokers import open_broker, restart_broker
from runner.commands import flower
from runner.commands.options.shared import broker_options
from runner.settings import Settings, read_settings
from runner.settings.broker_url import without_password
from runner.system.fork import Spawned
from runner.system.interrupts import Interrupted, raise_interrupts

Processes = Mapping[str, Spawned]


@click.command
@click.option(
    "--concurrency", "-c", type=click.IntRange(min=1), help="Steps to execute at once. Default: as for `worker`."
)
@click.option("--queues", "-Q", metavar="A,B", help="Queues to serve, separated by commas. Default: RUNNER_QUEUE.")
@click.option("--include", multiple=True, metavar="MODULE", help="Module with tasks to import, besides RUNNER_INCLUDE.")
@flower.flower_options
@broker_options
def command(
    *, concurrency: int | None, queues: str | None, include: tuple[str, ...], address: str, port: int, basic_auth: str
) -> int:
    """Start a worker and Flower.

    The private Valkey is started, too, if there is no other broker. The first Ctrl-C lets running steps finish, the
    second stops at once. If one of them exits, all stop.
    """
    flower.check(address, basic_auth)
    settings = read_settings()
    worker_words = ["worker", *(["--concurrency", str(concurrency)] if concurrency else [])]
    worker_words += ["--queues", queues] if queues else []
    worker_words += [word for module in include for word in ("--include", module)]
    try:
        with (
            raise_interrupts(),
            open_broker(settings) as broker,
            _started(*worker_words) as worker,
            _started("flower", "--address", address, "--port", str(port), FLOWER_BASIC_AUTH=basic_auth) as page,
        ):
            _say(f"broker: {without_password(broker.url)}; Ctrl-C ends all")
            return _until_the_end({"worker": worker, "Flower": page}, settings)
    except Interrupted as interrupted:
        return interrupted.exit_code


@contextmanager
def _started(*words: str, **environment: str) -> Iterator[Spawned]:
    """Start one of our commands, which ends with the block at the latest, and with this process in any case."""
    process = Spawned(*words, environment=environment)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # its pool may outlive it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _until_the_end(processes: Processes, settings: Settings) -> int:
    """Wait for the first process to exit, or for a signal, and then for the others; return 0 after a signal."""
    code = 0
    try:
        name, code = _first_to_end(processes, settings)
        _say(f"{name} has ended by itself (exit code {code}): ending the rest")
    except Interrupted as interrupted:
        if interrupted.signal is not signal.SIGHUP:  # the terminal is gone
            _say("ending, after what is being executed; once more to end at once")
    try:  # the second signal may come at once
        for process in processes.values():
            process.terminate()  # a warm shutdown of Celery
        for process in processes.values():
            process.wait()
    except Interrupted:
        processes["worker"].send_signal(signal.SIGQUIT)  # a cold shutdown releases its steps, in 1.5 s
        with suppress(subprocess.TimeoutExpired):
            processes["worker"].wait(3)
        raise
    return code


def _first_to_end(processes: Processes, settings: Settings) -> tuple[str, int]:
    """Return the first to exit and its exit code, 1 if that is 0 or a signal; meanwhile keep the broker alive."""
    while True:
        for name, process in processes.items():
            if (code := process.poll()) is not None:
                return name, max(code, 0) or 1
        restart_broker(settings)
        time.sleep(0.1)


def _say(text: str) -> None:
    click.echo(text, err=True)
