"""The output of a dry run."""

import json

from runner.language.layout import Layout
from runner.views.dry_run import dry_run_document, dry_run_words
from tests.plans import change_plan, make_collector
from tests.snapshots import NEWS, wide


def test_a_dry_run_shows_the_graph_the_arguments_and_what_would_be_sent() -> None:
    told = dry_run_words(NEWS, Layout(), "news-1", [("news.hn", "runner.collect", ("news-1", ["hn"]), "celery")])
    assert "●──┬─ hn" in told
    assert '  key = "***"' in told
    assert '    url = "https://x.org/tea"' in told
    assert '    key = "***"' in told
    assert '    request_id = "news-1"' in told
    assert (
        '1 message would be sent; nothing is started\n  news.hn: runner.collect("news-1", ["hn"]) to queue celery'
        in told
    )
    assert "hunter22" not in told


def test_the_document_of_a_dry_run_has_no_secret() -> None:
    told = dry_run_document(NEWS, Layout(), "news-1", [("news.hn", "runner.collect", ("news-1", ["hn"]), "celery")])
    assert told["inputs"]["key"] == told["steps"][0]["arguments"]["key"] == "***"
    assert told["messages"] == [
        {"name": "news.hn", "task": "runner.collect", "args": ["news-1", ["hn"]], "queue": "celery"}
    ]
    assert "hunter22" not in json.dumps(told)


def test_an_expression_that_works_with_a_secret_is_shown_as_written() -> None:
    count = make_collector("hn", arguments={"limit": "${{ inputs.pin + 1 }}"})
    plan = change_plan(NEWS, collectors=(count,), inputs={"pin": 12345}, secrets=("pin",))
    assert '    limit = "${{ inputs.pin + 1 }}"' in dry_run_words(plan, Layout(), "news-1", [])


def test_a_dry_run_of_a_thousand_collectors_fits_on_a_screen_or_two() -> None:
    plan, _ = wide(failing=0)
    messages = [(step.id, "runner.collect", ("wide-1", [step.id]), "celery") for step in plan.collectors]
    told = dry_run_words(plan, Layout(), "wide-1", messages)
    assert "1,000 messages would be sent" in told
    assert len(told.splitlines()) < 60
