"""Folders that are made, renamed, moved and taken away."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from smime_graph.emulator import Emulator


def make_folder(client: httpx.Client, name: str, *, below: str = "") -> str:
    place = f"/me/mailFolders/{below}/childFolders" if below else "/me/mailFolders"
    answer = client.post(place, json={"displayName": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_a_folder_is_made_used_and_taken_away(
    emulator: Emulator, client: httpx.Client, mail: Callable[..., bytes]
) -> None:
    projects = make_folder(client, "Projects")
    inner = make_folder(client, "Inner", below=projects)
    shown = client.get(f"/me/mailFolders/{projects}").json()
    assert (shown["displayName"], shown["childFolderCount"], shown["totalItemCount"]) == (
        "Projects",
        1,
        0,
    )
    root = client.get("/me/mailFolders/msgfolderroot").json()
    assert shown["parentFolderId"] == root["id"]
    assert root["childFolderCount"] == len(client.get("/me/mailFolders").json()["value"])
    (child,) = client.get(f"/me/mailFolders/{projects}/childFolders").json()["value"]
    assert (child["id"], child["parentFolderId"]) == (inner, projects)

    message = emulator.mailbox("alice@contoso.com").put(mail())
    moved = client.post(f"/me/messages/{message.id}/move", json={"destinationId": inner}).json()
    for path in (f"/me/mailFolders/{inner}", f"/me/mailFolders/{projects}/childFolders/{inner}"):
        (found,) = client.get(f"{path}/messages").json()["value"]
        assert found["id"] == moved["id"]
        assert found["parentFolderId"] == inner
        (changed,) = client.get(f"{path}/messages/delta").json()["value"]
        assert changed["id"] == moved["id"]

    assert client.delete(f"/me/mailFolders/{projects}").status_code == 204
    (deleted,) = client.get("/me/mailFolders/deleteditems/childFolders").json()["value"]
    assert deleted["id"] == projects
    assert client.get(f"/me/messages/{moved['id']}").status_code == 200
    assert client.delete(f"/me/mailFolders/{projects}").status_code == 204
    assert client.get(f"/me/mailFolders/{inner}").status_code == 404
    assert client.get(f"/me/messages/{moved['id']}").status_code == 404


def test_two_folders_of_one_name_are_kept_apart(client: httpx.Client) -> None:
    first = make_folder(client, "Twice")
    answer = client.post("/me/mailFolders", json={"displayName": "TWICE"})
    assert code_of(answer) == (409, "ErrorFolderExists")
    taken = client.post("/me/mailFolders", json={"displayName": "inbox"})
    assert code_of(taken) == (409, "ErrorFolderExists")
    client.delete(f"/me/mailFolders/{first}")
    client.delete(f"/me/mailFolders/{make_folder(client, 'Twice')}")
    deleted = client.get("/me/mailFolders/deleteditems/childFolders").json()["value"]
    assert [one["displayName"] for one in deleted] == ["Twice", "Twice1"]


def test_a_folder_is_renamed_and_moved(client: httpx.Client) -> None:
    first, second = make_folder(client, "One"), make_folder(client, "Two")
    renamed = client.patch(f"/me/mailFolders/{first}", json={"displayName": "one"})
    assert renamed.json()["displayName"] == "one"
    taken = client.patch(f"/me/mailFolders/{first}", json={"displayName": "Two"})
    assert code_of(taken) == (409, "ErrorFolderExists")
    moved = client.post(f"/me/mailFolders/{first}/move", json={"destinationId": second})
    assert moved.status_code == 201
    assert (moved.json()["id"], moved.json()["parentFolderId"]) == (first, second)
    for inside in (first, second):
        refused = client.post(f"/me/mailFolders/{second}/move", json={"destinationId": inside})
        assert code_of(refused) == (400, "ErrorMoveCopyFailed")


def test_a_folder_is_copied_with_what_is_in_it(
    emulator: Emulator, client: httpx.Client, mail: Callable[..., bytes]
) -> None:
    first, second = make_folder(client, "One"), make_folder(client, "Two")
    inner = make_folder(client, "Inner", below=first)
    for place in (first, inner):
        message = emulator.mailbox("alice@contoso.com").put(mail())
        client.post(f"/me/messages/{message.id}/move", json={"destinationId": place})

    def copy(folder: str, place: str) -> httpx.Response:
        return client.post(f"/me/mailFolders/{folder}/copy", json={"destinationId": place})

    copied = copy(first, second)
    assert copied.status_code == 201
    made = copied.json()
    assert (made["displayName"], made["parentFolderId"]) == ("One", second)
    assert made["totalItemCount"] == 1
    (child,) = client.get(f"/me/mailFolders/{made['id']}/childFolders").json()["value"]
    assert (child["displayName"], child["totalItemCount"]) == ("Inner", 1)
    found = client.get("/me/messages?$top=50").json()["value"]
    assert len({one["id"] for one in found}) == 4
    assert code_of(copy(first, second)) == (409, "ErrorFolderExists")
    assert code_of(copy(first, "msgfolderroot")) == (409, "ErrorFolderExists")
    assert code_of(copy(first, inner)) == (400, "ErrorMoveCopyFailed")
    assert code_of(copy("msgfolderroot", second)) == (400, "ErrorMoveCopyFailed")
    assert copy("inbox", second).status_code == 201


def test_folders_are_not_nested_without_end(client: httpx.Client) -> None:
    inner = ""
    for _ in range(300):
        inner = make_folder(client, "deeper", below=inner)
    place = f"/me/mailFolders/{inner}/childFolders"
    assert client.post(place, json={"displayName": "too deep"}).status_code == 400
    other = make_folder(client, "other")
    for action in ("move", "copy"):
        refused = client.post(f"/me/mailFolders/{other}/{action}", json={"destinationId": inner})
        assert refused.status_code == 400


@pytest.mark.parametrize("name", [None, "", 7, "a\nb", "x" * 256, "\ud800"])
def test_a_folder_needs_a_name(client: httpx.Client, name: object) -> None:
    body = b'{"displayName": "\\ud800"}' if name == "\ud800" else None
    headers = {"Content-Type": "application/json"}
    answer = (
        client.post("/me/mailFolders", content=body, headers=headers)
        if body
        else client.post("/me/mailFolders", json={"displayName": name})
    )
    assert code_of(answer) == (400, "ErrorInvalidParameter")


def test_what_every_mailbox_has_stays(client: httpx.Client) -> None:
    for request in (
        client.delete("/me/mailFolders/inbox"),
        client.patch("/me/mailFolders/msgfolderroot", json={"displayName": "x"}),
        client.post("/me/mailFolders/drafts/move", json={"destinationId": "inbox"}),
    ):
        assert code_of(request) == (403, "ErrorDeleteDistinguishedFolder")


def test_the_folders_of_others_are_not_there(client: httpx.Client) -> None:
    own = make_folder(client, "Mine")
    assert client.get(f"/users/bob@contoso.com/mailFolders/{own}").status_code == 404
    assert client.delete(f"/users/bob@contoso.com/mailFolders/{own}").status_code == 404
