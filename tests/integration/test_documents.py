"""The documents: what they show is executed, and what they list is compared with the code.

The comment above a block says how it is used: `file: NAME` is a file for the blocks that follow, `test: run` is
executed, `test: session` is executed and compared, and `command: NAME` is executed by `.ci/run`.
"""

import inspect
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

import runner as python
from runner import cli, errors
from runner.collectors import files
from runner.collectors.command import INHERITED, run
from runner.collectors.http import get
from runner.language import expressions, foreach, source, spec
from runner.language.faults import CODES, WARNINGS
from runner.language.source import parse_source
from runner.language.task_index import offered_modules, read_tasks, tasks_of
from runner.language.workflow_file import check, load
from runner.ledger import prelude, scripts
from runner.ledger.entries import RunStatus, StepStatus
from runner.runs.run import Run
from runner.settings import MIB, Settings
from runner.views.drawings.mermaid import draw_mermaid
from tests import guide_params, terminal_picture
from tests.command_line import DEFAULT, ROOT, runner
from tests.http_server import serve
from tests.terminal import environment, on_a_terminal

README, GUIDE = ROOT / "README.md", ROOT / "workflows" / "README.md"
OPERATING, LEDGER = ROOT / "runner" / "README.md", ROOT / "runner" / "ledger" / "README.md"
FAULTS, BENCHMARK = ROOT / "tests" / "faults" / "README.md", ROOT / "tests" / "benchmarks" / "README.md"
FROM_PYTHON = ROOT / "runner" / "runs" / "README.md"
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
DOCUMENTS = [README, GUIDE, OPERATING, LEDGER, FROM_PYTHON, FAULTS, BENCHMARK, CONTRIBUTING, ROOT / "CHANGELOG.md"]

# What the server of the recipes has: an offer at the end of a page is also the first of the next one.
PAGES: dict[str, Any] = {
    f"/offers?page={page}": {
        "offers": [{"id": each, "title": f"tea {each}"} for each in range(2 * page - 1, 2 * page + 2)]
    }
    for page in range(1, 6)
} | {
    "/archive": {"items": [{"title": "The history of tea"}]},
    "/blogs": {"items": [{"title": "Why tea?"}, {"title": "More tea"}]},
}

# What a YAML block leaves out when it shows a part of a workflow.
NAME = "name: example\n"
COLLECTORS = "\ncollectors:\n  - id: one\n    task: collector_1\n    with: {topic: tea}\n"


@dataclass(frozen=True)
class Block:
    """A fenced block of a document.

    Args:
        line: of its first line in the document.
        note: the comment above it: ``test: run``; empty without one.
    """

    document: Path
    line: int
    language: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str:
        """The name under which later blocks find it, if it is a file."""
        return self.note.removeprefix("file: ") if self.note.startswith("file: ") else ""


BLOCK = re.compile(r"^(?:<!-- ([^\n]+) -->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> Iterator[Block]:
    text = document.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield Block(document, text.count("\n", 0, found.start(3)) + 1, found[2], found[1] or "", found[3])


def table(document: Path, name: str) -> list[list[str]]:
    """The cells of the table below the comment `table: NAME`, without its headings."""
    below = document.read_text(encoding="utf-8").split(f"<!-- table: {name} -->\n", 1)[1]
    rows = re.match(r"(?:\|.*\|\n)+", below)
    assert rows, f"no table below {name}"
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[0].splitlines()[2:]]
    return [[cell.replace("\\|", "|") for cell in row] for row in cells]


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]


def chosen(*languages: str, note: str = "") -> list[Block]:
    return [block for block in BLOCKS if block.language in languages and block.note.startswith(note)]


@pytest.fixture
def checkout(own_directory: Path, block: Block) -> Path:
    """A directory that has what the checkout has, and the files of the block's document."""
    folder = own_directory / "checkout"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name != "output":  # where the examples write to
            (folder / path.name).symlink_to(path)
    for each in blocks(block.document):
        if each.file:
            with (folder / each.file).open("x", encoding="utf-8") as file:  # never one of the checkout's
                file.write(each.text)
    return folder


# What is shown, is run


def test_ci_finds_the_two_commands_of_the_readme() -> None:
    """With the function of `.ci/run` itself."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = re.search(r"^readme\(\) \{\n.*?^\}$", script, re.MULTILINE | re.DOTALL)
    names = re.findall(r"\$\(readme (\w+)\)", script)
    assert function
    found = [
        subprocess.run(
            ["bash", "-c", f"{function[0]}\nreadme {name}"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in names
    ]
    commands = {block.note.removeprefix("command: "): block.text for block in chosen("sh", note="command: ")}
    assert dict(zip(names, found, strict=True)) == commands
    assert len(commands) == 2


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_fence_and_every_marker_of_a_document_belongs_to_a_block(document: Path) -> None:
    """A session was cut away under its marker: the fence that was left hid the rest of the page, and no test missed it."""
    text = document.read_text(encoding="utf-8")
    stray = re.compile(r"^(?:\s*```|\s*~~~|<!-- (?:file|test|command): ).*$", re.MULTILINE)
    assert stray.findall(BLOCK.sub("", text)) == []


def test_no_block_of_the_documents_is_empty() -> None:
    assert [str(block) for block in BLOCKS if not block.text.strip()] == []


def test_every_session_shows_a_command() -> None:
    """Without one, nothing would be executed and nothing compared."""
    assert [str(block) for block in chosen("console") if not block.text.startswith("$ ")] == []


def test_every_block_that_shows_output_is_run() -> None:
    assert {block.note for block in chosen("console")} == {"test: session", "test: http"}


@pytest.mark.parametrize("block", chosen("sh", note="test: run"), ids=str)
@pytest.mark.usefixtures("state_dir")
def test_a_shell_block_of_the_documents_can_be_run(block: Block, checkout: Path) -> None:
    done = subprocess.run(
        ["bash", "-eu", "-c", block.text],
        cwd=checkout,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", chosen("sh"), ids=str)
def test_a_shell_block_of_the_documents_names_existing_commands_and_options(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    called = re.findall(r"-m runner ([a-z]+)([^|\n]*)", block.text)
    wrong = [
        f"{name} {option}"
        for name, words in called
        for option in [name, *re.findall(r"(?<=\s)--?[a-z][\w-]*", words)]
        if not known(name, option)
    ]
    assert not wrong


def known(command: str, word: str) -> bool:
    """Whether a command has an option; any other option of `run` is an input's."""
    with cli.cli.make_context("runner", ["doctor"], resilient_parsing=True) as context:
        found = cli.cli.get_command(context, command)
    options = {name for param in found.params for name in param.opts} if found else set()
    return found is not None and (not word.startswith("-") or word in {*options, "--help"} or command == "run")


@pytest.mark.parametrize("block", chosen("yaml"), ids=str)
def test_a_yaml_block_of_the_documents_is_valid(block: Block, checkout: Path) -> None:
    text = block.text if re.search(r"^name:", block.text, re.MULTILINE) else NAME + block.text
    text += "" if re.search(r"^collectors:", block.text, re.MULTILINE) else COLLECTORS
    source = parse_source(text, str(checkout / "example.yaml"))
    check(source, tasks_of(source, Settings(tasks=["myapp.*"])))


@pytest.mark.parametrize("block", chosen("python"), ids=str)
def test_a_python_block_of_the_documents_can_be_imported(block: Block, checkout: Path) -> None:
    (checkout / "example.py").write_text(block.text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "import example"],
        cwd=checkout,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", chosen("console", note="test: session"), ids=str)
@pytest.mark.usefixtures("state_dir")
def test_a_recorded_session_of_the_documents_is_what_happens(block: Block, checkout: Path) -> None:
    """Run again as it was recorded, on a terminal of 80 columns; times, ids and names of machines apart."""
    run_id = ""
    again = []
    for command in re.findall(r"^\$ (.*)$", block.text, re.MULTILINE):
        executed = re.sub(r"default-[a-z0-9]{8}\b", run_id or r"\g<0>", command)
        shown = on_a_terminal(executed, cwd=checkout)
        run_id = run_id or next(iter(re.findall(r"default-[a-z0-9]{8}\b", shown)), "")
        again.append(f"$ {command}\n{shown}")
    assert anonymous("\n".join(again)) == anonymous(block.text)


@pytest.mark.parametrize("block", chosen("console", note="test: http"), ids=str)
@pytest.mark.usefixtures("state_dir")
def test_a_recipe_does_what_it_says(block: Block, checkout: Path) -> None:
    """With a server on this machine in the place of https://example.org."""
    with serve(PAGES) as server:
        for file in [checkout / each.file for each in blocks(block.document) if each.language == "yaml" and each.file]:
            file.write_text(file.read_text("utf-8").replace("https://example.org", server.url("")), encoding="utf-8")
        commands = re.findall(r"^\$ (.*)$", block.text, re.MULTILINE)
        again = "\n".join(f"$ {command}\n{on_a_terminal(command, cwd=checkout)}" for command in commands)
    assert anonymous(again.replace(server.url(""), "https://example.org")) == anonymous(block.text)


def anonymous(session: str) -> list[str]:
    """The lines of a session, without what differs from one run of it to the next."""
    patterns = {
        r"default-[a-z0-9]{8}\b": "RUN",
        r"\b[0-9a-f]{12}\b": "HASH",
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+": "TIME",
        r"\b\d+(\.\d+)?s\b": "SECONDS",
        r"\bworker-\d+@\S+": "WORKER",
        r"(?<=WORKER  \w{4})\w.*…$": "…",  # how much of an error fits, the length of the machine's name decides
        r"\s+": " ",
    }
    lines = []
    for line in filter(str.strip, session.splitlines()):
        told = line
        for pattern, word in patterns.items():
            told = re.sub(pattern, word, told)
        lines.append(told.strip())
    return lines


# What is listed, is so


def test_the_picture_in_the_readme_is_that_of_the_default_workflow() -> None:
    plan = load(DEFAULT, Settings()).plan()
    picture = next(block for block in chosen("mermaid") if block.document == GUIDE)
    assert picture.text.strip() == draw_mermaid(plan).strip()


def test_the_workflow_explained_in_the_guide_is_the_default_one() -> None:
    explained = next(block for block in chosen("yaml") if block.text.startswith("name: default "))
    assert yaml.safe_load(explained.text) == yaml.safe_load(Path(DEFAULT).read_text(encoding="utf-8"))


def test_every_document_is_tested() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {ROOT / name for name in listed.split()} <= set(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_every_link_of_the_documents_leads_somewhere(document: Path) -> None:
    """Relative links and their anchors; the badge of CI is a page of GitHub, beside the files."""
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("../../actions/")]
    assert not [link for link in local if not leads_somewhere(link, document)]


@pytest.mark.parametrize("document", [OPERATING, CONTRIBUTING], ids=lambda document: document.parent.name)
def test_every_file_that_is_named_exists(document: Path) -> None:
    """`worker/execute.py` is one of the package, `tests/tour/` of the checkout."""
    named = re.findall(r"`([\w.]+(?:/[\w.]+)*/(?:[\w.]+\.(?:py|yaml|sh))?)`", document.read_text(encoding="utf-8"))
    assert named
    assert not [name for name in named if not (ROOT / name).exists() and not (ROOT / "runner" / name).exists()]


def test_every_name_that_python_has_is_listed() -> None:
    """With the one for `await` beside it; what `load` and `note` are for, the guide says too."""
    rows = [[*codes(name), *codes(awaitable)] for name, awaitable, _ in table(FROM_PYTHON, "python")]
    listed = {re.sub(r"\(.*|^.*\.", "", name) for row in rows for name in row}
    methods = {name for name in vars(Run) if not name.startswith("_")}
    functions = {name for name in python.__all__ if inspect.isfunction(getattr(python, name))}

    assert listed == methods | functions - {"note"}


def test_every_error_that_python_has_is_listed() -> None:
    listed = {name for cell, _ in table(FROM_PYTHON, "python errors") for name in codes(cell)}
    ours = [
        name
        for name in python.__all__
        if inspect.isclass(each := getattr(python, name)) and issubclass(each, Exception)
    ]

    assert listed == {*ours} - {"RunnerError"}


def test_every_folder_of_the_package_is_listed() -> None:
    folders = {f"{path.name}/" for path in (ROOT / "runner").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {codes(row[0])[0] for row in table(OPERATING, "folders")} == folders


def test_every_script_of_the_ledger_is_documented() -> None:
    """`Redis or Valkey` and the like are no scripts: a script is a name in capitals whose value is Lua."""
    text = LEDGER.read_text(encoding="utf-8")
    shared = vars(prelude).keys()
    ours = {name for name, text in vars(scripts).items() if name.isupper() and isinstance(text, str)} - shared
    assert not {name for name in ours if not re.search(rf"\b{name}\b", text)}
    transitions = re.findall(r"^    \S+ --> \S+: (.*)$", text, re.MULTILINE)
    assert {word for each in transitions for word in re.findall(r"\b[A-Z_]{4,}\b", each)} <= ours


def test_the_statuses_of_a_step_and_of_a_run_are_those_of_the_ledger() -> None:
    text = LEDGER.read_text(encoding="utf-8")
    outcomes = text.split("- An outcome is ", 1)[1].split(". ", 1)[0]
    diagram = text.split("## A run\n", 1)[1]
    assert set(codes(outcomes)) == set(get_args(StepStatus))
    assert set(re.findall(r"^    \w+ --> (\w+):", diagram, re.MULTILINE)) == set(get_args(RunStatus)) - {"unreadable"}


@pytest.mark.usefixtures("state_dir")
def test_the_picture_of_the_terminal_is_what_a_run_leaves_there() -> None:
    """Recorded again, and exported: times, ids and names of machines apart."""
    recording = terminal_picture.recorded(ROOT)
    kept = terminal_picture.lines(terminal_picture.PICTURE.read_text(encoding="utf-8"))
    again = terminal_picture.lines(terminal_picture.svg(recording))
    assert anonymous("\n".join(again)) == anonymous("\n".join(kept))
    assert len(anonymous("\n".join(kept))) == 10


def leads_somewhere(link: str, document: Path) -> bool:
    """Whether there is a file, and in it a heading if the link names one."""
    name, _, anchor = link.partition("#")
    target = document.parent / name if name else document
    if not anchor:
        return target.exists()
    prose = BLOCK.sub("", target.read_text(encoding="utf-8"))  # a `#` in code is a comment
    return anchor in map(heading, re.findall(r"^#+ (.+)$", prose, re.MULTILINE))


def heading(text: str) -> str:
    """A heading as GitHub makes an anchor of it."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def test_every_command_is_listed_in_the_readme() -> None:
    with cli.cli.make_context("runner", ["doctor"], resilient_parsing=True) as context:
        names = cli.cli.list_commands(context)
    assert sorted(codes(row[0])[0].split()[0] for row in table(README, "commands")) == sorted(names)


def test_the_commands_with_json_are_those_that_the_readme_names() -> None:
    """It said so of every command, and `tasks` and `validate` had none."""
    with cli.cli.make_context("runner", ["doctor"], resilient_parsing=True) as context:
        commands = {name: cli.cli.get_command(context, name) for name in cli.cli.list_commands(context)}
    having = {name for name, each in commands.items() if each and any("--json" in param.opts for param in each.params)}
    sentence = README.read_text("utf-8").split("With `--json`, which", 1)[1].split(" have,", 1)[0]
    assert set(codes(sentence)) == having


def test_every_exit_code_of_an_error_is_listed_in_the_readme() -> None:
    listed = {int(row[0]) for row in table(README, "exit codes")}
    assert {error.exit_code for error in kinds(errors.RunnerError)} <= listed


def kinds(error: type[errors.RunnerError]) -> list[type[errors.RunnerError]]:
    return [error, *(kind for below in error.__subclasses__() for kind in kinds(below))]


def test_every_variable_that_the_documents_name_is_a_setting() -> None:
    # Not _RUNNER_COMPLETE: that one is click's.
    texts = [path.read_text("utf-8") for path in DOCUMENTS if path.name != "CHANGELOG.md"]  # that names a misspelt one
    named = {name for text in texts for name in re.findall(r"(?<!_)RUNNER_([A-Z_]+)", text)}
    assert named <= {name.upper() for name in Settings.model_fields} | {""}


def test_every_poe_task_that_the_documents_name_is_defined() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    named = {name for path in DOCUMENTS for name in re.findall(r"\bpoe (\w+)", path.read_text("utf-8"))}
    assert named <= set(project["tool"]["poe"]["tasks"])


def test_every_setting_is_listed_in_the_readme_with_its_description() -> None:
    listed = {codes(row[0])[0]: row[2] for row in table(OPERATING, "settings")}
    assert listed == {f"RUNNER_{name.upper()}": field.description for name, field in Settings.model_fields.items()}


def test_every_setting_is_listed_in_the_readme_with_its_default() -> None:
    listed = {row[0].strip("`"): row[1].strip("`") for row in table(OPERATING, "settings")}
    defaults = Settings(state_dir=Path("~/.local/state/celery-collectors")).model_dump()
    shown = {
        name: "" if value is None or value == [] else json.dumps(value, default=str).strip('"')
        for name, value in defaults.items()
    }
    shown["state_dir"] = "~/.local/state/celery-collectors"
    assert listed == {f"RUNNER_{name.upper()}": value for name, value in shown.items()}


KEYS = {
    "workflow": "Workflow",
    "input": "Input",
    "defaults": "Defaults",
    "collector": "Collector",
    "gather": "Gather",
    "stage": "Stage",
    "fan-out stage": "FanOutStage",
    "gather without an id": "StageGather",  # it has that of its stage
    "collector defaults": "CollectorDefaults",
    "stage defaults": "StageDefaults",
    "hook": "Hook",
    "hooks": "Hooks",
    "retry": "Retry",
    "foreach": "Foreach",
    "then": "Then",
    "file": "ItemsFile",
    "limit": "Limit",
    "cooldown": "Cooldown",
    "breaker": "Breaker",
}


def test_every_part_of_the_language_has_a_table_in_the_guide() -> None:
    assert {"Workflow", *spec.schema()["$defs"]} == set(KEYS.values())


@pytest.mark.parametrize("kind", KEYS)
def test_the_guide_lists_every_key_of_the_language_and_no_other(kind: str) -> None:
    schema = spec.schema()
    model: dict[str, Any] = {"Workflow": schema, **schema["$defs"]}[KEYS[kind]]
    assert {codes(row[0])[0] for row in listed_for(kind)} == set(model["properties"])


def listed_for(kind: str) -> list[list[str]]:
    """The rows for a part of the language; all kinds of step share a table, whose second column says which."""
    of, _, defaults = kind.partition(" ")
    if of not in {"collector", "gather", "stage", "hook"}:
        return table(GUIDE, kind)
    rows = [row for row in table(GUIDE, "step") if row[1] == "every" or of in row[1].split(", ")]
    return [row for row in rows if not defaults or codes(row[0]) != ["id"]]


def test_the_guide_lists_the_defaults_of_retry() -> None:
    listed = {codes(row[0])[0]: yaml.safe_load(row[1]) for row in table(GUIDE, "retry") if row[1]}
    assert spec.Retry.model_validate(listed) == spec.Retry()


@pytest.mark.parametrize(("kind", "model"), [("cooldown", spec.Cooldown), ("breaker", spec.Breaker)])
def test_the_guide_lists_the_defaults_of_a_limit(kind: str, model: type[spec.Cooldown | spec.Breaker]) -> None:
    listed = {codes(row[0])[0]: yaml.safe_load(row[1]) for row in table(GUIDE, kind)}
    assert model.model_validate(listed) == model()


def test_every_built_in_task_is_listed_in_the_guide() -> None:
    offered = re.findall(r"^(\S+)  ", runner("tasks").stdout, re.MULTILINE)
    assert [codes(row[0])[0] for row in table(GUIDE, "tasks")] == sorted(offered)


def test_every_built_in_task_is_described_as_in_its_docstring() -> None:
    tasks = read_tasks(offered_modules(Settings()))
    assert {codes(row[0])[0]: row[1] for row in table(GUIDE, "tasks")} == {
        name: task.summary for name, task in tasks.items()
    }


def test_the_parameters_in_the_guide_are_those_of_the_docstrings() -> None:
    """If this fails: `python -m tests.guide_params`."""
    text = GUIDE.read_text(encoding="utf-8")
    families = {"http", "files", "command", "gather", "notify", "records", "write"}
    tasks = {name for name in read_tasks(offered_modules(Settings())) if name.partition(".")[0] in families}
    assert set(re.findall("<!-- parameters: (.*) -->", text)) == tasks
    assert guide_params.written(text) == text


def test_every_built_in_task_is_used_in_an_example_of_the_guide() -> None:
    used = {step["task"] for block in chosen("yaml") for step in steps(yaml.safe_load(block.text))}
    assert set(read_tasks(offered_modules(Settings()))) - {"collector_request"} <= used


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a workflow that name their task."""
    gather = [workflow["gather"]] if "gather" in workflow else []
    hooks = [step for some in workflow.get("hooks", {}).values() for step in some]
    every = [*workflow.get("collectors", []), *gather, *workflow.get("stages", []), *hooks]
    return [step for step in every if "task" in step]


def test_every_code_of_a_fault_is_listed_in_the_guide_with_its_meaning() -> None:
    assert {codes(row[0])[0]: row[1] for row in table(GUIDE, "faults")} == CODES


def test_every_code_of_a_warning_is_listed_in_the_guide_with_its_meaning() -> None:
    assert {codes(row[0])[0]: row[1] for row in table(GUIDE, "warnings")} == WARNINGS


def test_every_status_of_a_step_is_listed_in_the_guide() -> None:
    assert {codes(row[0])[0] for row in table(GUIDE, "statuses")} == set(get_args(StepStatus))


def test_every_variable_that_a_command_inherits_is_listed_in_the_guide() -> None:
    """The guide left `*_proxy` out, and says that a command inherits nothing else."""
    listed = (
        GUIDE.read_text("utf-8").split("A command inherits from the worker", 1)[1].split("It inherits nothing else")[0]
    )
    assert codes(listed) == list(INHERITED)


def test_the_guide_lists_the_limits_of_the_language() -> None:
    settings, schema = Settings(), spec.schema()
    read, found, got, printed = (
        inspect.signature(task.run).parameters for task in (files.read, files.search, get, run)
    )
    retry = schema["$defs"]["Retry"]["properties"]["max_retries"]
    assert {row[0]: row[1] for row in table(GUIDE, "limits")} == {
        "a file": f"{source.FILE_LIMIT // MIB} MiB, {source.EVENT_LIMIT:,} YAML events, {source.DEPTH_LIMIT} levels, "
        f"{source.ALIAS_LIMIT} aliases",
        "a string in it": f"{source.STRING_LIMIT // 1024} KiB",
        "an integer": f"less than 2^{source.INTEGER_LIMIT.bit_length() - 1}, as every JSON reader can carry",
        "collectors in the file": f"{schema['properties']['collectors']['maxItems']:,}",
        "items of a `foreach`, or of a `range`": f"{expressions.ITEM_LIMIT:,}, each {foreach.SIZE_LIMIT // 1024} KiB of JSON",
        "stages": f"{schema['properties']['stages']['maxItems']}",
        "inputs": f"{schema['properties']['inputs']['maxProperties']}",
        "an expression": f"{expressions.LENGTH_LIMIT:,} characters, {expressions.MACRO_LIMIT} nested macros, "
        f"{expressions.SECONDS_LIMIT} s of the processor, {expressions.MEMORY_LIMIT // MIB // 1024} GiB of memory, "
        f"a value of {expressions.VALUE_LIMIT // MIB} MiB of JSON",
        "a timeout": f"1 ms to {spec.DAY / 3600:g} h",
        "retries of a step": f"{retry['maximum']}",
        "a step's value": f"{settings.value_limit // MIB} MiB of JSON (`RUNNER_VALUE_LIMIT`)",
        "the list of the collectors' values": f"{settings.fan_in_limit // MIB} MiB of JSON (`RUNNER_FAN_IN_LIMIT`); none for a "
        "gather that takes an `Iterator`",
        "an answer to `http.get`": f"{got['max_bytes'].default // MIB} MiB (`max_bytes`)",
        "files of `files.read`": f"{read['max_files'].default:,} files (`max_files`), "
        f"{read['max_bytes'].default // MIB} MiB together (`max_bytes`)",
        "lines of `files.search`": f"{found['max_matches'].default:,} (`max_matches`), each cut after "
        f"{files.LINE_SHOWN:,} characters",
        "the output of `command.run`": f"{printed['max_bytes'].default // MIB} MiB (`max_bytes`)",
    }


@pytest.mark.parametrize("row", table(GUIDE, "expressions"), ids=lambda row: str(row[0]))
def test_an_example_of_an_expression_in_the_guide_has_the_value_beside_it(row: list[str]) -> None:
    names: dict[str, dict[str, Any]] = {
        "inputs": {"topic": "tea", "tags": ["a", "b"], "limit": 5, "options": {"lang": "en"}, "deep": True},
        "run": {"id": "news-1", "name": "news", "started_at": "2026-01-02T03:04:05+00:00"},
    }
    assert expressions.check(codes(row[0])[0], names) is None
    assert expressions.expand(codes(row[0])[0], names) == json.loads(codes(row[1])[0])
