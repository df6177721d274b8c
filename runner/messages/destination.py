"""The settings to where the steps of a run go."""

from __future__ import annotations

from dataclasses import dataclass

from runner.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """Where the steps of a run go.

    Args:
        queue: of the steps that name none.
        own: every step goes there, because the run has a worker of its own that listens to nothing else.
        slots: how many steps its workers execute at once; None where that depends on which workers are there.
    """

    queue: str
    own: bool = False
    slots: int | None = None

    @classmethod
    def of(cls, settings: Settings, run_id: str) -> Destination:
        """With the embedded broker, a queue that is the run's own; with a broker of yours, the queue of the settings."""
        if settings.broker_url:
            return cls(queue=settings.queue)
        return cls(queue=f"{settings.queue}.{run_id}", own=True, slots=settings.slots)
