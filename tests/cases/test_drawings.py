"""Workflows to their drawings, as the files in `drawings/` say: `default.yaml` in, `default.tree` and the others out.

After a change to a drawing that is meant: `python -m tests.cases.test_drawings` writes them again, for you to look at.
"""

from pathlib import Path

import pytest

from runner.language.source import parse_source
from runner.language.task_index import read_tasks
from runner.language.workflow_file import check
from runner.views.drawings import FORMATS
from runner.views.screen import PLAIN

CASES = sorted((Path(__file__).parent / "drawings").glob("*.yaml"))


def drawn(case: Path, format_: str) -> str:
    workflow_file = check(parse_source(case.read_bytes(), case.name), read_tasks((), declared=["*"]))
    return FORMATS[format_](workflow_file.plan(), PLAIN) + "\n"


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_workflow_is_drawn_as_the_file_beside_it_says(case: Path, format_: str) -> None:
    assert drawn(case, format_) == case.with_suffix(f".{format_}").read_text(encoding="utf-8")


if __name__ == "__main__":
    for each in CASES:
        for name in FORMATS:
            each.with_suffix(f".{name}").write_text(drawn(each, name), encoding="utf-8")
