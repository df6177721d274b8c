"""The status of a run to the exit code of the command that waited for it."""

from runner.ledger.damage import UnreadableRun
from runner.ledger.entries import RunStatus

STILL_RUNNING = 5
_EXIT_CODES: dict[RunStatus, int] = {
    "succeeded": 0,
    "partial": 0,
    "failed": 1,
    "cancelled": 6,
    "unreadable": UnreadableRun.exit_code,
}


def exit_code(status: RunStatus, *, strict: bool = False, hook_failed: bool = False) -> int:
    """Return the exit code of the command.

    Args:
        strict: a partial run is a failure, and so is one of which a hook has failed.
    """
    return (
        1
        if strict and (status == "partial" or (hook_failed and status == "succeeded"))
        else _EXIT_CODES.get(status, STILL_RUNNING)
    )
