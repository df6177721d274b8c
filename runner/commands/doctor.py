"""`doctor`: checks the broker and the workers, and says what to do."""

import base64
import platform
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import click
from redis.exceptions import RedisError

from runner.brokers import Broker, connect, open_broker
from runner.commands.options.completed import FILE
from runner.commands.options.shared import broker_options
from runner.errors import Finding
from runner.language.plan import Plan
from runner.language.task_index import TaskIndex, offered_modules, read_tasks
from runner.language.workflow_file import load
from runner.ledger.ledger import Ledger
from runner.runs.session import note_unattended
from runner.settings import Settings, read_settings, unknown_variables
from runner.settings.broker_url import without_password
from runner.system.program import command_line
from runner.text import cut, printable, to_json


@click.command
@click.argument("file", required=False, type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@broker_options
def command(file: str | None, *, as_json: bool) -> None:
    """Check the broker and the workers, and say what to do.

    With FILE, also check that the workers have its tasks and serve its queues. The exit code is 4 if the broker cannot be
    used; warnings do not change it.
    """
    settings = read_settings()
    plan, index = _checked(file, settings) if file else (None, read_tasks(offered_modules(settings)))
    with open_broker(settings) as broker:
        found = _look(settings, broker, plan, index, every_letter=as_json)
    click.echo(to_json(found) if as_json else "\n".join(_lines(found)))


def _look(
    settings: Settings, broker: Broker, plan: Plan | None, index: TaskIndex, *, every_letter: bool
) -> dict[str, Any]:
    # Not at the top: Celery takes 0.4 s, and the checks that may fail at once come before.
    from runner.celery_app import make_current  # noqa: PLC0415
    from runner.messages.dead_letters import (  # noqa: PLC0415
        KEPT_DEAD_LETTERS,
        count_dead_letters,
        dead_letters_key,
        latest_dead_letters,
    )
    from runner.runs import replies  # noqa: PLC0415
    from runner.runs.health import (  # noqa: PLC0415
        Worker,
        broker_problems,
        dead_letter_problems,
        plan_problems,
        reply_problems,
        task_problems,
        unattended_run_problems,
        unreadable_run_problems,
        variable_problems,
        waiting_run_problems,
        worker_problems,
    )

    app = make_current()

    with connect(broker.url) as client:
        count = count_dead_letters(client, settings)
        letters = latest_dead_letters(client, settings, KEPT_DEAD_LETTERS if every_letter else 3)
        ledger = Ledger.of(client, settings)
        runs, unreadable = ledger.runs(100), ledger.unreadable()
        server = ""
        with suppress(RedisError):  # `broker_warnings` says if INFO is denied
            server = _server(client.info())
    tasks, unread = replies.ask(app, "registered")
    queues = {} if broker.embedded else replies.ask(app, "active_queues")[0]
    stats = {} if broker.embedded or not plan else replies.ask(app, "stats")[0]
    with connect(broker.url) as client:  # after the workers: one that has just started leads by now
        refused, reconciled = Ledger.of(client, settings).refused(), Ledger.of(client, settings).is_led()
    workers = [
        Worker(
            name=name,
            tasks=frozenset(task.split(" ")[0] for task in tasks[name]),  # "task [rate_limit=10/s]"
            queues=frozenset(queue["name"] for queue in queues.get(name, [])),
            pool=_pool(stats.get(name, {})),
        )
        for name in sorted(tasks)
    ]
    warnings: list[Finding] = [*broker_problems(broker.url)]
    if not broker.embedded:  # with the private Valkey, each run starts a worker with its tasks
        warnings += worker_problems(workers, settings, refused=refused, reconciled=reconciled)
        warnings += plan_problems(plan, workers, settings) if plan else ()
    warnings += task_problems(index)
    warnings += reply_problems(unread)
    if broker.embedded:
        warnings += unattended_run_problems([note_unattended(run, ledger, settings) for run in runs])
    warnings += waiting_run_problems(runs)
    warnings += variable_problems(unknown_variables())
    warnings += unreadable_run_problems(
        {each.id: each.cause for each in runs if each.status == "unreadable"} | unreadable
    )
    warnings += dead_letter_problems(count, dead_letters_key(settings))
    return {
        "versions": {
            "Python": platform.python_version(),
            **{name: version(name) for name in ("celery", "kombu", "redis")},
        },
        "broker": f"a private Valkey in {settings.state_dir}" if broker.embedded else without_password(broker.url),
        "server": server,
        "workers": [worker.name for worker in workers],
        "workers_come_with_runs": broker.embedded,
        "warnings": [asdict(warning) for warning in warnings],
        "dead_letters": {
            "count": count,
            "latest": [asdict(each) | {"message": base64.b64encode(each.message).decode()} for each in letters],
        },
    }


def _pool(stats: dict[str, Any]) -> str:
    """Return the last part of the pool's module: `thread` for `celery.concurrency.thread:TaskPool`."""
    implementation = str(stats.get("pool", {}).get("implementation", ""))
    return implementation.partition(":")[0].rpartition(".")[2]


def _checked(file: str, settings: Settings) -> tuple[Plan, TaskIndex]:
    checked = load(file, settings)
    return checked.plan(), checked.tasks


def _server(info: dict[str, Any]) -> str:
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    return f"{name}, append-only file {'on' if info['aof_enabled'] else 'off'}"


def _lines(found: dict[str, Any]) -> Iterator[str]:
    none = f"none; `{command_line('run')}` brings its own" if found["workers_come_with_runs"] else "none"
    yield _line("versions", ", ".join(f"{name} {number}" for name, number in found["versions"].items()))
    yield _line("broker", found["broker"])
    if found["server"]:
        yield _line("server", found["server"])
    yield _line("workers", ", ".join(found["workers"]) or none)
    for warning in found["warnings"]:
        yield _line("warning", warning["problem"])
        yield _line("", f"to do: {warning['remedy']}")
    for letter in found["dead_letters"]["latest"]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(letter["at"]))
        begins = base64.b64decode(letter["message"])[:200].decode(errors="backslashreplace")
        yield _line("letter", printable(f"{when} in queue {letter['queue']}: {letter['reason'][:200]}"))
        yield _line("", cut(printable(begins), 100))


def _line(what: str, words: str) -> str:
    return f"{what + ':' if what else '':<10}{printable(words)}"
