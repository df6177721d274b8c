"""`show` of a wide fan-out: the run, page after page of its collectors, and each of them."""

import pytest

from tests.command_line import Answer, runner

TASKS = """
from celery import shared_task

@shared_task(name="mine.page")
def page(number: int) -> int:
    if number % 50 == 7:
        raise OSError(f"cannot reach page {number}")
    return number

@shared_task(name="mine.total")
def total(values: list) -> int:
    return sum(values)
"""
WORKFLOW = """
name: pages
include: [mine]
collectors:
  - {id: index, task: mine.page, with: {number: 1}}
  - id: page
    task: mine.page
    foreach: "${{ range(120) }}"
    with: {number: "${{ item }}"}
  - id: city
    task: mine.page
    foreach: {items: [{name: Rome, at: 1}, {name: "São Paulo", at: 2}], key: "${{ item.name }}"}
    with: {number: "${{ item.at }}"}
gather: {task: mine.total, min_success: 90%}
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, str]:
    """What `run --json` said, and where the ledger is."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "mine.py").write_text(TASKS, encoding="utf-8")
    (folder / "pages.yaml").write_text(WORKFLOW, encoding="utf-8")
    state = str(folder / "state")
    return runner("run", str(folder / "pages.yaml"), "--run-id", "wide", "--json", RUNNER_STATE_DIR=state), state


@pytest.fixture
def show(ended: tuple[Answer, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_STATE_DIR", ended[1])


def shown(*words: str) -> Answer:
    return runner("show", "wide", *words)


def test_the_summary_of_a_run_counts_items_and_names_those_that_failed(ended: tuple[Answer, str]) -> None:
    told = ended[0].stderr
    assert ": 120 of 123 collectors succeeded · run wide" in told
    assert "warning: the result is without page[7], page[57], page[107]\n" in told
    assert "  ✗ page[7] failed\n      OSError: cannot reach page 7\n" in told
    assert "hint: `python -m runner show wide --step 'page[7]'` shows the traceback" in told


def test_progress_has_one_line_for_a_foreach(ended: tuple[Answer, str]) -> None:
    told = ended[0].stderr
    assert "page started: 120 collectors\n" in told
    assert "page: 1 failed: page[7]: OSError: cannot reach page 7\n" in told
    assert "page: 120 of 120 have ended, 3 failed" in told


@pytest.mark.usefixtures("show")
def test_show_prints_the_run_as_run_did(ended: tuple[Answer, str]) -> None:
    assert shown("--json").json == ended[0].json


def test_show_json_counts_items_and_lists_those_without_success(ended: tuple[Answer, str]) -> None:
    document = ended[0].json
    assert document["coverage"] == {
        "succeeded": 120,
        "total": 123,
        "missing": ["page[7]", "page[57]", "page[107]"],
        "missing_count": 3,
    }
    assert [(step["id"], step["status"], step.get("statuses")) for step in document["steps"]] == [
        ("index", "succeeded", None),
        ("page", "partial", {"succeeded": 117, "failed": 3}),
        ("page[7]", "failed", None),
        ("page[57]", "failed", None),
        ("page[107]", "failed", None),
        ("city", "succeeded", {"succeeded": 2}),
        ("mine_total", "succeeded", None),
    ]


@pytest.mark.usefixtures("show")
def test_a_foreach_is_one_row_of_show() -> None:
    rows = [line.split() for line in shown().stdout.splitlines()]
    assert ["page", "partial", "117", "of", "120"] in rows
    assert ["city", "succeeded", "2", "of", "2"] in rows


@pytest.mark.usefixtures("show")
@pytest.mark.parametrize(("page", "first", "last"), [("1", 0, 49), ("2", 50, 99), ("3", 100, 119)])
def test_show_has_fifty_items_a_page_in_their_order(page: str, first: int, last: int) -> None:
    told = shown("--step", "page", "--page", page).stdout
    items = [line.split()[0] for line in told.splitlines() if line.startswith("page[")]
    assert items == [f"page[{at}]" for at in range(first, last + 1)]
    assert f"page {page} of 3" in told


@pytest.mark.usefixtures("show")
def test_show_has_pages_of_the_items_of_one_status() -> None:
    failed = shown("--step", "page", "--status", "failed", "--json").json
    assert [item["id"] for item in failed["items"]] == ["page[7]", "page[57]", "page[107]"]
    assert (failed["page"], failed["pages"]) == (1, 1)
    last = shown("--step", "page", "--status", "succeeded", "--page", "3", "--json").json
    assert [item["id"] for item in last["items"]] == [f"page[{at}]" for at in range(102, 120) if at != 107]
    assert not shown("--step", "page", "--status", "late", "--json").json["items"]


@pytest.mark.usefixtures("show")
def test_show_of_an_item_has_its_value_or_its_traceback() -> None:
    assert shown("--step", "page[8]", "--json").json["value"] == 8
    assert 'raise OSError(f"cannot reach page {number}")' in shown("--step", "page[7]").stdout


@pytest.mark.usefixtures("show")
def test_show_finds_an_item_by_its_key() -> None:
    city = shown("--step", "city[São Paulo]", "--json").json
    assert (city["item"], city["value"]) == ({"name": "São Paulo", "at": 2}, 2)


@pytest.mark.usefixtures("show")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--step", "page", "--page", "4"], 2, 'error: "page" has 3 pages, and no page 4'),
        (
            ["--step", "page", "--status", "failed", "--page", "2"],
            2,
            'error: "page" has 1 page with status failed, and no page 2',
        ),
        (["--step", "pgae"], 7, 'hint: did you mean "page"?'),
        (["--step", "page[120]"], 7, 'error: run wide has no step "page[120]"'),
        (["--step", "page[-1]"], 7, "hint: `python -m runner show wide --step page` lists what page has"),
        (["--step", "city[Rom]"], 7, "hint: `python -m runner show wide --step city` lists what city has"),
        (["--step", "index[0]"], 7, 'error: run wide has no step "index[0]"'),
        (["--step", "index", "--page", "1"], 2, "Error: --page and --status go with"),
        (["--step", "page[7]", "--status", "failed"], 2, "Error: --page and --status go with"),
        (["--page", "1"], 2, "Error: --page and --status go with"),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, list) else None,
)
def test_show_of_a_missing_item_or_page_says_which_exist(words: list[str], code: int, told: str) -> None:
    answer = shown(*words)
    assert answer.code == code
    assert told in answer.stderr
