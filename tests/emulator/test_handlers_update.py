"""Messages that are changed, moved, copied and taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator, Mailbox

from .conftest import Clock, Post

Mail = Callable[..., bytes]


@pytest.fixture
def alice(emulator: Emulator) -> Mailbox:
    return emulator.mailbox("alice@contoso.com")


def people(*addresses: str) -> list[dict[str, dict[str, str]]]:
    return [{"emailAddress": {"address": a}} for a in addresses]


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_what_is_no_part_of_a_message_can_be_changed_on_any(
    client: httpx.Client, alice: Mailbox, mail: Mail
) -> None:
    raw = mail()
    path = f"/me/messages/{alice.put(raw).id}"
    before = client.get(path).json()
    due = {"dateTime": "2026-12-01T00:00:00", "timeZone": "UTC"}
    changes = {
        "isRead": True,
        "categories": ["red", "blue"],
        "flag": {"flagStatus": "flagged", "startDateTime": due, "dueDateTime": due},
        "importance": "high",
        "inferenceClassification": "other",
        "isReadReceiptRequested": True,
        "isDeliveryReceiptRequested": False,
    }
    answer = client.patch(path, json=changes)
    assert answer.status_code == 200
    after = answer.json()
    assert {name: after[name] for name in changes} == changes
    assert after["changeKey"] != before["changeKey"]
    assert client.get(path).json() == after
    assert client.get(f"{path}/$value").content == raw
    kept = after.keys() - changes.keys() - {"changeKey", "@odata.etag", "lastModifiedDateTime"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "x"},
        {"body": {"content": "x"}},
        {"toRecipients": people("bob@contoso.com")},
        {"from": people("bob@contoso.com")[0]},
        {"internetMessageId": "<x@y>"},
    ],
)
def test_what_is_a_part_of_a_message_is_changed_on_drafts_alone(
    client: httpx.Client, alice: Mailbox, mail: Mail, change: dict[str, Any]
) -> None:
    path = f"/me/messages/{alice.put(mail()).id}"
    answer = client.patch(path, json=change)
    assert code_of(answer) == (400, "ErrorInvalidPropertySet")
    assert answer.json()["error"]["message"] == "Message is not draft."


def test_a_draft_is_changed_and_sent(emulator: Emulator, client: httpx.Client) -> None:
    first = {"subject": "one", "bccRecipients": people("carol@contoso.com")}
    path = f"/me/messages/{client.post('/me/messages', json=first).json()['id']}"
    change = {
        "subject": "two \N{SNOWMAN}",
        "body": {"contentType": "html", "content": "<p>hello</p>"},
        "toRecipients": people("bob@contoso.com"),
        "importance": "high",
        "categories": ["red"],
    }
    changed = client.patch(path, json=change).json()
    assert changed["subject"] == "two \N{SNOWMAN}"
    assert changed["body"] == {"contentType": "html", "content": "<p>hello</p>"}
    assert changed["categories"] == ["red"]
    assert changed["bccRecipients"][0]["emailAddress"]["address"] == "carol@contoso.com"
    client.patch(path, json={"bccRecipients": []})
    assert client.get(path).json()["bccRecipients"] == []
    assert client.post(f"{path}/send").status_code == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    assert received.subject == "two \N{SNOWMAN}"
    assert received.raw.count(b"Subject:") == 1
    assert b"Importance: high\r\n" in received.raw
    assert emulator.mailbox("carol@contoso.com").messages() == ()


def test_what_is_not_changed_of_a_draft_keeps_its_bytes(
    client: httpx.Client, post: Post, mail: Mail
) -> None:
    body = "--b\r\nContent-Type: text/plain\r\n\r\none \x80\r\n--b--\r\n"
    kind = 'multipart/signed; protocol="application/pkcs7-signature"; boundary=b'
    raw = mail(body, content_type=kind, x_odd="a \t b")
    path = f"/me/messages/{post(client, '/me/messages', raw).json()['id']}"
    client.patch(path, json={"subject": "another"})
    expected = b"Subject: another\r\n" + raw.replace(b"Subject: greetings\r\n", b"")
    assert client.get(f"{path}/$value").content == expected
    answer = client.patch(path, json={"body": {"content": "x"}})
    assert code_of(answer) == (501, "NotImplemented"), "the parts are signed"
    assert client.get(f"{path}/$value").content == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"nothing": 1}, (400, "RequestBodyRead")),
        ({"isRead": "yes"}, (400, "ErrorInvalidParameter")),
        ({"importance": "highest"}, (400, "ErrorInvalidParameter")),
        ({"categories": "red"}, (400, "ErrorInvalidParameter")),
        ({"categories": [1]}, (400, "ErrorInvalidParameter")),
        ({"flag": {"flagStatus": "x"}}, (400, "ErrorInvalidParameter")),
        ({"flag": {"dueDateTime": {"dateTime": "2026-01-01"}}}, (400, "ErrorInvalidParameter")),
        ({"flag": {"startDateTime": {"dateTime": "soon"}}}, (400, "ErrorInvalidParameter")),
        ({"attachments": []}, (400, "ErrorInvalidPropertySet")),
        ({"extensions": []}, (501, "NotImplemented")),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    client: httpx.Client, alice: Mailbox, mail: Mail, change: dict[str, Any], expected: object
) -> None:
    path = f"/me/messages/{alice.put(mail()).id}"
    assert code_of(client.patch(path, json=change)) == expected
    plain = {"Content-Type": "text/plain"}
    assert client.patch(path, content=b"", headers=plain).status_code == 415


def test_what_clients_send_back_unchanged_is_passed_over(
    client: httpx.Client, alice: Mailbox, mail: Mail
) -> None:
    path = f"/me/messages/{alice.put(mail()).id}"
    shown = client.get(path).json()
    own = {name: shown[name] for name in ("@odata.etag", "id", "createdDateTime", "bodyPreview")}
    assert client.patch(path, json={**own, "isRead": True}).json()["isRead"] is True


def test_if_match_keeps_two_clients_apart(client: httpx.Client, alice: Mailbox, mail: Mail) -> None:
    path = f"/me/messages/{alice.put(mail()).id}"
    seen = client.get(path).json()["@odata.etag"]
    first = client.patch(path, json={"isRead": True}, headers={"If-Match": seen})
    assert first.status_code == 200
    for request in (
        client.patch(path, json={"isRead": False}, headers={"If-Match": seen}),
        client.delete(path, headers={"If-Match": seen}),
    ):
        assert code_of(request) == (412, "ErrorIrresolvableConflict")
    assert client.get(path).json()["isRead"] is True
    assert client.delete(path, headers={"If-Match": "*"}).status_code == 204


def test_a_message_is_moved_and_has_another_id(
    client: httpx.Client, alice: Mailbox, mail: Mail
) -> None:
    message = alice.put(mail())
    moved = client.post(f"/me/messages/{message.id}/move", json={"destinationId": "archive"})
    assert moved.status_code == 201
    assert moved.json()["id"] != message.id
    assert client.get(f"/me/messages/{message.id}").status_code == 404
    (found,) = alice.messages("archive")
    assert (found.id, found.immutable_id) == (moved.json()["id"], message.immutable_id)
    assert moved.json()["parentFolderId"] == client.get("/me/mailFolders/archive").json()["id"]


def test_a_message_is_copied(
    client: httpx.Client, alice: Mailbox, mail: Mail, clock: Clock
) -> None:
    message = alice.put(mail())
    client.patch(f"/me/messages/{message.id}", json={"categories": ["red"], "isRead": True})
    received = client.get(f"/me/messages/{message.id}").json()["receivedDateTime"]
    clock.now += 60
    copied = client.post(f"/me/messages/{message.id}/copy", json={"DestinationId": "drafts"})
    assert copied.status_code == 201
    copy = copied.json()
    assert copy["id"] != message.id
    assert (copy["categories"], copy["isRead"], copy["isDraft"]) == (["red"], True, False)
    assert copy["receivedDateTime"] == received != copy["createdDateTime"]
    assert client.delete(f"/me/messages/{message.id}").status_code == 204
    assert client.get(f"/me/messages/{copy['id']}/$value").content == mail()


@pytest.mark.parametrize("action", ["move", "copy"])
def test_a_message_goes_nowhere(
    client: httpx.Client, alice: Mailbox, mail: Mail, action: str
) -> None:
    path = f"/me/messages/{alice.put(mail()).id}/{action}"
    for body, status in (
        ({}, 400),
        ({"destinationId": 1}, 400),
        ({"destinationId": "nowhere"}, 404),
        ({"destinationId": "msgfolderroot"}, 400),
    ):
        assert client.post(path, json=body).status_code == status
    assert client.post(path).status_code == 415


def test_the_body_is_shown_as_it_is_wanted(client: httpx.Client, post: Post, mail: Mail) -> None:
    raw = mail("<p>Tom &amp; Jerry</p>", content_type="text/html")
    path = f"/me/messages/{post(client, '/me/messages', raw).json()['id']}"
    answer = client.get(path, headers={"Prefer": 'outlook.body-content-type="text"'})
    assert answer.json()["body"] == {"contentType": "text", "content": "Tom & Jerry"}
    assert answer.headers["Preference-Applied"] == 'outlook.body-content-type="text"'
    assert client.get(path).json()["body"]["contentType"] == "html"
