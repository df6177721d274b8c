"""A workflow as data to a file of it: `write_workflow(tmp_path / "news.yaml", collectors=[yaml_step("hn", "http.get")])`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

Data = Mapping[str, Any]


def write_workflow(file: Path, *, collectors: Iterable[Data], **keys: Any) -> Path:
    """Write the file, and return its path.

    Args:
        file: where to; the workflow is called as it is, without its suffix, unless there is a ``name``.
        keys: those of the file beside its collectors: ``include``, ``inputs``, ``gather``, ``stages``.
    """
    workflow = {"name": file.stem, **keys, "collectors": list(collectors)}
    file.write_text(yaml.dump(workflow, Dumper=_Plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


def yaml_step(step_id: str, task: str, arguments: Data | None = None, **keys: Any) -> dict[str, Any]:
    """A step as it stands in the file.

    Args:
        arguments: its ``with``.
        keys: its others: ``timeout``, ``retry``, ``foreach``.
    """
    return {"id": step_id, "task": task, **keys, **({"with": dict(arguments)} if arguments else {})}


class _Plain(yaml.SafeDumper):
    """No anchors, which the language refuses: what two steps have in common stands twice."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True
