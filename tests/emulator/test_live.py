"""The profile `live`: what Microsoft Graph v1.0 does with MIME, as far as it is known."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest

from smime_graph.emulator import Emulator, Request
from smime_graph.errors import UsageError

from .conftest import Clock, Post

Make = Callable[..., Emulator]
Connect = Callable[..., httpx.Client]
Mail = Callable[..., bytes]

IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}
SENDS = ("reply", "replyAll", "forward")
DRAFTS = ("createReply", "createReplyAll", "createForward")


def code_of(response: httpx.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert error.keys() == {"code", "message", "innerError"}
    assert error["innerError"].keys() == {"date", "request-id", "client-request-id"}
    assert error["innerError"]["request-id"] == response.headers["request-id"]
    return response.status_code, error["code"]


def message_of(response: httpx.Response) -> str:
    return str(response.json()["error"]["message"])


@pytest.fixture
def original(emulator: Emulator, mail: Mail) -> str:
    """The id of a message in Alice's inbox."""
    raw = mail(
        from_="Bob <bob@contoso.com>",
        to="Alice <ALICE@contoso.com>",
        cc="carol@contoso.com",
        reply_to="team@fabrikam.com",
        message_id="<original@contoso.com>",
    )
    return emulator.mailbox("alice@contoso.com").put(raw).id


# Sending


def test_a_mime_send_is_accepted_with_an_empty_answer(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    response = post(client, "/me/sendMail", mail())
    assert (response.status_code, response.content) == (202, b"")
    (sent,) = emulator.mailbox("alice@contoso.com").messages("sentitems")
    (received,) = emulator.mailbox("bob@contoso.com").messages("inbox")
    assert sent.internet_message_id == received.internet_message_id == "<1@contoso.com>"
    assert not sent.is_draft
    assert not received.is_draft


@pytest.mark.parametrize("path", ["/me/sendMail", "/users/alice@contoso.com/sendMail"])
@pytest.mark.parametrize("content_type", ["text/plain", "TEXT/PLAIN; charset=utf-8"])
def test_wrapped_base64_is_accepted(
    client: httpx.Client, mail: Mail, path: str, content_type: str
) -> None:
    wrapped = base64.encodebytes(mail(body="x" * 500)).replace(b"\n", b"\r\n") + b"\r\n"
    response = client.post(path, content=wrapped, headers={"Content-Type": content_type})
    assert response.status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n\r\nraw MIME",
        b"RnJvbTogYQ=",
        b"RnJvbTogYQ===",
        b"RnJvbTog*A==",
        b"-_-_",
        base64.b64encode(b"no field\r\n\r\nbody"),
    ],
)
@pytest.mark.parametrize("path", ["/me/sendMail", "/me/messages"])
def test_what_is_not_base64_of_a_message_is_refused(
    client: httpx.Client, path: str, body: bytes
) -> None:
    response = client.post(path, content=body, headers={"Content-Type": "text/plain"})
    assert code_of(response) == (400, "ErrorMimeContentInvalidBase64String")
    assert message_of(response) == "Invalid base64 string for MIME content."


def test_a_mime_content_parameter_is_not_known(
    emulator: Emulator, client: httpx.Client, mail: Mail, original: str
) -> None:
    parameter = {"mimeContent": base64.b64encode(mail()).decode()}
    response = client.post("/me/sendMail", json=parameter)
    assert code_of(response) == (400, "ErrorInvalidParameter")
    assert message_of(response) == "The value of the parameter 'Message' is empty."
    for action in SENDS + DRAFTS:
        response = client.post(f"/me/messages/{original}/{action}", json=parameter)
        assert response.status_code == 400, action
        assert "mimecontent" in message_of(response)
    assert emulator.mailbox("bob@contoso.com").messages() == ()


def test_put_of_a_value_is_not_allowed(client: httpx.Client, mail: Mail, original: str) -> None:
    response = client.put(
        f"/me/messages/{original}/$value", content=mail(), headers={"Content-Type": "text/plain"}
    )
    assert code_of(response) == (405, "Request_BadRequest")
    assert response.headers["Allow"] == "GET"


def test_only_json_and_plain_text_are_understood(client: httpx.Client, mail: Mail) -> None:
    for kind in ("message/rfc822", "", "application/x-www-form-urlencoded", "text/plainer"):
        response = client.post("/me/sendMail", content=mail(), headers={"Content-Type": kind})
        assert code_of(response) == (415, "RequestBodyRead"), kind


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"a":1} x', b"\xff", b"[" * 100_000])
def test_json_that_cannot_be_read_is_refused(client: httpx.Client, body: bytes) -> None:
    response = client.post(
        "/me/sendMail", content=body, headers={"Content-Type": "application/json"}
    )
    assert code_of(response) == (400, "UnableToDeserializePostBody")


def test_a_sender_who_is_not_the_mailbox_is_refused(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    for author in ("bob@contoso.com", "alice@contoso.com, bob@contoso.com", "nobody"):
        response = post(client, "/me/sendMail", mail(from_=author))
        assert code_of(response) == (403, "ErrorSendAsDenied"), author
    assert emulator.mailbox("alice@contoso.com").messages(None) == ()
    assert emulator.mailbox("bob@contoso.com").messages(None) == ()


def test_the_sender_is_compared_without_regard_to_case(
    client: httpx.Client, post: Post, mail: Mail
) -> None:
    assert post(client, "/me/sendMail", mail(from_="ALICE@Contoso.COM")).status_code == 202


def test_a_message_without_a_sender_is_from_the_mailbox(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    assert post(client, "/users/bob@contoso.com/sendMail", mail(from_="")).status_code == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    assert received.sender == "bob@contoso.com"
    assert received.raw.count(b"From: bob@contoso.com\r\n") == 1


@pytest.mark.parametrize("to", ["", "undisclosed-recipients:;", "not an address", "<>"])
def test_a_message_to_nobody_is_refused(
    client: httpx.Client, post: Post, mail: Mail, to: str
) -> None:
    response = post(client, "/me/sendMail", mail(to=to))
    assert code_of(response) == (400, "ErrorInvalidRecipients")
    assert "contains no recipients" in message_of(response)


def test_a_long_request_is_refused(make: Make, connect: Connect, mail: Mail) -> None:
    client = connect(make())
    body = base64.b64encode(mail())
    plain = {"Content-Type": "text/plain"}
    fits = body + b"\n" * (4 * 1024 * 1024 - len(body))
    assert client.post("/me/sendMail", content=fits, headers=plain).status_code == 202
    response = client.post("/me/sendMail", content=fits + b"\n", headers=plain)
    assert code_of(response) == (413, "BadRequest")
    assert message_of(response) == "The maximum request length supported is 4MB."


def test_limits_can_be_set(make: Make, connect: Connect, post: Post, mail: Mail) -> None:
    client = connect(make(request_limit=50))
    assert code_of(post(client, "/me/sendMail", mail())) == (413, "BadRequest")
    client = connect(make(message_limit=50))
    assert code_of(post(client, "/me/sendMail", mail())) == (400, "ErrorMessageSizeExceeded")


def test_too_many_recipients_are_refused(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    crowd = ", ".join(f"p{n}@fabrikam.com" for n in range(500))
    assert post(client, "/me/sendMail", mail(to=crowd)).status_code == 202
    assert len(emulator.outbound) == 500
    response = post(client, "/me/sendMail", mail(to=crowd, cc="one-more@fabrikam.com"))
    assert code_of(response) == (400, "ErrorInvalidRecipients")
    assert len(emulator.outbound) == 500


def test_the_message_is_stored_byte_for_byte(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    fields = {"date": "Sun, 28 Feb 2021 07:15:00 +0000", "x_odd": "a \t b"}
    for newline in ("\r\n", "\n"):
        raw = mail(
            body="caf\N{LATIN SMALL LETTER E WITH ACUTE}\n\r\x00 .\n", newline=newline, **fields
        )
        assert post(client, "/me/sendMail", raw).status_code == 202
        assert emulator.mailbox("bob@contoso.com").messages()[-1].raw == raw
        sent = emulator.mailbox("alice@contoso.com").messages("sentitems")[-1]
        response = client.get(f"/me/messages/{sent.id}/$value")
        assert response.content == raw
        assert response.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_missing_fields_are_added_in_front(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail, newline: str
) -> None:
    raw = mail(message_id="", newline=newline)
    post(client, "/me/sendMail", raw)
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    added = received.raw.removesuffix(raw).decode()
    assert added != received.raw.decode()
    assert [line.partition(":")[0] for line in added.split(newline)] == ["Date", "Message-ID", ""]
    assert received.internet_message_id.endswith("@contoso.com>")
    (sent,) = emulator.mailbox("alice@contoso.com").messages("sentitems")
    assert sent.internet_message_id == received.internet_message_id


def test_a_date_is_promoted_to_the_time_of_sending(
    client: httpx.Client, post: Post, mail: Mail
) -> None:
    draft = post(client, "/me/messages", mail(date="Sun, 28 Feb 2021 07:15:00 +0000")).json()
    assert draft["sentDateTime"] == "2021-02-28T07:15:00Z"
    assert draft["createdDateTime"] == draft["receivedDateTime"] != draft["sentDateTime"]
    odd = post(client, "/me/messages", mail(date="Mon, 99 Foo 99999 07:15:00 +9999")).json()
    assert odd["sentDateTime"] == odd["createdDateTime"]


def test_a_mailbox_sends_as_another_where_it_may(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    alice = emulator.mailbox("alice@contoso.com")
    alice.allow_sending_as("Team@fabrikam.com")
    assert post(client, "/me/sendMail", mail(from_="team@FABRIKAM.com")).status_code == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    assert b"Sender" not in received.raw
    alice.allow_sending_as("team@fabrikam.com", on_behalf=True)
    message = mail(from_="team@fabrikam.com", sender="eve@contoso.com")
    draft = post(client, "/me/messages", message).json()["id"]
    assert client.post(f"/me/messages/{draft}/send").status_code == 202
    received = emulator.mailbox("bob@contoso.com").messages()[-1]
    assert received.raw.startswith(b"Date: ")
    assert b"\r\nSender: alice@contoso.com\r\n" in received.raw
    assert b"eve" not in received.raw
    shown = client.get(f"/users/bob@contoso.com/messages/{received.id}").json()
    names = [shown[name]["emailAddress"]["address"] for name in ("from", "sender")]
    assert names == ["team@fabrikam.com", "alice@contoso.com"]
    for author in ("bob@contoso.com", "team@fabrikam.com, alice@contoso.com"):
        response = post(client, "/me/sendMail", mail(from_=author))
        assert code_of(response) == (403, "ErrorSendAsDenied")
    other = post(client, "/users/bob@contoso.com/sendMail", mail(from_="team@fabrikam.com"))
    assert code_of(other) == (403, "ErrorSendAsDenied")
    with pytest.raises(UsageError):
        alice.allow_sending_as("nobody")


# Delivery


def test_each_recipient_gets_one_copy_however_often_named(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    raw = mail(
        to="bob@contoso.com, Bob <BOB@contoso.com>, x@fabrikam.com",
        cc="bob@CONTOSO.com, alice@contoso.com",
        bcc="bob@contoso.com, X@fabrikam.com",
    )
    post(client, "/me/sendMail", raw)
    assert len(emulator.mailbox("bob@contoso.com").messages()) == 1
    assert len(emulator.mailbox("alice@contoso.com").messages("inbox")) == 1
    assert [o.recipient for o in emulator.outbound] == ["x@fabrikam.com"]


def test_an_unknown_recipient_at_home_is_reported_back_and_one_abroad_is_not(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    response = post(
        client, "/me/sendMail", mail(to="who@contoso.com, bob@contoso.com", cc="x@fabrikam.com")
    )
    assert response.status_code == 202
    (report,) = emulator.mailbox("alice@contoso.com").messages("inbox")
    assert report.subject == "Undeliverable: greetings"
    assert b"Final-Recipient: rfc822; who@contoso.com\r\n" in report.raw
    assert b"x@fabrikam.com" not in report.raw
    (left,) = emulator.outbound
    assert (left.sender, left.recipient) == ("alice@contoso.com", "x@fabrikam.com")
    assert left.internet_message_id == "<1@contoso.com>"
    assert len(emulator.mailbox("bob@contoso.com").messages()) == 1


def test_header_fields_are_lost_on_delivery_as_users_report_it(
    make: Make, connect: Connect, post: Post, mail: Mail
) -> None:
    emulator = make(rewrite_headers=True)
    client = connect(emulator)
    raw = mail(
        x_ticket="7",
        auto_submitted="no",
        return_path="<b@c>",
        in_reply_to="<0@x>",
        content_type="text/plain",
    )
    for _ in range(2):
        post(client, "/me/sendMail", raw)
    first, second = emulator.mailbox("bob@contoso.com").messages()
    assert b"X-Ticket" not in first.raw
    assert b"X-Ticket: 7\r\n" in second.raw
    for copy in (first, second):
        assert b"Auto-Submitted" not in copy.raw
        assert b"Return-Path" not in copy.raw
        assert b"In-Reply-To: <0@x>\r\n" in copy.raw
        assert b"Content-Type: text/plain\r\n" in copy.raw
        assert copy.raw.endswith(b"\r\n\r\nhello\r\n")


# Drafts and ids


def test_a_draft_is_made_in_drafts(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    response = post(client, "/me/messages", mail())
    assert response.status_code == 201
    draft = response.json()
    assert draft["isDraft"] is True
    assert draft["isRead"] is True
    assert draft["from"] == draft["sender"]
    assert draft["from"] == {"emailAddress": {"name": "Alice", "address": "alice@contoso.com"}}
    assert draft["toRecipients"][0]["emailAddress"]["address"] == "bob@contoso.com"
    folder = client.get("/me/mailFolders/drafts").json()
    assert draft["parentFolderId"] == folder["id"]
    assert folder["totalItemCount"] == 1
    assert emulator.mailbox("bob@contoso.com").messages() == ()
    location = response.headers["Location"]
    assert client.get(location).json()["id"] == draft["id"]


def test_a_sent_draft_has_another_id(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    draft = post(client, "/me/messages", mail()).json()["id"]
    assert client.post(f"/me/messages/{draft}/send").status_code == 202
    assert code_of(client.get(f"/me/messages/{draft}")) == (404, "ErrorItemNotFound")
    assert code_of(client.post(f"/me/messages/{draft}/send")) == (404, "ErrorItemNotFound")
    alice = emulator.mailbox("alice@contoso.com")
    assert alice.messages("drafts") == ()
    (sent,) = alice.messages("sentitems")
    assert sent.id != draft
    assert len(emulator.mailbox("bob@contoso.com").messages()) == 1


def test_an_immutable_id_leads_to_the_sent_copy(
    client: httpx.Client, post: Post, mail: Mail
) -> None:
    created = post(client, "/me/messages", mail(), **IMMUTABLE)
    assert created.headers["Preference-Applied"] == "IdType=ImmutableId"
    draft = created.json()["id"]
    assert client.post(f"/me/messages/{draft}/send", headers=IMMUTABLE).status_code == 202
    sent = client.get(f"/me/messages/{draft}", headers=IMMUTABLE)
    assert sent.json()["isDraft"] is False
    assert sent.json()["id"] == draft
    plain = client.get(f"/me/messages/{draft}")
    assert plain.json()["id"] != draft, "without the preference the ordinary id is shown"
    assert "Preference-Applied" not in plain.headers


def test_what_is_late_is_a_draft_until_it_is_in_sent_items(
    make: Make, connect: Connect, post: Post, mail: Mail, clock: Clock
) -> None:
    """ "Things to know about sending mail": it moves from Drafts to Sent Items once it is sent."""
    emulator = make(me="alice@contoso.com", mailboxes=["bob@contoso.com"], sent_items_delay=30.0)
    client = connect(emulator)
    made = post(client, "/me/messages", mail(), **IMMUTABLE).json()["id"]
    draft = f"/me/messages/{made}"
    old = client.get(draft).json()["id"]
    assert client.post(f"{draft}/send", headers=IMMUTABLE).status_code == 202
    post(client, "/me/sendMail", mail(message_id="<2@contoso.com>"))

    def found(folder: str) -> set[str]:
        listed = client.get(f"/me/mailFolders/{folder}/messages").json()["value"]
        return {one["internetMessageId"] for one in listed}

    both = {"<1@contoso.com>", "<2@contoso.com>"}
    assert len(emulator.mailbox("bob@contoso.com").messages()) == 2
    assert (found("drafts"), found("sentitems")) == (both, set())
    clock.now += 29
    assert client.get(draft).json()["isDraft"] is True
    for method, path, given in (
        ("POST", f"{draft}/send", {}),
        ("PATCH", draft, {"subject": "other"}),
        ("POST", f"{draft}/move", {"destinationId": "archive"}),
        ("DELETE", draft, {}),
    ):  # it is out of the client's hands, and sent no second time
        answer = client.request(method, path, json=given)
        assert code_of(answer) == (404, "ErrorItemNotFound"), method
    clock.now += 1
    sent = client.get(draft, headers=IMMUTABLE).json()
    assert (sent["isDraft"], sent["subject"], sent["id"]) == (False, "greetings", made)
    assert client.get(f"/me/messages/{old}").status_code == 404
    assert (found("drafts"), found("sentitems")) == (set(), both)
    assert len(emulator.mailbox("bob@contoso.com").messages()) == 2


def test_a_draft_without_recipients_is_checked_when_it_is_sent(
    client: httpx.Client, post: Post, mail: Mail
) -> None:
    draft = post(client, "/me/messages", mail(to=""))
    assert draft.status_code == 201
    response = client.post(f"/me/messages/{draft.json()['id']}/send")
    assert code_of(response) == (400, "ErrorInvalidRecipients")
    assert client.get(f"/me/messages/{draft.json()['id']}").json()["isDraft"] is True


def test_what_was_received_cannot_be_sent(client: httpx.Client, original: str) -> None:
    response = client.post(f"/me/messages/{original}/send")
    assert code_of(response) == (400, "ErrorInvalidPropertySet")


def test_mime_into_a_folder_fails_as_it_does_on_graph(
    client: httpx.Client, post: Post, mail: Mail
) -> None:
    response = post(client, "/me/mailFolders/drafts/messages", mail())
    assert code_of(response) == (400, "UnableToDeserializePostBody")
    created = client.post("/me/mailFolders/archive/messages", json={"subject": "x"})
    assert created.status_code == 201
    (found,) = client.get("/me/mailFolders/archive/messages").json()["value"]
    assert found["id"] == created.json()["id"]


# Replies and forwards


@pytest.mark.parametrize("action", SENDS)
def test_replies_and_forwards_are_accepted(
    client: httpx.Client, post: Post, mail: Mail, original: str, action: str
) -> None:
    response = post(client, f"/me/messages/{original}/{action}", mail())
    assert (response.status_code, response.content) == (202, b"")


def who_got_it(emulator: Emulator) -> set[str]:
    people = {"alice@contoso.com", "bob@contoso.com", "carol@contoso.com"}
    got = {
        p
        for p in people
        if any(m.subject == "answer" for m in emulator.mailbox(p).messages("inbox"))
    }
    return got | {o.recipient for o in emulator.outbound}


@pytest.mark.parametrize(
    ("action", "settings", "expected"),
    [
        ("reply", {}, {"bob@contoso.com", "x@fabrikam.com"}),
        ("reply", {"reply_headers": "ignore"}, {"bob@contoso.com"}),
        ("reply", {"reply_headers": "ignore", "reply_goes_to": "reply-to"}, {"team@fabrikam.com"}),
        ("replyAll", {"reply_headers": "ignore"}, {"bob@contoso.com", "carol@contoso.com"}),
        ("replyAll", {}, {"bob@contoso.com", "carol@contoso.com", "x@fabrikam.com"}),
        ("forward", {"reply_headers": "ignore"}, {"x@fabrikam.com"}),
    ],
)
def test_who_gets_an_answer(
    make: Make,
    connect: Connect,
    post: Post,
    mail: Mail,
    action: str,
    settings: dict[str, str],
    expected: set[str],
) -> None:
    emulator = make(
        me="alice@contoso.com", mailboxes=["bob@contoso.com", "carol@contoso.com"], **settings
    )
    original = emulator.mailbox("alice@contoso.com").put(
        mail(
            from_="bob@contoso.com",
            to="Alice@contoso.com",
            cc="carol@contoso.com",
            reply_to="team@fabrikam.com",
        )
    )
    answer = mail(to="x@fabrikam.com", subject="answer")
    response = post(connect(emulator), f"/me/messages/{original.id}/{action}", answer)
    assert response.status_code == 202
    assert who_got_it(emulator) == expected


@pytest.mark.parametrize(
    ("action", "to"),
    [
        ("createReply", ["bob@contoso.com", "x@fabrikam.com"]),
        ("createReplyAll", ["bob@contoso.com", "x@fabrikam.com"]),
        ("createForward", ["x@fabrikam.com"]),
    ],
)
def test_a_created_answer_is_a_draft_with_its_recipients(
    emulator: Emulator,
    client: httpx.Client,
    post: Post,
    mail: Mail,
    original: str,
    action: str,
    to: list[str],
) -> None:
    raw = mail(to="x@fabrikam.com", subject="answer")
    response = post(client, f"/me/messages/{original}/{action}", raw)
    assert response.status_code == 201
    draft = response.json()
    assert [p["emailAddress"]["address"] for p in draft["toRecipients"]] == to
    assert client.get(f"/me/messages/{draft['id']}/$value").content == raw
    assert client.post(f"/me/messages/{draft['id']}/send").status_code == 202
    copies = {"carol@contoso.com"} if action == "createReplyAll" else set()
    assert who_got_it(emulator) == set(to) | copies


def test_a_reply_can_be_created_without_a_body(client: httpx.Client, original: str) -> None:
    response = client.post(f"/me/messages/{original}/createReply")
    assert response.status_code == 201
    draft = response.json()
    assert draft["subject"] == "RE: greetings"
    assert draft["toRecipients"][0]["emailAddress"]["address"] == "team@fabrikam.com"
    value = client.get(f"/me/messages/{draft['id']}/$value").content
    assert b"In-Reply-To: <original@contoso.com>\r\n" in value
    assert (
        draft["conversationId"] == client.get(f"/me/messages/{original}").json()["conversationId"]
    )


# The JSON form, a small part of it


def people(*addresses: str) -> list[dict[str, dict[str, str]]]:
    return [{"emailAddress": {"address": a}} for a in addresses]


def test_a_json_message_is_sent(emulator: Emulator, client: httpx.Client) -> None:
    name = 'Bo "B\N{LATIN SMALL LETTER O WITH DIAERESIS}b"'
    greeting = "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}\N{GRINNING FACE}"
    body = json.dumps(
        {
            "message": {
                "subject": f"{greeting}\x07\r\nBcc: x@y.z" * 9,
                "body": {"contentType": "HTML", "content": "<b>hi</b>\ud800"},
                "toRecipients": [{"emailAddress": {"name": name, "address": "bob@contoso.com"}}],
                "bccRecipients": people("carol@contoso.com"),
            },
            "saveToSentItems": False,
        }
    )
    kind = {"Content-Type": "application/json"}
    response = client.post("/me/sendMail", content=body, headers=kind)
    assert response.status_code == 202
    assert emulator.mailbox("alice@contoso.com").messages("sentitems") == ()
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    assert received.subject == (f"{greeting} Bcc: x@y.z" * 9)
    assert received.bcc == ()
    assert emulator.outbound == ()
    assert len(emulator.mailbox("carol@contoso.com").messages()) == 1
    shown = client.get(f"/users/bob@contoso.com/messages/{received.id}").json()
    assert shown["toRecipients"][0]["emailAddress"]["name"] == name
    assert shown["body"] == {"contentType": "html", "content": "<b>hi</b>?"}
    assert shown["bodyPreview"] == "hi ?"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"extensions": []}, (501, "NotImplemented")),
        ({"subject": 7}, (400, "ErrorInvalidParameter")),
        ({"Subject": "a", "subject": "b"}, (400, "ErrorInvalidParameter")),
        ({"body": {"contentType": "rtf"}}, (400, "ErrorInvalidParameter")),
        ({"body": []}, (400, "ErrorInvalidRecipients")),
        ({"toRecipients": "bob@contoso.com"}, (400, "ErrorInvalidParameter")),
        ({"toRecipients": people("bob")}, (400, "ErrorInvalidRecipients")),
        (
            {"toRecipients": people("bob@contoso.com\r\nBcc: x@y.z")},
            (400, "ErrorInvalidRecipients"),
        ),
        ({"toRecipients": people("\ud800@contoso.com")}, (400, "ErrorInvalidRecipients")),
        ({}, (400, "ErrorInvalidRecipients")),
    ],
)
def test_a_json_message_that_cannot_be_sent_is_refused(
    client: httpx.Client, message: object, expected: tuple[int, str]
) -> None:
    response = client.post(
        "/me/sendMail",
        content=json.dumps({"message": message}),
        headers={"Content-Type": "application/json"},
    )
    assert code_of(response) == expected


# Reading


def test_messages_are_found_by_their_internet_message_id(
    client: httpx.Client, post: Post, mail: Mail
) -> None:
    for message_id in ("<a+b@contoso.com>", "<it's@contoso.com>"):
        post(client, "/me/sendMail", mail(message_id=message_id, to="alice@contoso.com"))
        literal = message_id.replace("'", "''")
        found = client.get(f"/me/messages?$filter=internetMessageId eq '{quote(literal, safe='')}'")
        folders = {m["parentFolderId"] for m in found.json()["value"]}
        assert len(folders) == 2, "mail to oneself lies in Sent Items and in the Inbox"
        assert {m["internetMessageId"] for m in found.json()["value"]} == {message_id}
        sent = client.get(
            "/me/mailFolders/SentItems/messages",
            params={"$filter": f"internetMessageId eq '{literal}'", "$select": "subject,isDraft"},
        ).json()["value"]
        assert [m.keys() for m in sent] == [{"@odata.etag", "id", "subject", "isDraft"}]
    missing = client.get("/me/messages?$filter=internetMessageId eq '<no@contoso.com>'")
    assert missing.json()["value"] == []


def test_header_fields_are_shown_on_request(
    emulator: Emulator, client: httpx.Client, mail: Mail
) -> None:
    planted = emulator.mailbox("alice@contoso.com").put(mail(x_odd="a\r\n b"))
    path = f"/me/messages/{planted.id}"
    assert "internetMessageHeaders" not in client.get(path).json()
    shown = client.get(f"{path}?$select=internetMessageHeaders").json()["internetMessageHeaders"]
    assert {"name": "X-Odd", "value": "a b"} in shown
    assert [one["name"] for one in shown] == ["From", "To", "Subject", "Message-Id", "X-Odd"]


def test_pages_follow_one_another_without_gap_or_repetition(
    emulator: Emulator, client: httpx.Client, mail: Mail, clock: Clock
) -> None:
    for number in range(7):
        clock.now += number % 2  # some at the same time
        emulator.mailbox("alice@contoso.com").put(mail(subject=str(number)))
    url = "/me/mailFolders/inbox/messages?$top=3&$select=subject"
    pages = []
    while url:
        page = client.get(url).json()
        pages.append([m["subject"] for m in page["value"]])
        url = page.get("@odata.nextLink", "")
        assert url == "" or url.startswith("https://graph.microsoft.com/v1.0/me/mailFolders/inbox/")
    assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]
    assert (
        client.get("/me/messages?$skip=5&$top=5&$orderby=receivedDateTime").json()["value"][0][
            "subject"
        ]
        == "5"
    )
    assert len(client.get("/me/messages").json()["value"]) == 7


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("$top=0", 400),
        ("$top=1001", 400),
        ("$top=x", 400),
        ("$skip=-1", 400),
        ("$select=nothing", 400),
        ("$filter=subject eq", 400),
        ("$expand=nothing", 400),
        ("$format=xml", 501),
        ("&".join(f"q{n}=1" for n in range(60)), 400),
    ],
)
def test_a_query_that_is_not_understood_is_refused(
    client: httpx.Client, query: str, status: int
) -> None:
    assert code_of(client.get(f"/me/messages?{query}"))[0] == status


def test_folders_are_found_by_name_and_by_id(client: httpx.Client, original: str) -> None:
    folders = client.get("/me/mailFolders").json()["value"]
    assert {"Inbox", "Drafts", "Sent Items", "Deleted Items"} <= {f["displayName"] for f in folders}
    inbox = next(f for f in folders if f["displayName"] == "Inbox")
    assert (inbox["totalItemCount"], inbox["unreadItemCount"]) == (1, 1)
    by_id = client.get(f"/me/mailFolders/{quote(inbox['id'], safe='')}").json()
    assert by_id["displayName"] == "Inbox"
    assert code_of(client.get("/me/mailFolders/nothing")) == (404, "ErrorItemNotFound")
    assert client.get(f"/me/mailFolders/inbox/messages/{original}").status_code == 200
    assert client.get(f"/me/mailFolders/drafts/messages/{original}").status_code == 404
    value = client.get(f"/me/mailFolders/{inbox['id']}/messages/{original}/$value")
    assert value.status_code == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?$top=0", 400),
        ("?$skip=x", 400),
        ("?$select=subject", 400),
        ("?$filter=subject eq 'Inbox'", 400),
        ("?$expand=messages", 400),
        ("/inbox?$select=nothing", 400),
        ("/inbox?$top=1", 501),
    ],
)
def test_a_query_of_folders_that_is_not_understood_is_refused(
    client: httpx.Client, query: str, status: int
) -> None:
    assert code_of(client.get(f"/me/mailFolders{query}"))[0] == status


def test_paths_may_be_escaped_and_in_other_spellings(
    client: httpx.Client, post: Post, mail: Mail, original: str
) -> None:
    escaped = quote(original, safe="").replace("-", "%2D")
    for path in (
        f"/me/messages/{escaped}",
        f"/ME/Messages/{escaped}",
        f"/users/alice%40contoso.com/messages/{original}",
        f"/users('ALICE@contoso.com')/messages('{original}')",
        f"https://graph.microsoft.com/beta/me/messages/{original}",
    ):
        assert client.get(path).json()["id"] == original, path
    assert post(client, "/me/microsoft.graph.sendMail", mail()).status_code == 202
    assert (
        post(client, f"/me/messages/{original}/microsoft.graph.replyall", mail()).status_code == 202
    )


def test_a_user_is_found_by_id_too(client: httpx.Client, original: str) -> None:
    context = client.get(f"/me/messages/{original}").json()["@odata.context"]
    user = context.partition("users('")[2].partition("'")[0]
    assert client.get(f"/users/{user}/messages/{original}").status_code == 200
    assert client.get("/users/who@contoso.com/messages").status_code == 404


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/me/messages/AAMkNothing=", (404, "ErrorItemNotFound")),
        ("/me/messages/a%20b", (400, "ErrorInvalidIdMalformed")),
        ("/me/messages/a/$VALUE", (404, "ErrorItemNotFound")),
        ("/nothing", (400, "BadRequest")),
        ("https://graph.microsoft.com/v2.0/me/messages", (400, "BadRequest")),
        ("https://graph.microsoft.com/", (400, "BadRequest")),
        ("/me/sendMail", (405, "Request_BadRequest")),
        ("/me/messages?" + "x" * 20_000, (414, "BadRequest")),
    ],
)
def test_a_path_that_leads_nowhere(
    client: httpx.Client, path: str, expected: tuple[int, str]
) -> None:
    assert code_of(client.get(path)) == expected


def test_another_mailbox_does_not_have_the_message(client: httpx.Client, original: str) -> None:
    assert client.get(f"/users/bob@contoso.com/messages/{original}").status_code == 404
    assert client.delete(f"/users/bob@contoso.com/messages/{original}").status_code == 404


def test_deleting_moves_to_deleted_items_and_then_away(
    emulator: Emulator, client: httpx.Client, original: str
) -> None:
    assert client.delete(f"/me/messages/{original}").status_code == 204
    assert client.get(f"/me/messages/{original}").status_code == 404
    (deleted,) = emulator.mailbox("alice@contoso.com").messages("deleteditems")
    assert client.delete(f"/me/messages/{deleted.id}").status_code == 204
    assert emulator.mailbox("alice@contoso.com").messages(None) == ()


@pytest.mark.parametrize(
    ("fields", "body", "shown"),
    [
        (
            {"content_type": "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"},
            "TUlJQg==",
            {"hasAttachments": True, "bodyPreview": ""},
        ),
        (
            {
                "content_type": "multipart/signed; boundary=b; "
                'protocol="application/pkcs7-signature"'
            },
            "--b\r\nContent-Type: text/plain\r\n\r\nsigned text\r\n--b\r\n"
            "Content-Type: application/pkcs7-signature\r\n\r\nMIIB\r\n--b--\r\n",
            {"hasAttachments": True, "bodyPreview": "signed text"},
        ),
        (
            {"content_type": "multipart/mixed; boundary=b", "importance": "High"},
            "--b\r\nContent-Type: text/html; charset=iso-8859-1\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>caf=E9</p>\r\n--b\r\n"
            "Content-Type: image/png\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--\r\n",
            {
                "hasAttachments": True,
                "bodyPreview": "caf\N{LATIN SMALL LETTER E WITH ACUTE}",
                "importance": "high",
            },
        ),
        (
            {"content_transfer_encoding": "base64"},
            base64.encodebytes(b"They were awesome!").decode(),
            {"hasAttachments": False, "bodyPreview": "They were awesome!"},
        ),
    ],
)
def test_what_is_shown_of_a_message(
    client: httpx.Client,
    post: Post,
    mail: Mail,
    fields: dict[str, str],
    body: str,
    shown: dict[str, object],
) -> None:
    draft = post(client, "/me/messages", mail(body=body, **fields)).json()
    assert {name: draft[name] for name in shown} == shown


# Who is asking


def test_a_token_is_needed(make: Make, connect: Connect) -> None:
    emulator = make(token=["good", "better"])
    for token, expected in (("good", 200), ("better", 200), ("bad", 401), (None, 401)):
        response = connect(emulator, token=token).get("/me/messages")
        assert response.status_code == expected, token
    assert code_of(response) == (401, "InvalidAuthenticationToken")
    assert message_of(response) == "Access token is empty."
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm=""')
    basic = connect(emulator, token=None).get(
        "/me/messages", headers={"Authorization": "Basic good"}
    )
    assert basic.status_code == 401
    assert connect(make()).get("/me/messages").status_code == 200, "any token that is not empty"
    empty = connect(make(), token=None).get("/me/messages", headers={"Authorization": "Bearer "})
    assert empty.status_code == 401


def test_a_token_is_good_for_what_it_was_given(
    make: Make, connect: Connect, post: Post, mail: Mail
) -> None:
    given = {
        "sends": ["Mail.Send"],
        "reads": ["Mail.Read.Shared"],
        "writes": ["Mail.ReadWrite", "User.Read.All", "Contacts.ReadWrite"],
        "nothing": ["Calendars.Read"],
    }
    emulator = make(token=given, me="alice@contoso.com", mailboxes=["bob@contoso.com"])
    clients = {name: connect(emulator, token=name) for name in given}
    sent = {name: post(client, "/me/sendMail", mail()) for name, client in clients.items()}
    assert [sent[name].status_code for name in given] == [202, 403, 403, 403]
    assert code_of(sent["reads"]) == (403, "ErrorAccessDenied")
    assert message_of(sent["reads"]) == "Access is denied. Check credentials and try again."
    for path, statuses in (
        ("/me/messages", [403, 200, 200, 403]),
        ("/me", [403, 403, 200, 403]),
        ("/me/contacts", [403, 403, 200, 403]),
        ("/me/nothing", [400] * 4),
    ):
        assert [clients[name].get(path).status_code for name in given] == statuses, path
    drafts = [post(clients[name], "/me/messages", mail()).status_code for name in given]
    assert drafts == [403, 403, 201, 403]
    batch = {"requests": [{"id": "1", "method": "GET", "url": "/me/messages"}]}
    parts = [clients[name].post("/$batch", json=batch).json()["responses"][0] for name in given]
    assert [one["status"] for one in parts] == [403, 200, 200, 403]
    with pytest.raises(UsageError):
        make(token={"": ["Mail.Send"]})


def test_mail_is_read_without_what_is_in_it(make: Make, connect: Connect, mail: Mail) -> None:
    """Mail.ReadBasic: no body, no attachments, no extended properties, and no search."""
    emulator = make(token={"basic": ["Mail.ReadBasic.All"], "all": ["Mail.Read"]})
    planted = emulator.mailbox("alice@contoso.com").put(mail("the secret\r\n"))
    basic, everything = (connect(emulator, token=name) for name in ("basic", "all"))
    me = "/users/alice@contoso.com"
    one, inbox = f"{me}/messages/{planted.id}", f"{me}/mailFolders/inbox"
    assert basic.get(one).json()["subject"] == "greetings"
    for path in (
        one,
        f"{one}?$select=subject,body,bodyPreview",
        f"{me}/messages",
        f"{inbox}/messages?$filter=startswith(subject,'greet')",
        f"{inbox}/messages/delta",
    ):
        whole, part = everything.get(path), basic.get(path, headers={"Prefer": TEXT})
        assert (whole.status_code, part.status_code) == (200, 200), path
        assert "the secret" in whole.text
        assert "the secret" not in part.text
    assert basic.get(f"{me}/messages/$count").text == "1"
    for condition in ("contains(body/content,'secret')", "contains(bodyPreview,'secret')"):
        query = {"$filter": condition}
        assert len(everything.get(f"{me}/messages", params=query).json()["value"]) == 1
        assert basic.get(f"{me}/messages", params=query).json().get("value", []) == []
    assert basic.get(inbox).json()["totalItemCount"] == 1
    assert basic.get(f"{me}/mailFolders").status_code == 200
    single = "singleValueExtendedProperties"
    for path in (
        f"{one}/$value",
        f"{one}/attachments",
        f"{one}?$expand=attachments",
        f"{one}?$expand={single}($filter=id eq 'String 0x3fd9')",
        f"{me}/messages?$expand=attachments",
        f"{me}/messages?$search=secret",
        f"{me}/messages?$filter={single}/any(p:p/id eq 'String 0x37' and p/value eq 'x')",
        f"{me}/messages/$count?$filter={single}/any(p:p/id eq 'String 0x37' and p/value eq 'x')",
    ):
        assert everything.get(path).status_code == 200, path
        assert code_of(basic.get(path)) == (403, "ErrorAccessDenied"), path
    assert basic.post(f"{me}/messages", json={}).status_code == 403


TEXT = 'outlook.body-content-type="text"'


def test_no_token_is_in_a_log_or_a_repr(make: Make, connect: Connect) -> None:
    emulator = make(token="s3cret")
    connect(emulator, token="s3cret").get("/me/messages?authtoken=s3cret&$top=1")
    connect(emulator, token="s3cret-too").get("/me/messages")
    request = Request("GET", "/v1.0/me/messages", (("Authorization", "Bearer s3cret"),), b"s3cret")
    assert [e.status for e in emulator.log] == [200, 401]
    assert emulator.log[0].target == "/v1.0/me/messages?authtoken=...&$top=1"
    assert "s3cret" not in f"{emulator!r} {emulator.log!r} {vars(emulator)!r} {request!r}"


def test_every_answer_can_be_told_apart(client: httpx.Client) -> None:
    first = client.get("/me/messages")
    second = client.get("/me/nothing", headers={"client-request-id": "mine"})
    assert first.headers["client-request-id"] == first.headers["request-id"]
    assert second.headers["client-request-id"] == "mine"
    assert second.headers["request-id"] not in ("mine", first.headers["request-id"])
    assert first.headers["Date"].endswith(" GMT")


def test_a_request_id_cannot_carry_a_header_of_its_own(emulator: Emulator) -> None:
    headers = (("Authorization", "Bearer x"), ("client-request-id", "a\r\nSet-Cookie: b"))
    response = emulator.handle(Request("GET", "/v1.0/me/messages", headers))
    assert response.header("client-request-id") == response.header("request-id")


def test_me_is_whoever_the_message_is_from(
    make: Make, connect: Connect, post: Post, mail: Mail
) -> None:
    emulator = make(mailboxes=["alice@contoso.com", "bob@contoso.com"])
    client = connect(emulator)
    post(client, "/me/sendMail", mail(from_="bob@contoso.com", to="alice@contoso.com"))
    (sent,) = emulator.mailbox("bob@contoso.com").messages("sentitems")
    assert client.get(f"/me/messages/{sent.id}").status_code == 200, "its owner is asking"
    (listed,) = client.get("/me/messages").json()["value"]
    assert listed["id"] == emulator.mailbox("alice@contoso.com").messages()[0].id
    stranger = post(client, "/me/sendMail", mail(from_="eve@contoso.com"))
    assert code_of(stranger) == (403, "ErrorSendAsDenied")


def test_open_mailboxes_are_made_on_first_use(
    make: Make, connect: Connect, post: Post, mail: Mail
) -> None:
    emulator = make(open_mailboxes=True)
    client = connect(emulator)
    assert client.get("/me/messages").status_code == 404, "there is nobody yet"
    raw = mail(from_="ann@example.org", to="ben@example.net")
    assert post(client, "/me/sendMail", raw).status_code == 202
    assert len(emulator.mailbox("ann@example.org").messages("sentitems")) == 1
    assert len(emulator.mailbox("ben@example.net").messages("inbox")) == 1
    assert emulator.outbound == ()
    assert client.get("/users/cy@example.com/messages").json()["value"] == []


def test_the_metadata_of_live_has_no_mime_content(client: httpx.Client) -> None:
    response = client.get("/$metadata", headers={"Authorization": ""})
    assert response.status_code == 200
    assert b'Name="sendMail"' in response.content
    assert b'HasStream="true"' in response.content
    assert b"MimeContent" not in response.content
