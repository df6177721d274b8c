"""The ids of runs: made, and checked."""

import re
import secrets

from runner.errors import MalformedRunId
from runner.language.plan import Plan
from runner.text import echo

# Without the letters and digits that are mistaken for one another when they are read aloud or typed.
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


def new_run_id(plan: Plan) -> str:
    """Return a run id that a person can type: the workflow's name, and eight random characters (2^39 ids)."""
    return f"{plan.name[:50]}-{''.join(secrets.choice(_ALPHABET) for _ in range(8))}"


def check_run_id(run_id: str) -> str:
    """Return the id if it is well formed.

    Raises:
        MalformedRunId: it has other characters, or is too long.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", run_id):
        raise MalformedRunId(f"{echo(run_id)} is no run id", hint="letters, digits, - and _, at most 64")
    return run_id
