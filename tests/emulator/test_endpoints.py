"""The table of what is there, and what is said of what is not."""

from __future__ import annotations

import httpx
import pytest

from smime_graph.emulator.endpoints import ENDPOINTS


def test_no_method_of_a_path_stands_in_the_table_twice() -> None:
    named = [(one.method, one.path.lower()) for one in ENDPOINTS]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("one", ENDPOINTS, ids=lambda one: f"{one.method} {one.path}")
def test_what_is_in_the_table_is_there(client: httpx.Client, one: object) -> None:
    names = {"message": "AAMkNothing=", "folder": "inbox", "attachment": "AAMkA=", "contact": "c"}
    path = one.path.format(**names)  # type: ignore[attr-defined]
    for root in ("/me", "/users/alice@contoso.com"):
        response = client.request(one.method, f"{root}/{path}")  # type: ignore[attr-defined]
        assert response.status_code != 501, response.text
        assert (response.status_code == 405) == one.design  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "path",
    [
        "/groups",
        "/me/calendar",
        "/me/calendar/events",
        "/me/messages/AAMk=/extensions",
        "/me/messages/delta",
        "/me/contacts/$count",
        "/me/messages/AAMk=/attachments/$count",
        "/me/mailFolders/$count",
        "/me/mailFolders/inbox/messageRules",
        "/me/mailFolders/inbox/messages/AAMk=/extensions/x",
    ],
)
def test_what_graph_has_and_the_emulator_has_not_answers_501(
    client: httpx.Client, path: str
) -> None:
    response = client.get(path)
    assert response.status_code == 501
    assert response.json()["error"]["code"] == "NotImplemented"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PATCH", "/me", 501),
        ("POST", "/me/sendMail/", 415),
        ("PUT", "/me/contacts", 405),
        ("POST", "/users", 405),
        ("DELETE", "/me/mailFolders", 405),
    ],
)
def test_a_method_that_is_not_there(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    assert client.request(method, path).status_code == status


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/me/nothing",
        "/me/messages/AAMk=/nothing",
        "/me/mailFolders/inbox/nothing",
        "/me/mailFolders/inbox/messages/AAMk=/nothing",
        "/me/mailFolders/inbox/calendar",
    ],
)
def test_what_graph_has_not_is_no_resource(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 400
    text = f"Resource not found for the segment '{path.rpartition('/')[2]}'."
    assert response.json()["error"]["message"] == text
