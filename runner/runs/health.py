"""The broker, the workers, the ledger and a plan to what is wrong or unsafe there, each with its remedy."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import redis

from runner.brokers import broker_warnings, connect
from runner.errors import Finding
from runner.language.layout import Layout
from runner.language.plan import Plan
from runner.language.task_index import TaskIndex
from runner.ledger.damage import UnreadableRun
from runner.ledger.entries import Run
from runner.messages.canvas import COLLECT
from runner.runs.missing_worker import how_to_start
from runner.settings import Settings
from runner.system.program import command_line
from runner.text import count, duration, listed, nearest, printable

SKEW = 2.0  # seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A worker, as it has replied to `inspect`.

    Args:
        name: the node's.
        tasks: that it has registered.
        queues: that it consumes.
        pool: the module of its pool, without the packages: ``prefork``, ``thread``, ``solo``.
    """

    name: str
    tasks: frozenset[str]
    queues: frozenset[str]
    pool: str


def broker_problems(url: str) -> Iterator[Finding]:
    """Yield the risks of a broker that can be used: lost work, other users, a wrong clock."""
    yield from broker_warnings(url)
    try:
        with connect(url) as client:
            seconds, micros = client.time()
    except redis.RedisError:  # a user may be denied TIME, but not within the ledger's scripts
        return
    skew = seconds + micros / 1e6 - time.time()
    if abs(skew) > SKEW:
        yield Finding(
            f"its clock is {duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} this machine's:"
            " retries come early or late by that much",
            "let NTP set the clocks of the broker and of all workers",
        )


def task_problems(tasks: TaskIndex) -> Iterator[Finding]:
    """Yield the names that several modules give to a task: those of the settings, and those of a workflow."""
    for name in sorted(tasks.replaced):
        yield Finding(tasks.choice(name), "rename yours, unless it should replace the other")


def worker_problems(
    workers: Collection[Worker], settings: Settings, *, refused: Mapping[str, str], reconciled: bool
) -> Iterator[Finding]:
    """Yield what is wrong with the workers of the default queue.

    Args:
        workers: that have replied.
        settings: of this process: the queue for steps that name none, and whether an application has tasks of its own.
        refused: workers that exited instead of executing steps, each with the reason.
        reconciled: a worker reconciles: it sends lost steps again.
    """
    queue = settings.queue
    if not any(queue in worker.queues for worker in workers):
        yield Finding(
            f'no worker of queue "{queue}" replies: a run would wait for one',
            how_to_start(settings),
        )
    for worker in workers:
        if queue in worker.queues and COLLECT not in worker.tasks:
            yield Finding(
                f'worker {worker.name} serves the queue "{queue}" without the tasks of runner: it drops steps',
                "have its app include runner.adopt, or give runs a queue of their own (RUNNER_QUEUE)",
            )
    executing = [worker.name for worker in workers if COLLECT in worker.tasks]
    if executing and not reconciled:
        yield Finding(
            f"no worker reconciles ({listed(executing)}): the steps of a killed worker are not sent again, and no deadline ends a fan-in",
            "have their app include runner.adopt",
        )
    for name, reason in refused.items():
        yield Finding(f"worker {name} was refused: {reason}", "change its application, and restart it")


def reply_problems(unread: int) -> Iterator[Finding]:
    """Yield a problem if workers replied with a serializer that is not accepted.

    Args:
        unread: how many did.
    """
    if unread:
        yield Finding(
            f"{count(unread, 'worker')} of another app replied with a serializer that is refused, such as pickle, which may"
            " execute anything: their tasks and queues are unknown",
            "set task_serializer and result_serializer to json there, or give runs a database of their own (redis://HOST/1)",
        )


def plan_problems(plan: Plan, workers: Collection[Worker], settings: Settings) -> Iterator[Finding]:
    """Yield what a run of this plan would wait for, or lack.

    Args:
        plan: of the file.
        workers: that have replied.
        settings: of this process.
    """
    queue_of = Layout(queue=settings.queue).queue_of
    yield from _too_long(plan, settings)
    for queue in sorted({str(queue_of(step)) for step in plan.steps} - {settings.queue}):
        if not any(queue in worker.queues for worker in workers):
            yield Finding(f'no worker of queue "{queue}" replies', f"start one with --queues {queue}")
    for worker in workers:
        wanted = {task for step in plan.steps if queue_of(step) in worker.queues for task in step.tasks}
        if lacking := sorted(wanted - worker.tasks):
            yield Finding(
                f"worker {worker.name} lacks {', '.join(lacking)}: it leaves those steps to other workers",
                "start it with --include and the module of the task, or name that in RUNNER_INCLUDE",
            )
        timed = [step.id for step in plan.steps if step.timeout is not None and queue_of(step) in worker.queues]
        if timed and worker.pool in {"thread", "solo"}:
            yield Finding(
                f"worker {worker.name} has no child processes that a timeout could kill ({listed(timed)}): code that cannot"
                " be interrupted continues",
                "start it with --pool prefork",
            )
    offered = {task for worker in workers for task in worker.tasks}
    for unknown in sorted({task for step in plan.steps for task in step.tasks} - offered) if workers else []:
        near = nearest(unknown, sorted(offered))
        meant = f"did you mean {near}? Else " if near else ""
        yield Finding(f"no worker has {unknown}: a run would wait for one", f"{meant}start a worker that has it")


def waiting_run_problems(runs: Iterable[Run]) -> Iterator[Finding]:
    """Yield the runs with steps that no worker can execute."""
    for run in runs:
        if not run.ended and run.waits_for:
            yield Finding(f"run {run.id} {printable(run.waits_for)}", command_line("show", run.id))


def unattended_run_problems(runs: Iterable[Run]) -> Iterator[Finding]:
    """Yield the runs whose own worker has exited, as after `kill -9` of `run`."""
    for run in runs:
        if run.unattended:
            yield Finding(f"run {run.id} has not ended, and no worker executes it", command_line("resume", run.id))


def variable_problems(unknown: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the variables that look like a misspelt setting.

    Args:
        unknown: each with the setting that it resembles.
    """
    for name, near in unknown.items():
        yield Finding(f"{printable(name)} is no setting, and has no effect", f"did you mean {near}?")


def unreadable_run_problems(reasons: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the runs whose record cannot be read, each with the reason."""
    for run_id, reason in reasons.items():
        error = UnreadableRun(run_id, printable(reason))
        yield Finding(str(error), error.hint.replace("`", ""))


def dead_letter_problems(total: int, key: str) -> Iterator[Finding]:
    """Yield a problem if there are dead letters.

    Args:
        total: how many there are.
        key: of their list in the broker.
    """
    if total:
        yield Finding(
            f"{count(total, 'dead letter')}: messages that no worker could read or execute",
            f"find their sender (`doctor --json` has them all), then send them again, or DEL {key}",
        )


def _too_long(plan: Plan, settings: Settings) -> Iterator[Finding]:
    for step in plan.steps:
        if step.timeout is not None and step.timeout + 60 > settings.visibility:
            yield Finding(
                f"{step.id} may take {duration(step.timeout)}, and its message is delivered again after"
                f" {duration(settings.visibility)}: nothing is executed twice, but a worker reads it in vain",
                f"RUNNER_VISIBILITY={step.timeout + 60:.0f}",
            )
