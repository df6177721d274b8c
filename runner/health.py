"""The broker, the workers, the ledger and a plan to what is wrong or unsafe there, each with what to do about it."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import redis

from runner import brokers, text
from runner.brokers import Concern
from runner.errors import listed
from runner.language.plan import Plan
from runner.language.task_index import TaskIndex
from runner.ledger.damage import UnreadableRun
from runner.ledger.entries import Run
from runner.messages import canvas
from runner.settings import Settings
from runner.system import program

SKEW = 2.0  # seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """What a worker says of itself: the tasks that it has registered, the queues that it serves, and its pool's module."""

    name: str
    tasks: frozenset[str]
    queues: frozenset[str]
    pool: str


def of_broker(url: str) -> Iterator[Concern]:
    """What does not keep a broker from being used, but may cost work one day."""
    yield from brokers.warnings(url)
    try:
        with brokers.connect(url) as client:
            seconds, micros = client.time()
    except redis.RedisError:  # a user may be denied TIME; the ledger's scripts are not
        return
    skew = seconds + micros / 1e6 - time.time()
    if abs(skew) > SKEW:
        yield Concern(
            f"its clock is {text.duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} this machine's:"
            " retries come early or late by as much",
            "let NTP set the clocks of the broker and of all workers",
        )


def of_tasks(tasks: TaskIndex) -> Iterator[Concern]:
    """Tasks of one name: those of the settings' modules, and of a workflow's."""
    for name in sorted(tasks.replaced):
        yield Concern(tasks.choice(name), "give yours another name, if it is not to take its place")


def of_workers(
    workers: Collection[Worker], queue: str, *, refused: Mapping[str, str], reconciled: bool
) -> Iterator[Concern]:
    """Of those that serve the queue for steps that name none.

    Args:
        refused: workers that ended instead of executing steps, each with the reason.
        reconciled: there is a worker that sends again what is lost.
    """
    if not any(queue in worker.queues for worker in workers):
        yield Concern(
            f'no worker answers that serves the queue "{queue}": a run would wait for one',
            f"start `{program.command('worker')}`",
        )
    for worker in workers:
        if queue in worker.queues and canvas.COLLECT not in worker.tasks:
            yield Concern(
                f'worker {worker.name} serves the queue "{queue}" and has none of our tasks: it throws steps away',
                "have its app include runner.adopt, or give runs a queue of their own (RUNNER_QUEUE)",
            )
    executing = [worker.name for worker in workers if canvas.COLLECT in worker.tasks]
    if executing and not reconciled:
        yield Concern(
            f"no worker reconciles ({listed(executing)}): what a killed worker held is not sent again, and no deadline ends a fan-in",
            "have their app include runner.adopt",
        )
    for name, reason in refused.items():
        yield Concern(f"worker {name} was refused: {reason}", "change its application, and start it again")


def of_replies(unread: int) -> Iterator[Concern]:
    """Of workers whose answers may not be read."""
    if unread:
        yield Concern(
            f"{text.count(unread, 'worker')} of another app answered in a form that is not read, such as pickle, which may"
            " execute anything: its tasks and queues are not known",
            "set task_serializer and result_serializer to json there, or give runs a database of their own (redis://HOST/1)",
        )


def of_plan(plan: Plan, workers: Collection[Worker], settings: Settings) -> Iterator[Concern]:
    """What a run of this plan would meet, once it is routed to queues."""
    yield from _too_long(plan, settings)
    for queue in sorted({str(step.queue) for step in plan.steps} - {settings.queue}):
        if not any(queue in worker.queues for worker in workers):
            yield Concern(f'no worker answers that serves the queue "{queue}"', f"start one with --queues {queue}")
    for worker in workers:
        wanted = {step.task for step in plan.steps if step.task and step.queue in worker.queues}
        if lacking := sorted(wanted - worker.tasks):
            yield Concern(
                f"worker {worker.name} lacks {', '.join(lacking)}: it leaves those steps to other workers",
                "start it with --include and the module of the task, or name that in RUNNER_INCLUDE",
            )
        timed = [step.id for step in plan.steps if step.timeout is not None and step.queue in worker.queues]
        if timed and worker.pool in {"thread", "solo"}:
            yield Concern(
                f"worker {worker.name} has no processes that a timeout could end ({listed(timed)}): what does not let itself"
                " be interrupted goes on",
                "start it with --pool prefork",
            )
    offered = {task for worker in workers for task in worker.tasks}
    if workers and (unknown := sorted({step.task for step in plan.steps if step.task} - offered)):
        yield Concern(f"no worker has {', '.join(unknown)}: a run would wait for one", "start a worker that has")


def of_runs(runs: Iterable[Run]) -> Iterator[Concern]:
    for run in runs:
        if not run.ended and run.waits_for:
            yield Concern(f"run {run.id} {text.printable(run.waits_for)}", program.command("show", run.id))


def of_unattended(runs: Iterable[Run]) -> Iterator[Concern]:
    """Runs with a worker of their own that is gone, as after `kill -9` of `run`."""
    for run in runs:
        if run.unattended:
            yield Concern(f"run {run.id} has not ended, and nobody executes it", program.command("resume", run.id))


def of_variables(unknown: Mapping[str, str]) -> Iterator[Concern]:
    """Variables that look like a misspelt setting, each with the setting."""
    for name, near in unknown.items():
        yield Concern(f"{text.printable(name)} is no setting, and has no effect", f"did you mean {near}?")


def of_unreadable(reasons: Mapping[str, str]) -> Iterator[Concern]:
    """Of runs that nobody can read, each with the reason."""
    for run_id, reason in reasons.items():
        error = UnreadableRun(run_id, text.printable(reason))
        yield Concern(str(error), error.hint.replace("`", ""))


def of_dead_letters(count: int, key: str) -> Iterator[Concern]:
    if count:
        yield Concern(
            f"{text.count(count, 'dead letter')}: messages that no worker could read, or make sense of",
            f"find who sends them (`doctor --json` has them all), then send them again, or DEL {key}",
        )


def _too_long(plan: Plan, settings: Settings) -> Iterator[Concern]:
    for step in plan.steps:
        if step.timeout is not None and step.timeout + 60 > settings.visibility:
            yield Concern(
                f"{step.id} may take {text.duration(step.timeout)}, and its message is delivered again after"
                f" {text.duration(settings.visibility)}: nothing is executed twice, but a worker looks at it for nothing",
                f"RUNNER_VISIBILITY={step.timeout + 60:.0f}",
            )
