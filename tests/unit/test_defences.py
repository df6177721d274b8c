"""The table of defences (tests/faults/defences.py) and the markers in the source stay true to one another."""

import ast
import builtins
import re
from collections import Counter
from importlib.util import find_spec

import pytest

from tests.faults.defences import CHANGES, Change
from tests.faults.markers import Marked, markers

MARKERS = markers()
WORDS_OF_LUA = {"and", "else", "elseif", "end", "false", "if", "local", "nil", "not", "or", "return", "then", "true"}
WORDS_OF_LIBRARIES = {"fget", "pause"}


def place_of(change: Change) -> Marked:
    return next(place for place in MARKERS if place.name == change.marker)


def test_each_marker_in_the_source_is_there_once_and_has_a_row_in_the_table_of_defences() -> None:
    assert Counter(place.name for place in MARKERS) == Counter({change.marker for change in CHANGES})


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.marker)
def test_a_module_without_a_defence_is_still_python(change: Change) -> None:
    place = place_of(change)
    assert ast.dump(ast.parse(place.replaced(change.instead))) != ast.dump(ast.parse(place.replaced(place.code)))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.marker)
def test_what_stands_instead_of_a_defence_names_what_its_module_names(change: Change) -> None:
    """A name that was changed in the module and not in the table makes a NameError, which proves nothing."""
    place = place_of(change)
    there = set(re.findall(r"\w+", place.file.read_text(encoding="utf-8")))
    named = set(re.findall(r"[a-zA-Z_]\w*", re.sub(r'"[^"]*"', "", change.instead)))
    assert named - there - set(dir(builtins)) - WORDS_OF_LUA - WORDS_OF_LIBRARIES - imported(change) == set()


def imported(change: Change) -> set[str]:
    """The words of the import that stands instead of a defence, whose module is there."""
    found = re.match(r"from (\S+) import (\w+)", change.instead)
    return {*found[0].replace(".", " ").split()} if found and find_spec(found[1]) else set()
