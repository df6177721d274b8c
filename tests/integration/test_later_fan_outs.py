"""Stages that fan out: their items, their faults, what is resumed, and what the views show."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ROOT, WORKFLOWS, runner
from tests.http_server import serve
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")

FETCH = """
name: fetched
include: [observed]
inputs:
  found: {{type: array, default: [a, b, c]}}
  journal: {{type: string, default: "{journal}"}}
  times: {{type: integer, default: 0}}
collectors:
  - {{id: find, task: observed.give, with: {{value: "${{{{ inputs.found }}}}", journal: "${{{{ inputs.journal }}}}", step: find}}}}
gather: {{task: gather.concat}}
stages:
  - id: pages
    collectors:
      - id: page
        foreach: {{items: "${{{{ value }}}}", as: name, key: "${{{{ name }}}}", max_items: 4}}
        task: observed.fail
        with: {{journal: "${{{{ inputs.journal }}}}", step: "page-${{{{ name }}}}", times: "${{{{ name == 'b' ? inputs.times : 0 }}}}"}}
      - {{id: count, task: observed.give, with: {{value: "${{{{ size(value) }}}}", journal: "${{{{ inputs.journal }}}}", step: count}}}}
    gather: {{task: observed.gather, with: {{journal: "${{{{ inputs.journal }}}}"}}}}
  - {{id: last, task: observed.stage, with: {{journal: "${{{{ inputs.journal }}}}", step: last}}}}
"""


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    """A workflow that finds names and fetches a page for each; that of b fails as often as the input `times` says."""
    shutil.copy(ROOT / "tests" / "workflows" / "observed.py", tmp_path)
    file = tmp_path / "fetched.yaml"
    file.write_text(FETCH.format(journal=tmp_path / "j"))
    return file


def starts(file: Path) -> list[str]:
    """The steps that were started, in the order of their ids."""
    lines = (file.parent / "j").read_text().splitlines()
    return sorted(line.split()[3] for line in lines if line.split()[2] == "START")


def test_what_was_found_is_fetched_and_gathered(fetched: Path) -> None:
    answer = runner("run", str(fetched), "--run-id", "one", "--json")
    assert (answer.code, answer.json["status"]) == (0, "succeeded"), answer.stderr
    assert answer.json["result"] == {"last": ["page-a", "page-b", "page-c", 3]}
    assert runner("show", "one", "--step", "pages", "--json").json["value"] == ["page-a", "page-b", "page-c", 3]
    assert runner("show", "one", "--step", "page[b]", "--json").json["status"] == "succeeded"


def test_a_stage_without_items_gathers_an_empty_list(fetched: Path) -> None:
    answer = runner("run", str(fetched), "--found", "[]", "--json")
    assert (answer.code, answer.json["result"]) == (0, {"last": [0]})


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ('["a", "b", "a"]', 'duplicate key "a": item 0 (counted from 0) has it, and item 2 (counted from 0)'),
        ('["a", {"b": 1}]', "expected a key of 1 to 200 printable characters"),
        ('["a", "b", "c", "d", "e"]', "over 4 items, limit 4"),
    ],
)
def test_items_that_cannot_be_used_fail_the_stage_before_anything_is_sent(
    found: str, reason: str, fetched: Path
) -> None:
    answer = runner("run", str(fetched), "--found", found, "--json")
    [stage] = [step for step in answer.json["steps"] if step["id"] == "pages"]
    assert (answer.code, stage["status"]) == (1, "failed")
    assert reason in stage["error"]["message"]
    assert re.match(rf"{fetched}:\d+:9: foreach of page: ", stage["error"]["message"])
    assert starts(fetched) == ["find"]


def test_a_value_that_is_no_list_fails_the_stage_and_is_named(tmp_path: Path) -> None:
    file = tmp_path / "count.yaml"
    file.write_text(
        "name: count\ncollectors: [{id: one, task: collector_1, with: {topic: tea}}]\ngather: {task: gather.concat}\nstages:\n"
        "  - {id: number, task: records.count}\n"
        "  - {id: all, collectors: [{id: each, foreach: '${{ value }}', task: collector_1, with: {topic: x}}]}\n"
    )
    answer = runner("run", str(file), "--json")
    [stage] = [step for step in answer.json["steps"] if step["id"] == "all"]
    assert "expected a list of items, found a mapping" in stage["error"]["message"]


def test_resume_executes_only_what_is_missing_in_the_later_fan_out(fetched: Path) -> None:
    assert runner("run", str(fetched), "--run-id", "one", "--times", "1").code == 1
    before = starts(fetched)
    answer = runner("resume", "one")
    assert (answer.code, answer.json) == (0, {"last": ["page-a", "page-b", "page-c", 3]}), answer.stderr
    assert starts(fetched) == sorted([*before, "page-b", "gather", "last"])


def test_resume_from_a_collector_of_a_later_fan_out_keeps_what_precedes_it(fetched: Path) -> None:
    assert runner("run", str(fetched), "--run-id", "one").code == 0
    before = starts(fetched)
    answer = runner("resume", "one", "--from", "page")
    assert (answer.code, answer.json) == (0, {"last": ["page-a", "page-b", "page-c", 3]}), answer.stderr
    assert starts(fetched) == sorted([*before, "page-a", "page-b", "page-c", "gather", "last"])


def test_resume_from_a_stage_after_it_takes_the_later_fan_out_over(fetched: Path) -> None:
    assert runner("run", str(fetched), "--run-id", "one").code == 0
    before = starts(fetched)
    answer = runner("resume", "one", "--from", "last")
    assert (answer.code, answer.json) == (0, {"last": ["page-a", "page-b", "page-c", 3]}), answer.stderr
    assert starts(fetched) == sorted([*before, "last"])


def test_a_stage_that_made_another_list_has_its_fan_out_begun_anew(fetched: Path) -> None:
    assert runner("run", str(fetched), "--run-id", "one").code == 0
    edited = fetched.read_text().replace("[a, b, c]", "[a, d]")
    fetched.write_text(edited)
    answer = runner("resume", "one", "--from", "find", "--file", str(fetched))
    assert answer.code == 0, answer.stderr


def test_a_file_of_stages_alone_begins_with_a_step_that_is_handed_nothing(tmp_path: Path) -> None:
    file = tmp_path / "alone.yaml"
    file.write_text(
        "name: alone\nstages:\n  - {id: numbers, task: collector_1, with: {topic: tea}}\n"
        "  - {id: each, collectors: [{id: one, foreach: '${{ value }}', task: collector_1, with: {topic: 'n${{ item_index }}'}}]}\n"
        "  - {id: count, task: records.count}\n"
    )
    answer = runner("run", str(file), "--json")
    assert (answer.code, answer.json["status"]) == (0, "succeeded"), answer.stderr
    assert answer.json["result"]["count"] > 0


def test_a_dry_run_sends_the_first_segment_and_says_nothing_of_unknown_numbers(fetched: Path) -> None:
    answer = runner("run", str(fetched), "--dry-run", "--json")
    shown: dict[str, Any] = {step["id"]: step for step in answer.json["steps"]}
    assert shown["page"]["count"] is None
    assert [each["task"] for each in answer.json["messages"]] == ["runner.collect", "runner.gather", "runner.begin"]
    assert "page, of ?" in runner("run", str(fetched), "--dry-run").stdout


def test_the_articles_workflow_stores_what_hundreds_of_pages_have_though_some_are_slow_and_some_broken(
    tmp_path: Path,
) -> None:
    output = tmp_path / "articles.jsonl"
    pages: dict[str, Any] = {
        f"/page/{number}": {"paragraphs": [{"text": f"text {number}"}, {"text": "imprint"}, {"text": "imprint"}]}
        for number in range(300)
    }
    broken, slow = "?fail=9&status=404", "?delay=0.2"

    with serve(pages) as server:
        index = [
            {
                "id": f"p{number}",
                "url": server.url(path + (broken if number % 25 == 0 else slow if number % 10 == 1 else "")),
            }
            for number, path in enumerate(pages)
        ]
        server.pages["/index"] = {"pages": index}
        words = ("--index", server.url("/index"), "--output", str(output), "--json")
        answer = runner("run", str(WORKFLOWS / "articles.yaml"), *words)

    assert (answer.code, answer.json["status"]) == (0, "partial"), answer.stderr
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(lines) == 2 * 288
    assert lines[:2] == [{"text": "text 1", "page": "p1"}, {"text": "imprint", "page": "p1"}]
    assert answer.json["result"]["count"] == 2 * 288


def test_a_fan_out_that_is_opened_again_does_not_end_as_early_as_a_later_one(tmp_path: Path) -> None:
    """How many of the open fan-out are enough was that of the later one, which had begun since."""
    shutil.copy(ROOT / "tests" / "workflows" / "observed.py", tmp_path)
    journal = {"journal": str(tmp_path / "j")}
    fails: dict[str, Any] = {"task": "observed.fail", "with": {**journal, "times": 1}}
    first = [{"id": f"a{at}", **fails, "with": {**fails["with"], "step": f"a{at}"}} for at in range(3)]
    file = write_workflow(
        tmp_path / "again.yaml",
        include=["observed"],
        collectors=[*first, yaml_step("good", "observed.collect", {**journal, "step": "good"})],
        gather={"task": "observed.gather", "min_success": 1, "with": journal},
        stages=[
            {
                "id": "pages",
                "collectors": [
                    {
                        "id": "page",
                        "foreach": [1, 2, 3],
                        **fails,
                        "with": {**fails["with"], "step": "page-${{ item }}"},
                    }
                ],
                "gather": {"task": "observed.gather", "min_success": 1, "stop": "early", "with": journal},
            }
        ],
    )
    assert runner("run", str(file), "--run-id", "one").code == 1
    answer = runner("resume", "one", "--failed", "--json")
    assert answer.code == 0, answer.stderr
    status = {step["id"]: step["status"] for step in answer.json["steps"]}
    assert [status[f"a{at}"] for at in range(3)] == ["succeeded"] * 3
