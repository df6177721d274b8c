"""The path of a workflow file to a file that has been read and checked, and from there to a plan that can be run."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

from runner.language.bind import Bound, bind
from runner.language.plan import Plan, equip, make
from runner.language.source import Source, read_source
from runner.language.spec import Workflow, read_workflow
from runner.language.task_index import TaskIndex, tasks_of
from runner.settings import Settings, read_settings


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowFile:
    """A workflow file that has been read and checked.

    Args:
        source: its data, and the place of every key and value.
        tasks: the tasks that it may name.
        workflow: what it says, in the terms of the language.
    """

    source: Source
    tasks: TaskIndex
    workflow: Workflow

    def plan(self) -> Plan:
        """Return the steps in order, with the defaults of the file: enough to draw it."""
        return make(self.workflow, self.source)

    def bind(self, inputs: Mapping[str, Any], *, words: Mapping[str, Any] | None = None) -> Bound:
        """Return a plan that can be run: with its inputs, and what its tasks say of themselves; beside it, the number of its items.

        Args:
            inputs: JSON values by the name of the input.
            words: inputs as typed on a command line, where ``"5"`` may be a number; they take precedence.

        Raises:
            InvalidInputs: an input is missing, unknown or does not fit; the message names all of them.
            InvalidWorkflow: with these inputs an expression fails, or the items of a ``foreach`` cannot be used.
        """
        return bind(equip(self.plan(), self.tasks), self.workflow, inputs, self.source, words=words)


def load(path: str | PathLike[str], settings: Settings | None = None) -> WorkflowFile:
    """Read and check a workflow file. Nothing is run, imported or connected to.

    Args:
        path: of the file; ``-`` is standard input.
        settings: which tasks it may name besides those of the modules that it includes; by default those of this process.

    Raises:
        InvalidWorkflow: with every fault of the file.
    """
    source = read_source(fspath(path))
    return check(source, tasks_of(source, settings or read_settings()))


def check(source: Source, tasks: TaskIndex) -> WorkflowFile:
    """Check a source that has been read already.

    Raises:
        InvalidWorkflow: with every fault of the file.
    """
    return WorkflowFile(source=source, tasks=tasks, workflow=read_workflow(source, tasks))
