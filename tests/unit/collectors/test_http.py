"""http.get, against a real server on loopback."""

import asyncio
import base64
import pickle
import resource
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from runner.collectors.client import HTTPFailure
from runner.collectors.http import get
from tests.http_server import Server, serve

NEWS = {"page": 1, "hits": [{"title": "a", "by": {"login": "x"}}, {"title": "b"}]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serve({"/news": NEWS}) as running:
        yield running


def got(url: str, **arguments: Any) -> Any:
    return asyncio.run(get(url=url, **arguments))


def failure(url: str, **arguments: Any) -> HTTPFailure:
    with pytest.raises(HTTPFailure) as raised:
        got(url, **arguments)
    return raised.value


def test_json_that_a_server_sends_is_returned_as_its_value(server: Server) -> None:
    assert got(server.url("/news")) == NEWS


def test_select_takes_the_list_out_of_the_json(server: Server) -> None:
    assert got(server.url("/news"), select="hits") == NEWS["hits"]


def test_select_of_a_missing_key_names_the_existing_keys(server: Server) -> None:
    error = failure(server.url("/news"), select="items")
    assert 'no "items"' in str(error)
    assert "there are the keys page, hits" in str(error)
    assert error.retryable is False


def test_fields_and_labels_give_the_records_of_all_sources_one_shape(server: Server) -> None:
    records = got(
        server.url("/news"), select="hits", fields={"name": "title", "by": "by.login"}, labels={"source": "n"}
    )
    assert records == [{"source": "n", "name": "a", "by": "x"}, {"source": "n", "name": "b", "by": None}]


def test_select_takes_an_item_out_of_a_list_by_its_place(server: Server) -> None:
    assert got(server.url("/news"), select="hits.0.title") == "a"
    assert got(server.url("/news"), select="hits.-1.title") == "b"


@pytest.mark.parametrize("place", ["2", "-3", "first", ""])
def test_select_of_a_place_beyond_a_list_names_its_length(server: Server, place: str) -> None:
    assert "there is a list of 2" in str(failure(server.url("/news"), select=f"hits.{place or 'x'}"))


def test_a_field_that_no_object_has_is_a_failure(server: Server) -> None:
    """All titles were null, `records.dedupe` took them for equal, and ten records became one empty row of a CSV file."""
    error = failure(server.url("/news"), select="hits", fields={"name": "titel"})
    assert 'no object has "titel" (fields: name); the first has the keys title, by' in str(error)
    assert error.retryable is False


def test_a_field_within_another_that_no_object_has_is_a_failure(server: Server) -> None:
    assert 'no object has "by.name"' in str(failure(server.url("/news"), select="hits", fields={"name": "by.name"}))


def test_a_field_that_no_object_need_have_is_null(server: Server) -> None:
    records = got(server.url("/news"), select="hits", fields={"title": "title", "note": "by.note?"})
    assert records == [{"title": "a", "note": None}, {"title": "b", "note": None}]


def test_a_field_of_no_object_at_all_is_no_failure(server: Server) -> None:
    server.pages["/none"] = []
    assert got(server.url("/none"), fields={"name": "titel"}) == []


def test_a_field_below_null_is_null(server: Server) -> None:
    server.pages["/null"] = [{"by": None}]
    assert got(server.url("/null"), fields={"by": "by.login"}) == [{"by": None}]


def test_a_field_may_be_an_item_of_a_list(server: Server) -> None:
    server.pages["/lists"] = [{"authors": [{"name": "x"}]}, {"authors": []}]
    assert got(server.url("/lists"), fields={"by": "authors.0.name"}) == [{"by": "x"}, {"by": None}]


def test_labels_of_http_get_on_what_is_no_object_are_an_error(server: Server) -> None:
    error = failure(server.url("/text"), format="text", labels={"source": "n"})
    assert "with a string where fields or labels need an object" in str(error)


@pytest.mark.parametrize(
    "wanted", [{"select": "hits"}, {"fields": {"a": "b"}}, {"labels": {"a": 1}}, {"format": "json"}]
)
def test_a_log_in_page_in_place_of_json_is_reported_as_one(server: Server, wanted: Any) -> None:
    """It was "there is a str": neither what came nor that somebody must log in."""
    error = failure(server.url("/log-in"), **wanted)
    assert "not JSON (text/html)" in str(error)
    assert "it starts with '<!DOCTYPE html>'" in str(error)
    assert error.retryable is False


def test_json_that_is_said_to_be_text_is_read_where_json_is_needed(server: Server) -> None:
    assert got(server.url("/raw"), select="page") == 1
    assert got(server.url("/raw"), format="json", encoding="utf-8") == {"page": 1}
    assert got(server.url("/raw")) == '{"page": 1}'


def test_a_key_that_is_half_a_character_is_reported_in_characters_that_can_be_recorded(server: Server) -> None:
    """A message with half a surrogate pair could not be recorded: three executions, two minutes."""
    server.pages["/half"] = {"\ud800": 1}
    assert r"there are the keys '\ud800'" in str(failure(server.url("/half"), select="a"))


def test_text_that_a_server_sends_is_decoded_by_its_charset(server: Server) -> None:
    assert got(server.url("/text")) == "grüße"


def test_text_that_is_not_what_it_is_said_to_be_is_a_failure_and_no_text_with_holes(server: Server) -> None:
    """A page in ISO 8859-1 came back as "gr\ufffd\ufffde", and succeeded."""
    error = failure(server.url("/latin"))
    assert "answered with text that is not utf-8: set encoding" in str(error)
    assert error.retryable is False


def test_an_encoding_of_the_file_goes_before_what_the_server_says(server: Server) -> None:
    assert got(server.url("/latin"), encoding="latin-1") == "grüße"
    assert got(server.url("/charset/ascii"), encoding="utf-8") == "grüße"


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "hex", "nothing", "utf-8"])
def test_a_charset_that_is_none_of_texts_is_not_used(server: Server, charset: str) -> None:
    """The server chose `punycode`, which takes hours for 10 MB, in the event loop of 63 others."""
    text = r"tea-5\u00e9"
    assert got(server.url(f"/charset/{charset}"), params={"text": text}) == text


@pytest.mark.parametrize("encoding", ["punycode", "nothing"])
def test_an_encoding_that_is_none_of_texts_is_named(server: Server, encoding: str) -> None:
    assert f"there is no encoding '{encoding}'" in str(failure(server.url("/news"), encoding=encoding))


def test_bytes_that_a_server_sends_are_returned_in_base64(server: Server) -> None:
    assert base64.b64decode(got(server.url("/text"), format="bytes")) == "grüße".encode("latin-1")


def test_json_that_a_server_sends_can_be_read_as_text(server: Server) -> None:
    assert got(server.url("/gzip"), format="text") == '{"packed": true}'


def test_gzip_that_a_server_sends_is_unpacked(server: Server) -> None:
    assert got(server.url("/gzip")) == {"packed": True}


def test_every_member_of_gzip_is_unpacked(server: Server) -> None:
    """urllib3#1285: it was cut after the first, and succeeded where that happened to be JSON."""
    assert got(server.url("/members")) == {"packed": True}


def test_a_body_that_is_not_json_is_reported_with_its_start_and_not_retried(server: Server) -> None:
    error = failure(server.url("/text"), format="json")
    assert "it starts with 'gr" in str(error)
    assert error.retryable is False


def test_params_are_added_to_the_query_of_the_url(server: Server) -> None:
    assert got(server.url("/echo?a=1"), params={"b": "x y"})["query"] == {"a": "1", "b": "x y"}


def test_headers_of_http_get_are_sent_and_numbers_become_text(server: Server) -> None:
    assert got(server.url("/echo"), headers={"X-Page": 5})["headers"]["x-page"] == "5"


def test_a_header_is_sent_once_in_whatever_case_it_is_written(server: Server) -> None:
    """httpx#652, agent-framework#8520: `user-agent` was sent beside `User-Agent`."""
    headers = got(server.url("/echo"), headers={"user-agent": "me", "accept": "a", "ACCEPT": "b"})["headers"]
    assert (headers["user-agent"], headers["accept"]) == ("me", "b")


def test_a_header_that_is_null_is_not_sent_and_one_that_is_true_is_text(server: Server) -> None:
    """The guide says that it is left out: httpx sent its own `User-Agent` and `Accept` in their place."""
    nulls = {"X-Token": None, "user-agent": None, "Accept": None}
    headers = got(server.url("/echo"), headers={**nulls, "X-Deep": True})["headers"]
    assert headers["x-deep"] == "true"
    assert not {"x-token", "user-agent", "accept"} & headers.keys()


def test_a_param_that_is_null_is_left_out(server: Server) -> None:
    assert got(server.url("/echo"), params={"a": None, "b": 1})["query"] == {"b": "1"}


def test_the_user_agent_names_this_program(server: Server) -> None:
    assert got(server.url("/echo"))["headers"]["user-agent"] == "celery-collectors"


def test_a_redirect_is_followed(server: Server) -> None:
    assert got(server.url("/to"), params={"url": "/news"}) == NEWS


def test_a_redirect_to_another_host_does_not_take_the_headers_along(server: Server) -> None:
    elsewhere = server.url("/echo").replace("127.0.0.1", "localhost")
    headers = got(server.url("/to"), params={"url": elsewhere}, headers={"X-Api-Key": "secret"})["headers"]
    assert "x-api-key" not in headers


def test_a_cookie_that_a_redirect_sets_is_sent_to_where_it_leads(server: Server) -> None:
    assert got(server.url("/cookie"), params={"url": "/echo"})["headers"]["cookie"] == "session=new"


def test_a_cookie_of_the_file_is_kept_on_a_redirect(server: Server) -> None:
    headers = {"cookie": "session=old; lang=en"}
    assert got(server.url("/to"), params={"url": "/echo"}, headers=headers)["headers"]["cookie"] == headers["cookie"]
    sent = got(server.url("/cookie"), params={"url": "/echo"}, headers=headers)["headers"]["cookie"]
    assert sent == "lang=en; session=new"


def test_a_cookie_is_not_sent_to_another_host(server: Server) -> None:
    elsewhere = server.url("/echo").replace("127.0.0.1", "localhost")
    headers = got(server.url("/cookie"), params={"url": elsewhere}, headers={"Cookie": "lang=en"})["headers"]
    assert "cookie" not in headers


def test_a_cookie_is_not_sent_with_the_next_request(server: Server) -> None:
    async def both() -> Any:
        await get(url=server.url("/cookie"), params={"url": "/echo"})
        return await get(url=server.url("/echo"))

    assert "cookie" not in asyncio.run(both())["headers"]


def test_a_loop_of_redirects_ends(server: Server) -> None:
    error = failure(server.url("/loop"))
    assert "redirects more than 10 times" in str(error)
    assert error.retryable is False


def test_a_redirect_to_a_file_is_refused(server: Server) -> None:
    assert failure(server.url("/to"), params={"url": "file:///etc/passwd"}).retryable is False


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_a_client_error_is_not_retried(server: Server, status: int) -> None:
    error = failure(server.url(f"/status/{status}"))
    assert (error.status_code, error.retryable) == (status, False)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_error_and_too_many_requests_are_retried(server: Server, status: int) -> None:
    error = failure(server.url(f"/status/{status}"))
    assert (error.status_code, error.retryable) == (status, True)


def test_retry_after_in_seconds_is_passed_on(server: Server) -> None:
    assert failure(server.url("/status/429?retry_after=7")).retry_after == 7


def test_retry_after_as_a_date_is_passed_on(server: Server) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    wait = failure(server.url("/status/503"), params={"retry_after": later}).retry_after
    assert wait is not None
    assert 0 < wait <= 60


def test_a_retry_after_that_means_nothing_is_ignored(server: Server) -> None:
    assert failure(server.url("/status/429?retry_after=soon")).retry_after is None


def test_a_server_that_recovers_gives_a_failure_and_then_a_value(server: Server) -> None:
    first = failure(server.url("/news?fail=1"))
    assert first.retryable
    assert got(server.url("/news?fail=1")) == NEWS


def test_a_server_that_nobody_listens_at_is_retried_and_named() -> None:
    error = failure("http://127.0.0.1:1/news")
    assert str(error).startswith("http://127.0.0.1:1/news cannot be reached: ")
    assert error.retryable


def test_a_proxy_that_is_down_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", "http://me:hidden@127.0.0.1:1")
    error = failure("http://example.org/news")
    assert str(error).startswith("http://example.org/news cannot be reached through the proxy http://127.0.0.1:1: ")
    assert error.retryable


def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "gopher://127.0.0.1:1")
    assert "the proxy that the environment names cannot be used" in str(failure("http://example.org/news"))


@pytest.mark.parametrize("port", [0, 65536, 99999, 10**30])
def test_a_port_that_cannot_exist_is_named_and_not_retried(server: Server, port: int) -> None:
    """It ended as an ExceptionGroup, in the URL and in a redirect."""
    url = f"http://127.0.0.1:{port}/"
    assert f"has the port {port}" in str(failure(url))
    assert f"has the port {port}" in str(failure(server.url("/to"), params={"url": url}))
    assert failure(url).retryable is False


def test_half_a_body_of_a_server_is_retried(server: Server) -> None:
    assert failure(server.url("/drop")).retryable


@pytest.mark.parametrize("page", ["/drip", "/hang"])
def test_a_server_that_drips_or_never_replies_ends_at_the_total_timeout(server: Server, page: str) -> None:
    """F15: httpx's own timeouts are for one read, and a server that drips never exceeds them."""
    error = failure(server.url(page), total_timeout=0.5)
    assert "did not answer in full within 0.5 s" in str(error)
    assert error.retryable


def test_a_total_timeout_that_is_no_number_is_named(server: Server) -> None:
    assert "a number of seconds, not '30s'" in str(failure(server.url("/news"), total_timeout="30s"))


def test_a_body_over_the_limit_is_refused(server: Server) -> None:
    error = failure(server.url("/news"), max_bytes=10)
    assert "more than 10 bytes" in str(error)
    assert error.retryable is False


def test_a_body_of_just_the_limit_is_taken(server: Server) -> None:
    assert got(server.url("/gzip"), max_bytes=len('{"packed": true}')) == {"packed": True}


def test_a_gzip_bomb_stops_at_the_limit(server: Server) -> None:
    """1 GiB of zeros in 1 MiB: httpx's own decoder makes 64 MiB of each 64 KiB that it reads."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = failure(server.url("/bomb"), max_bytes=1024 * 1024)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert "more than 1,048,576 bytes" in str(error)
    assert grown < 32 * 1024, "KiB"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "5"},
        {"transfer-encoding": "chunked"},
        {"X": "hidden\n"},
        {"X": "hidden\ud800"},
        {"X": ["hidden"]},
        {"": "hidden"},
        {"a b": "hidden"},
        "hidden",
        ["hidden"],
    ],
)
def test_headers_that_cannot_be_sent_are_reported_without_their_values(server: Server, headers: Any) -> None:
    """A Content-Length ended as an ExceptionGroup."""
    error = failure(server.url("/news"), headers=headers)
    assert "header" in str(error)
    assert "hidden" not in str(error)
    assert error.retryable is False


@pytest.mark.parametrize("url", ["ftp://example.org/x", "file:///etc/passwd", "/news", "http://", "http://a:b/", ""])
def test_http_get_asks_only_http_and_https(url: str) -> None:
    assert failure(url).retryable is False


def test_an_error_of_http_get_has_neither_the_query_nor_the_password(server: Server) -> None:
    url = server.url("/status/404?token=hidden").replace("//", "//me:hidden@")
    assert "hidden" not in str(failure(url))


def test_a_url_that_cannot_be_parsed_does_not_show_its_password() -> None:
    """A slash in a password ends the host there, and the password began as a port would: it was in the message."""
    error = failure("https://me:hidden/word@example.org/news")
    assert str(error) == "the url or its params cannot be used: Invalid port"
    assert error.__suppress_context__


def test_a_header_that_cannot_be_sent_is_named_and_not_retried(server: Server) -> None:
    assert failure(server.url("/news"), headers={"X": "a\nb"}).retryable is False


def test_a_failure_of_http_get_survives_the_way_from_a_pool_process() -> None:
    error = pickle.loads(pickle.dumps(HTTPFailure("x", 429, retry_after=3)))  # noqa: S301 - our own
    assert (str(error), error.status_code, error.retryable, error.retry_after) == ("x", 429, True, 3)


def test_part_of_a_body_that_nobody_asked_for_is_a_failure(server: Server) -> None:
    """ansible#68843: a server, or a cache before it, that sends a part of the file although no range was requested."""
    error = failure(server.url("/status/206"))
    assert "206 Partial Content, a part of what it has" in str(error)
    assert error.retryable


def test_part_of_a_body_that_was_asked_for_is_the_value(server: Server) -> None:
    assert got(server.url("/status/206"), headers={"range": "bytes=0-10"}) == "as you wish"


def test_a_field_may_end_with_a_question_mark_itself(server: Server) -> None:
    server.pages["/forms"] = [{"paid?": True, "by": {"me?": 1}}, {"by": None}]
    records = got(server.url("/forms"), fields={"paid": "paid?", "me": "by.me?", "note": "note?", "login": "by.login?"})
    assert records == [
        {"paid": True, "me": 1, "note": None, "login": None},
        {"paid": None, "me": None, "note": None, "login": None},
    ]


@pytest.mark.parametrize("page", ["/log-in", "/html"])
def test_a_page_of_html_is_no_value_unless_text_is_asked_for(server: Server, page: str) -> None:
    """A page to log in, with 200, was the value: a text among the records of the other collectors."""
    error = failure(server.url(page))
    assert "answered with a page of HTML, which begins: <!DOCTYPE html> <title>Log in</title>" in str(error)
    assert "set format: text" in str(error)
    assert error.retryable is False
    assert got(server.url(page), format="text").strip().startswith("<!DOCTYPE html>")


def test_an_answer_without_a_body_has_no_value(server: Server) -> None:
    assert got(server.url("/status/204")) == ""


@pytest.mark.parametrize("status", [400, 404, 429, 503])
def test_the_words_of_a_server_about_its_failure_are_reported(server: Server, status: int) -> None:
    """A status alone does not say which parameter is wrong."""
    assert str(failure(server.url(f"/status/{status}"))).endswith(": as you wish")


def test_what_a_server_says_of_its_failure_is_cut_and_printable(server: Server) -> None:
    server.said = "\x1b[31m no\n\n such\tkey " + "x" * 300
    error = failure(server.url("/said"))
    assert str(error).partition("Bad Request: ")[2] == "[31m no such key " + "x" * 183 + "…"


@pytest.mark.parametrize(
    "said", ["hidden-1", "hidden-2", "of a=hidden-3", "hidden-4", "hidden%2D1", '"hidden\\u002d2"', "hidden-5"]
)
def test_the_words_of_a_server_about_its_failure_are_reported_without_what_was_sent(server: Server, said: str) -> None:
    """Servers repeat the key that they do not know."""
    server.said = f"there is no key {said}"
    basic = base64.b64encode(b"me:hidden-5").decode()
    headers = {"Authorization": "Bearer hidden-2", "Cookie": "a=hidden-3; b=hidden-4", "X-Proxy": f"Basic {basic}"}
    error = failure(server.url("/said"), params={"key": "hidden-1"}, headers=headers)
    assert "there is no key " in str(error)
    assert "***" in str(error)
    assert "hidden" not in str(error)


def test_a_failure_of_a_server_whose_body_never_ends_is_reported_by_its_status(server: Server) -> None:
    error = failure(server.url("/drip?status=404"))
    assert (error.status_code, error.retryable) == (404, False)
