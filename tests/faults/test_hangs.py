import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hangs import Hangs, Watch


def test_what_hangs_in_an_example_of_hypothesis_is_not_executed_again() -> None:
    examples = []

    @given(st.integers())
    def holds(number: int) -> None:
        examples.append(number)
        threading.Event().wait()

    watch = Watch("a test", 0.05)
    try:
        with pytest.raises(Hangs, match=r"^a test has not ended in 0\.05 s$"):
            holds()
    finally:
        watch.end()
    assert len(examples) == 1
