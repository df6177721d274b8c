"""Python source files to the Celery tasks they define, by their syntax alone: nothing is imported."""

import ast
import copy
import importlib.util
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from runner.language.source import Source
from runner.settings import Settings

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_WORD_LIMIT = 100  # characters; a longer text is not a name
_FILE_LIMIT = 4 * 1024 * 1024  # far beyond any module that a person wrote


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of a task.

    Args:
        annotation: as written; empty if there is none.
        required: it has no default.
        default: as written; empty if there is none.
        keyword_only: it cannot be filled by position, and so not by the value before.
        positional_only: it cannot be filled by name, and so not by ``with``.
    """

    name: str
    annotation: str = ""
    required: bool = True
    default: str = ""
    keyword_only: bool = False
    positional_only: bool = False

    @property
    def choices(self) -> tuple[Any, ...]:
        """The only values that its annotation allows, ``Literal["json", "text"] | None``; none if it allows others."""
        return _choices(self.annotation)


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """The facts about a Celery task that its source shows without importing it.

    Args:
        name: the one it is registered under.
        parameters: without the ``self`` of a bound task.
        takes_any: it has ``**kwargs``.
        takes_more: it has ``*args``.
        is_wrapped: another decorator stands between it and Celery's, and may take or add arguments of its own.
        summary: the first line of its docstring.
        doc: the whole of it.
        options: the keywords of its decorator.
        calls: the methods of ``self`` that it calls.
    """

    name: str
    module: str
    parameters: tuple[Parameter, ...] = ()
    takes_any: bool = False
    takes_more: bool = False
    is_wrapped: bool = False
    is_async: bool = False
    summary: str = ""
    doc: str = ""
    options: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
    file: str = ""
    line: int = 0

    @property
    def is_ours(self) -> bool:
        """Whether it is one of the built-in tasks, which wrap what they call in exceptions of their own."""
        return is_built_in(self.module)

    @property
    def first(self) -> Parameter | None:
        """The parameter that gets a gather's values, or the value before a stage."""
        return next((parameter for parameter in self.parameters if not parameter.keyword_only), None)


@dataclass(frozen=True, kw_only=True)
class TaskIndex(Mapping[str, Task]):
    """The tasks that a workflow may name.

    Args:
        tasks: by name.
        declared: patterns (``myapp.*``) for the names of tasks that workers elsewhere offer; only their names are known.
        problems: why a module could not be read, by its name.
        replaced: for a task name that several modules define, the modules whose task does not count.
    """

    tasks: Mapping[str, Task] = field(default_factory=dict)
    declared: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Task:
        return self.tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def knows(self, name: str) -> bool:
        """Whether a worker somewhere offers this task, also if its parameters are not known."""
        return name in self.tasks or any(fnmatchcase(name, pattern) for pattern in self.declared)

    def choice(self, name: str) -> str:
        """Say which of several tasks of one name counts; empty if there is only one."""
        if name not in self.replaced:
            return ""
        counts = self.tasks[name].module
        return f"{name} is a task of {' and '.join(self.replaced[name])} and of {counts}: that of {counts} counts"


def tasks_of(source: Source, settings: Settings) -> TaskIndex:
    """Return the tasks that a workflow file may name: those offered everywhere, and those of the modules it includes."""
    beside = [] if source.name == "<stdin>" else [Path(source.name).parent]
    return read_tasks([*offered_modules(settings), *included_modules(source)], beside, settings.tasks)


def offered_modules(settings: Settings) -> tuple[str, ...]:
    """Return the modules whose tasks any workflow may name: built in, from installed packages, and from the settings."""
    return (*installed_modules(), *settings.include)


def not_installed(modules: Iterable[str]) -> list[str]:
    """Return the modules that no installed package offers as an entry point: they may be beside a workflow file."""
    return [module for module in modules if module not in installed_modules()]


@cache
def installed_modules() -> tuple[str, ...]:
    """Return the modules of installed packages, the built-in ones first."""
    modules = (point.value for point in entry_points(group="runner.tasks"))
    return tuple(sorted(modules, key=lambda module: (not is_built_in(module), module)))


def is_built_in(module: str) -> bool:
    return module.partition(".")[0] == __name__.partition(".")[0]


def precedence(module: str, include: Sequence[str]) -> int:
    """Return the precedence of a module: if two modules define a task of one name, that of the greater precedence counts.

    Installed modules replace built-in ones, and the user's replace both; among the user's, the last that is included counts.

    Args:
        include: the modules that are included, those of the settings before those of a workflow.
    """
    if is_built_in(module):
        return 0
    if module in installed_modules():
        return 1
    return 3 + include.index(module) if module in include else 2  # imported by one of these


def included_modules(source: Source) -> tuple[str, ...]:
    """Return the well-formed modules under ``include``; a name alone counts as a list of one, because its tasks are meant."""
    written = source.draft.get("include")
    written = [written] if isinstance(written, str) else written
    return tuple(name for name in written if isinstance(name, str)) if isinstance(written, list) else ()


def read_tasks(
    modules: Iterable[str], search_path: Iterable[str | Path] = (), declared: Iterable[str] = ()
) -> TaskIndex:
    """Read the tasks of modules.

    Args:
        modules: dotted names. When two define a task of one name, the later one counts.
        search_path: folders searched before ``sys.path`` for modules that are not installed; the current directory comes last.
        declared: see ``TaskIndex``.
    """
    folders = tuple(str(folder) for folder in search_path)
    packaged = installed_modules()
    tasks: dict[str, Task] = {}
    problems = {}
    replaced: dict[str, list[str]] = {}
    for module in dict.fromkeys(modules):
        try:
            found = {task.name: task for task in _tasks_of(module, () if module in packaged else folders)}
        except ValueError as problem:
            problems[module] = str(problem)
            continue
        for name in found.keys() & tasks:
            replaced.setdefault(name, []).append(tasks[name].module)
        tasks |= found
    return TaskIndex(tasks=tasks, declared=tuple(declared), problems=problems, replaced=replaced)


@lru_cache(maxsize=64)
def words_in(file: str) -> frozenset[str]:
    """Return the names and the short texts in a Python file; none if it cannot be read."""
    try:
        tree = _parsed(Path(file))
    except ValueError:
        return frozenset()
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.ClassDef(name=word):
                found.add(word)
            case ast.Constant(value=str(word)) if len(word) <= _WORD_LIMIT:
                found.add(word)
            case ast.alias(name=word, asname=other):
                found |= {word.rpartition(".")[2], other or ""}
    return frozenset(found)


def _tasks_of(module: str, folders: tuple[str, ...]) -> list[Task]:
    if not _MODULE.fullmatch(module):
        raise ValueError("not the dotted name of a Python module")
    if (top := module.partition(".")[0]) in sys.stdlib_module_names:
        raise ValueError(
            f'"{top}" is a module of Python\'s standard library, which a worker imports instead: rename yours'
        )
    path = _locate(module, folders)
    if path is None:
        looked = ", ".join(folder or "." for folder in folders) + " and " if folders else ""
        raise ValueError(f"no such module; looked in {looked}the Python path")
    tree = _parsed(path)
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    aliases = dict(filter(None, map(_alias, tree.body)))
    found = (_task(node, module, path, constants, aliases) for node in tree.body)
    return [task for task in found if task]


def _locate(module: str, folders: tuple[str, ...]) -> Path | None:
    """Return the file of a module, found as Python would, but without ``find_spec("a.b")``, which imports ``a``."""
    top, *rest = module.split(".")
    path = _beneath([Path(folder) for folder in (*folders, *sys.path, str(Path.cwd()))], [top, *rest])
    if path:
        return path
    try:  # an editable install is found by a hook only; for a name without dots this imports nothing
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    return _beneath([Path(folder) for folder in spec.submodule_search_locations or ()], rest)


def _beneath(folders: list[Path], parts: list[str]) -> Path | None:
    *parents, last = parts
    for folder in folders:
        inside = folder.joinpath(*parents)
        for path in (inside / last / "__init__.py", inside / f"{last}.py"):
            if path.is_file():
                return path
    return None


@lru_cache(maxsize=64)
def _parsed(path: Path) -> ast.Module:
    try:
        if path.stat().st_size > _FILE_LIMIT:
            raise ValueError(f"{path} is over {_FILE_LIMIT // 1024**2} MiB")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in the module is its author's problem
            return ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        raise ValueError(f"{path}:{error.lineno}: {error.msg}") from error
    except (OSError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _alias(node: ast.stmt) -> tuple[str, ast.expr] | None:
    """Return the name and the value of a type alias: ``Keys = str | list[str]``, with ``: TypeAlias``, or after ``type``."""
    match node:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias"), value=ast.expr() as value)
        ):
            pass
        case _ if type(node).__name__ == "TypeAlias":  # `type Keys = …`, of Python 3.12
            name, value = node.name.id, node.value  # type: ignore[attr-defined]
        case _:
            return None
    is_type = isinstance(value, ast.Subscript) or (isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr))
    return (name, value) if is_type else None


class _WithoutAliases(ast.NodeTransformer):
    """Replaces the aliases in an annotation by their values: `Format` alone means nothing to an author of YAML."""

    def __init__(self, aliases: Mapping[str, ast.expr]) -> None:
        self._aliases = aliases
        self._within: list[str] = []

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._aliases or node.id in self._within or len(self._within) > 8:
            return node
        self._within.append(node.id)
        expanded: ast.expr = self.visit(copy.deepcopy(self._aliases[node.id]))
        self._within.pop()
        return expanded


def _task(
    node: ast.stmt, module: str, path: Path, constants: Mapping[str, str], aliases: Mapping[str, ast.expr]
) -> Task | None:
    """Return the task that a statement defines; None if it defines none, or one whose name is known only when it runs."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    known = [_options(each) for each in node.decorator_list]
    options = next((each for each in known if each is not None), None)
    if options is None:
        return None
    name: object = f"{module}.{node.name}"
    match options.get("name"):
        case ast.Constant(value=str(written)):
            name = written
        case ast.Name(id=constant):
            name = constants.get(constant)
        case ast.expr():
            name = None
    if not isinstance(name, str):
        return None
    bound = isinstance(options.get("bind"), ast.Constant) and bool(options["bind"].value)  # type: ignore[attr-defined]
    return Task(
        name=name,
        module=module,
        parameters=_parameters(node.args, aliases)[1 if bound else 0 :],
        takes_any=node.args.kwarg is not None,
        takes_more=node.args.vararg is not None,
        is_wrapped=known[-1] is None,
        is_async=isinstance(node, ast.AsyncFunctionDef),
        summary=(ast.get_docstring(node) or "").partition("\n")[0],
        doc=ast.get_docstring(node) or "",
        options=frozenset(options),
        calls=_methods(node) if bound else frozenset(),
        file=str(path),
        line=node.lineno,
    )


def _methods(function: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[str]:
    """Return the methods of its first parameter that a function calls."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    calls = [each.func for each in ast.walk(function) if isinstance(each, ast.Call)]
    return frozenset(
        called.attr
        for called in calls
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and arguments
        if called.value.id == arguments[0].arg
    )


@lru_cache(maxsize=256)
def _choices(annotation: str) -> tuple[Any, ...]:
    try:
        node = ast.parse(annotation, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    nodes, choices = [node], list[Any]()
    while nodes:
        match nodes.pop(0):
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                nodes[:0] = [left, right]
            case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal"), slice=within):
                nodes[:0] = within.elts if isinstance(within, ast.Tuple) else [within]
            case ast.Constant(value=value) if isinstance(value, str | int | None):
                choices.append(value)
            case _:
                return ()
    return tuple(choices) if choices != [None] else ()


def _options(decorator: ast.expr) -> dict[str, ast.expr] | None:
    """Return the keywords of ``@shared_task(…)``, ``@celery.shared_task``, ``@app.task(…)``; None for another decorator."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    match called:
        case ast.Name(id="shared_task") | ast.Attribute(attr="shared_task" | "task"):
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
            return {keyword.arg: keyword.value for keyword in keywords if keyword.arg}
    return None


def _parameters(arguments: ast.arguments, aliases: Mapping[str, ast.expr]) -> tuple[Parameter, ...]:
    positional = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults = [*missing, *arguments.defaults]
    pairs = [*zip(positional, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return tuple(
        Parameter(
            name=argument.arg,
            annotation=_annotation(argument.annotation, aliases),
            required=default is None,
            default="" if default is None else _source(default),
            keyword_only=index >= len(positional),
            positional_only=index < len(arguments.posonlyargs),
        )
        for index, (argument, default) in enumerate(pairs)
    )


def _annotation(node: ast.expr | None, aliases: Mapping[str, ast.expr]) -> str:
    if node is None:
        return ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        quoted = node.value
        try:
            node = ast.parse(quoted, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return quoted
    try:
        # A copy: the tree is kept for the next index.
        return _source(_WithoutAliases(aliases).visit(copy.deepcopy(node)))
    except RecursionError:
        return _source(node)


def _source(node: ast.expr) -> str:
    """Return the text of an expression, or a placeholder if it is nested too deeply to be unparsed."""
    try:
        return ast.unparse(node)
    except RecursionError:
        return "…"
