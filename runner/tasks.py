"""The documented tasks: a request, three subcollectors, the callback that gathers them, clean-up and processing.

They are ordinary Celery tasks. `workflows/default.yaml` puts them together, and a task of yours looks the same.
"""

import random
import uuid
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.utils.log import get_task_logger

DEFAULT_WORKFLOW = Path(__file__).parent / "language" / "workflows" / "default.yaml"

logger = get_task_logger(__name__)

# What is worth trying again when such a task is called by itself; in a workflow, the YAML's `retry` decides.
_TRANSIENT: dict[str, Any] = {
    "autoretry_for": (ConnectionError, TimeoutError),
    "retry_backoff": True,
    "retry_kwargs": {"max_retries": 3},
}

Item = dict[str, Any]


def generate_collector_request(topic: str) -> dict[str, str]:
    """A request to collect data about a topic: its id, which is also the run's, and the topic."""
    return {"request_id": f"request-{uuid.uuid4().hex[:12]}", "topic": topic}


@shared_task(name="collector_request", **_TRANSIENT)
def collector_request(topic: str) -> str:
    """Start a run of the default workflow and return its request id at once, without waiting for the result."""
    # Imported here, not above: every worker imports this file, and few start a run; the language takes it 0.2 s.
    from runner.runs.run import start  # noqa: PLC0415

    request = generate_collector_request(topic)
    start(DEFAULT_WORKFLOW, {"topic": topic}, run_id=request["request_id"])
    logger.info("request %s: collecting about %r", request["request_id"], topic)
    return request["request_id"]


@shared_task(name="collector_1", **_TRANSIENT)
def collector_1(topic: str) -> list[Item]:
    """Numbers for a topic from the first source."""
    return _collect("collector_1", topic, count=5)


@shared_task(name="collector_2", **_TRANSIENT)
def collector_2(topic: str) -> list[Item]:
    """Numbers for a topic from the second source."""
    return _collect("collector_2", topic, count=4)


@shared_task(name="collector_3", **_TRANSIENT)
def collector_3(topic: str) -> list[Item]:
    """Numbers for a topic from the third source."""
    return _collect("collector_3", topic, count=3)


@shared_task(name="collector_gathering", **_TRANSIENT)
def collector_gathering(results: list[list[Item]], request_id: str) -> list[Item]:
    """Gather what the subcollectors found into one list."""
    items = [item for result in results for item in result]
    logger.info("request %s: %d items from %d subcollectors", request_id, len(items), len(results))
    return items


@shared_task(name="cleanup", **_TRANSIENT)
def cleanup(collected: list[Item], request_id: str) -> list[Item]:
    """Drop items without a number, and numbers that a subcollector returned twice."""
    kept = {(item["source"], item["number"]): item for item in collected if item.get("number") is not None}
    logger.info("request %s: kept %d of %d items", request_id, len(kept), len(collected))
    return list(kept.values())


@shared_task(name="process", **_TRANSIENT)
def process(items: list[Item], request_id: str) -> dict[str, Any]:
    """Count the items of a request."""
    return {"request_id": request_id, "item_count": len(items)}


def _collect(source: str, topic: str, count: int) -> list[Item]:
    """The same numbers for the same topic, so that a run can be repeated: the documented stand-in for a real source."""
    numbers = random.Random(f"{source} {topic}")  # noqa: S311 - not a secret
    items = [{"source": source, "topic": topic, "number": numbers.randrange(1000)} for _ in range(count)]
    logger.info("%s: %d items about %r", source, len(items), topic)
    return items
