"""Who somebody is."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from smime_graph.emulator import Emulator


def test_who_i_am(client: httpx.Client) -> None:
    me = client.get("/me").json()
    assert me["@odata.context"] == "https://graph.microsoft.com/v1.0/$metadata#users/$entity"
    assert me["mail"] == me["userPrincipalName"] == "alice@contoso.com"
    assert me["displayName"] == "Alice"
    assert client.get("/users/ALICE@contoso.com").json() == me
    assert client.get(f"/users/{me['id']}").json() == me
    some = client.get("/me?$select=mail").json()
    assert some.keys() == {"@odata.context", "id", "mail"}
    assert client.get("/me?$select=subject").status_code == 400


def test_nobody_of_that_name(
    client: httpx.Client,
    make: Callable[..., Emulator],
    connect: Callable[..., httpx.Client],
) -> None:
    assert client.get("/users/who@contoso.com").status_code == 404
    assert connect(make(open_mailboxes=True)).get("/me").status_code == 404


def test_all_users(client: httpx.Client) -> None:
    page = client.get("/users?$select=mail&$top=2&$count=true&$orderby=mail desc").json()
    assert [one["mail"] for one in page["value"]] == ["carol@contoso.com", "bob@contoso.com"]
    assert page["@odata.count"] == 3
    rest = client.get(page["@odata.nextLink"]).json()
    assert [one["mail"] for one in rest["value"]] == ["alice@contoso.com"]
    assert "@odata.nextLink" not in rest
    found = client.get("/users?$filter=startswith(displayName, 'B')").json()["value"]
    assert [one["userPrincipalName"] for one in found] == ["bob@contoso.com"]
