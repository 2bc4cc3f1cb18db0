"""Replies and forwards in JSON; those in MIME are in test_live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator

from .conftest import Post

Mail = Callable[..., bytes]


def people(*addresses: str) -> list[dict[str, dict[str, str]]]:
    return [{"emailAddress": {"address": a}} for a in addresses]


def addresses(shown: list[dict[str, Any]]) -> list[str]:
    return [one["emailAddress"]["address"] for one in shown]


@pytest.fixture
def original(emulator: Emulator, mail: Mail) -> str:
    raw = mail(
        from_="Bob <bob@contoso.com>",
        to="alice@contoso.com, carol@contoso.com",
        cc="dora@fabrikam.com",
        message_id="<2@contoso.com>",
        references="<0@contoso.com> <1@contoso.com>",
    )
    return f"/me/messages/{emulator.mailbox('alice@contoso.com').put(raw).id}"


def test_a_reply_carries_the_comment_and_what_it_is_about(
    emulator: Emulator, client: httpx.Client, original: str
) -> None:
    assert client.post(f"{original}/reply", json={"comment": "yes"}).status_code == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    assert (received.subject, received.to) == ("RE: greetings", ("bob@contoso.com",))
    shown = client.get(f"/users/bob@contoso.com/messages/{received.id}").json()
    assert shown["body"]["content"].startswith("yes\n________")
    assert "From: Bob <bob@contoso.com>\n" in shown["body"]["content"]
    assert shown["body"]["content"].endswith("\nhello")
    assert b"In-Reply-To: <2@contoso.com>\r\n" in received.raw
    thread = b"References: <0@contoso.com>\r\n <1@contoso.com>\r\n <2@contoso.com>\r\n"
    assert thread in received.raw


def test_html_is_answered_in_html(emulator: Emulator, client: httpx.Client, mail: Mail) -> None:
    raw = mail("<b>hi</b>", content_type="text/html", from_="<i>@contoso.com")
    original = emulator.mailbox("alice@contoso.com").put(raw).id
    draft = client.post(f"/me/messages/{original}/createForward", json={"comment": "see"}).json()
    assert draft["subject"] == "FW: greetings"
    assert draft["body"]["contentType"] == "html"
    assert draft["body"]["content"].startswith("<div>see</div><hr>")
    assert draft["body"]["content"].endswith("<b>hi</b>")
    assert draft["toRecipients"] == []


def test_reply_all_goes_to_all_others(client: httpx.Client, original: str) -> None:
    draft = client.post(f"{original}/createReplyAll", json={}).json()
    assert addresses(draft["toRecipients"]) == ["bob@contoso.com", "carol@contoso.com"]
    assert addresses(draft["ccRecipients"]) == ["dora@fabrikam.com"]
    assert addresses([draft["from"], draft["sender"]]) == ["alice@contoso.com"] * 2
    message = {"toRecipients": people("eve@fabrikam.com"), "subject": "x", "categories": ["red"]}
    draft = client.post(f"{original}/createReply", json={"message": message}).json()
    assert addresses(draft["toRecipients"]) == ["bob@contoso.com", "eve@fabrikam.com"]
    assert (draft["subject"], draft["categories"]) == ("x", ["red"])


def test_a_reply_goes_where_the_original_wants_it(
    emulator: Emulator, client: httpx.Client, mail: Mail
) -> None:
    raw = mail(from_="bob@contoso.com", reply_to="carol@contoso.com")
    original = emulator.mailbox("alice@contoso.com").put(raw).id
    assert client.post(f"/me/messages/{original}/reply", json={"comment": "x"}).status_code == 202
    assert emulator.mailbox("bob@contoso.com").messages() == ()
    assert len(emulator.mailbox("carol@contoso.com").messages()) == 1


MIXED = (
    "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nBcc: carol@contoso.com\r\n"
    "Content-Type: image/png; name=a.png\r\n\r\npng\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    "parameters",
    [
        {"comment": "see", "toRecipients": people("carol@contoso.com")},
        {"comment": "see", "message": {"toRecipients": people("carol@contoso.com")}},
        {"message": {"toRecipients": people("carol@contoso.com"), "body": {"content": "see"}}},
    ],
)
def test_a_forward_takes_the_files_along(
    emulator: Emulator, client: httpx.Client, mail: Mail, parameters: dict[str, Any]
) -> None:
    raw = mail(MIXED, content_type="multipart/mixed; boundary=b")
    original = emulator.mailbox("alice@contoso.com").put(raw).id
    assert client.post(f"/me/messages/{original}/forward", json=parameters).status_code == 202
    (received,) = emulator.mailbox("carol@contoso.com").messages()
    assert b"Bcc" not in received.raw
    path = f"/users/carol@contoso.com/messages/{received.id}"
    assert client.get(path).json()["body"]["content"].startswith("see")
    (one,) = client.get(f"{path}/attachments").json()["value"]
    assert (one["name"], one["contentType"]) == ("a.png", "image/png")


def test_what_is_encrypted_is_forwarded_as_a_file(
    emulator: Emulator, client: httpx.Client, mail: Mail
) -> None:
    kind = "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"
    original = emulator.mailbox("alice@contoso.com").put(mail("MIIB", content_type=kind)).id
    client.post(f"/me/messages/{original}/forward", json={"toRecipients": people("x@y.example")})
    (left,) = emulator.outbound
    (one,) = client.get(
        f"/me/messages/{emulator.mailbox('alice@contoso.com').messages('sentitems')[0].id}"
        "/attachments"
    ).json()["value"]
    assert one["name"] == "smime.p7m"
    assert b"MIIB" not in left.raw.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("reply", {"comment": "a", "message": {"body": {"content": "b"}}}),
        ("reply", {"comment": 7}),
        ("forward", {}),
        ("forward", {"comment": "x"}),
        (
            "forward",
            {"toRecipients": people("a@b.c"), "message": {"toRecipients": people("a@b.c")}},
        ),
        ("createForward", {"toRecipients": [], "message": {"toRecipients": people("a@b.c")}}),
        ("forward", {"toRecipients": people("nobody")}),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(
    client: httpx.Client, original: str, action: str, parameters: dict[str, Any]
) -> None:
    assert client.post(f"{original}/{action}", json=parameters).status_code == 400


def test_a_finished_answer_stays_as_it_is(
    client: httpx.Client, post: Post, mail: Mail, original: str
) -> None:
    raw = mail(to="carol@contoso.com")
    draft = post(client, f"{original}/createForward", raw).json()
    assert client.get(f"/me/messages/{draft['id']}/$value").content == raw


def test_what_a_client_sets_on_an_answer_is_on_its_copy(
    emulator: Emulator, client: httpx.Client
) -> None:
    planted = emulator.mailbox("alice@contoso.com").put(
        b"From: bob@contoso.com\r\nTo: alice@contoso.com\r\nSubject: x\r\n\r\nx\r\n"
    )
    message = {"categories": ["red"]}
    answer = client.post(f"/me/messages/{planted.id}/reply", json={"message": message})
    assert answer.status_code == 202
    (sent,) = client.get("/me/mailFolders/sentitems/messages").json()["value"]
    assert sent["categories"] == ["red"]
    (received,) = client.get("/users/bob@contoso.com/messages").json()["value"]
    assert received["categories"] == []
