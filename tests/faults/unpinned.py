"""A run's plan to what its file says by now: what PINNED (defences.py) stands against."""

from runner.language.plan import Plan
from runner.language.workflow_file import load
from runner.worker.process import settings


def plan_of_the_file(kept: Plan) -> Plan:
    return load(kept.directory + "/small.yaml", settings()).bind(kept.inputs).plan
