"""The default workflow by hand, from nothing to nothing: `python -m tests.benchmarks.by_hand_cold` prints its result.

It starts a Valkey and a worker, sends the chord, and stops both: no file, checks, progress or history. The worker is
spared all that a single one does not need: it starts a second sooner without mingle.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runner.brokers import embedded

WORKER = ["celery", "-A", "tests.benchmarks.by_hand", "worker", "--concurrency", "4"]
# What a single worker does not need: it would wait a second for the clocks of others.
WORKER += ["--without-mingle", "--without-gossip", "--without-heartbeat"]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="by-hand-") as folder:
        address = Path(folder, "valkey.sock")
        os.environ["BY_HAND_BROKER_URL"] = f"redis+socket://{address}"
        server = subprocess.Popen(
            [embedded.valkey_binary(), "--port", "0", "--unixsocket", address, "--dir", folder, "--appendonly", "yes"],
            stdout=subprocess.DEVNULL,
        )
        while not address.exists():
            time.sleep(0.001)
        worker = subprocess.Popen([sys.executable, "-m", *WORKER], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        from tests.benchmarks import by_hand  # noqa: PLC0415 - Celery is imported while the worker starts

        sys.stdout.write(json.dumps(by_hand.documented().apply_async().get()))
        worker.send_signal(signal.SIGTERM)
        worker.wait()
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
