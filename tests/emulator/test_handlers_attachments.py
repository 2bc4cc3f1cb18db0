"""What is attached: shown, added, taken away, and sent in pieces."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator, Mailbox

from .conftest import Post

Mail = Callable[..., bytes]
MIXED = (
    "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    "--b\r\nContent-Type: application/pdf; name*=utf-8''caf%C3%A9.pdf\r\n"
    "Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\nJVBERg==\r\n"
    "--b\r\nContent-Type: image/png\r\nContent-ID: <logo@x>\r\nContent-Disposition: inline; "
    'filename*0="lo"; filename*1="go.png"\r\n\r\npng\r\n'
    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n--b--\r\n"
)


@pytest.fixture
def alice(emulator: Emulator) -> Mailbox:
    return emulator.mailbox("alice@contoso.com")


@pytest.fixture
def draft(client: httpx.Client) -> str:
    """The path of a draft to Bob."""
    to = [{"emailAddress": {"address": "bob@contoso.com"}}]
    answer = client.post("/me/messages", json={"subject": "files", "toRecipients": to})
    return f"/me/messages/{answer.json()['id']}"


def a_file(name: str, content: bytes, **more: object) -> dict[str, object]:
    return {
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": name,
        "contentBytes": base64.b64encode(content).decode(),
        **more,
    }


def a_message(**more: object) -> dict[str, object]:
    return {"@odata.type": "#microsoft.graph.message", **more}


def an_item(name: str, item: object) -> dict[str, object]:
    return {"@odata.type": "#microsoft.graph.itemAttachment", "name": name, "item": item}


def nested(depth: int) -> dict[str, object]:
    """A message in a message."""
    found = a_message(subject="innermost")
    for _ in range(depth):
        found = a_message(subject="x", attachments=[an_item("x", found)])
    return found


def a_link(name: str, url: str) -> dict[str, object]:
    kind = "#microsoft.graph.referenceAttachment"
    return {"@odata.type": kind, "name": name, "sourceUrl": url}


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_what_is_attached_is_shown(client: httpx.Client, alice: Mailbox, mail: Mail) -> None:
    path = f"/me/messages/{alice.put(mail(MIXED, content_type='multipart/mixed; boundary=b')).id}"
    assert client.get(path).json()["hasAttachments"] is True
    pdf, png, inner = client.get(f"{path}/attachments").json()["value"]
    assert (pdf["@odata.type"], pdf["name"], pdf["contentType"]) == (
        "#microsoft.graph.fileAttachment",
        "caf\N{LATIN SMALL LETTER E WITH ACUTE}.pdf",
        "application/pdf",
    )
    assert (pdf["size"], pdf["isInline"], base64.b64decode(pdf["contentBytes"])) == (
        4,
        False,
        b"%PDF",
    )
    assert (png["name"], png["isInline"], png["contentId"]) == ("logo.png", True, "logo@x")
    assert (inner["@odata.type"], inner["name"]) == ("#microsoft.graph.itemAttachment", "inner")
    assert "contentBytes" not in inner
    one = client.get(f"{path}/attachments/{pdf['id']}").json()
    assert one.pop("@odata.context").endswith("/attachments/$entity")
    assert one == pdf
    value = client.get(f"{path}/attachments/{pdf['id']}/$value")
    assert (value.content, value.headers["Content-Type"]) == (b"%PDF", "application/pdf")
    value = client.get(f"{path}/attachments/{inner['id']}/$value")
    assert (value.content, value.headers["Content-Type"]) == (
        b"Subject: inner\r\n\r\nx",
        "text/plain",
    )
    few = client.get(f"{path}/attachments?$select=name&$top=1&$skip=1").json()
    assert [one.keys() for one in few["value"]] == [{"@odata.type", "@odata.mediaContentType",
                                                     "id", "name"}]  # fmt: skip
    assert few["@odata.nextLink"].endswith("%24skip=2") or "$skip=2" in few["@odata.nextLink"]
    assert client.get(f"{path}/attachments/AAMkNothing=").status_code == 404


SIGNED = (
    "--b\r\nContent-Type: text/plain\r\n\r\nsigned\r\n--b\r\n"
    "Content-Type: application/pkcs7-signature\r\n\r\nMIIB\r\n--b--\r\n"
)
SIGNED_TYPE = 'multipart/signed; boundary=b; protocol="application/pkcs7-signature"'


@pytest.mark.parametrize(
    ("fields", "body", "content"),
    [
        (
            {
                "content_type": "application/pkcs7-mime; smime-type=enveloped-data; name=x.p7m",
                "content_transfer_encoding": "base64",
            },
            "TUlJQg==\r\n",
            b"MIIB",
        ),
        (
            {"content_type": 'application/octet-stream; name="SMIME.P7M"'},
            "MIIB",
            b"MIIB",
        ),
        (
            {"content_type": SIGNED_TYPE},
            SIGNED,
            f"Content-Type: {SIGNED_TYPE}\r\n\r\n{SIGNED}".encode(),
        ),
    ],
)
def test_of_smime_one_thing_is_attached(
    client: httpx.Client,
    alice: Mailbox,
    mail: Mail,
    fields: dict[str, str],
    body: str,
    content: bytes,
) -> None:
    path = f"/me/messages/{alice.put(mail(body, **fields)).id}"
    (one,) = client.get(f"{path}/attachments").json()["value"]
    assert one["name"] == "smime.p7m"
    assert one["contentType"] == fields["content_type"].partition(";")[0]
    assert client.get(f"{path}/attachments/{one['id']}/$value").content == content


def test_a_file_is_attached_to_a_draft_and_delivered(
    emulator: Emulator, client: httpx.Client, draft: str
) -> None:
    name = 'r\N{LATIN SMALL LETTER E WITH ACUTE}sum\N{LATIN SMALL LETTER E WITH ACUTE} "2".txt'
    text = {"contentType": "text/plain", "isInline": True, "contentId": "<one>"}
    first = client.post(f"{draft}/attachments", json=a_file(name, b"one", **text))
    assert first.status_code == 201
    assert client.get(first.headers["Location"]).json() == first.json()
    second = client.post(f"{draft}/attachments", json=a_file("2.bin", b"two\x00"))
    third = client.post(f"{draft}/attachments", json=a_file("2.bin", b"two\x00"))
    assert client.get(draft).json()["hasAttachments"] is True
    found = client.get(f"{draft}/attachments").json()["value"]
    assert [one["id"] for one in found] == [a.json()["id"] for a in (first, second, third)]
    assert [one["name"] for one in found] == [name, "2.bin", "2.bin"]
    assert (found[0]["isInline"], found[0]["contentId"]) == (True, "one")
    for gone in (second, third):
        path = f"{draft}/attachments/{gone.json()['id']}"
        assert client.delete(path).status_code == 204
        assert client.delete(path).status_code == 404
    client.patch(draft, json={"body": {"content": "a word"}})
    assert client.post(f"{draft}/send").status_code == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    path = f"/users/bob@contoso.com/messages/{received.id}"
    assert client.get(path).json()["body"]["content"] == "a word"
    (one,) = client.get(f"{path}/attachments").json()["value"]
    assert (one["name"], base64.b64decode(one["contentBytes"])) == (name, b"one")


EXPANDED = "$expand=microsoft.graph.itemattachment/item"


def test_a_message_and_a_link_are_attached_and_delivered(
    emulator: Emulator, client: httpx.Client, draft: str
) -> None:
    sender = {"emailAddress": {"name": "Carol", "address": "carol@contoso.com"}}
    text = {"contentType": "html", "content": "<b>caf\N{LATIN SMALL LETTER E WITH ACUTE}</b>"}
    files = [a_file("a.txt", b"a"), an_item("deeper", nested(1))]
    inner = a_message(subject="inner", body=text, attachments=files) | {"from": sender}
    first = client.post(f"{draft}/attachments", json=an_item("see this", inner))
    second = client.post(f"{draft}/attachments", json=a_link("share", "https://a.test/b;c?d=e"))
    gone = client.post(f"{draft}/attachments", json=an_item("gone", nested(0)))
    assert [one.status_code for one in (first, second, gone)] == [201] * 3
    assert client.delete(f"{draft}/attachments/{gone.json()['id']}").status_code == 204
    assert client.post(f"{draft}/send").status_code == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    path = f"/users/bob@contoso.com/messages/{received.id}/attachments"
    item, link = client.get(f"{path}?{EXPANDED}").json()["value"]
    assert (item["@odata.type"], item["name"]) == (first.json()["@odata.type"], "see this")
    assert (item["item"]["subject"], item["item"]["body"]) == ("inner", text)
    assert (item["item"]["from"], item["item"]["hasAttachments"]) == (sender, True)
    assert "item" not in client.get(f"{path}/{item['id']}").json()
    assert client.get(f"{path}/{item['id']}?{EXPANDED}").json()["item"] == item["item"]
    raw = client.get(f"{path}/{item['id']}/$value").content
    assert b"Subject: inner\r\n" in raw
    assert b"Subject: innermost\r\n" in raw
    assert (link["@odata.type"], link["name"], link["sourceUrl"]) == (
        "#microsoft.graph.referenceAttachment",
        "share",
        "https://a.test/b;c?d=e",
    )
    assert code_of(client.get(f"{path}/{link['id']}/$value")) == (405, "Request_BadRequest")
    assert client.get(f"{path}?$expand=item").status_code == 400


def test_a_json_message_has_files(emulator: Emulator, client: httpx.Client) -> None:
    message = {
        "toRecipients": [{"emailAddress": {"address": "bob@contoso.com"}}],
        "attachments": [a_file("a.txt", b"a", contentType="message/rfc822")],
        "internetMessageHeaders": [{"name": "X-Ticket", "value": "7"}],
    }
    assert client.post("/me/sendMail", json={"message": message}).status_code == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    assert b"X-Ticket: 7\r\n" in received.raw
    path = f"/users/bob@contoso.com/messages/{received.id}/attachments"
    (one,) = client.get(path).json()["value"]
    assert (one["name"], one["contentType"]) == ("a.txt", "application/octet-stream")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([{"name": "Subject", "value": "x"}], "InvalidInternetMessageHeader"),
        ([{"name": "x-a\r\nBcc", "value": "x"}], "InvalidInternetMessageHeader"),
        ([{"name": f"x-{n}", "value": ""} for n in range(6)],
         "InvalidInternetMessageHeaderCollection"),
    ],
)  # fmt: skip
def test_headers_that_json_may_not_set(client: httpx.Client, headers: object, code: str) -> None:
    answer = client.post("/me/messages", json={"internetMessageHeaders": headers})
    assert code_of(answer) == (400, code)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ({"@odata.type": "#microsoft.graph.itemAttachment", "name": "x"}, 400),
        (an_item("x", {"@odata.type": "#microsoft.graph.event"}), 501),
        (an_item("x", {"subject": "x"}), 400),
        (an_item("x", a_message(toRecipients=7)), 400),
        (an_item("x", nested(9)), 400),
        ({"@odata.type": "#microsoft.graph.referenceAttachment"}, 400),
        (a_link("x", 'https://a.test/"'), 400),
        (a_link("x", "file:///etc/passwd"), 400),
        ({"name": "x"}, 400),
        (a_file("", b"x"), 400),
        (a_file("\r\n", b"x"), 400),
        ({**a_file("x", b""), "contentBytes": "*"}, 400),
        ({**a_file("x", b""), "contentBytes": 7}, 400),
        ({**a_file("x", b""), "isInline": "yes"}, 400),
    ],
)
def test_what_is_no_file_is_not_attached(
    client: httpx.Client, draft: str, value: dict[str, Any], status: int
) -> None:
    assert client.post(f"{draft}/attachments", json=value).status_code == status
    assert client.get(f"{draft}/attachments").json()["value"] == []


def test_nothing_is_attached_to_what_is_no_draft_or_signed(
    client: httpx.Client, alice: Mailbox, post: Post, mail: Mail
) -> None:
    path = f"/me/messages/{alice.put(mail()).id}/attachments"
    assert code_of(client.post(path, json=a_file("x", b"x"))) == (400, "ErrorInvalidPropertySet")
    signed = post(client, "/me/messages", mail(SIGNED, content_type=SIGNED_TYPE)).json()["id"]
    path = f"/me/messages/{signed}/attachments"
    assert code_of(client.post(path, json=a_file("x", b"x"))) == (501, "NotImplemented")
    (one,) = client.get(path).json()["value"]
    assert code_of(client.delete(f"{path}/{one['id']}")) == (501, "NotImplemented")


def test_a_field_of_a_part_never_becomes_one_of_the_message(
    emulator: Emulator, client: httpx.Client, post: Post, mail: Mail
) -> None:
    part = "--b\r\nBcc: carol@contoso.com\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    raw = mail(f"{part}{part.replace('plain', 'x')}--b--\r\n",
               content_type="multipart/mixed; boundary=b")  # fmt: skip
    path = f"/me/messages/{post(client, '/me/messages', raw).json()['id']}"
    (attached,) = client.get(f"{path}/attachments").json()["value"]
    assert client.delete(f"{path}/attachments/{attached['id']}").status_code == 204
    assert client.get(path).json()["bccRecipients"] == []
    assert client.post(f"{path}/send").status_code == 202
    assert emulator.mailbox("carol@contoso.com").messages() == ()
