"""The spelling of ids and refs: ``page`` in the YAML, ``page[7]`` the collector of an item, ``page/0`` a batch of them."""


def item_id(step_id: str, key: object) -> str:
    """Return the id of the collector of one item: ``page[7]``."""
    return f"{step_id}[{key}]"


def is_item(step_id: str) -> bool:
    """Whether an id is that of the collector of one item."""
    return "[" in step_id


def written(step_id: str) -> str:
    """Return the id that a step has in the YAML: ``page`` for ``page[7]``."""
    return step_id.partition("[")[0]


def item_key(step_id: str) -> str:
    """Return the key of an item's collector: ``7`` for ``page[7]``; empty for any other step."""
    return step_id.partition("[")[2].removesuffix("]")


def batch_ref(step_id: str, number: int) -> str:
    """Return the ref of one of the batches of a collector with ``foreach``: ``page/0``."""
    return f"{step_id}/{number}"


def batch_number(ref: str) -> int:
    """Which batch of its collector a ref is for: 3 of ``page/3``."""
    return int(ref.partition("/")[2])


def of_ref(ref: str) -> tuple[str, bool]:
    """Return the YAML id of the collector that a ref is for, and whether the ref is one of its batches."""
    step_id, many, _ = ref.partition("/")
    return step_id, bool(many)
