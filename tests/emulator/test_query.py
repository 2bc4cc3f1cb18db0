"""What a client asks for of many messages, and gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator, Mailbox

from .conftest import Clock

Mail = Callable[..., bytes]
PLACE = "/me/mailFolders/inbox/messages"


@pytest.fixture
def alice(emulator: Emulator, client: httpx.Client, mail: Mail, clock: Clock) -> Mailbox:
    """Seven messages, a minute apart; every third one is read."""
    alice = emulator.mailbox("alice@contoso.com")
    for number, name in enumerate(("dora", "bob", "eve", "bob", "carol", "Bob", "alice")):
        clock.now += 60
        raw = mail(
            f"text number {number}\r\n",
            subject=f"message {number}",
            from_=f"{name}@contoso.com",
            message_id=f"<{number}@contoso.com>",
        )
        planted = alice.put(raw)
        if number % 3 == 0:
            client.patch(f"/me/messages/{planted.id}", json={"isRead": True})
    return alice


def numbers(page: dict[str, Any]) -> list[int]:
    return [int(one["subject"].rpartition(" ")[2]) for one in page["value"]]


def pages(client: httpx.Client, **query: str) -> list[list[int]]:
    found = []
    link = str(httpx.URL(PLACE, params=query))
    while link:
        answer = client.get(link)
        assert answer.status_code == 200, answer.text
        found.append(numbers(answer.json()))
        link = answer.json().get("@odata.nextLink", "")
    return found


def test_messages_are_filtered(client: httpx.Client, alice: Mailbox) -> None:
    for condition, found in (
        ("isRead eq true", [6, 3, 0]),
        ("isRead eq false and from/emailAddress/address eq 'bob@contoso.com'", [5, 1]),
        ("startswith(subject, 'message') and internetMessageId eq '<4@contoso.com>'", [4]),
        ("internetMessageId eq '<4@contoso.com>' or subject eq 'message 2'", [4, 2]),
        ("internetMessageId eq '<4@CONTOSO.com>'", []),
        ("contains(body/content, 'number 2')", [2]),
        ("singleValueExtendedProperties/any(p:p/id eq 'String 0x0037' and p/value eq "
         "'message 1')", [1]),
    ):  # fmt: skip
        assert pages(client, **{"$filter": condition}) == [found], condition
    assert pages(client, **{"$filter": "isRead eq true", "$top": "2"}) == [[6, 3], [0]]


def test_messages_are_ordered(client: httpx.Client, alice: Mailbox) -> None:
    assert pages(client, **{"$orderby": "receivedDateTime"}) == [[0, 1, 2, 3, 4, 5, 6]]
    by_name = {"$orderby": "from/emailAddress/address,subject desc", "$top": "4"}
    assert pages(client, **by_name) == [[6, 5, 3, 1], [4, 0, 2]]
    both = {
        "$orderby": "isRead desc,subject",
        "$filter": "isRead ne null and subject ne '' and contains(subject, 'e')",
    }
    assert pages(client, **both) == [[0, 3, 6, 1, 2, 4, 5]]


@pytest.mark.parametrize(
    "query",
    [
        "$filter=isRead eq true&$orderby=receivedDateTime",
        "$filter=subject ne '' and isRead eq true&$orderby=isRead",
        "$filter=isRead eq true and subject ne ''&$orderby=subject,isRead",
    ],
)
def test_what_orders_has_to_filter_first(client: httpx.Client, alice: Mailbox, query: str) -> None:
    answer = client.get(f"{PLACE}?{query}")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "InefficientFilter"
    assert error["message"] == "The restriction or sort order is too complex for this operation."


def test_what_takes_too_long_to_look_for_is_refused(
    client: httpx.Client, alice: Mailbox, emulator: Emulator
) -> None:
    for message in alice.messages():
        names = {"categories": [str(n) for n in range(200)]}
        client.patch(f"/me/messages/{message.id}", json=names)
    nested = "categories/any(a:categories/any(b:categories/any(c:a eq 'x' and b eq c)))"
    answer = client.get(PLACE, params={"$filter": nested})
    assert answer.json()["error"]["code"] == "InefficientFilter"


def test_messages_are_counted(client: httpx.Client, alice: Mailbox) -> None:
    page = client.get(f"{PLACE}?$count=true&$top=2").json()
    assert (page["@odata.count"], numbers(page)) == (7, [6, 5])
    page = client.get(f"{PLACE}?$count=true&$top=2&$skip=2&$filter=isRead eq true").json()
    assert (page["@odata.count"], numbers(page)) == (3, [0])
    assert "@odata.count" not in client.get(PLACE).json()
    answer = client.get(f"{PLACE}/$count")
    assert (answer.text, answer.headers["Content-Type"]) == ("7", "text/plain")
    assert client.get("/me/messages/$count?$filter=isRead eq false").text == "4"
    assert client.get(f"{PLACE}?$count=yes").status_code == 400


def test_messages_are_searched(client: httpx.Client, alice: Mailbox) -> None:
    for words, found in (
        ('"number 2"', [2]),
        ('"from:BOB"', [5, 3, 1]),
        ('"from:bob AND subject:3"', [3]),
        ('"subject:\\"message 5\\""', [5]),
        ('"number nothing"', []),
        ("mess*", [6, 5, 4, 3, 2, 1, 0]),
    ):
        assert pages(client, **{"$search": words}) == [found], words
    assert pages(client, **{"$search": "from:bob", "$top": "2"}) == [[5, 3], [1]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("$search=x&$filter=isRead eq true", (400, "SearchWithFilter")),
        ("$search=x&$orderby=subject", (400, "SearchWithOrderBy")),
        ("$search=a OR b", (501, "NotImplemented")),
        ("$search=size:3", (501, "NotImplemented")),
        ("$search=(a)", (501, "NotImplemented")),
        ("$search=", (400, "BadRequest")),
        ("$search=" + "a+" * 60, (400, "BadRequest")),
        ("$filter=nothing eq 1", (400, "RequestBroker--ParseUri")),
        ("$orderby=nothing", (400, "RequestBroker--ParseUri")),
        ("$expand=attachments(", (400, "RequestBroker--ParseUri")),
        ("$expand=attachments($levels=2)", (501, "NotImplemented")),
        ("$expand=attachments($select=subject)", (400, "RequestBroker--ParseUri")),
        ("$expand=singleValueExtendedProperties", (400, "ErrorInvalidParameter")),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(
    client: httpx.Client, alice: Mailbox, query: str, expected: tuple[int, str]
) -> None:
    answer = client.get(f"{PLACE}?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == expected


FILE = (
    "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n"
    "Content-Type: text/x-log; name=a.log\r\n\r\nlog\r\n--b--\r\n"
)


def test_attachments_are_shown_with_their_message(
    emulator: Emulator, client: httpx.Client, mail: Mail
) -> None:
    raw = mail(FILE, content_type="multipart/mixed; boundary=b")
    planted = emulator.mailbox("alice@contoso.com").put(raw)
    path = f"/me/messages/{planted.id}"
    (one,) = client.get(f"{path}?$expand=attachments").json()["attachments"]
    assert (one["name"], one["contentBytes"]) == ("a.log", "bG9n")
    page = client.get(f"{PLACE}?$expand=attachments($select=name)&$select=subject").json()
    (shown,) = page["value"]
    assert shown.keys() == {"@odata.etag", "id", "subject", "attachments"}
    assert "contentBytes" not in shown["attachments"][0]


def test_a_page_of_large_messages_is_shorter(
    emulator: Emulator, client: httpx.Client, mail: Mail
) -> None:
    for number in range(3):
        body = "x" * (7 * 1024 * 1024)
        emulator.mailbox("alice@contoso.com").put(mail(body, subject=f"message {number}"))
    assert pages(client, **{"$expand": "attachments"}) == [[2, 1], [0]]


def test_a_page_of_folders(client: httpx.Client) -> None:
    page = client.get("/me/mailFolders?$filter=displayName eq 'inbox'&$count=true").json()
    assert [one["displayName"] for one in page["value"]] == ["Inbox"]
    assert page["@odata.count"] == 1
    names = client.get("/me/mailFolders?$orderby=displayName desc&$top=2").json()["value"]
    assert [one["displayName"] for one in names] == ["Sent Items", "Outbox"]
    made = client.post("/me/mailFolders/inbox/childFolders", json={"displayName": "In"}).json()
    page = client.get("/me/mailFolders?$expand=childFolders($select=displayName)").json()
    inbox = next(one for one in page["value"] if one["displayName"] == "Inbox")
    assert inbox["childFolders"] == [{"id": made["id"], "displayName": "In"}]
