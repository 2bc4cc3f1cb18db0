"""Both clients against the emulator: what the one asks the other answers."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, Literal

import pytest

from smime_graph.emulator import Emulator, Fault
from smime_graph.errors import GraphError, GraphRefused, GraphUnreachable, UsageError
from smime_graph.graph import AsyncGraphClient, GraphClient

RAW = (
    b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: hello\r\n"
    b"Message-ID: <m1@contoso.com>\r\n\r\nhi\r\n"
)


def emulator_profile(emulator: Emulator) -> str:
    return "design" if "design" in repr(emulator) else "live"


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Any:
    """Calls a method of one of the clients on an emulator."""

    def run(emulator: Emulator, method: str, *args: Any, user: str = "me", **kwargs: Any) -> Any:
        wire = "text-plain" if emulator_profile(emulator) == "live" else "mime-content"
        common: dict[str, Any] = {"user": user, "wire": wire}
        if request.param == "sync":
            with GraphClient(
                "t", transport=emulator.transport(), sleep=lambda _: None, **common
            ) as graph:
                return getattr(graph, method)(*args, **kwargs)

        async def at_once(_: float) -> None:
            return None

        async def wait() -> Any:
            async with AsyncGraphClient(
                "t", transport=emulator.async_transport(), sleep=at_once, **common
            ) as graph:
                return await getattr(graph, method)(*args, **kwargs)

        return asyncio.run(wait())

    return run


@pytest.mark.parametrize("profile", ["live", "design"])
def test_folders_are_those_of_the_mailbox(run: Any, profile: Literal["live", "design"]) -> None:
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


def test_folders_come_in_pages(run: Any) -> None:
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


ALICE = "alice@contoso.com"


def folders_of(emulator: Any, address: str = ALICE) -> Any:
    found = {}
    for name in ("inbox", "drafts", "sentitems", "deleteditems"):
        for one in emulator.mailbox(address).messages(name):
            found[one.immutable_id] = name
    return found


@pytest.mark.parametrize("profile", ["live", "design"])
def test_a_message_is_deleted_in_two_steps(run: Any, profile: Literal["live", "design"]) -> None:
    with Emulator(profile=profile) as emulator:
        draft = run(emulator, "draft", RAW).id
        assert run(emulator, "delete", draft) is None
        assert folders_of(emulator) == {draft: "deleteditems"}
        assert run(emulator, "delete", draft) is None
        assert folders_of(emulator) == {}
        with pytest.raises(GraphRefused) as caught:
            run(emulator, "delete", draft)
        assert (caught.value.status, caught.value.code) == (404, "ErrorItemNotFound")
        assert caught.value.client_request_id
        for bad in ("", "..", "a\nb"):
            with pytest.raises(UsageError):
                run(emulator, "delete", bad)


LOST = {
    "cut after": Fault.cut_after(),
    "cut before": Fault.cut_before(),
    "504": Fault.gateway_timeout(),
    "503": Fault.unavailable(retry_after=1),
    "500": Fault.answer(500, carried_out=True),
    "another 2xx": Fault.answer(200, carried_out=True),
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_a_deletion_whose_answer_is_lost_is_not_repeated(run: Any, fault: Any) -> None:
    """The second time would be for good."""
    with Emulator() as emulator:
        draft = run(emulator, "draft", RAW).id
        emulator.faults.add(fault, on="DELETE *")
        with pytest.raises(
            GraphUnreachable, match="not known whether the message was del"
        ) as caught:
            run(emulator, "delete", draft)
        assert uuid.UUID(str(caught.value.client_request_id))
        where = "deleteditems" if fault.carried_out else "drafts"
        assert folders_of(emulator) == {draft: where}


def test_a_deletion_that_was_not_carried_out_for_sure_is_repeated(run: Any) -> None:
    with Emulator() as emulator:
        draft = run(emulator, "draft", RAW).id
        emulator.faults.add(Fault.throttled(retry_after=1), on="DELETE *")
        run(emulator, "delete", draft)
        assert folders_of(emulator) == {draft: "deleteditems"}


@pytest.mark.parametrize("profile", ["live", "design"])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
@pytest.mark.parametrize("method", ["draft", "create_reply", "create_reply_all", "create_forward"])
def test_a_draft_whose_answer_is_lost_is_named_where_it_is(
    run: Any, profile: Literal["live", "design"], method: str, fault: Any
) -> None:
    with Emulator(profile=profile, me=ALICE, mailboxes=["bob@contoso.com"]) as emulator:
        older = emulator.mailbox(ALICE).put(RAW, folder="drafts")
        original = emulator.mailbox(ALICE).put(RAW.replace(b"<m1@", b"<m0@"))
        emulator._store._db.execute("UPDATE messages SET created = created - 60")
        emulator.faults.add(fault, on="POST *")
        args = (RAW,) if method == "draft" else (original.id, RAW)
        with pytest.raises(GraphError) as caught:
            run(emulator, method, *args)
        error = caught.value
        drafts = {one.immutable_id for one in emulator.mailbox(ALICE).messages("drafts")}
        made = drafts - {older.immutable_id}
        assert len(made) == fault.carried_out  # never made twice
        assert error.message_id == "<m1@contoso.com>"
        assert {error.draft_id} - {None} == made
        assert "an unsent copy may lie in Drafts" in error.hint
        assert (next(iter(made)) if made else "<m1@contoso.com>") in error.hint


def test_a_draft_is_not_named_where_drafts_cannot_be_read(run: Any) -> None:
    with Emulator(me=ALICE) as emulator:
        emulator.faults.add(Fault.cut_after(), on="POST *")
        emulator.faults.add(Fault.answer(403, code="ErrorAccessDenied"), on="GET *")
        with pytest.raises(GraphUnreachable) as caught:
            run(emulator, "draft", RAW)
        assert caught.value.draft_id is None
        assert "may lie in Drafts (<m1@contoso.com>)" in caught.value.hint


def test_a_send_through_a_draft_names_the_draft_that_was_lost(run: Any) -> None:
    with Emulator() as emulator:
        emulator.faults.add(Fault.cut_after(), on="POST */messages")
        with pytest.raises(GraphUnreachable) as caught:
            run(emulator, "send", RAW, via="draft")
        (draft,) = emulator.mailbox(ALICE).messages("drafts")
        assert (caught.value.draft_id, caught.value.disposition) == (draft.immutable_id, "not-sent")
        assert emulator.mailbox("bob@contoso.com").messages() == ()


def test_contacts_come_with_the_values_of_one_property(run: Any) -> None:
    with Emulator() as emulator:
        box = emulator.mailbox("bob@contoso.com")
        ids = [
            box.put_contact(f"Person {number}", f"p{number}@contoso.com") for number in range(150)
        ]
        known = {"BinaryArray 0x3a70": [b"0one", b"\0two"], "BinaryArray 0x1234": [b"other"]}
        ids.append(box.put_contact("Alice", "alice@contoso.com", "a@contoso.com", extended=known))
        found = run(emulator, "contacts", user="bob@contoso.com", binary_property=0x3A70)
        assert [one.id for one in found] == ids
        assert found[-1].name == "Alice"
        assert found[-1].emails == ("alice@contoso.com", "a@contoso.com")
        assert found[-1].values == (b"0one", b"\0two")
        assert found[0].values == ()
        assert run(emulator, "contacts", user="bob@contoso.com")[-1].values == ()
        assert len(run(emulator, "contacts", user="bob@contoso.com", top=3)) == 3
        assert run(emulator, "contacts", user="alice@contoso.com") == ()
        asked = [one.target for one in emulator.log]
        assert all("/contacts?" in one for one in asked)
        for number in (0, -1, 0x10000, "0x3A70"):
            with pytest.raises(UsageError, match="binary_property"):
                run(emulator, "contacts", binary_property=number)


def test_a_lacking_right_to_contacts_is_named(run: Any) -> None:
    with Emulator() as emulator:
        emulator.faults.add(
            Fault.answer(403, code="ErrorAccessDenied", message="Access is denied.")
        )
        with pytest.raises(GraphRefused) as refused:
            run(emulator, "contacts")
        assert "Contacts.Read" in str(refused.value.hint)
