"""The shipped workflows on real input: a git repository, and HTTP servers that are slow, fail and recover."""

import csv
import json
import subprocess
from pathlib import Path

import pytest

from tests.command_line import ROOT, WORKFLOWS, Answer, runner
from tests.http_server import serve

pytestmark = pytest.mark.usefixtures("state_dir")

STORIES = {"hits": [{"title": "Tea", "url": "https://a", "created_at": "2026"}, {"title": "Tea", "url": "https://a"}]}
REPOSITORIES = {"items": [{"full_name": "tea/cup", "html_url": "https://b", "created_at": "2025"}]}
QUESTIONS = {"items": [{"title": "Which tea?", "link": "https://c"}]}


def about(topic: str, repository: Path, output: Path) -> tuple[Answer, list[dict[str, str]]]:
    answer = runner(
        *("run", str(WORKFLOWS / "repository.yaml"), "--topic", topic),
        *("--repository", str(repository), "--output", str(output)),
    )
    assert answer.code == 0, answer.stderr
    return answer, [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def test_every_record_of_the_repository_workflow_is_true(tmp_path: Path) -> None:
    answer, records = about("celery", ROOT, tmp_path / "about.jsonl")

    assert json.loads(answer.stdout)["count"] == len(records)
    assert f'  write: path = "{tmp_path / "about.jsonl"}", count = {len(records)}' in answer.stderr.splitlines()
    assert {record["kind"] for record in records} >= {"source", "document"}
    found = [record for record in records if record["kind"] != "commit"]
    untrue = [
        record
        for record in found
        if (ROOT / record["path"]).read_text(encoding="utf-8").splitlines()[int(record["line"]) - 1] != record["text"]
    ]
    assert untrue == []


def test_the_repository_workflow_finds_everything_in_a_repository(tmp_path: Path) -> None:
    repository = tmp_path / "tea"
    repository.mkdir()
    git = ("git", "-C", str(repository), "-c", "user.name=A", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    (repository / "brew.py").write_text("# Tea\nwater = 1\nTEA = 2\n", encoding="utf-8")
    (repository / "README.md").write_text("No coffee,\nonly tea.\n", encoding="utf-8")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "Brew tea"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "Rinse", "--allow-empty"], check=True)

    _, records = about("tea", repository, tmp_path / "about.jsonl")

    assert [(record["kind"], record["text"]) for record in records] == [
        ("commit", "Brew tea"),
        ("document", "only tea."),
        ("source", "# Tea"),
        ("source", "TEA = 2"),
    ]


def test_the_http_workflow_has_the_records_of_slow_and_recovering_sources(tmp_path: Path) -> None:
    output = tmp_path / "tea.csv"
    with serve({"/hn": STORIES, "/gh": REPOSITORIES, "/so": QUESTIONS}) as server:
        answer = runner(
            *("run", str(WORKFLOWS / "http_sources.yaml"), "--topic", "tea", "--output", str(output), "--json"),
            *("--hacker-news", server.url("/hn?delay=1")),
            *("--github", server.url("/gh?fail=1")),
            *("--stack-overflow", server.url("/so?fail=1&status=429&retry_after=1")),
        )
    steps = {step["id"]: step for step in answer.json["steps"]}
    assert answer.code == 0, answer.stderr
    assert {name: steps[name]["attempts"] for name in ("hacker_news", "github", "stack_overflow")} == {
        "hacker_news": 1, "github": 2, "stack_overflow": 2,
    }  # fmt: skip
    rows = list(csv.DictReader(output.read_text(encoding="utf-8").splitlines()))
    assert [(row["source"], row["title"]) for row in rows] == [
        ("github", "tea/cup"),
        ("hacker_news", "Tea"),
        ("stack_overflow", "Which tea?"),
    ]


def test_the_http_workflow_does_not_retry_a_missing_page_and_keeps_the_others(tmp_path: Path) -> None:
    with serve({"/hn": STORIES, "/gh": REPOSITORIES}) as server:
        answer = runner(
            *(
                "run",
                str(WORKFLOWS / "http_sources.yaml"),
                "--topic",
                "tea",
                "--output",
                str(tmp_path / "x.csv"),
                "--json",
            ),
            *("--hacker-news", server.url("/hn"), "--github", server.url("/gh")),
            *("--stack-overflow", server.url("/status/404")),
        )
    [step] = [step for step in answer.json["steps"] if step["id"] == "stack_overflow"]
    assert (step["status"], step["attempts"]) == ("failed", 1)
    assert "404" in step["error"]["message"]
    assert (answer.code, answer.json["status"]) == (0, "partial")
    rows = csv.DictReader((tmp_path / "x.csv").read_text(encoding="utf-8").splitlines())
    assert [row["source"] for row in rows] == ["github", "hacker_news"]


def test_the_inventory_workflow_has_a_row_of_each_of_200_targets_also_of_those_that_failed(tmp_path: Path) -> None:
    names = [f"host-{number}" for number in range(200)]
    targets, output = tmp_path / "targets.txt", tmp_path / "inventory.csv"
    targets.write_text("\n".join(names) + "\n", encoding="utf-8")
    down = ["sh", "-c", 'case "$0" in *7) echo "no route to $0" >&2; exit 3;; esac']

    answer = runner(
        *("run", str(WORKFLOWS / "inventory.yaml"), "--targets", str(targets), "--output", str(output)),
        *("--command", json.dumps(down), "--json"),
    )

    rows = list(csv.DictReader(output.read_text(encoding="utf-8").splitlines()))
    assert [row["item"] for row in rows] == names
    failed = {row["item"] for row in rows if row["status"] == "failed"}
    assert failed == {name for name in names if name.endswith("7")}
    assert "no route to host-7" in rows[7]["error"]
    assert (answer.code, answer.json["status"]) == (0, "partial"), answer.stderr
    assert answer.json["result"] == {"count": 200, "by": {"succeeded": 180, "failed": 20}}


def test_the_inventory_workflow_fails_if_too_few_targets_answer_and_says_so_where_it_is_told_to(tmp_path: Path) -> None:
    targets, output = tmp_path / "targets.txt", tmp_path / "inventory.csv"
    targets.write_text("one\ntwo\n", encoding="utf-8")
    words = ("--targets", str(targets), "--output", str(output), "--command", '["false"]', "--json")
    with serve({"/hook": "ok"}) as server:
        answer = runner("run", str(WORKFLOWS / "inventory.yaml"), *words, "--webhook", server.url("/hook"))
    assert (answer.code, answer.json["status"], output.exists()) == (1, "failed", False)
    [post] = server.posts
    assert json.loads(post.body) == {"text": f"inventory: {answer.json['cause']}"}
    assert "/hook" not in answer.stderr  # it is a secret
