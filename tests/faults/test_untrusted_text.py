"""Text of others (a YAML, a file's name, what was typed) to what a terminal and a log are shown of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import DEFAULT, ROOT, Answer, runner
from tests.http_server import serve
from tests.workflow import write_workflow, yaml_step

ESCAPE = "\x1b]0;owned\x07\x1b[2J"

pytestmark = pytest.mark.usefixtures("state_dir")


def no_escape(answer: Answer) -> bool:
    return not any(char in answer.stdout + answer.stderr for char in "\x1b\x07\x9b\r")


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """A valid workflow whose prose, defaults and choices hold escape sequences."""
    file = tmp_path / "hostile.yaml"
    file.write_text(
        'name: hostile\ndescription: "\\e]0;owned\\a a \\x9b2J b"\n'
        'inputs:\n  topic: {description: "\\e[31m", default: "\\x9b2J", enum: ["\\x9b2J", "\\e[31m"]}\n'
        "collectors: [{id: a, task: collector_1, with: {topic: x}}]\n"
    )
    return str(file)


@pytest.mark.parametrize(
    "words", [("run", "{}", "--help"), ("run", "{}", "--dry-run"), ("graph", "{}"), ("validate", "{}")], ids=" ".join
)
def test_a_command_shows_no_escape_sequence_of_a_workflow(words: tuple[str, ...], hostile: str) -> None:
    """`run FILE --help` is what a careful user calls first on a file of somebody else's."""
    answer = runner(*(word.format(hostile) for word in words))
    assert answer.code == 0, answer.stderr
    assert no_escape(answer)


@pytest.mark.parametrize("command", ["validate", "graph", "run", "doctor", "tasks"])
def test_a_command_shows_no_escape_sequence_of_a_file_name(command: str, tmp_path: Path) -> None:
    file = tmp_path / f"{ESCAPE}\r.yaml"
    answer = runner(command, str(file))
    assert answer.code == 3
    assert no_escape(answer)


def test_a_valid_file_is_named_without_its_escape_sequences(tmp_path: Path) -> None:
    file = tmp_path / f"{ESCAPE}.yaml"
    file.write_bytes(Path(DEFAULT).read_bytes())
    answer = runner("validate", str(file))
    assert answer.stderr.endswith(".yaml: valid\n")
    assert no_escape(answer)


@pytest.mark.parametrize(
    "words",
    [
        ("run", DEFAULT, f"--{ESCAPE}"),
        ("run", DEFAULT, ESCAPE),
        ("run", DEFAULT, "--topic", "x", "--input", ESCAPE),
        ("run", DEFAULT, "--topic", "x", "--timeout", ESCAPE),
        ("runs", "--limit", ESCAPE),
        ("graph", DEFAULT, "--format", ESCAPE),
        ("show", ESCAPE),
        (ESCAPE,),
    ],
)
def test_a_usage_error_quotes_no_escape_sequence(words: tuple[str, ...]) -> None:
    answer = runner(*words)
    assert answer.code == 2
    assert no_escape(answer)


@pytest.mark.parametrize(
    "default",
    ['"s3cret-abc', "s3cret-abc: x", "[s3cret-abc", "@s3cret-abc", "*s3cret-abc", "!s3cret-abc! x", "\n\ts3cret-abc"],
)
def test_a_syntax_error_does_not_show_the_line_of_a_secret(default: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        f"name: bad\ninputs:\n  token:\n    secret: true\n    default: {default}\n"
        "collectors: [{id: a, task: collector_1, with: {topic: x}}]\n"
    )
    answer = runner("validate", str(file))
    assert answer.code == 3
    assert "s3cret" not in answer.stdout + answer.stderr


@pytest.mark.parametrize("value", ['"s3cret-abc', "s3cret-abc: x", "*s3cret-abc", "s3cret-abc\nsecret: 2\nsecret: 3"])
def test_a_fault_of_an_inputs_file_does_not_show_a_secret(value: str, tmp_path: Path) -> None:
    workflow, inputs = tmp_path / "w.yaml", tmp_path / "inputs.yaml"
    workflow.write_text(
        "name: w\ninputs: {token: {secret: true}}\n"
        "collectors: [{id: a, task: collector_1, with: {topic: '${{ inputs.token }}'}}]\n"
    )
    inputs.write_text(f"token: {value}\n")
    answer = runner("run", str(workflow), "--inputs-file", str(inputs), "--dry-run")
    assert answer.code in {0, 3}
    assert "s3cret" not in answer.stdout + answer.stderr


def test_a_file_without_secrets_shows_the_line_of_its_syntax_error(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("name: a: b\n")
    assert "    1 | name: a: b" in runner("validate", str(file)).stderr


def test_an_expression_that_fails_with_a_secret_does_not_show_it(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        "name: w\ninputs: {token: {secret: true}}\n"
        "collectors: [{id: a, task: collector_1, with: {topic: '${{ int(inputs.token) }}'}}]\n"
    )
    answer = runner("run", str(file), "--token", "s3cret-abc", "--dry-run")
    assert answer.code == 3
    assert "E038" in answer.stderr
    assert "s3cret" not in answer.stdout + answer.stderr


LEAK = """
name: leak
inputs: {token: {secret: true}}
collectors:
  - {id: alone, task: command.run, retry: {max_retries: 1, delay: 1ms}, with: {argv: [sh, %(script)s, "${{ inputs.token }}"]}}
  - {id: page, task: command.run, foreach: [1, 2], with: {argv: [sh, %(script)s, "${{ inputs.token }}"]}}
"""
FORGED = "[2026-11-26 00:00:00: ERROR/MainProcess] forged"


def test_the_log_of_a_worker_has_no_secret_no_escape_sequence_and_no_forged_line(
    tmp_path: Path, state_dir: Path
) -> None:
    """The message of a failure was logged as it came: a server could write lines of its own, and a secret stood in clear."""
    file, script = tmp_path / "leak.yaml", tmp_path / "leak.sh"
    file.write_text(LEAK % {"script": script})
    script.write_text(f"printf '\\033[2J\\n{FORGED}\\n%s' \"$1\" >&2; exit 3\n")
    answer = runner("run", str(file), "--token", "s3cret-abc", "--run-id", "leak-1")
    assert answer.code == 1
    log = (state_dir / "logs" / "leak-1.log").read_text()
    assert "forged" in log
    assert FORGED not in log.splitlines()
    assert [word for word in ("\x1b[2J", "s3cret") if word in log + answer.stdout + answer.stderr] == []


def test_a_secret_that_httpx_has_encoded_is_not_shown(tmp_path: Path) -> None:
    """`httpx` leaves other characters of a URL as they are than the search for secrets knew."""
    secret = "p4ss w'ord|é<x>!"
    with serve() as server:
        file = write_workflow(
            tmp_path / "w.yaml",
            inputs={"token": {"secret": True}},
            collectors=[yaml_step("a", "http.get", {"url": server.url("/gone/") + "${{ inputs.token }}"})],
        )
        answer = runner("run", str(file), "--token", secret)
        shown = answer.stderr + runner("show", answer.stderr.split(" · run ")[-1].split()[0], "--step", "a").stdout
    assert "404" in shown
    assert not re.search("p4ss|w'ord|%3Cx", shown)


LOUD = """
import logging
from celery import shared_task

@shared_task(name="loud")
def loud(token):
    print(f"printed {token} \x1b[2J")
    logging.getLogger("library").warning("logged %s", token)
    try:
        raise ValueError("\x1b[2J raised " + token)
    except ValueError:
        logging.getLogger("library").exception("caught")
"""


def test_what_a_task_and_its_libraries_log_has_no_secret_and_no_escape_sequence(
    tmp_path: Path, state_dir: Path
) -> None:
    """A built-in task's library, httpx, logs the URL of each request: `params: {api_key: ${{ inputs.token }}}` stood in the worker's log in clear."""
    (tmp_path / "loud.py").write_text(LOUD)
    token = "${{ inputs.token }}"
    with serve() as server:
        file = write_workflow(
            tmp_path / "w.yaml",
            include=["loud"],
            inputs={"token": {"secret": True}},
            collectors=[
                yaml_step("a", "http.get", {"url": server.url("/echo"), "params": {"key": token}}),
                yaml_step("b", "loud", {"token": token}),
                yaml_step("c", "loud", {"token": token}, foreach=[1]),
            ],
            gather={"task": "records.count"},
        )
        answer = runner("run", str(file), "--token", "p4ss w'ord", "--run-id", "loud-1")
    log = (state_dir / "logs" / "loud-1.log").read_text()
    assert answer.code == 0, answer.stderr
    assert [words for words in ("key=***", "printed ***", "logged ***", "raised ***") if words not in log] == []
    assert [words for words in ("p4ss", "\x1b[2J") if words in log] == []


def test_hints_of_the_installed_script_name_it(tmp_path: Path) -> None:
    """After `uv tool install`, `python -m runner` is "No module named runner"."""
    script = Path(sys.executable).with_name("runner")
    done = subprocess.run([script, "show", "nope"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 7
    assert f"`{script} runs` lists the runs" in done.stderr or "`runner runs` lists the runs" in done.stderr
    usage = subprocess.run([script, "run"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "python -m" not in usage.stderr
