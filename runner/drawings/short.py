"""A step, or a wide fan-out, to as much of it as is drawn."""

from runner import text
from runner.plan import Step

Collectors = tuple[Step, ...]


def ends(collectors: Collectors, collapse: int | None) -> tuple[Collectors, int, Collectors]:
    """The first five, how many are not drawn, and the last five; all of them if there are no more than ``collapse``."""
    if collapse is None or len(collectors) <= max(collapse, 10):
        return collectors, 0, ()
    return collectors[:5], len(collectors) - 10, collectors[-5:]


def notes(step: Step) -> list[str]:
    """Its task if that is not its id, then what is not the default: ``["http.get", "timeout 30s", "3 retries"]``."""
    retries = step.retry.max_retries
    noted = [
        text.printable(step.task) if step.task not in {None, step.id} else "",
        f"timeout {text.duration(step.timeout)}" if step.timeout is not None else "",
        f"{retries} {'retry' if retries == 1 else 'retries'}" if retries else "",
        f"queue {text.printable(step.queue)}" if step.queue is not None else "",
        f"priority {step.priority}" if step.priority is not None else "",
    ]
    return [note for note in noted if note]
