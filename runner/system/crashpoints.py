"""`RUNNER_CRASHPOINT` in the environment to a signal at that place: fault tests kill the process there."""

import os
import signal
from enum import StrEnum
from pathlib import Path

_AT = os.environ.get("RUNNER_CRASHPOINT", "")
_SIGNAL = os.environ.get("RUNNER_CRASHPOINT_SIGNAL", "SIGKILL")


class Crashpoint(StrEnum):
    """Places before and after every transition of the ledger, and around every publish."""

    SUBMIT_BEFORE_ACCEPT = "submit.before_accept"
    SUBMIT_BEFORE_SEND = "submit.before_send"
    SUBMIT_AFTER_SEND = "submit.after_send"
    CLAIM_BEFORE = "claim.before"
    CLAIM_AFTER = "claim.after"
    FINISH_BEFORE = "finish.before"
    FINISH_AFTER = "finish.after"
    POSTPONE_BEFORE = "postpone.before"
    POSTPONE_AFTER = "postpone.after"
    BEGIN_BEFORE = "begin.before"
    BEGIN_AFTER = "begin.after"
    HOOK_BEFORE_SEND = "hook.before_send"
    HOOK_AFTER_SEND = "hook.after_send"
    RETRY_BEFORE_SEND = "retry.before_send"
    RECONCILE_BEFORE_SEND = "reconcile.before_send"
    RECONCILE_AFTER_SEND = "reconcile.after_send"


def crashpoint(place: Crashpoint) -> None:
    """Send this process ``RUNNER_CRASHPOINT_SIGNAL`` (SIGKILL) if ``RUNNER_CRASHPOINT`` names this place.

    ``RUNNER_CRASHPOINT=finish.before@/tmp/once`` sends it once: the file is removed, and without the file nothing is sent.

    Args:
        place: where the program is.
    """
    if not _AT:
        return
    name, _, once = _AT.partition("@")
    if name != place:
        return
    if once:
        try:
            Path(once).unlink()
        except FileNotFoundError:
            return
    os.kill(os.getpid(), signal.Signals[_SIGNAL])
