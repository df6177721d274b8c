"""The state of a worker's process."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from runner.worker import process
from runner.worker.process import own, renew


class Thing:
    """Of a kind that a process has one of."""


@pytest.fixture(autouse=True)
def nothing_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_own", {})


def test_a_process_has_one_object_of_a_kind() -> None:
    assert own(Thing) is own(Thing)


def test_threads_that_ask_at_once_get_the_same_object() -> None:
    made: list[Thing] = []
    together = Barrier(8)

    def make() -> Thing:
        made.append(Thing())
        return made[-1]

    def ask(_: int) -> Thing:
        together.wait()
        return own(make)

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(8)))

    assert found == {made[0]}
    assert len(made) == 1


def test_an_object_is_replaced_once_by_threads_that_find_it_dead() -> None:
    dead = own(Thing)
    first = renew(Thing, dead)
    assert first is not dead
    assert renew(Thing, dead) is first


def test_a_forked_child_makes_objects_of_its_own() -> None:
    """The parent's threads, timers and event loop are not in it."""
    mine = own(Thing)
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, b"another" if own(Thing) is not mine else b"the same")
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        assert answer.read() == b"another"
