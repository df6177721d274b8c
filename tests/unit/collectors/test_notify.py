"""notify.webhook against a real HTTP server, and notify.email against a real SMTP server, both on loopback."""

import asyncio
import base64
import hmac
import json
import pickle
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from runner.collectors.client import HTTPFailure
from runner.collectors.notify import _key, email, webhook
from runner.collectors.smtp import EmailFailure, _hint
from runner.collectors.smtp import Server as Mailbox
from tests import smtp_server, tls
from tests.http_server import Server, serve

KEY = bytes(range(32))
SECRET = base64.b64encode(KEY).decode()
OWN_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serve({"/hook": "ok", "/services/T0001/s3cr3t-path": "ok"}) as running:
        yield running


def post(url: str, *value: Any, **arguments: Any) -> Any:
    return asyncio.run(webhook(*value, url=url, **arguments))


def webhook_failure(url: str, *value: Any, **arguments: Any) -> HTTPFailure:
    with pytest.raises(HTTPFailure) as raised:
        post(url, *value, **arguments)
    return raised.value


# notify.webhook


def test_a_text_is_posted_as_the_json_that_a_chat_takes(server: Server) -> None:
    assert post(server.url("/hook"), text="news failed: grüße") == {"status": 200}
    [sent] = server.posts
    assert json.loads(sent.body) == {"text": "news failed: grüße"}
    assert sent.headers["content-type"] == "application/json"


def test_an_object_is_posted_as_it_is(server: Server) -> None:
    post(server.url("/hook"), ["the value before"], json={"channel": "#ops", "blocks": [1]})
    assert json.loads(server.posts[0].body) == {"channel": "#ops", "blocks": [1]}


def test_the_value_before_is_posted_without_text_and_json(server: Server) -> None:
    post(server.url("/hook"), [{"title": "a"}])
    assert json.loads(server.posts[0].body) == [{"title": "a"}]


def test_the_value_before_is_not_posted_with_a_text(server: Server) -> None:
    post(server.url("/hook"), ["the value before"], text="done")
    assert json.loads(server.posts[0].body) == {"text": "done"}


def test_a_webhook_with_nothing_to_send_is_a_failure_that_is_not_retried(server: Server) -> None:
    error = webhook_failure(server.url("/hook"))
    assert str(error) == "there is nothing to send: give text or json"
    assert error.retryable is False


def test_text_and_json_together_are_refused(server: Server) -> None:
    assert "give one of them" in str(webhook_failure(server.url("/hook"), text="a", json={}))
    assert server.posts == []


@pytest.mark.parametrize(("text", "sent"), [(3, "3"), (True, "true")])
def test_a_number_as_the_text_of_a_webhook_becomes_text(server: Server, text: Any, sent: str) -> None:
    post(server.url("/hook"), text=text)
    assert json.loads(server.posts[0].body) == {"text": sent}


@pytest.mark.parametrize("arguments", [{"text": ["a"]}, {"json": ["a"]}, {"text": "a", "headers": ["a"]}])
def test_an_argument_of_a_webhook_of_another_kind_is_named(server: Server, arguments: Any) -> None:
    error = webhook_failure(server.url("/hook"), **arguments)
    assert str(error).startswith(f"{list(arguments)[-1]} is a ")
    assert error.retryable is False


def test_an_empty_answer_is_success(server: Server) -> None:
    assert post(server.url("/status/204"), text="a") == {"status": 204}


def test_headers_of_a_webhook_are_sent(server: Server) -> None:
    post(server.url("/hook"), text="a", headers={"Authorization": "Bearer abc", "content-type": "application/x+json"})
    headers = server.posts[0].headers
    assert (headers["authorization"], headers["content-type"]) == ("Bearer abc", "application/x+json")


@pytest.mark.parametrize("secret", [SECRET, f"whsec_{SECRET}", SECRET.rstrip("=")])
def test_a_receiver_can_check_the_signature_as_standard_webhooks_says(server: Server, secret: str) -> None:
    post(server.url("/hook"), text="grüße", secret=secret)
    [sent] = server.posts
    message_id, timestamp, signature = (sent.headers[name] for name in OWN_HEADERS)
    expected = hmac.digest(KEY, f"{message_id}.{timestamp}.".encode() + sent.body, "sha256")
    assert signature == f"v1,{base64.b64encode(expected).decode()}"
    assert abs(time.time() - int(timestamp)) < 60


def test_the_signature_is_that_of_the_example_of_the_specification() -> None:
    """The key, id, time, body and result that the tests of the libraries of Standard Webhooks share."""
    content = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    key = _key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert base64.b64encode(hmac.digest(key, content, "sha256")) == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_without_a_secret_is_not_signed(server: Server) -> None:
    post(server.url("/hook"), text="a")
    assert "webhook-signature" not in server.posts[0].headers


@pytest.mark.parametrize("secret", ["", "hunter22", "hunter2-hunter2-hunter2-hunter2-hunter2", "grüße" * 9, "A" * 200])
def test_a_secret_that_is_not_random_bytes_is_refused_and_not_shown(server: Server, secret: str) -> None:
    error = webhook_failure(server.url("/hook"), text="a", secret=secret)
    assert str(error).startswith("secret is not the Base64 of 24 to 64 random bytes: make one with `openssl")
    assert error.retryable is False
    assert server.posts == []


@pytest.mark.parametrize("header", ["Webhook-Id", "webhook-signature"])
def test_a_header_of_the_signature_is_not_for_the_file_to_set(server: Server, header: str) -> None:
    assert f"the header {header} is set by" in str(
        webhook_failure(server.url("/hook"), text="a", headers={header: "x"})
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_webhook_that_is_too_busy_is_retried_after_the_time_that_it_asks_for(server: Server, status: int) -> None:
    error = webhook_failure(server.url(f"/status/{status}?retry_after=7"), text="a")
    assert (error.status_code, error.retryable, error.retry_after) == (status, True, 7)


@pytest.mark.parametrize("status", [304, 400, 403, 404, 410])
def test_a_webhook_that_refuses_is_not_retried(server: Server, status: int) -> None:
    error = webhook_failure(server.url(f"/status/{status}"), text="a")
    assert (error.status_code, error.retryable) == (status, False)


def test_the_words_of_a_webhook_about_its_failure_are_reported(server: Server) -> None:
    server.said = "invalid_payload"
    assert str(webhook_failure(server.url("/said"), text="a")).endswith("… answered 400 Bad Request: invalid_payload")


def test_a_redirect_of_a_webhook_is_a_failure_that_names_where_it_leads(server: Server) -> None:
    server.said = "https://elsewhere.example/log-in"
    error = webhook_failure(server.url("/moved"), text="a")
    assert "answered 302 Found and redirects to https://elsewhere.example/log-in, which a POST does not" in str(error)
    assert error.retryable is False
    assert [sent.path.partition("?")[0] for sent in server.posts] == ["/moved"]


def test_a_redirect_of_a_webhook_does_not_show_its_path(server: Server) -> None:
    server.said = "https://hooks.example/moved/s3cr3t-path/?token=s3cr3t"
    error = webhook_failure(server.url("/moved/s3cr3t-path?token=s3cr3t"), text="a")
    assert "redirects to https://hooks.example***/, which" in str(error)


@pytest.mark.parametrize("url", ["ftp://example.org/x", "file:///etc/passwd", "/news", "http://", "http://a:b/", ""])
def test_a_webhook_goes_to_http_and_https_only(url: str) -> None:
    assert webhook_failure(url, text="a").retryable is False


def test_a_webhook_that_nobody_listens_at_is_retried() -> None:
    error = webhook_failure("http://127.0.0.1:1/s3cr3t-path", text="a")
    assert str(error).startswith("http://127.0.0.1:1/… cannot be reached: ")
    assert error.retryable


def test_a_webhook_that_never_answers_ends_at_the_total_timeout(server: Server) -> None:
    error = webhook_failure(server.url("/hang"), text="a", total_timeout=0.3)
    assert "did not answer in full within 0.3 s" in str(error)
    assert error.retryable


@pytest.mark.parametrize("said", ["s3cr3t-path", "/services/T0001/s3cr3t-path", "t0k3n-t0k3n", SECRET, "k3y-k3y"])
def test_an_error_of_a_webhook_has_no_secret_that_the_server_repeats(server: Server, said: str) -> None:
    server.said = f"I do not know {said}"
    server.pages["/services/T0001/s3cr3t-path"] = None
    error = webhook_failure(
        server.url("/said?key=k3y-k3y&path=/services/T0001/s3cr3t-path"),
        text="a",
        secret=SECRET,
        headers={"Authorization": "Bearer t0k3n-t0k3n"},
    )
    assert "I do not know " in str(error)
    assert said not in str(error)


def test_an_error_of_a_webhook_does_not_have_its_path(server: Server) -> None:
    """The path of a webhook of Slack or Discord is all that one needs to post there."""
    server.asked["/services/T0001/s3cr3t-path"] = 0
    error = webhook_failure(server.url("/services/T0001/s3cr3t-path?fail=1"), text="a")
    assert str(error) == f"{server.url('')}/… answered 503 Service Unavailable: not now"


# notify.email

MESSAGE: dict[str, Any] = {
    "to": "ann@example.org",
    "subject": "News",
    "text": "Done.",
    "sender": "runner@example.org",
    "host": "127.0.0.1",
    "security": "none",
    "timeout": 20,
}


def mail(port: int, *value: Any, **arguments: Any) -> Any:
    return email(*value, **{**MESSAGE, "port": port, **arguments})


def email_failure(port: int, **arguments: Any) -> EmailFailure:
    with pytest.raises(EmailFailure) as raised:
        mail(port, **arguments)
    return raised.value


@pytest.fixture
def post_office() -> Iterator[smtp_server.Server]:
    with smtp_server.serve() as running:
        yield running


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    context, certificate = tls.certified(tmp_path_factory.mktemp("tls"))
    return context, str(certificate)


@pytest.fixture
def trusted(certified: tuple[ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    monkeypatch.setenv("SSL_CERT_FILE", certified[1])
    return certified[0]


def test_an_email_arrives_with_its_subject_and_text(post_office: smtp_server.Server) -> None:
    result = mail(post_office.port, ["the value before"], subject="Grüße 🍵", text="Tee\n.\nist da\n" + "x" * 2000)
    assert result == {"accepted": ["ann@example.org"], "refused": {}}
    [received] = post_office.emails
    assert (received.sender, received.recipients) == ("runner@example.org", ("ann@example.org",))
    assert received.email["Subject"] == "Grüße 🍵"
    assert received.email.get_content().splitlines()[:3] == ["Tee", ".", "ist da"]
    assert received.email["Auto-Submitted"] == "auto-generated"


def test_an_email_goes_to_several_recipients_with_names_each_once(post_office: smtp_server.Server) -> None:
    to = ["Jürgen <j@example.org>", "Dr. Ann <a@example.org>", "a@example.org"]
    assert mail(post_office.port, to=to)["accepted"] == ["j@example.org", "a@example.org"]
    [received] = post_office.emails
    assert received.recipients == ("j@example.org", "a@example.org")
    assert received.email["To"].addresses[0].display_name == "Jürgen"


def test_the_recipients_that_a_server_refuses_are_reported_and_the_others_get_the_email() -> None:
    with smtp_server.serve(replies={"RCPT TO:<b@": "550 5.1.1 no such user"}) as server:
        result = mail(server.port, to=["a@example.org", "b@example.org"])
    assert result == {"accepted": ["a@example.org"], "refused": {"b@example.org": "550 5.1.1 no such user"}}
    assert [each.recipients for each in server.emails] == [("a@example.org",)]


@pytest.mark.parametrize(("code", "retryable"), [(450, True), (550, False)])
def test_an_email_whose_recipients_are_all_refused_is_a_failure(code: int, retryable: bool) -> None:  # noqa: FBT001
    with smtp_server.serve(replies={"RCPT": f"{code} not here"}) as server:
        error = email_failure(server.port)
    assert f"refused every recipient: ann@example.org: {code} not here" in str(error)
    assert (error.smtp_code, error.retryable) == (code, retryable)


@pytest.mark.parametrize("command", ["", "MAIL", "DATA", "."])
@pytest.mark.parametrize(("code", "retryable"), [(451, True), (554, False)])
def test_4xx_of_a_mail_server_is_retried_and_5xx_is_not(command: str, code: int, retryable: bool) -> None:  # noqa: FBT001
    with smtp_server.serve(replies={command: f"{code} no"}) as server:
        error = email_failure(server.port)
    assert f"{code} no" in str(error)
    assert (error.smtp_code, error.retryable) == (code, retryable)
    assert server.emails == []


@pytest.mark.parametrize("command", ["", "MAIL", "."])
def test_a_mail_server_that_hangs_up_is_retried(command: str) -> None:
    with smtp_server.serve(replies={command: ""}) as server:
        assert email_failure(server.port).retryable


def test_an_email_that_was_accepted_is_no_failure_if_the_server_then_hangs_up() -> None:
    """The context manager of smtplib raises, and the e-mail would be sent again."""
    with smtp_server.serve(replies={"QUIT": "421 too late"}) as server:
        assert mail(server.port)["accepted"] == ["ann@example.org"]


def test_a_mail_server_that_never_answers_ends_at_the_timeout() -> None:
    with smtp_server.serve(replies={"MAIL": None}) as server:
        error = email_failure(server.port, timeout=0.3)
    assert "did not answer within 0.3 s (timeout)" in str(error)
    assert error.retryable


def test_a_server_that_waits_for_tls_is_named_as_one() -> None:
    server = Mailbox(host="127.0.0.1", port=465, security="starttls", timeout=1)
    assert "port 465 speaks TLS from the start: set security to tls" in _hint(TimeoutError(), server)


def test_a_mail_server_that_nobody_listens_at_is_retried() -> None:
    error = email_failure(1)
    assert str(error).startswith("127.0.0.1:1 cannot be reached: ")
    assert error.retryable


def test_starttls_encrypts_before_the_login_and_the_email(trusted: ssl.SSLContext) -> None:
    with smtp_server.serve(tls=trusted, login=("me", "pass w0rd")) as server:
        mail(server.port, security="starttls", user="me", password="pass w0rd")
    assert server.emails[0].secure
    assert [each.split()[0].upper() for each in server.heard[:4]] == ["EHLO", "STARTTLS", "EHLO", "AUTH"]


def test_tls_encrypts_from_the_start(trusted: ssl.SSLContext) -> None:
    with smtp_server.serve(tls=trusted, from_start=True) as server:
        mail(server.port, security="tls")
    assert server.emails[0].secure


@pytest.mark.parametrize(("security", "from_start"), [("starttls", False), ("tls", True)])
def test_a_certificate_that_is_not_trusted_is_a_failure_that_is_not_retried(
    certified: tuple[ssl.SSLContext, str],
    security: str,
    from_start: bool,  # noqa: FBT001
) -> None:
    with smtp_server.serve(tls=certified[0], from_start=from_start) as server:
        error = email_failure(server.port, security=security, user="me", password="hunter22")
    assert "has a certificate that is not trusted: self-signed certificate" in str(error)
    assert error.retryable is False
    assert not any(each.startswith("AUTH") for each in server.heard)


def test_starttls_that_a_server_does_not_offer_is_a_failure_and_nothing_is_sent_in_clear(
    post_office: smtp_server.Server,
) -> None:
    error = email_failure(post_office.port, security="starttls", user="me", password="hunter22")
    assert "STARTTLS extension not supported" in str(error)
    assert error.retryable is False
    assert [each.split()[0].upper() for each in post_office.heard] == ["EHLO"]


def test_tls_to_a_server_that_does_not_speak_it_names_the_other_way(post_office: smtp_server.Server) -> None:
    assert "try security: starttls" in str(email_failure(post_office.port, security="tls"))


@pytest.mark.parametrize("reply", ["535 5.7.8 no", "535 hunter22 is wrong", "535 AG1lAGh1bnRlcjIy is wrong"])
def test_a_wrong_password_is_not_retried_and_not_shown(reply: str) -> None:
    """A server may repeat it, also in Base64 as it came."""
    with smtp_server.serve(login=("me", "other"), replies={"AUTH": reply}) as server:
        error = email_failure(server.port, user="me", password="hunter22")
    assert "refused the user or the password: 535" in str(error)
    assert (error.smtp_code, error.retryable) == (535, False)
    assert "hunter22" not in str(error)
    assert "aHVudGVyMj" not in str(error)
    assert "h1bnRlcjIy" not in str(error)
    assert error.__suppress_context__, "a traceback would have the words of smtplib's error"


def test_a_login_that_the_server_cannot_check_now_is_retried() -> None:
    with smtp_server.serve(login=("me", "hunter22"), replies={"AUTH": "454 4.7.0 later"}) as server:
        assert email_failure(server.port, user="me", password="hunter22").retryable


def test_a_login_at_a_server_without_one_is_not_retried(post_office: smtp_server.Server) -> None:
    assert email_failure(post_office.port, user="me", password="hunter22").retryable is False


def test_a_password_is_not_sent_in_clear_to_another_machine() -> None:
    error = email_failure(25, host="mail.example.org", user="me", password="hunter22")
    assert str(error) == ("the password would be sent to mail.example.org:25 in clear: set security to starttls or tls")
    assert error.retryable is False


@pytest.mark.parametrize(
    "login",
    [{"user": "me"}, {"password": "hunter22"}, {"user": "me", "password": "hünter22"}, {"user": 1, "password": 2}],
)
def test_a_login_that_cannot_be_used_is_refused_without_the_password(login: Any) -> None:
    error = email_failure(25, **login)
    assert "user and password" in str(error)
    assert "nter22" not in str(error)
    assert error.retryable is False


@pytest.mark.parametrize("break_", ["\n", "\r", "\r\n", "\x0b", "\x85", "\u2028", "\0", "\ud800"])
@pytest.mark.parametrize("name", ["subject", "to", "sender"])
def test_a_header_of_an_email_cannot_become_two(post_office: smtp_server.Server, name: str, break_: str) -> None:
    error = email_failure(post_office.port, **{name: f"{MESSAGE[name]}{break_}Bcc: eve@example.org"})
    assert f"{name} has a line end or another control character" in str(error)
    assert error.retryable is False
    assert post_office.heard == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("subject", "=?utf-8?q?News=0D=0ABcc:_eve@example.org?="),
        ("to", "=?utf-8?q?Ann=0ABcc:_eve@example.org?= <ann@example.org>"),
    ],
)
def test_a_header_of_an_email_cannot_become_two_by_an_encoded_line_end(
    post_office: smtp_server.Server, name: str, text: str
) -> None:
    email_failure(post_office.port, **{name: text})
    assert post_office.heard == []


@pytest.mark.parametrize(
    "to",
    [
        "",
        "ann",
        "ann@",
        "@example.org",
        "a@b.c, d@e.f",
        "all: a@b.c;",
        "a@b.c\t",
        "<a@b.c> d@e.f",
        "Smith, Ann <a@b.c>",
        "[",
    ],
)
def test_what_is_not_one_address_is_refused(post_office: smtp_server.Server, to: str) -> None:
    """What fills a name, a title of a page, could add recipients."""
    assert email_failure(post_office.port, to=["b@example.org", to]).retryable is False
    assert post_office.heard == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"to": []}, "to is an address or a list of addresses"),
        ({"to": {"a": 1}}, "to is an address or a list of addresses"),
        ({"to": [1]}, "to is a text, not a int"),
        ({"text": ["a"]}, "text is a text, not a list"),
        ({"text": "\ud800"}, "text cannot be written as UTF-8"),
        ({"security": "ssl"}, "security is starttls, tls or none, not 'ssl'"),
        ({"port": 2**16}, "port is a number from 1 to 65535"),
        ({"host": ""}, "host is the name or the address of a mail server"),
        ({"timeout": "30s"}, "timeout is a number of seconds"),
    ],
)
def test_an_argument_of_an_email_that_cannot_be_used_is_named(arguments: Any, said: str) -> None:
    error = email_failure(**{"port": 25, **arguments})
    assert str(error).startswith(said)
    assert error.retryable is False


def test_a_failure_of_an_email_survives_the_way_from_a_pool_process() -> None:
    error = pickle.loads(pickle.dumps(EmailFailure("x", 550, retryable=False)))  # noqa: S301 - our own
    assert (str(error), error.smtp_code, error.retryable) == ("x", 550, False)
