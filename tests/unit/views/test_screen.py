"""The abilities of a stream's screen."""

import io
import os
import pty
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from runner.views.screen import Screen, screen_of


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    main, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 77))
    with os.fdopen(end, "w") as stream:
        yield stream
    os.close(main)


def test_a_terminal_has_a_width_and_colour(terminal: TextIO) -> None:
    assert screen_of(terminal, {"TERM": "xterm"}) == Screen(width=77, colour=True, moves=True)


def test_a_terminal_without_colour_keeps_its_width_and_its_cursor(terminal: TextIO) -> None:
    assert screen_of(terminal, {"NO_COLOR": "1"}) == Screen(width=77, colour=False, moves=True)


def test_a_dumb_terminal_keeps_its_width(terminal: TextIO) -> None:
    assert screen_of(terminal, {"TERM": "dumb"}) == Screen(width=77, colour=False, moves=False)


def test_an_empty_variable_no_color_changes_nothing(terminal: TextIO) -> None:
    """As https://no-color.org has it."""
    assert screen_of(terminal, {"NO_COLOR": ""}).colour


def test_text_for_a_pipe_is_not_cut() -> None:
    assert screen_of(io.StringIO()) == Screen(width=1_000, colour=False)


def test_text_is_painted_only_where_there_is_colour() -> None:
    assert Screen(colour=True).paint("no", "red", "bold") == "\x1b[31;1mno\x1b[0m"
    assert Screen(colour=False).paint("no", "red") == "no"
