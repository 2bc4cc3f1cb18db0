"""Any bytes in any request get an answer, and it is never a failure of the emulator."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from smime_graph.emulator import Emulator, Request, Response, headers
from smime_graph.emulator.headers import (
    add_fields,
    addresses,
    decode_words,
    field_names,
    header_fields,
    remove_fields,
)
from smime_graph.emulator.mime import summarise
from smime_graph.errors import UsageError

ITEM, DRAFT = "AAMkPlanted=", "AAMkDraft="
ORIGINAL = b"From: bob@contoso.com\r\nTo: alice@contoso.com\r\nMessage-ID: <o@x>\r\n\r\nhi"
ACTIONS = ["reply", "replyAll", "forward", "createReply", "createReplyAll", "createForward", "send"]

MORE = ["", "/move", "/copy", "/attachments", "/attachments/createUploadSession"]

quick = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module", params=["live", "design"])
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    with Emulator(profile=request.param, rewrite_headers=True) as emulator:
        alice = emulator.mailbox("alice@contoso.com")
        alice.put(ORIGINAL, item_id=ITEM)
        alice.put(ORIGINAL, item_id=DRAFT, folder="drafts")
        yield emulator


def read_line_by_line(raw: bytes) -> list[tuple[str, bytes, int, int]]:
    """The fields: name, octets of the value without line ends, and where it stands."""
    found: list[tuple[str, bytes, int, int]] = []
    is_field = False
    position = 0
    for line in raw.splitlines(keepends=True):
        start, position = position, position + len(line)
        text = line.rstrip(b"\r\n")
        if not text:
            break
        if text[:1] in (b" ", b"\t"):
            if is_field:
                name, value, begin, _ = found.pop()
                found.append((name, value + text, begin, position))
            continue
        head = re.match(rb"([!-9;-~]+)[ \t]*:", text)
        is_field = head is not None
        if head is not None:
            found.append((head[1].decode().lower(), text[head.end() :], start, position))
    return found


@settings(deadline=None, max_examples=400)
@given(
    raw=st.lists(
        st.sampled_from([b"A:", b"b", b" ", b"\t", b":", b"\r", b"\n", b"\r\n", b"To : x", b"\xff"])
    ).map(b"".join)
)
def test_a_header_is_read_as_line_by_line(raw: bytes) -> None:
    fields = [
        (one.name, one.value.encode("utf-8", "replace"), one.start, one.end)
        for one in header_fields(raw)[0]
    ]
    assert fields == [
        (name, headers.decode_octets(value).strip().encode("utf-8", "replace"), start, end)
        for name, value, start, end in read_line_by_line(raw)
    ]
    assert field_names(raw) == {name for name, *_ in fields}


def ask(
    emulator: Emulator, method: str, target: str, body: bytes, *headers: tuple[str, str]
) -> Response:
    headers = (("Authorization", "Bearer x"), *headers)
    response = emulator.exchange(Request(method, target, headers, body)).response
    assert response is not None
    assert 200 <= response.status < 600
    assert response.status != 500
    assert response.header("request-id")
    for name, value in response.headers:
        assert (name + value).isprintable()
        (name + value).encode("latin-1")
    if (response.header("Content-Type") or "").startswith("application/json"):
        answer = json.loads(response.body)
        assert ("error" in answer) == (response.status >= 400)
        if response.status >= 400:
            assert answer["error"]["code"]
    return response


paths = st.one_of(
    st.sampled_from(
        [f"/v1.0/me/messages/{ITEM}/{a}" for a in ACTIONS]
        + ["/v1.0/me/sendMail", "/v1.0/me/messages", f"/v1.0/me/messages/{ITEM}/$value"]
        + [f"/v1.0/me/messages/{ITEM}{more}" for more in MORE]
        + [
            "/v1.0/$batch",
            "/v1.0/me",
            "/v1.0/me/mailFolders",
            "/v1.0/me/mailFolders/inbox/messages/delta",
        ]
        + ["/v1.0/me/mailFolders/archive/childFolders", "/api/v2.0/Users('a')/Messages('b')/x"]
        + [f"/beta/users/bob@contoso.com/mailFolders/inbox/messages/{ITEM}", "/v1.0/$metadata"]
    ),
    st.lists(
        st.sampled_from(
            [
                "v1.0",
                "me",
                "users",
                "messages",
                "mailFolders",
                "inbox",
                "$value",
                "('",
                "')",
                "%00",
                "%",
                ITEM,
            ]
        )
        | st.text(max_size=8),
        max_size=7,
    ).map(lambda parts: "/" + "/".join(parts)),
    st.text(max_size=60),
    st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=20),
)
queries = st.lists(
    st.tuples(
        st.sampled_from(
            ["$filter", "$top", "$skip", "$select", "$orderby", "$expand", "x"]
            + ["$deltatoken", "$skiptoken", "authtoken", "changeType", "$count", "$search"]
        ),
        st.sampled_from(["internetMessageId eq '", "'", "1", "id", "receivedDateTime", "%FF"])
        | st.sampled_from(["isRead eq true", "subject ne 'x'", "attachments", "true", '"a b"'])
        | st.just("singleValueExtendedProperties($filter=id eq 'String 0x1A')")
        | st.text(max_size=12),
    ).map("=".join),
    max_size=3,
).map(lambda parts: "?" + "&".join(parts) if parts else "")
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]) | st.text(
    max_size=5
)
kinds = st.sampled_from(["text/plain", "application/json", "text/plain; x=\u00ff", ""]) | st.text(
    max_size=10
)

pieces = st.sampled_from(
    [
        b"From: ", b"To: ", b"Bcc: ", b"bcc : ", b"Message-ID: ", b"Date: ", b"Subject: ",
        b"X-A: ", b"Reply-To: ", b"Content-Type: multipart/mixed; boundary=b",
        b"Content-Type: text/html; charset=", b"--b", b"--b--",
        b"Content-Transfer-Encoding: base64", b"alice@contoso.com", b"bob@contoso.com",
        b"x@fabrikam.com", b"who@contoso.com", b"<", b">", b'"', b"(", b")", b",", b";",
        b":", b"@", b"\\", b"=?utf-8?b?", b"?=", b"\r\n", b"\r\n", b"\n", b"\r", b" ",
        b"\t", b"\x00", b"\xff", b"\r\n\r\n", b"utf-16", b"idna",
    ]
) | st.binary(max_size=6)  # fmt: skip
messages = st.lists(pieces, max_size=40).map(b"".join) | st.builds(
    lambda rest: b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n" + rest,
    st.lists(pieces, max_size=30).map(b"".join),
)
names = st.sampled_from(
    [
        "message", "mimeContent", "comment", "toRecipients", "saveToSentItems", "subject",
        "body", "content", "contentType", "emailAddress", "address", "name",
        "internetMessageId", "from", "Message", "@odata.type", "contentBytes", "attachments",
        "isRead", "flag", "flagStatus", "categories", "importance", "destinationId",
        "displayName", "AttachmentItem", "attachmentType", "size", "isInline", "contentId",
        "internetMessageHeaders", "value",
    ]
)  # fmt: skip
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        ["bob@contoso.com", "text", "html", "high", "flagged", "archive", "file", "x-a"]
        + ["#microsoft.graph.fileAttachment", base64.b64encode(ORIGINAL).decode(), "\ud800", "a\nb"]
    )
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@quick
@given(
    method=methods, path=paths, query=queries, kind=kinds, body=st.binary(max_size=60) | messages
)
def test_any_request_is_answered(
    emulator: Emulator, method: str, path: str, query: str, kind: str, body: bytes
) -> None:
    ask(emulator, method, path + query, body, ("Content-Type", kind), ("client-request-id", kind))


@quick
@given(headers=st.lists(st.tuples(st.text(max_size=20), st.text(max_size=30)), max_size=5))
def test_any_header_is_answered(emulator: Emulator, headers: list[tuple[str, str]]) -> None:
    ask(emulator, "GET", "/v1.0/me/messages", b"", *headers)


@quick
@given(
    path=st.sampled_from(
        ["sendMail", "messages"] + [f"messages/{ITEM}/{a}" for a in ACTIONS if a != "send"]
    ),
    message=messages,
)
def test_any_message_is_answered_and_stays_readable(
    emulator: Emulator, path: str, message: bytes
) -> None:
    response = ask(
        emulator,
        "POST",
        f"/v1.0/me/{path}",
        base64.b64encode(message),
        ("Content-Type", "text/plain"),
    )
    if response.status == 201 and message:  # an answer may be created without a body
        draft = json.loads(response.body)["id"]
        stored = ask(emulator, "GET", f"/v1.0/me/messages/{draft}/$value", b"").body
        assert summarise(message).message_id == "" or stored == message
        ask(emulator, "POST", f"/v1.0/me/messages/{draft}/send", b"")
    listed = ask(emulator, "GET", "/v1.0/users/bob@contoso.com/messages?$top=3", b"")
    assert listed.status == 200


@quick
@given(
    path=st.sampled_from(
        ["sendMail", "messages", "mailFolders", "../$batch"]
        + [f"messages/{ITEM}/{a}" for a in ACTIONS[:-1]]
        + [f"messages/{DRAFT}{more}" for more in MORE]
    ),
    value=st.dictionaries(names, values, max_size=4) | values,
)
def test_any_json_is_answered(emulator: Emulator, path: str, value: object) -> None:
    body = json.dumps(value).encode()
    kind = ("Content-Type", "application/json")
    method = "PATCH" if path.endswith("=") else "POST"
    ask(emulator, method, f"/v1.0/me/{path}".replace("me/../", ""), body, kind)


@quick
@given(
    steps=st.lists(
        st.fixed_dictionaries(
            {"id": st.sampled_from(["1", "2", "3"]), "method": methods, "url": paths},
            optional={
                "body": values,
                "headers": values,
                "dependsOn": st.lists(st.sampled_from(["1", "2"]), max_size=2),
            },
        ),
        max_size=3,
    )
)
def test_any_batch_is_answered(emulator: Emulator, steps: list[object]) -> None:
    body = json.dumps({"requests": steps}).encode()
    answer = ask(emulator, "POST", "/v1.0/$batch", body)
    for one in json.loads(answer.body).get("responses", ()):
        assert 200 <= one["status"] < 600
        assert one["status"] != 500


@quick
@given(message=messages, value=st.dictionaries(names, values, max_size=4))
def test_any_draft_can_be_changed_and_is_still_one(message: bytes, value: object) -> None:
    with Emulator() as emulator:
        try:
            planted = emulator.mailbox("alice@contoso.com").put(message, folder="drafts")
        except UsageError:
            return
        path = f"/v1.0/me/messages/{planted.id}"
        json_body = ("Content-Type", "application/json")
        ask(emulator, "PATCH", path, json.dumps(value).encode(), json_body)
        file = {
            "@odata.type": "#microsoft.graph.fileAttachment",
            "name": "x",
            "contentBytes": "eA==",
        }
        before = attached(emulator, path)
        added = ask(emulator, "POST", f"{path}/attachments", json.dumps(file).encode(), json_body)
        if added.status == 201:
            own_id = json.loads(added.body)["id"]
            assert attached(emulator, path) == [*before, own_id]
            ask(emulator, "DELETE", f"{path}/attachments/{own_id}", b"")
            assert attached(emulator, path) == before


def attached(emulator: Emulator, path: str) -> list[str]:
    answer = ask(emulator, "GET", f"{path}/attachments?$top=999&$select=name", b"")
    return [one["id"] for one in json.loads(answer.body)["value"]]


@quick
@given(message=messages)
def test_no_delivered_copy_has_a_bcc_field(message: bytes) -> None:
    with Emulator() as emulator:
        headers = (("Content-Type", "text/plain"),)
        ask(emulator, "POST", "/v1.0/me/sendMail", base64.b64encode(message), *headers)
        copies = [
            m.raw
            for who in ("bob", "carol")
            for m in emulator.mailbox(f"{who}@contoso.com").messages()
        ]
        for raw in copies + [o.raw for o in emulator.outbound]:
            assert summarise(raw).bcc == ()
            head = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").partition(b"\n\n")[0]
            for line in head.split(b"\n"):
                assert (
                    line.lower().rstrip(b" \t").partition(b":")[0].rstrip() != b"bcc"
                    or b":" not in line
                )


@quick
@given(message=messages, name=st.sampled_from(["bcc", "x-a", "subject"]))
def test_taking_fields_away_takes_nothing_else(message: bytes, name: str) -> None:
    once = remove_fields(message, {name})
    assert remove_fields(message, set()) == message
    fields, body = header_fields(message)
    left, body_left = header_fields(once)
    assert once[body_left:] == message[body:]
    assert [(f.name, f.value) for f in left] == [
        (f.name, f.value) for f in fields if f.name != name
    ]
    assume(fields)  # nothing is added to what is no message
    added = add_fields(message, [("X-New", "1")])
    assert remove_fields(added, {"x-new"}) == message


@quick
@example(text="=?0?B?\x80?=")  # was once a ValueError
@given(text=st.text(max_size=200) | messages.map(lambda m: m.decode("latin-1")))
def test_any_text_is_an_address_list(text: str) -> None:
    for person in addresses(text):
        assert "@" in person.address
        assert "\n" not in person.address
        assert "\r" not in person.address
    assert isinstance(decode_words(text), str)
