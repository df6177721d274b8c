"""A key of an argument, perhaps with a `?`, to the key of the records."""

from collections.abc import Container


def named(written: str, keys: Container[str]) -> tuple[str, bool]:
    """Return the key, and whether it is optional: it ends with a `?` that is not part of a key of the records.

    Args:
        keys: of all records. The questions of a form often end with a `?`.

    >>> named("note?", {"title"}), named("paid?", {"paid?"})
    (('note', True), ('paid?', False))
    """
    if written in keys or not written.endswith("?"):
        return written, False
    return written.removesuffix("?"), True
