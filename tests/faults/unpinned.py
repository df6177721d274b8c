"""A run's plan to what its file says by now: what PINNED (defences.py) stands against."""

from runner.language.plan import Plan
from runner.language.workflow_file import load
from runner.messages.destination import Destination
from runner.worker.process import settings


def plan_of_the_file(kept: Plan) -> Plan:
    now = load(kept.directory + "/small.yaml", settings()).bind(kept.inputs).plan
    return Destination(queue="celery", own=True).route(now)
