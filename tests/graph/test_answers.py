"""Repeating what is safe, waiting as asked, errors, hostile answers, and where a token may go."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph.errors import (
    GraphError,
    GraphRefused,
    GraphThrottled,
    GraphUnreachable,
    SmimeGraphError,
    UsageError,
)
from smime_graph.graph import _answers

from .conftest import Driver

NOW = 1_800_000_000.0


class Script:
    """Answers one after another; the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


def busy(status: int = 429, *, headers: dict[str, str] | None = None) -> Any:
    body = {"error": {"code": "ApplicationThrottled", "message": "over its limit"}}
    return lambda: httpx.Response(status, headers=headers, content=json.dumps(body).encode())


# --- repeating and waiting -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fetch", "get", "list", "update_draft"])
@pytest.mark.parametrize(
    "failure",
    [
        *[busy(status) for status in (429, 502, 503, 504)],
        *[lambda k=k: k("x") for k in (httpx.ConnectError, httpx.ReadTimeout, httpx.WriteError)],
    ],
)
def test_what_changes_nothing_is_simply_asked_again(
    call: Driver, raw: bytes, method: str, failure: Any
) -> None:
    def answer() -> Any:
        made = failure()
        if isinstance(made, Exception):
            raise made
        return made

    args = {"list": (), "update_draft": ("id", raw)}.get(method, ("id",))
    good = httpx.Response(200, content=b'{"id": "x", "value": []}')
    script = Script(answer, answer, lambda: good)
    call(script, method, *args)
    assert len(script.requests) == 3
    first, second = call.pauses
    assert 0.25 <= first <= 0.5
    assert 0.5 <= second <= 1.0


def test_patience_ends_after_the_configured_retries(call: Driver) -> None:
    script = Script(lambda: httpx.Response(502))
    with pytest.raises(GraphRefused) as caught:
        call(script, "get", "id", settings={"retries": 2})
    assert caught.value.status == 502
    assert len(script.requests) == 3

    script = Script(httpx.ReadTimeout("x"))
    with pytest.raises(GraphUnreachable, match="no answer in time") as unreachable:
        call(script, "get", "id", settings={"retries": 0})
    assert not unreachable.value.maybe_sent
    assert len(script.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 418, 500, 501])
def test_a_verdict_is_not_asked_for_twice(call: Driver, status: int) -> None:
    script = Script(lambda: httpx.Response(status))
    with pytest.raises(GraphRefused):
        call(script, "get", "id")
    assert len(script.requests) == 1


def http_date(seconds: float) -> Any:
    return format_datetime(
        datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=seconds), usegmt=True
    )


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7.0, 7.7),
        ("60", 60.0, 61.0),
        ("1.5", 1.5, 1.65),
        (http_date(30), 30.0, 31.0),
        (http_date(30).replace("GMT", "-0000"), 30.0, 31.0),
        (http_date(-30), 0.25, 0.5),
        ("0", 0.25, 0.5),
        ("-5", 0.25, 0.5),
        ("soon", 0.25, 0.5),
        ("", 0.25, 0.5),
        ("nan", 0.25, 0.5),
        ("Mon, 99 Foo 99999 99:99:99 GMT", 0.25, 0.5),
        (f"Mon, 01 Jan {10**20} 00:00:00 GMT", 0.25, 0.5),
    ],
)
def test_retry_after_is_honoured(call: Driver, header: str, least: Any, most: Any) -> None:
    script = Script(
        busy(headers={"Retry-After": header}), lambda: httpx.Response(200, content=b"x")
    )
    assert call(script, "fetch", "id") == b"x"
    (pause,) = call.pauses
    assert least <= pause <= most


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("header", "wait"), [("61", 61), ("999999999", 999999999)])
def test_a_wait_beyond_our_patience_is_for_the_caller(
    call: Driver, raw: bytes, status: int, header: str, wait: Any
) -> None:
    changing = [("send", (raw,)), ("draft", (raw,)), ("send_draft", ("id",))]
    for method, args in (("fetch", ("id",)), *(changing if status == 429 else [])):
        script = Script(busy(status, headers={"Retry-After": header}))
        with pytest.raises(GraphThrottled) as caught:
            call(script, method, *args)
        assert caught.value.retry_after == wait
        assert "nothing was carried out" in caught.value.hint
        assert len(script.requests) == 1
    assert call.pauses == []


def test_a_gateway_that_turns_a_change_away_may_have_passed_it_on(call: Driver, raw: bytes) -> None:
    for answer, done in ((busy(), True), (lambda: httpx.Response(429), False)):
        with pytest.raises(GraphThrottled) as caught:
            call(Script(answer), "update_draft", "id", raw, settings={"retries": 0})
        assert ("nothing was carried out" in caught.value.hint) == done
    with pytest.raises(GraphThrottled, match="is throttling") as caught:
        call(Script(lambda: httpx.Response(429)), "fetch", "id", settings={"retries": 0})
    assert "nothing was carried out" in caught.value.hint


def test_throttling_that_does_not_end_is_told_with_the_last_wait(call: Driver, raw: bytes) -> None:
    script = Script(busy(headers={"Retry-After": "3"}))
    with pytest.raises(GraphThrottled) as caught:
        call(script, "send", raw)
    assert caught.value.retry_after == 3
    assert len(script.requests) == 5


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (400, "ErrorMimeContentInvalidBase64String", "wire="),
        (400, "ErrorInvalidRecipients", "To, Cc or Bcc"),
        (401, "InvalidAuthenticationToken", "https://graph.microsoft.com/.default"),
        (403, "ErrorSendAsDenied", "Send As"),
        (403, "ErrorAccessDenied", "Mail.Send"),
        (404, "ErrorItemNotFound", "immutable"),
        (400, "ErrorMessageSizeExceeded", "SMTP"),
        (413, "BadRequest", "SMTP"),
        (415, "RequestBodyRead", "wire="),
        (400, "ErrorQuotaExceeded", "full"),
    ],
)
def test_a_refusal_says_what_it_means_and_what_to_do(
    call: Driver,
    raw: bytes,
    graph_error: Callable[..., httpx.Response],
    status: int,
    code: str,
    hint: str,
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return graph_error(status, code, "Some text.", request_id="r-header")

    with pytest.raises(GraphRefused) as caught:
        call(handler, "send", raw)
    error = caught.value
    assert (error.status, error.code, error.message) == (status, code, "Some text.")
    assert error.request_id == "r-header"
    assert hint in error.hint
    assert "{" not in error.hint


def test_the_request_id_may_stand_inside_the_error(
    call: Driver, graph_error: Callable[..., httpx.Response]
) -> None:
    with pytest.raises(GraphRefused) as caught:
        call(lambda request: graph_error(400, "X"), "get", "id")
    assert caught.value.request_id == "r-inner"


def test_the_live_services_405_for_a_draft_update_says_what_to_do_instead(
    call: Driver, raw: bytes, graph_error: Callable[..., httpx.Response]
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return graph_error(405, "Request_BadRequest")

    with pytest.raises(GraphRefused, match="405") as caught:
        call(handler, "update_draft", "id", raw)
    assert "make a new one and delete the old one" in caught.value.hint


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><title>Bad Gateway</title></html>",
        b"null",
        b"[" * 60_000,
        b'{"error": "text"}',
        b'{"error": {"code": 5, "message": {"lang": "en"}}}',
        b'{"error": {"code": "", "message": "", "innerError": []}}',
        b'{"error": {"code": "\\u001b[31mX\\ud800", "message": "a\\r\\nb"}}',
        b"\xff\xfe\x00",
        b"1" * 10_000,
    ],
)
def test_any_error_body_gives_a_printable_refusal(call: Driver, body: Any) -> None:
    with pytest.raises(GraphRefused) as caught:
        call(lambda request: httpx.Response(400, content=body), "get", "id")
    assert str(caught.value).isprintable()
    assert caught.value.status == 400


def test_an_error_body_is_read_to_64_kib_and_no_further(
    call: Driver, stream: Callable[..., Any]
) -> None:
    given_out = []

    def piece() -> Any:
        given_out.append(1)
        return b"x" * 1024

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, stream=stream(*[piece] * 10_000))

    with pytest.raises(GraphRefused, match="65536 bytes"):
        call(handler, "get", "id")
    assert len(given_out) == 65


def test_a_fetch_stops_at_its_limit(call: Driver, stream: Callable[..., Any]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=stream(b"12345", b"67890"))

    assert call(handler, "fetch", "id", limit=10) == b"1234567890"
    with pytest.raises(GraphError, match="longer than the limit") as caught:
        call(handler, "fetch", "id", limit=9)
    assert "higher limit" in caught.value.hint


@pytest.mark.parametrize("limit", [0, -1, None, 1.5, "1"])
def test_a_limit_that_is_no_number_of_bytes_is_refused_before_anything_is_asked(
    call: Driver, limit: Any
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing was to be asked")

    with pytest.raises(UsageError, match=f"limit is {limit!r}, wanted a number of bytes"):
        call(handler, "fetch", "id", limit=limit)


def test_an_answer_that_drips_is_given_up(call: Driver, stream: Callable[..., Any]) -> None:
    def drip() -> Any:
        call.now += 29.0  # just within the timeout of each wait
        return b"x"

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=stream(*[drip] * 10_000))

    with pytest.raises(GraphUnreachable, match="broke off after"):
        call(handler, "fetch", "id", limit=16384, settings={"retries": 0})
    assert call.now - NOW < 400


def test_a_fetch_that_breaks_off_is_fetched_again(call: Driver, stream: Callable[..., Any]) -> None:
    script = Script(
        lambda: httpx.Response(200, stream=stream(b"half", httpx.ReadError("reset"))),
        lambda: httpx.Response(200, content=b"whole"),
    )
    assert call(script, "fetch", "id") == b"whole"


def test_a_compressed_answer_is_refused_unpacked_by_nobody(
    call: Driver, stream: Callable[..., Any]
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=stream(b"\x1f\x8b"))

    with pytest.raises(GraphError, match="compressed"):
        call(handler, "fetch", "id")


# --- where the token may go ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_refused_and_not_followed(call: Driver, raw: bytes, status: int) -> None:
    calls = [("get", ("id",)), ("update_draft", ("id", raw))]
    if status not in (303, 304):  # a send may have been carried out: test_sending
        calls.append(("send", (raw,)))
    for method, args in calls:
        script = Script(
            lambda: httpx.Response(status, headers={"Location": "https://evil.example/?t=1"})
        )
        with pytest.raises(GraphRefused, match="redirect") as caught:
            call(script, method, *args)
        assert [r.url.host for r in script.requests] == ["graph.microsoft.com"]
        assert "evil" not in str(caught.value)


def page(*ids: Any, link: Any = None) -> Any:
    data = {"value": [{"id": i, "isDraft": False} for i in ids]}
    if link:
        data["@odata.nextLink"] = link
    return lambda: httpx.Response(200, json=data)


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/v1.0/me/messages",
        "https://graph.microsoft.com.evil.example/",
        "http://graph.microsoft.com/v1.0/me/messages",
        "https://graph.microsoft.com:8443/v1.0/me/messages",
        "https://graph.microsoft.com@evil.example/",
        "https://user@graph.microsoft.com/",
        "https://evil.example\\@graph.microsoft.com/",
        "//graph.microsoft.com/v1.0",
        "/v1.0/me/messages",
        "https://graph.microsoft.com/\n",
        "https://[graph.microsoft.com/",
        "https://graph.microsoft.com:x/",
        "",
    ],
)
def test_a_next_page_elsewhere_gets_no_token(call: Driver, link: Any) -> None:
    data = {"value": [{"id": "1"}], "@odata.nextLink": link}
    script = Script(lambda: httpx.Response(200, json=data))
    with pytest.raises(GraphError, match="the token is not sent there"):
        call(script, "list")
    assert len(script.requests) == 1


def test_pages_are_followed_to_the_number_asked_for(call: Driver) -> None:
    link = "https://graph.microsoft.com:443/v1.0/me/messages?$skip=2&$skiptoken=a%2Fb"
    script = Script(page("1", "2", link=link), page("3", "4", link=link), page("5"))
    got = call(script, "list", top=3)
    assert [m.id for m in got] == ["1", "2", "3"]
    assert got.more
    assert script.requests[1].url.raw_path == b"/v1.0/me/messages?$skip=2&$skiptoken=a%2Fb"
    assert script.requests[1].headers["prefer"] == 'IdType="ImmutableId"'

    script = Script(page("1", "2", link=link), page("3"))
    got = call(script, "list")
    assert ([m.status for m in got], len(got), got.more) == (["stored"] * 3, 3, False)


def test_pages_without_end_end(call: Driver) -> None:
    script = Script(page(link="https://graph.microsoft.com/v1.0/me/messages?again"))
    got = call(script, "list")
    assert (len(got), got.more) == (0, True)
    assert len(script.requests) == 200


def test_a_folder_without_its_counts_is_one_all_the_same(call: Driver) -> None:
    data = {"value": [{"id": "f2", "totalItemCount": "many"}]}
    (found,) = call(lambda request: httpx.Response(200, json=data), "folders")
    assert (found.id, found.name, found.total, found.unread) == ("f2", "", 0, 0)


# --- anything ------------------------------------------------------------------------------------

JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "code", "message", "value", "id", "isDraft", "@odata.nextLink"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
BODY = st.binary(max_size=200) | JSONISH.map(lambda data: json.dumps(data).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "request-id", "Content-Type", "Content-Encoding", "Location"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    max_size=3,
)


@given(
    status=st.integers(100, 999),
    body=BODY,
    headers=HEADERS,
    method=st.sampled_from(
        ["send", "reply", "draft", "update_draft", "send_draft", "fetch", "get", "list", "folders"]
        + ["delete"]
    ),
)
@settings(max_examples=250, deadline=None)
def test_any_answer_gives_a_value_or_one_of_our_errors(
    drive: type[Driver],
    stream: Callable[..., Any],
    raw: bytes,
    status: int,
    body: Any,
    headers: Any,
    method: str,
) -> None:
    args = {
        "send": (raw,),
        "draft": (raw,),
        "list": (),
        "folders": (),
        "reply": ("id", raw),
        "update_draft": ("id", raw),
    }.get(method, ("id",))

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=stream(body))

    error = None
    try:
        drive("sync")(handler, method, *args)
    except SmimeGraphError as caught:
        error = caught
    assert str(error).isprintable()
    assert not isinstance(error, GraphError) or uuid.UUID(str(error.client_request_id))
    assert "s3cret" not in f"{error} {getattr(error, 'hint', '')}"


@given(raw=st.binary(max_size=300) | st.text(alphabet='To: <@>\r\n"(\\,;Message-ID', max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_message_is_sent_whole_or_refused(drive: type[Driver], raw: bytes) -> None:
    raw = raw.encode() if isinstance(raw, str) else raw
    bodies = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        return httpx.Response(202)

    try:
        drive("sync")(handler, "send", raw)
    except SmimeGraphError:
        assert bodies == []
    else:
        assert len(bodies) == 1


@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(400, content=b"{}"),
        lambda: httpx.Response(429, content=b"{}"),
        lambda: httpx.Response(200, headers={"Content-Encoding": "br"}, content=b""),
        lambda: httpx.ConnectError("refused"),
    ],
)
def test_an_error_has_the_client_request_id_of_the_last_request(call: Driver, answer: Any) -> None:
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["client-request-id"])
        made: httpx.Response | Exception = answer()
        if isinstance(made, Exception):
            raise made
        return made

    with pytest.raises(GraphError) as caught:
        call(handler, "fetch", "id")
    assert caught.value.client_request_id == seen[-1]


# --- not what was asked for ----------------------------------------------------------------------

HTML = b"<!DOCTYPE html><html><body>please log in</body></html>"


@pytest.mark.parametrize(
    "kind", ["text/html", "Text/HTML; charset=utf-8", "application/json", None]
)
def test_a_page_is_no_message(call: Driver, kind: Any) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        headers = {"Content-Type": kind} if kind else {}
        return httpx.Response(200, headers=headers, content=HTML)

    with pytest.raises(GraphError, match="wanted text/plain") as caught:
        call(handler, "fetch", "id")
    assert "log-in" in caught.value.hint
    assert caught.value.client_request_id


@pytest.mark.parametrize("kind", ["text/plain", "TEXT/PLAIN; charset=utf-8", None])
def test_a_message_is_text_plain(call: Driver, kind: Any) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = httpx.Response(200, headers=headers, content=b"Subject: x\r\n\r\n")
    assert call(lambda request: answer, "fetch", "id") == b"Subject: x\r\n\r\n"


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    "method",
    ["get", "list", "folders", "draft", "create_reply", "create_reply_all", "create_forward"],
)
def test_a_page_is_no_json(call: Driver, raw: bytes, method: str, status: int) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"Content-Type": "text/html"}, content=HTML)

    args = {"list": (), "folders": (), "draft": (raw,), "get": ("id",)}.get(method, ("id", raw))
    with pytest.raises(GraphError):
        call(handler, method, *args)


@pytest.mark.parametrize(
    ("method", "status"),
    [("get", 201), ("get", 202), ("list", 206), ("fetch", 206), ("draft", 200), ("draft", 202)],
)
def test_a_status_that_is_not_documented_is_no_success(
    call: Driver, raw: bytes, method: str, status: int
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=b'{"id": "x", "value": [], "isDraft": true}')

    args = {"list": (), "draft": (raw,)}.get(method, ("id",))
    with pytest.raises(GraphRefused) as caught:
        call(handler, method, *args)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("data", "emails", "values"),
    [
        ({"id": "1"}, (), ()),
        ({"id": "1", "emailAddresses": None, "multiValueExtendedProperties": {}}, (), ()),
        (
            {"id": "1", "emailAddresses": [None, 1, {}, {"address": 2}, {"address": "a@b"}]},
            ("a@b",),
            (),
        ),
        (
            {"id": "1", "multiValueExtendedProperties": [None, {"id": 7}, {"id": "String 0x3A70"}]},
            (),
            (),
        ),
        (
            {
                "id": "1",
                "multiValueExtendedProperties": [
                    {"id": "BinaryArray 0x3a70", "value": ["MA==", 5, "?", None, "MDA="]},
                    {"id": "BinaryArray 0x3a71", "value": ["MTE="]},
                ],
            },
            (),
            (b"0", b"", b"", b"", b"00"),
        ),
    ],
)
def test_a_contact_of_whatever_form(
    data: dict[str, Any], emails: tuple[str, ...], values: tuple[bytes, ...]
) -> None:
    found = _answers.contact(data, 0x3A70)
    assert (found.emails, found.values) == (emails, values)


def test_the_values_of_a_contact_are_bounded() -> None:
    many = {"id": "BinaryArray 0x3A70", "value": ["MA=="] * 5000}
    data = {"id": "1", "multiValueExtendedProperties": [many] * 10}
    assert len(_answers.contact(data, 0x3A70).values) == 100


@pytest.mark.parametrize("data", [None, [], {}, {"id": ""}, {"id": ".."}, "text"])
def test_what_is_no_contact(data: object) -> None:
    with pytest.raises(GraphError, match="no contact"):
        _answers.contact(data, None)
