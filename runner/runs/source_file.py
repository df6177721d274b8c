"""A run's plan to its workflow file as it is now: whether the file does something else since the run was started."""

from pathlib import Path

from runner.language.faults import InvalidWorkflow
from runner.language.plan import Plan
from runner.language.workflow_file import load
from runner.settings import Settings


def changed_file(plan: Plan, settings: Settings) -> str | None:
    """Return the path of the plan's file if that no longer is what the plan was made of, as the user would write it.

    None if the file does the same, has faults, is gone, or was standard input. Inputs are no part of the comparison.
    """
    path = source_path(plan)
    if path is None:
        return None
    try:
        changed = load(path, settings).plan().hash != plan.hash
    except InvalidWorkflow:  # half edited, or this process has not the tasks of the one that read it: nobody knows
        return None
    return str(path) if changed else None


def source_path(plan: Plan) -> Path | None:
    """Return the path of the file that a plan was made of, relative to the current directory where it was given so."""
    place = next((step.place for step in plan.steps if step.place), "")
    name, _, _ = place.rsplit(":", 2) if place.count(":") > 1 else ("", "", "")
    path = Path(plan.directory) / Path(name).name
    if not name or not path.is_file():
        return None
    return Path(name) if Path(name).absolute() == path.absolute() else path
