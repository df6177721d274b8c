"""`python -m tests.faults.send FILE…`: one run of each workflow, with the file's name for its id, accepted and sent."""

import subprocess
import sys
from pathlib import Path

from runner import celery_app
from runner.brokers import connect, locate_broker
from runner.language.workflow_file import load
from runner.ledger.ledger import Ledger
from runner.messages.destination import Destination
from runner.runs.start import start
from runner.settings import read_settings
from tests.command_line import ROOT


def main(*files: str) -> None:
    celery_app.make_current()
    settings = read_settings()
    ledger = Ledger.of(connect(locate_broker(settings)), settings)
    for file in files:
        start(load(file, settings).bind({}), Path(file).stem, ledger, Destination(queue=settings.queue))


def send(*files: Path) -> None:
    """The same, from a test: in a process of its own, as the app that is current is this process's."""
    subprocess.run([sys.executable, "-m", "tests.faults.send", *map(str, files)], check=True, cwd=ROOT, timeout=60)


if __name__ == "__main__":
    main(*sys.argv[1:])
