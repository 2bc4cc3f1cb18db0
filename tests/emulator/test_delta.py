"""What has changed in a folder since one last asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph.emulator import Emulator, Mailbox

from .conftest import Clock, Post

Mail = Callable[..., bytes]
DELTA = "/me/mailFolders/inbox/messages/delta"


@pytest.fixture
def alice(emulator: Emulator) -> Mailbox:
    return emulator.mailbox("alice@contoso.com")


def a_round(client: httpx.Client, link: str, **headers: str) -> tuple[list[dict[str, Any]], str]:
    """What a round of requests gives, and where the next one begins."""
    value: list[dict[str, Any]] = []
    while True:
        response = client.get(link, headers=headers)
        assert response.status_code == 200, response.text
        page = response.json()
        value += page["value"]
        if "@odata.deltaLink" in page:
            assert "@odata.nextLink" not in page
            return value, page["@odata.deltaLink"]
        link = page["@odata.nextLink"]


def subjects(value: list[dict[str, Any]]) -> list[str]:
    return [one["subject"] for one in value]


def test_a_folder_is_followed(client: httpx.Client, alice: Mailbox, mail: Mail) -> None:
    first = alice.put(mail(subject="one"))
    value, link = a_round(client, DELTA)
    assert subjects(value) == ["one"]
    assert value[0]["id"] == first.id
    assert value[0]["@odata.type"] == "#microsoft.graph.message"
    assert link.startswith(f"https://graph.microsoft.com/v1.0{DELTA}?$deltatoken=")
    assert a_round(client, link)[0] == []

    second = alice.put(mail(subject="two"))
    value, link = a_round(client, link)
    assert subjects(value) == ["two"]

    client.delete(f"/me/messages/{first.id}")
    value, link = a_round(client, link)
    gone = {"@odata.type": "#microsoft.graph.message", "@removed": {"reason": "deleted"}}
    assert value == [{**gone, "id": first.id}]
    value, _ = a_round(client, "/me/mailFolders/deleteditems/messages/delta")
    assert subjects(value) == ["one"]
    assert [one["id"] for one in a_round(client, DELTA)[0]] == [second.id]


def test_a_round_has_pages_and_takes_no_notice_of_what_comes_meanwhile(
    client: httpx.Client, alice: Mailbox, mail: Mail
) -> None:
    for number in range(5):
        alice.put(mail(subject=str(number)))
    prefer = {"Prefer": "odata.maxpagesize=2"}
    response = client.get(DELTA, headers=prefer)
    applied = response.headers["Preference-Applied"]
    assert applied == "odata.maxpagesize=2, odata.track-changes"
    assert subjects(response.json()["value"]) == ["0", "1"]
    alice.put(mail(subject="5"))
    value, link = a_round(client, response.json()["@odata.nextLink"], **prefer)
    assert subjects(value) == ["2", "3", "4"]
    assert subjects(a_round(client, link)[0]) == ["5"]


def test_what_came_and_went_in_between_is_not_told(
    client: httpx.Client, alice: Mailbox, mail: Mail
) -> None:
    _, link = a_round(client, DELTA)
    client.delete(f"/me/messages/{alice.put(mail()).id}")
    assert a_round(client, link)[0] == []


def test_a_copy_in_sent_items_that_is_late_is_told_once_it_is_there(
    make: Callable[..., Emulator],
    connect: Callable[..., httpx.Client],
    post: Post,
    mail: Mail,
    clock: Clock,
) -> None:
    client = connect(make(sent_items_delay=30.0))
    place = "/me/mailFolders/sentitems/messages/delta"
    post(client, "/me/sendMail", mail(subject="late"))
    value, link = a_round(client, place)
    assert value == []
    clock.now += 10
    post(client, "/me/sendMail", mail(subject="later"))
    value, link = a_round(client, link)
    assert value == []
    clock.now += 20
    value, link = a_round(client, link)
    assert subjects(value) == ["late"]
    clock.now += 10
    value, link = a_round(client, link)
    assert subjects(value) == ["later"]
    assert a_round(client, link)[0] == []


def test_a_draft_that_was_sent_has_left(client: httpx.Client, post: Post, mail: Mail) -> None:
    draft = post(client, "/me/messages", mail()).json()["id"]
    immutable = {"Prefer": 'IdType="ImmutableId"'}
    place = "/me/mailFolders/drafts/messages/delta"
    (told,), link = a_round(client, place, **immutable)
    assert told["id"] != draft, "the immutable one was asked for"
    client.post(f"/me/messages/{draft}/send")
    (removed,), _ = a_round(client, link)
    assert (removed["id"], "@removed" in removed) == (draft, True)
    (removed,), _ = a_round(client, link, **immutable)
    assert removed["id"] == told["id"]


def test_what_was_asked_for_is_kept_in_the_link(
    client: httpx.Client, alice: Mailbox, mail: Mail
) -> None:
    first = alice.put(mail(subject="one"))
    value, link = a_round(client, f"{DELTA}?$select=subject&changeType=created")
    assert [one.keys() for one in value] == [{"@odata.type", "@odata.etag", "id", "subject"}]
    alice.put(mail(subject="two"))
    client.delete(f"/me/messages/{first.id}")
    value, _ = a_round(client, link)
    assert [one.get("subject") for one in value] == ["two"]
    value, _ = a_round(client, f"{DELTA}?$deltatoken=latest")
    assert subjects(value) == ["two"], "mail does not know this token (GD#9569)"


def test_what_came_before_a_time_is_left_out(
    client: httpx.Client, alice: Mailbox, mail: Mail, clock: Clock
) -> None:
    alice.put(mail(subject="old"))
    clock.now += 60
    new = alice.put(mail(subject="new"))
    when = client.get(f"/me/messages/{new.id}").json()["receivedDateTime"]
    value, link = a_round(client, f"{DELTA}?$filter=receivedDateTime ge {when}")
    assert subjects(value) == ["new"]
    clock.now += 60
    alice.put(mail(subject="newer"))
    assert subjects(a_round(client, link)[0]) == ["newer"]


def token_of(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    ["x", "", "\u00e9", "bm8", token_of(1), token_of(*[1] * 10), "W" * 9000,
     token_of(1, "inbox", -9, 0, -1, "", "", ""),
     token_of(1, "inbox", 0, float("nan"), -1, "", "", ""),
     token_of(1, "inbox", 0, 10**30, -1, "", "", "")],
)  # fmt: skip
def test_a_token_that_is_none_is_refused(client: httpx.Client, token: str) -> None:
    response = client.get(DELTA, params={"$deltatoken": token})
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "Badly formed token."


def test_a_token_of_somewhere_else_is_not_found(
    client: httpx.Client, alice: Mailbox, mail: Mail
) -> None:
    alice.put(mail())
    _, link = a_round(client, DELTA)
    token = link.partition("=")[2]
    for place in ("/me/mailFolders/drafts", "/users/bob@contoso.com/mailFolders/inbox"):
        response = client.get(f"{place}/messages/delta?$deltatoken={token}")
        assert response.status_code == 410
        error = response.json()["error"]
        assert error["code"] == "SyncStateNotFound"
        assert "The sync state generation is not found; generation=" in error["message"]
    ahead = token_of(1, "inbox", 99, 99, -1, "", "", "")
    assert client.get(f"{DELTA}?$deltatoken={ahead}").status_code == 410


def test_the_folders_are_followed(client: httpx.Client, alice: Mailbox, mail: Mail) -> None:
    place = "/me/mailFolders/delta"

    def make(name: str, below: str = "") -> str:
        path = f"/me/mailFolders/{below}/childFolders" if below else "/me/mailFolders"
        return str(client.post(path, json={"displayName": name}).json()["id"])

    def names(value: list[dict[str, Any]]) -> list[str]:
        return [one["displayName"] for one in value]

    made = [make(str(number)) for number in range(3)]
    alice.put(mail())
    few = {"Prefer": "odata.maxpagesize=2"}
    first = client.get(place, headers=few).json()
    assert "@odata.nextLink" in first
    value, link = a_round(client, f"{place}?$select=displayName", **few)
    assert len(value) == len({one["id"] for one in value}) == 10
    assert (names(value)[0], names(value)[7:]) == ("Inbox", ["0", "1", "2"])
    assert value[0].keys() == {"@odata.type", "id", "displayName"}
    assert a_round(client, link)[0] == []
    client.patch(f"/me/mailFolders/{made[0]}", json={"displayName": "zero"})
    client.post(f"/me/mailFolders/{made[1]}/move", json={"destinationId": made[0]})
    client.delete(f"/me/mailFolders/{made[2]}")
    inner = make("inner", made[0])
    alice.put(mail())  # which changes no folder
    value, after = a_round(client, link, **few)
    assert names(value) == ["zero", "1", "2", "inner"]
    client.delete(f"/me/mailFolders/{made[2]}")  # it is in Deleted Items
    come_and_gone = make("short")
    for _ in range(2):
        client.delete(f"/me/mailFolders/{come_and_gone}")
    (removed,), after = a_round(client, after)
    assert removed == {
        "@odata.type": "#microsoft.graph.mailFolder",
        "@removed": {"reason": "deleted"},
        "id": made[2],
    }
    assert names(a_round(client, place)[0])[7:] == ["zero", "1", "inner"]
    assert inner in {one["id"] for one in a_round(client, place)[0]}
    of_bob = after.replace("/me/", "/users/bob@contoso.com/")
    assert client.get(of_bob).status_code == 410
    assert client.get(after.replace("delta", "inbox/messages/delta", 1)).status_code == 410
    assert client.get(f"{place}?$filter=isHidden eq true").status_code == 501


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("$filter=isRead eq false", 400),
        ("$expand=attachments", 501),
        ("$filter=x eq 1", 400),
        ("$top=0", 400),
        ("changeType=x", 400),
        ("$select=x", 400),
    ],
)
def test_a_delta_query_that_is_not_understood_is_refused(
    client: httpx.Client, query: str, status: int
) -> None:
    assert client.get(f"{DELTA}?{query}").status_code == status


RAW = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: x\r\n\r\nx\r\n"
FOLDERS = ("inbox", "drafts", "sentitems", "deleteditems")
steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "move", "delete", "mark", "send", "wait", "page", "round"]),
        st.integers(0, 5),
        st.sampled_from(FOLDERS),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, immutable=st.booleans())
def test_whoever_follows_a_folder_knows_what_is_in_it(
    steps: list[tuple[str, int, str]], immutable: bool
) -> None:
    """Whatever happens, and whenever it is asked: pages between changes, copies that are late."""
    clock = Clock()
    headers = {"Authorization": "Bearer x", "Prefer": "odata.maxpagesize=2"}
    if immutable:
        headers["Prefer"] += ', IdType="ImmutableId"'
    with (
        Emulator(me="alice@contoso.com", clock=clock, sent_items_delay=30.0) as emulator,
        httpx.Client(
            transport=emulator.transport(),
            base_url="https://graph.microsoft.com/v1.0",
            headers=headers,
        ) as client,
    ):
        alice = emulator.mailbox("alice@contoso.com")
        links = {one: f"/me/mailFolders/{one}/messages/delta" for one in FOLDERS}
        known: dict[str, set[str]] = {one: set() for one in FOLDERS}
        for _ in range(3):
            alice.put(RAW, folder="drafts")

        def a_page(folder: str) -> bool:
            page = client.get(links[folder]).json()
            for one in page["value"]:
                (known[folder].discard if "@removed" in one else known[folder].add)(one["id"])
            links[folder] = page.get("@odata.nextLink", page.get("@odata.deltaLink"))
            return "@odata.deltaLink" in page

        for name, number, folder in steps:
            found = alice.messages(None)
            if name == "put":
                alice.put(RAW, folder=folder)
            elif name == "wait":
                clock.now += number * 7
            elif name == "page":
                a_page(folder)
            elif name == "round":
                for one in FOLDERS:
                    while not a_page(one):
                        pass
            elif found:
                path = f"/me/messages/{found[number % len(found)].id}"
                if name == "move":
                    client.post(f"{path}/move", json={"destinationId": folder})
                elif name == "delete":
                    client.delete(path)
                elif name == "mark":
                    client.patch(path, json={"isRead": bool(number % 2)})
                else:
                    client.post(f"{path}/send")
        clock.now += 30
        for folder in FOLDERS:
            for _ in range(2):  # a round that was begun earlier, and one that is begun now
                while not a_page(folder):
                    pass
            there = alice.messages(folder)
            assert known[folder] == {one.immutable_id if immutable else one.id for one in there}
