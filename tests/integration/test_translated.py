"""Examples of other systems in our language (tests/workflows/translated), each with the result that it has there."""

from pathlib import Path
from typing import Any

import pytest

from tests.command_line import ROOT, Answer, runner

pytestmark = pytest.mark.usefixtures("state_dir")

FOLDER = ROOT / "tests" / "workflows" / "translated"


def run(name: str, *words: str) -> Answer:
    return runner("run", str(FOLDER / f"{name}.yaml"), "--json", *words)


def statuses(answer: Answer) -> dict[str, Any]:
    return {step["id"]: step.get("statuses") or step["status"] for step in answer.json["steps"]}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_argo_fans_out_over_the_output_of_a_script() -> None:
    answer = run("fan_out")
    assert answer.code == 0, answer.stderr
    assert answer.json["result"] == [[f"sleeping for {n} seconds", "finished"] for n in range(20, 31)]


def test_argo_loops_over_words_and_over_maps() -> None:
    answer = run("loops")
    assert answer.json["result"] == ["hello world", "goodbye world", "debian:9.1", "alpine:3.6", "ubuntu:17.10"]


def test_argo_executes_the_middle_of_a_diamond_between_its_ends(journal: Path) -> None:
    answer = run("diamond", "--journal", str(journal))
    first, *middle, last = journal.read_text().split()
    assert (first, sorted(middle), last) == ("A", ["B", "C"], "D")
    assert answer.json["result"] == "ABACD"


@pytest.mark.parametrize(("fails", "code", "attempts"), [(3, 0, 4), (20, 1, 11)])
def test_argo_retries_a_container_ten_times_at_most(fails: int, code: int, attempts: int, journal: Path) -> None:
    answer = run("retry", "--journal", str(journal), "--fails", str(fails))
    assert answer.code == code, answer.stderr
    assert answer.json["steps"][0]["attempts"] == attempts == len(journal.read_text().split())


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1", ["send e-mail: exit-handlers failed. Failed steps intentional-fail", "boohoo!"]),
        ("0", ["send e-mail: exit-handlers succeeded. Failed steps ", "hooray!"]),
    ],
)
def test_argo_executes_its_exit_handlers_however_it_ends(code: str, words: list[str], journal: Path) -> None:
    answer = run("exit_handlers", "--journal", str(journal), "--code", code)
    assert answer.code == int(code)
    assert journal.read_text().splitlines() == words


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ([], ["hush"]),
        (["--should-print", "true"], ["hello", "hello"]),
        (["--should-print", "true", "--copies", "1"], ["hello"]),
    ],
)
def test_argo_executes_a_step_if_an_argument_says_so(words: list[str], printed: list[str]) -> None:
    assert run("conditionals", *words).json["result"] == printed


@pytest.mark.parametrize(("side", "other"), [("heads", "tails"), ("tails", "heads")])
def test_argo_takes_the_branch_of_the_coin(side: str, other: str) -> None:
    answer = run("coin", "--side", side)
    assert answer.json["result"] == [f"it was {side}"]
    assert (statuses(answer)[side], statuses(answer)[other]) == ("succeeded", "skipped")


def test_airflow_maps_over_what_a_mapped_task_gave() -> None:
    answer = run("mapped")
    assert answer.json["result"] == 18
    assert statuses(answer)["times-two"] == {"succeeded": 3}


def test_step_functions_map_tolerates_some_failures() -> None:
    answer = run("tolerant_map")
    assert (answer.code, answer.json["status"]) == (0, "partial"), answer.stderr
    assert answer.json["result"] == [[n, "failed" if n == 3 else "succeeded"] for n in range(8)]
    too_many = run("tolerant_map", "--bad", "[1, 2, 3]")
    assert (too_many.code, too_many.json["status"]) == (1, "failed")
    assert statuses(too_many)["results"] == "not_run"


def test_dagu_executes_two_items_at_once(journal: Path) -> None:
    answer = run("parallel", "--journal", str(journal))
    assert answer.json["result"] == ["us-east", "us-west", "eu-central", "ap-south", "sa-east"]
    at_once, most = 0, 0
    for line in journal.read_text().split():
        at_once += 1 if line[0] == "+" else -1
        most = max(most, at_once)
    assert most <= 2


@pytest.mark.parametrize(("code", "words"), [("0", ["partial", "exit"]), ("3", ["failure", "exit"])])
def test_dagu_calls_the_handlers_of_how_it_ended(code: str, words: list[str], journal: Path) -> None:
    """There a step that may fail leaves a success; here it leaves a partial run, which has a handler of its own."""
    run("handlers", "--journal", str(journal), "--code", code)
    assert journal.read_text().split() == words


def test_director_hands_values_along_a_chain(journal: Path) -> None:
    assert run("chain", "--journal", str(journal)).json["result"] == "ABC"
    assert journal.read_text().split() == ["A", "B", "C"]


def test_director_executes_a_group_after_a_task(journal: Path) -> None:
    assert run("group", "--journal", str(journal)).json["result"] == ["B", "AC"]


def test_director_fails_with_a_task_of_a_group_and_the_others_are_executed(journal: Path) -> None:
    answer = run("group", "--journal", str(journal), "--fail", "true")
    assert (answer.code, answer.json["status"]) == (1, "failed")
    assert statuses(answer)["c"] == "succeeded"
    assert journal.read_text().split() == ["A", "C"]
