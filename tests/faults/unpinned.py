"""A run's plan to what its file says by now: what PINNED (defences.py) stands against."""

from runner.language import bind, source, spec, task_index
from runner.language import plan as plans
from runner.language.plan import Plan
from runner.worker.process import settings


def plan_of_the_file(kept: Plan) -> Plan:
    written = source.read(kept.directory + "/small.yaml")
    workflow = spec.read(written, task_index.tasks_of(written, settings()))
    now = bind.bind(plans.make(workflow, written), workflow, dict(kept.inputs), written)
    return plans.route(now, "celery", everything=True)
