"""Both clients against the emulator: what the one asks the other answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smime_graph.emulator import Emulator
from smime_graph.graph import AsyncGraphClient, GraphClient

RAW = (
    b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: hello\r\n"
    b"Message-ID: <m1@contoso.com>\r\n\r\nhi\r\n"
)


@pytest.fixture(params=["sync", "async"])
def run(request):
    """Calls a method of one of the clients on an emulator."""

    def run(emulator: Emulator, method: str, *args: Any, user: str = "me", **kwargs: Any) -> Any:
        if request.param == "sync":
            with GraphClient("t", user=user, transport=emulator.transport()) as graph:
                return getattr(graph, method)(*args, **kwargs)

        async def wait() -> Any:
            async with AsyncGraphClient(
                "t", user=user, transport=emulator.async_transport()
            ) as graph:
                return await getattr(graph, method)(*args, **kwargs)

        return asyncio.run(wait())

    return run


@pytest.mark.parametrize("profile", ["live", "design"])
def test_folders_are_those_of_the_mailbox(run, profile):
    with Emulator(profile=profile) as emulator:
        for folder, count in (("inbox", 2), ("drafts", 1)):
            for _ in range(count):
                emulator.mailbox("bob@contoso.com").put(RAW, folder=folder)
        found = run(emulator, "folders", user="bob@contoso.com")
        by_name = {one.name: (one.total, one.unread) for one in found}
        assert by_name["Inbox"] == (2, 2)
        assert by_name["Drafts"] == (1, 0)
        assert by_name["Sent Items"] == (0, 0)
        assert len(run(emulator, "folders", user="bob@contoso.com", top=2)) == 2
        inbox = next(one.id for one in found if one.name == "Inbox")
        assert len(run(emulator, "list", inbox, user="bob@contoso.com")) == 2


def test_folders_come_in_pages(run):
    with Emulator() as emulator:
        names = [one.name for one in run(emulator, "folders")]
        transport = emulator.transport()
        import httpx

        with httpx.Client(transport=transport, headers={"Authorization": "Bearer t"}) as http:
            url = "https://graph.microsoft.com/v1.0/me/mailFolders?$top=3&$select=displayName"
            seen: list[str] = []
            pages = 0
            while url:
                page = http.get(url).json()
                assert all(set(one) == {"id", "displayName"} for one in page["value"])
                seen += [one["displayName"] for one in page["value"]]
                url = page.get("@odata.nextLink", "")
                pages += 1
        assert (seen, pages) == (names, 3)
