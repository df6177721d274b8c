"""A signal before a run begins, to the message for the user."""

import signal
from contextlib import suppress

import pytest

from runner.runs.before_begin import tell_nothing_begun
from runner.system.interrupts import Interrupted


def test_a_signal_before_a_run_begins_says_that_nothing_was_started(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C while the broker and the worker started ended `run` without a word."""
    with pytest.raises(Interrupted), tell_nothing_begun("run mine: nothing was started"):
        raise Interrupted(signal.SIGINT)
    assert capsys.readouterr().err == "\nrun mine: nothing was started\n"


def test_a_signal_after_a_run_has_begun_is_reported_by_its_follower(capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(Interrupted), tell_nothing_begun("run mine: nothing was started") as begun:
        begun()
        raise Interrupted(signal.SIGINT)
    assert capsys.readouterr().err == ""
