"""Ids and refs are spelled, and parsed."""

import pytest

from runner.language.ids import batch_ref, is_item, item_id, item_key, of_ref, written


@pytest.mark.parametrize("key", ["7", "a[0]", "a]", "x/y", "["])
def test_the_id_of_an_item_is_read_as_it_was_spelled(key: str) -> None:
    spelled = item_id("page", key)
    assert spelled == f"page[{key}]"
    assert (written(spelled), item_key(spelled), is_item(spelled)) == ("page", key, True)


def test_the_id_of_a_step_is_its_own() -> None:
    assert (written("page"), item_key("page"), is_item("page")) == ("page", "", False)


def test_a_ref_is_a_step_or_one_of_its_batches() -> None:
    assert of_ref(batch_ref("page", 3)) == ("page", True)
    assert of_ref("page") == ("page", False)
