"""The task that starts a run from within an application."""

import subprocess
import sys

from runner.brokers import connect
from runner.language.workflow_file import load
from runner.ledger.ledger import Ledger
from runner.tasks import DEFAULT_WORKFLOW
from tests.servers import Server

REQUEST = """\
from runner.celery_app import make_current
make_current()
from runner.tasks import collector_request
print(collector_request("tea"))
"""


def test_collector_request_starts_the_run_that_the_command_would_start(valkey: Server) -> None:
    """It laid out the plan by itself, and forgot what the tasks say of themselves: their modules, and that they await."""
    requested = subprocess.run(
        [sys.executable, "-c", REQUEST],
        env={"RUNNER_BROKER_URL": valkey.url},
        capture_output=True,
        text=True,
        check=True,
    )
    plan = Ledger(connect(valkey.url)).open(requested.stdout.strip()).plan

    assert plan == load(DEFAULT_WORKFLOW).bind({"topic": "tea"}).plan
