"""A run that is being executed to its end, or to a failure that shows where it stands."""

import time

from runner.language.plan import dump_plan
from runner.ledger.run_record import RunRecord
from tests.hangs import Hangs
from tests.waiting import SLACK

SILENCE = 15.0  # seconds without an event that an idle machine never takes


def follow_to_the_end(run: RunRecord) -> None:
    """Return when the run has ended.

    Raises:
        Hangs: nothing has happened for too long. Hypothesis does not execute the example again: it would take as long.
    """
    since = time.monotonic()
    for event in run.follow():
        if event is not None:
            since = time.monotonic()
        elif time.monotonic() - since > SILENCE * SLACK:
            facts = {
                "run": run.info(),
                "left": run.left(),
                "open": run.underway(),
                "outcomes": {step: outcome.status for step, outcome in run.outcomes().items()},
                "events": [(event.event, event.step, event.status) for event in run.events()],
                "layout": run.layout,
                "plan": dump_plan(run.plan),
            }
            raise Hangs("\n".join(f"{name}: {fact}" for name, fact in facts.items()))
