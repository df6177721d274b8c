"""The queues of a run's steps."""

from runner.messages.destination import Destination
from runner.settings import Settings


def test_a_run_on_a_broker_of_yours_goes_to_the_queue_of_the_settings() -> None:
    settings = Settings(broker_url="redis://localhost", queue="work", concurrency=3)
    assert Destination.of(settings, "run-1") == Destination(queue="work", own=False, slots=None)


def test_a_run_on_the_embedded_broker_has_a_queue_of_its_own_and_says_how_many_steps_its_worker_executes() -> None:
    settings = Settings(broker_url=None, queue="work", concurrency=3)
    assert Destination.of(settings, "run-1") == Destination(queue="work.run-1", own=True, slots=3)
