"""What goes over the wire: every endpoint, both forms, both kinds of mailbox, both clients."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import uuid
from typing import Any

import httpx
import pytest

from smime_graph.errors import GraphError, MalformedMessage, UsageError
from smime_graph.graph import _mailbox, _outgoing

from .conftest import Driver, FakeGraph, Stream

RAW = (
    b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: hello\r\n"
    b"Message-ID: <m1@contoso.com>\r\nMIME-Version: 1.0\r\n\r\nhi\r\n"
)
B64 = base64.b64encode(RAW)
FIELDS = (
    "id%2CinternetMessageId%2Csubject%2Cfrom%2CisDraft%2CparentFolderId%2CchangeKey%2C"
    "sentDateTime%2CreceivedDateTime"
)
ITEM = {"id": "new", "isDraft": True, "internetMessageId": "<m1@contoso.com>"}

TEXT = ("text/plain", B64)
JSON = ("application/json", {"mimeContent": B64.decode()})
SAVED = ("application/json", {"mimeContent": B64.decode(), "saveToSentItems": True})
UNSAVED = ("application/json", {"mimeContent": B64.decode(), "saveToSentItems": False})
BARE = ("text/plain", RAW)
NOTHING = (None, b"")

# method and arguments, the answer; the request line, and the content in both forms
ENDPOINTS = [
    ("send", (RAW,), {}, 202, "POST", "/sendMail", TEXT, SAVED),
    ("send", (RAW,), {"save_to_sent_items": False}, 202, "POST", "/sendMail", None, UNSAVED),
    ("reply", ("a/b=", RAW), {}, 202, "POST", "/messages/a%2Fb%3D/reply", TEXT, JSON),
    ("reply_all", ("id", RAW), {}, 202, "POST", "/messages/id/replyAll", TEXT, JSON),
    ("forward", ("id", RAW), {}, 202, "POST", "/messages/id/forward", TEXT, JSON),
    ("draft", (RAW,), {}, 201, "POST", "/messages", TEXT, BARE),
    ("create_reply", ("id", RAW), {}, 201, "POST", "/messages/id/createReply", TEXT, JSON),
    ("create_reply_all", ("id", RAW), {}, 201, "POST", "/messages/id/createReplyAll", TEXT, JSON),
    ("create_forward", ("id", RAW), {}, 201, "POST", "/messages/id/createForward", TEXT, JSON),
    ("update_draft", ("id", RAW), {}, 200, "PUT", "/messages/id/$value", TEXT, BARE),
    ("send_draft", ("id",), {}, 202, "POST", "/messages/id/send", NOTHING, NOTHING),
    ("delete", ("a/b=",), {}, 204, "DELETE", "/messages/a%2Fb%3D", NOTHING, NOTHING),
    ("fetch", ("id",), {}, 200, "GET", "/messages/id/$value", NOTHING, NOTHING),
    ("get", ("id",), {}, 200, "GET", f"/messages/id?$select={FIELDS}", NOTHING, NOTHING),
    (
        "list",
        (),
        {"top": 3},
        200,
        "GET",
        f"/messages?$orderby=receivedDateTime%20desc&$top=3&$select={FIELDS}",
        NOTHING,
        NOTHING,
    ),
    (
        "list",
        ("inbox",),
        {"internet_message_id": "<o'neill+1@x>"},
        200,
        "GET",
        "/mailFolders/inbox/messages?$filter=internetMessageId%20eq%20%27%3Co%27%27neill%2B1%40x%3E%27"
        f"&$top=50&$select={FIELDS}",
        NOTHING,
        NOTHING,
    ),
    (
        "folders",
        (),
        {},
        200,
        "GET",
        "/mailFolders?$top=100&$select=id%2CdisplayName%2CtotalItemCount%2CunreadItemCount",
        NOTHING,
        NOTHING,
    ),
]


@pytest.mark.parametrize("user", ["me", "Zoë O'Neill/x@contoso.com"])
@pytest.mark.parametrize("wire", ["text-plain", "mime-content"])
@pytest.mark.parametrize(
    ("method", "args", "kwargs", "status", "verb", "path", "plain", "mime"),
    ENDPOINTS,
    ids=[f"{e[0]}-{n}" for n, e in enumerate(ENDPOINTS)],
)
def test_every_endpoint_gets_exactly_its_request(
    call: Driver,
    user: Any,
    wire: str,
    method: str,
    args: Any,
    kwargs: Any,
    status: int,
    verb: str,
    path: Any,
    plain: Any,
    mime: Any,
) -> None:
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if method in ("list", "folders"):
            return httpx.Response(status, json={"value": []})
        if method == "fetch":
            return httpx.Response(status, headers={"Content-Type": "text/plain"}, content=RAW)
        return httpx.Response(status, json=ITEM) if status != 202 else httpx.Response(202)

    wanted = plain if wire == "text-plain" else mime
    if wanted is None:
        with pytest.raises(UsageError, match="save_to_sent_items"):
            call(handler, method, *args, settings={"wire": wire}, **kwargs)
        assert seen == []
        return
    call(handler, method, *args, settings={"wire": wire, "user": user}, **kwargs)

    (request,) = seen
    root = "/v1.0/me" if user == "me" else "/v1.0/users/Zo%C3%AB%20O%27Neill%2Fx%40contoso.com"
    assert request.method == verb
    assert request.url.host == "graph.microsoft.com"
    assert request.url.raw_path.decode() == root + path
    kind, body = wanted
    assert request.headers.get("content-type") == kind
    got = request.content
    assert (json.loads(got) if isinstance(body, dict) else got) == body
    if verb not in ("GET", "DELETE"):
        assert request.headers["content-length"] == str(len(got))
        assert "transfer-encoding" not in request.headers
    assert request.headers["authorization"] == "Bearer s3cret-token"
    assert request.headers["prefer"] == 'IdType="ImmutableId"'
    assert request.headers["accept-encoding"] == "identity"
    uuid.UUID(request.headers["client-request-id"])


def test_each_request_has_a_client_request_id_of_its_own(
    call: Driver, fake: type[FakeGraph], raw: bytes
) -> None:
    graph = fake()
    call(graph, "send", raw, via="draft")
    ids = [r.headers["client-request-id"] for r in graph.requests]
    assert len(ids) == 2
    assert len(set(ids)) == 2


def test_the_answers_become_references(call: Driver, raw: bytes) -> None:
    item = {
        "id": "AAMk=",
        "internetMessageId": "<m1@contoso.com>",
        "isDraft": True,
        "subject": "hello \ud800",
        "changeKey": "CQ==",
        "parentFolderId": "f1",
        "from": {"emailAddress": {"address": "alice@contoso.com", "name": "Alice"}},
        "sentDateTime": "2026-11-22T06:13:00Z",
        "receivedDateTime": "yesterday",
    }

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, headers={"request-id": "r-1"}, content=json.dumps(item).encode())

    ref = call(handler, "draft", raw)
    assert (ref.id, ref.internet_message_id, ref.status) == ("AAMk=", "<m1@contoso.com>", "draft")
    assert (ref.subject, ref.sender) == ("hello ?", "alice@contoso.com")
    assert (ref.change_key, ref.folder_id, ref.request_id) == ("CQ==", "f1", "r-1")
    assert ref.sent_at.isoformat() == "2026-11-22T06:13:00+00:00"
    assert ref.received_at is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T07:13:00+01:00", "2026-11-22T06:13:00+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00:00+23:59", None),
        ("9999-12-31T23:59:59-23:59", None),
        ("2026-11-22T06:13:00", None),
        ("2026-11-22", None),
    ],
)
def test_a_time_is_one_that_can_be_shown(call: Driver, text: str, expected: Any) -> None:
    item = {"id": "AAMk=", "receivedDateTime": text}
    ref = call(lambda request: httpx.Response(200, json=item), "get", "AAMk=")
    assert (ref.received_at and ref.received_at.isoformat()) == expected


def test_a_send_through_a_draft_keeps_the_drafts_id(
    call: Driver, fake: type[FakeGraph], raw: bytes
) -> None:
    graph = fake()
    ref = call(graph, "send", raw, via="draft")
    assert graph.posts() == ["/v1.0/me/messages", "/v1.0/me/messages/AAMk-0/send"]
    assert graph.delivered == [raw]
    assert (ref.id, ref.internet_message_id) == ("AAMk-0", "<m1@contoso.com>")
    assert ref.status == "accepted"


def test_fetch_gives_the_bytes_as_they_came(call: Driver) -> None:
    content = bytes(range(256)) * 3
    assert call(lambda request: httpx.Response(200, content=content), "fetch", "id") == content


# --- what is refused before anything is sent -----------------------------------------------------


def test_a_large_message_is_fetched_into_a_file_that_is_mapped(call: Driver) -> None:
    large = b"From: a\r\n\r\n" + b"x" * (3 << 20)
    answers: list[dict[str, Any]] = []

    def handler(_: httpx.Request) -> httpx.Response:
        answer = answers.pop(0)
        return httpx.Response(**({"status_code": 200} | answer))

    for raw, kind in ((large[:20], bytes), (large, memoryview)):
        answers += [{"content": raw}] * 2
        found = call(handler, "_fetch_spooled", "id")
        assert isinstance(found, kind)
        assert found == raw
        assert call(handler, "fetch", "id") == raw
    broken = {"stream": Stream(large, httpx.ReadError("x"))}
    answers += [{"status_code": 503}, broken, {"content": large}]
    assert call(handler, "fetch", "id") == large
    answers += [{"content": large}]
    with pytest.raises(GraphError, match="longer than the limit: "):
        call(handler, "_fetch_spooled", "id", limit=2 << 20)
    answers += [broken]
    with pytest.raises(GraphError, match=f"broke off after {len(large)} bytes"):
        call(handler, "_fetch_spooled", "id", settings={"retries": 0})


def without(name: bytes) -> bytes:
    return b"".join(x for x in RAW.splitlines(keepends=True) if not x.startswith(name))


def to(value: Any) -> Any:
    return RAW.replace(b"bob@contoso.com", value)


def nothing_is_sent(request: httpx.Request) -> httpx.Response:
    raise AssertionError("a request was made")


@pytest.mark.parametrize(
    ("raw", "kind", "text"),
    [
        (without(b"To:"), MalformedMessage, "names no recipient"),
        (
            RAW.replace(b"bob@contoso.com", b"undisclosed-recipients:;"),
            MalformedMessage,
            "no recipient",
        ),
        (
            RAW.replace(b"bob@contoso.com", b'"bob@contoso.com" <>'),
            MalformedMessage,
            "no recipient",
        ),
        (RAW.replace(b"bob@contoso.com", b"(bob@contoso.com)"), MalformedMessage, "no recipient"),
        (without(b"From:"), MalformedMessage, "no From"),
        (
            without(b"From:").replace(b"Subject:", b"Sender: a@b\r\nSubject:"),
            MalformedMessage,
            "no From",
        ),
        (b"From: alice@contoso.com\r\n" + RAW, MalformedMessage, "2 From fields"),
        (b"FROM : eve@contoso.com\r\n" + RAW, MalformedMessage, "2 From fields"),
        (RAW.replace(b"alice@contoso.com", b"alice"), MalformedMessage, "no address"),
        (
            RAW.replace(b"alice@contoso.com", b'"alice@contoso.com" <>'),
            MalformedMessage,
            "no address",
        ),
        (RAW.replace(b"alice@", b"eve@x, alice@"), MalformedMessage, "2 addresses"),
        (RAW.replace(b"alice@", b"we: eve@x; alice@"), MalformedMessage, "2 addresses"),
        (without(b"Message-ID:"), MalformedMessage, "no Message-ID"),
        (RAW.replace(b"<m1@contoso.com>", b"m1@contoso.com"), MalformedMessage, "Message-ID"),
        (RAW.replace(b"<m1@", b"<m\xff1@"), MalformedMessage, "Message-ID is malformed"),
        (b"Message-ID: <m2@x>\r\n" + RAW, MalformedMessage, "2 Message-ID fields"),
        (b"From alice Mon Jan  1 10:00:00 2026\n" + RAW, MalformedMessage, "line 1"),
        (b"\r\n" + RAW, MalformedMessage, "line 1"),
        (b"\r\n\r\n" + RAW, MalformedMessage, "no header"),
        (b" folded: first\r\n\r\n", MalformedMessage, "line 1"),
        (b"", MalformedMessage, "no header"),
        (RAW.replace(b"hello", b"hel\0lo"), MalformedMessage, "NUL"),
        (RAW.replace(b"hello", b"hel\rBcc: eve@x"), MalformedMessage, "bare CR"),
        (b"X: " + b"y" * 1_100_000, MalformedMessage, "blank line"),
        (RAW.decode(), UsageError, "is str, wanted bytes"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_any_request(
    call: Driver, raw: bytes, kind: Any, text: str
) -> None:
    with pytest.raises(kind, match=text):
        call(nothing_is_sent, "send", raw)


@pytest.mark.parametrize(
    "to",
    [
        b"Bob <bob@contoso.com>",
        b'"Bob, the \\"builder" <bob@contoso.com>',
        b'"a b"@contoso.com',
        b"(him) bob@contoso.com",
        "zoë@exämple.com".encode(),
        b"Bob\r\n\t<bob@contoso.com>",
        b"friends: a@x.org, b@x.org;",
        b"bob@[192.0.2.1]",
    ],
)
def test_every_way_to_write_an_address_counts_as_one(to: Any) -> None:
    raw = RAW.replace(b"bob@contoso.com", to)
    assert (
        _outgoing.check_to_send(_outgoing.header_fields(raw), recipients=True) == "<m1@contoso.com>"
    )
    only_bcc = raw.replace(b"To:", b"BCC :")
    assert (
        _outgoing.check_to_send(_outgoing.header_fields(only_bcc), recipients=True)
        == "<m1@contoso.com>"
    )


@pytest.mark.parametrize(
    "author",
    [
        b"Alice <alice@contoso.com>",
        b"alice@contoso.com <alice@contoso.com>",
        b'"a@b, c@d" <alice@contoso.com>',
        b"alice@contoso.com (of c@d, e@f)",
        b"Alice\r\n <alice@contoso.com>",
        "Zo\u00eb <zo\u00eb@ex\u00e4mple.com>".encode(),
    ],
)
def test_every_way_to_write_one_author_is_one(author: bytes) -> None:
    raw = RAW.replace(b"alice@contoso.com", author)
    assert (
        _outgoing.check_to_send(_outgoing.header_fields(raw), recipients=True) == "<m1@contoso.com>"
    )


@pytest.mark.parametrize(
    ("fields", "addresses"),
    [
        (b"To: Bob <Bob@Contoso.com>", {"bob@contoso.com"}),
        (b"To: bob@x\r\nCc: carol@x, dan@x\r\nBcc: eve@x", {"bob@x", "carol@x", "dan@x", "eve@x"}),
        (b'To: "Bob, a@x" <bob@x>, (c@x) carol@x (d@x)', {"bob@x", "carol@x"}),
        (b'To: "x\\"<e@x>" <bob@x>', {"bob@x"}),
        (b"To: friends: a@x, b@x;, c@x", {"a@x", "b@x", "c@x"}),
        (b"To: undisclosed-recipients:;\r\nBcc: a@x", {"a@x"}),
        (b"To: =?utf-8?q?a=40x?= <b@x>,\r\n\t<c@x>", {"b@x", "c@x"}),
        ("To: zoë@exämple.com".encode(), {"zoë@exämple.com"}),
        (b'To: "a b"@x', {'"a b"@x'}),
    ],
)
def test_the_recipients_of_a_header(fields: Any, addresses: Any) -> None:
    header = _outgoing.header_fields(fields + b"\r\nMessage-ID: <a@b>\r\n\r\n")
    assert _outgoing.recipients(header) == addresses


def test_bare_line_feeds_and_a_missing_body_are_still_a_message() -> None:
    for raw in (RAW.replace(b"\r\n", b"\n"), RAW.split(b"\r\n\r\n")[0], RAW[: RAW.index(b"hi")]):
        assert (
            _outgoing.check_to_send(_outgoing.header_fields(raw), recipients=True)
            == "<m1@contoso.com>"
        )


def test_a_hostile_header_takes_linear_time() -> None:
    # Each of these is quadratic in a naive pattern, and would take minutes for a megabyte.
    for filler in (b"a", b'"', b'\\"', b"(", b'"\\', b"(a", b"@", b"<"):
        value = (filler * (1_000_000 // len(filler)))[:1_000_000]
        raw = b"To: " + value + b"\r\nMessage-ID: <a@b>\r\n\r\n"
        began = time.perf_counter()
        with contextlib.suppress(MalformedMessage):
            _outgoing.check_to_send(_outgoing.header_fields(raw), recipients=True)
            _outgoing.recipients(_outgoing.header_fields(raw))
        assert time.perf_counter() - began < 5.0, filler


def test_replies_and_drafts_need_no_recipient_in_the_header(call: Driver) -> None:
    raw = without(b"To:")
    assert call(lambda request: httpx.Response(202), "reply", "id", raw).status == "accepted"
    assert call(lambda request: httpx.Response(202), "reply_all", "id", raw).status == "accepted"
    assert call(lambda request: httpx.Response(201, json=ITEM), "draft", raw).id == "new"
    with pytest.raises(MalformedMessage, match="names no recipient"):
        call(nothing_is_sent, "forward", "id", raw)


def test_a_draft_may_lack_a_message_id(call: Driver) -> None:
    raw = without(b"Message-ID:")
    assert call(lambda request: httpx.Response(201, json=ITEM), "draft", raw).id == "new"


def test_not_saving_names_both_facts_and_sends_nothing(call: Driver, raw: bytes) -> None:
    with pytest.raises(UsageError, match=r"text/plain form has no place.*no mimeContent"):
        call(nothing_is_sent, "send", raw, save_to_sent_items=False)
    with pytest.raises(UsageError, match="when a draft is sent"):
        call(
            nothing_is_sent,
            "send",
            raw,
            save_to_sent_items=False,
            via="draft",
            settings={"wire": "mime-content"},
        )


@pytest.mark.parametrize(
    ("wire", "method", "size"),
    [
        ("text-plain", "send", len(B64)),
        ("text-plain", "draft", len(B64)),
        ("mime-content", "draft", len(RAW)),
        ("mime-content", "send", len(B64) + len('{"mimeContent":"","saveToSentItems":true}')),
    ],
)
def test_the_limit_counts_the_bytes_of_the_http_body(
    call: Driver, raw: bytes, wire: str, method: str, size: Any
) -> None:
    bodies = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(len(request.content))
        return httpx.Response(202) if method == "send" else httpx.Response(201, json=ITEM)

    call(handler, method, raw, settings={"wire": wire, "size_limit": size})
    assert bodies == [size]
    with pytest.raises(UsageError, match=f"request of {size} bytes") as caught:
        call(nothing_is_sent, method, raw, settings={"wire": wire, "size_limit": size - 1})
    assert "three times" in caught.value.hint


def test_the_limit_is_four_mebibytes_unless_it_is_switched_off(call: Driver, raw: bytes) -> None:
    big = raw + b"x" * (3 * 1024 * 1024 - len(raw))
    assert call(lambda request: httpx.Response(202), "send", big)
    with pytest.raises(UsageError, match="4194304"):
        call(nothing_is_sent, "send", big + b"x")
    off = {"size_limit": None}
    assert call(lambda request: httpx.Response(202), "send", big + b"x", settings=off)


@pytest.mark.parametrize("bad", ["", ".", "..", "a\nb", "a\ud800", "x" * 2049, None])
def test_an_id_that_is_no_path_segment_is_refused(call: Driver, raw: bytes, bad: Any) -> None:
    with pytest.raises(UsageError):
        call(nothing_is_sent, "reply", bad, raw)


def test_an_id_cannot_climb_to_another_endpoint(call: Driver) -> None:
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path)
        return httpx.Response(200, content=b"x")

    call(handler, "fetch", "../../users/eve?$x=#y")
    assert seen == [b"/v1.0/me/messages/..%2F..%2Fusers%2Feve%3F%24x%3D%23y/$value"]


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://graph.microsoft.com/v1.0"},
        {"url": "http://127.0.0.1.evil.example/"},
        {"url": "https://user:pa55@graph.microsoft.com"},
        {"url": "https://graph.microsoft.com/v1.0?x=1"},
        {"url": "https://graph.microsoft.com/v1.0\n"},
        {"url": "ftp://graph.microsoft.com"},
        {"url": "https://[::1"},
        {"url": "https://host:99999"},
        {"url": "graph.microsoft.com"},
        {"url": ""},
        {"cloud": "germany"},
        {"wire": "json"},
        {"user": ""},
        {"user": ".."},
        {"size_limit": 0},
        {"retries": -1},
        {"timeout": 0},
        {"timeout": float("nan")},
    ],
)
def test_settings_that_make_no_sense_are_refused(call: Driver, settings: Any) -> None:
    with pytest.raises(UsageError) as caught:
        call(nothing_is_sent, "get", "id", settings=settings)
    assert "pa55" not in str(caught.value)


def test_a_cloud_picks_the_host_and_its_scope_and_url_wins() -> None:
    hosts: dict[Any, str] = {
        "global": "graph.microsoft.com",
        "usgov": "graph.microsoft.us",
        "dod": "dod-graph.microsoft.us",
        "china": "microsoftgraph.chinacloudapi.cn",
    }
    for cloud, host in hosts.items():
        box = _mailbox.mailbox(cloud=cloud)
        assert (box.url, box.scope) == (f"https://{host}/v1.0", f"https://{host}/.default")
    assert _mailbox.mailbox(cloud="china", url="http://127.0.0.1:8025/v1.0/").url.endswith("/v1.0")
    assert _mailbox.mailbox(cloud="china", url="http://[::1]:8025").host == "::1"


def test_a_mailbox_is_read_page_by_page_and_the_token_stays_on_its_host(call: Driver) -> None:
    page: dict[str, Any] = {"value": [{"id": "1"}]}
    here = "https://graph.microsoft.com/v1.0/me/messages?$skip=1"
    answers: list[dict[str, Any]] = []

    def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answers[-1])

    for link, said in (
        ("https://graph.microsoft.com.evil/v1.0", "the next page is not on"),
        (here, "pages do not end"),
    ):
        answers.append(page | {"@odata.nextLink": link})
        with pytest.raises(GraphError, match=said):
            call(handler, "_list_page", link=here)
    answers.append(page)
    found, following = call(handler, "_list_page", "inbox", link=here)
    assert ([one.id for one in found], found.more, following) == (["1"], False, None)
    with pytest.raises(GraphError, match="the next page is not on"):
        call(nothing_is_sent, "_list_page", link="http://graph.microsoft.com/v1.0")
