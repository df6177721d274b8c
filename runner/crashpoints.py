"""Places where a fault test ends the process, by the environment alone."""

import os
import signal
from enum import StrEnum
from pathlib import Path

_AT = os.environ.get("RUNNER_CRASHPOINT", "")


class Crashpoint(StrEnum):
    """Before and after every transition of the ledger, and every publish."""

    SUBMIT_BEFORE_ACCEPT = "submit.before_accept"
    SUBMIT_BEFORE_SEND = "submit.before_send"
    SUBMIT_AFTER_SEND = "submit.after_send"
    CLAIM_BEFORE = "claim.before"
    CLAIM_AFTER = "claim.after"
    FINISH_BEFORE = "finish.before"
    FINISH_AFTER = "finish.after"
    POSTPONE_BEFORE = "postpone.before"
    POSTPONE_AFTER = "postpone.after"
    RETRY_BEFORE_SEND = "retry.before_send"
    RECONCILE_BEFORE_SEND = "reconcile.before_send"
    RECONCILE_AFTER_SEND = "reconcile.after_send"


def crashpoint(here: Crashpoint) -> None:
    """End this process as SIGKILL would, if ``RUNNER_CRASHPOINT`` names this place; once, if it is a file that is there.

    ``RUNNER_CRASHPOINT=finish.before@/tmp/once`` removes the file and ends; without the file, nothing happens.
    """
    if not _AT:
        return
    name, _, once = _AT.partition("@")
    if name != here:
        return
    if once:
        try:
            Path(once).unlink()
        except FileNotFoundError:
            return
    os.kill(os.getpid(), signal.SIGKILL)
