"""The docstrings of the built-in tasks to the lists of their parameters in the guide.

python -m tests.guide_params
"""

import ast
import re
from pathlib import Path
from textwrap import fill

from runner.language.task_index import Parameter, Task, offered_modules, read_tasks
from runner.settings import Settings
from tests.command_line import ROOT

GUIDE = ROOT / "workflows" / "README.md"
MARK = re.compile(r"(<!-- parameters: ([\w.]+) -->\n)((?:(?:- |  ).*\n)*)")


def parameters(task: Task) -> str:
    """A list of the parameters of a task: what its docstring says of each, and the default."""
    said = dict(re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", task.doc.partition("Args:\n")[2], re.MULTILINE))
    return "".join(
        fill(
            f"- `{each.name}`: {' '.join(said[each.name].split())}{_default(each)}",
            120,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
        for each in task.parameters
    )


def written(text: str) -> str:
    """The guide, with every list as it is generated."""
    tasks = read_tasks(offered_modules(Settings()))
    return MARK.sub(lambda found: found[1] + parameters(tasks[found[2]]), text)


def _default(parameter: Parameter) -> str:
    """What is worth saying of a default; not that nothing is nothing."""
    if parameter.required or parameter.default in {"None", "''", "False"}:
        return ""
    shown = parameter.default
    if numbers := re.fullmatch(r"(\d+) \* 1024 \* 1024", shown):
        shown = f"{numbers[1]} MiB"
    elif re.fullmatch(r"\d{4,}", shown):
        shown = f"{int(shown):,}"
    elif shown.startswith("'"):
        shown = f"`{ast.literal_eval(shown)}`".replace("\t", "\\t")
    elif shown.startswith("("):
        shown = ", ".join(map(str, ast.literal_eval(shown)))
    return f" Default: {shown}."


def main(guide: Path = GUIDE) -> None:
    guide.write_text(written(guide.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
