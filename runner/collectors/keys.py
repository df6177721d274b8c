"""A key as an argument names it to the key that records have."""

from collections.abc import Container


def named(written: str, keys: Container[str]) -> tuple[str, bool]:
    """The key, and whether all records may lack it, as a `?` at its end says: unless it is the end of the key itself.

    Args:
        keys: that any of the records has: a form's question is often one.

    >>> named("note?", {"title"}), named("paid?", {"paid?"})
    (('note', True), ('paid?', False))
    """
    if written in keys or not written.endswith("?"):
        return written, False
    return written.removesuffix("?"), True
