"""The user's modules of tasks to imported ones: installed, beside the workflow, or in the current directory."""

import sys
import traceback
from collections.abc import Container, Iterable, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from runner.errors import RunnerError
from runner.system.interrupts import Interrupted


class ModuleNotImported(RunnerError):
    """A module that a workflow includes cannot be imported."""

    exit_code = 3


def import_tasks(modules: Iterable[str]) -> None:
    """Import modules that define tasks.

    Raises:
        ModuleNotImported: with the place in it that does not work.
    """
    for module in modules:
        try:
            import_module(module)
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException as error:  # a user's module may raise anything, and call sys.exit
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f" ({frame.filename}:{frame.lineno})" if not frame.filename.startswith("<frozen") else ""
            if isinstance(error, SystemExit):
                reason = f"it calls sys.exit({'' if error.code is None else repr(error.code)})"
            else:
                reason = f"{type(error).__name__}: {error}"
            raise ModuleNotImported(f'module "{module}"{where}: {reason}') from error


def find_modules(modules: Iterable[str], beside: str | None) -> None:
    """Let imports find modules that are not installed: beside a YAML, or in the current directory, as Celery does.

    Both come last on the path: a ``queue.py`` or an ``httpx.py`` there is no module of anybody else's. But the modules
    that were asked for are looked for beside the YAML first.

    Args:
        modules: that will be imported, in dotted names.
        beside: the directory of the YAML, if it may have some of them.
    """
    names = frozenset(module.partition(".")[0] for module in modules)
    if beside is not None and any((Path(beside) / each).exists() for name in names for each in (name, f"{name}.py")):
        sys.meta_path.insert(0, _Beside(names, beside))
        sys.path.append(beside)  # for what they import  # defence: BEHIND
    if names and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # defence: CURRENT_BEHIND


class _Beside(MetaPathFinder):
    """Some modules and packages, found in a directory."""

    def __init__(self, names: Container[str], directory: str) -> None:
        self._names = names
        self._directory = directory

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002 - the finder's signature
    ) -> ModuleSpec | None:
        if path is not None or fullname not in self._names:
            return None
        spec = PathFinder.find_spec(fullname, [self._directory])
        return spec if spec and spec.loader else None  # any directory of that name would do for a namespace package
