"""Settings to who starts a worker that is missing: our command, or the user for the worker of their application."""

from runner.settings import Settings
from runner.system.program import command_line


def how_to_start(settings: Settings) -> str:
    """Return how a worker is started, for a hint.

    With RUNNER_TASKS, an application of the user executes the steps: a worker of ours would have none of its tasks.
    """
    if settings.tasks:
        return "start your application's worker, with runner.adopt among its modules (celery -A APP worker -I runner.adopt)"
    return f"start `{command_line('worker')}`"
