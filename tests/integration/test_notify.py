"""Notifications as stages: through a worker and its retries, to a real HTTP server and a real SMTP server."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import smtp_server
from tests.command_line import Answer, runner
from tests.http_server import serve
from tests.workflow import write_workflow, yaml_step

pytestmark = pytest.mark.usefixtures("state_dir")

HEAD: dict[str, Any] = {
    "collectors": [{"id": "a", "task": "command.run", "with": {"argv": ["echo", '[{"n": 1}]'], "format": "json"}}],
    "gather": {"task": "gather.concat"},
}


def run(folder: Path, stages: list[dict[str, Any]], *words: str, **more: Any) -> Answer:
    file = write_workflow(folder / "news.yaml", **HEAD, stages=stages, **more)
    return runner("run", str(file), "--run-id", "news", *words, NO_PROXY="*")


def test_a_webhook_that_is_tried_again_has_the_same_id(tmp_path: Path) -> None:
    """A receiver that had it, and whose answer was lost, can drop the second."""
    with serve({"/hook": "ok"}) as server:
        arguments = {"url": server.url("/hook?fail=1"), "text": "${{ run.name }}: ${{ string(size(value)) }}"}
        retry = {"max_retries": 1, "delay": "10ms", "on": "http_503"}
        tell = yaml_step("tell", "notify.webhook", arguments, retry=retry)
        answer = run(tmp_path, [tell])
    assert (answer.code, answer.json) == (0, {"status": 200}), answer.stderr
    first, second = server.posts
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert json.loads(second.body) == {"text": "news: 1"}


def test_a_webhook_without_a_text_posts_the_value_before(tmp_path: Path) -> None:
    with serve({"/hook": "ok"}) as server:
        tell = yaml_step("tell", "notify.webhook", {"url": server.url("/hook")})
        assert run(tmp_path, [tell]).code == 0
    assert json.loads(server.posts[0].body) == [{"n": 1}]


def test_the_recipients_that_a_server_refuses_are_in_the_summary(tmp_path: Path) -> None:
    with smtp_server.serve(replies={"RCPT TO:<bob@": "550 no such user"}) as server:
        arguments = {
            "to": ["ann@example.org", "bob@example.org"],
            "subject": "${{ run.name }}",
            "text": "Done.",
            "sender": "runner@example.org",
            "host": "127.0.0.1",
            "port": server.port,
            "security": "none",
        }
        answer = run(tmp_path, [yaml_step("mail", "notify.email", arguments)])
    assert answer.json == {"accepted": ["ann@example.org"], "refused": {"bob@example.org": "550 no such user"}}
    assert 'mail: refused = {"bob@example.org": "550 no such user"}' in answer.stderr
    assert server.emails[0].email["Subject"] == "news"


def test_a_wrong_password_fails_once_and_is_nowhere_in_the_output(tmp_path: Path) -> None:
    with smtp_server.serve(login=("me", "other"), replies={"AUTH": "535 hunter22 is wrong"}) as server:
        arguments = {
            "to": "ann@example.org",
            "subject": "a",
            "text": "b",
            "sender": "runner@example.org",
            "host": "127.0.0.1",
            "port": server.port,
            "security": "none",
            "user": "me",
            "password": "${{ inputs.password }}",
        }
        mail = yaml_step("mail", "notify.email", arguments, retry=3)
        inputs = {"password": {"type": "string", "secret": True}}
        answer = run(tmp_path, [mail], "--password", "hunter22", inputs=inputs)
    assert answer.code == 1
    assert "EmailFailure" in answer.stderr
    assert "hunter22" not in answer.stderr + answer.stdout
    assert [each.split()[0] for each in server.heard].count("AUTH") == 1
