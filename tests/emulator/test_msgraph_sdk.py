"""Microsoft's own Python client, unmodified, with its base_url at a served emulator."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from typing import Any

import pytest

from smime_graph.emulator import Emulator, Mailbox

pytest.importorskip("msgraph", reason="msgraph-sdk is in the extra test alone, because of its size")


def generated(place: str, name: str) -> Any:
    """A class of the generated client, whose modules have names that fill a line each."""
    return getattr(import_module(f"msgraph.generated.{place}"), name)


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def model(name: str) -> Any:
    return generated(f"models.{snake(name)}", name)


def body_of(place: str, action: str) -> Any:
    module = f"users.item.{place}.{snake(action)}_post_request_body"
    return generated(module, f"{action}PostRequestBody")


with warnings.catch_warnings():  # the client uses what it deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    from azure.core.credentials import AccessToken
    from kiota_abstractions.api_error import APIError
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from kiota_abstractions.method import Method
    from kiota_abstractions.request_information import RequestInformation
    from msgraph.graph_service_client import GraphServiceClient
    from msgraph_core.models import LargeFileUploadSession
    from msgraph_core.requests.batch_request_content import BatchRequestContent

    AttachmentItem, AttachmentType = model("AttachmentItem"), model("AttachmentType")
    FollowupFlag, FollowupFlagStatus = model("FollowupFlag"), model("FollowupFlagStatus")
    BodyType, ItemBody = model("BodyType"), model("ItemBody")
    EmailAddress, Recipient = model("EmailAddress"), model("Recipient")
    FileAttachment, MailFolder, Message = (
        model(name) for name in ("FileAttachment", "MailFolder", "Message")
    )
    ItemAttachment, ReferenceAttachment = model("ItemAttachment"), model("ReferenceAttachment")
    AttachmentItems = generated(
        "users.item.messages.item.attachments.item.attachment_item_request_builder",
        "AttachmentItemRequestBuilder",
    )
    Contact, PhysicalAddress = model("Contact"), model("PhysicalAddress")
    MultiValue = model("MultiValueLegacyExtendedProperty")
    SingleValue = model("SingleValueLegacyExtendedProperty")
    ContactItem = generated(
        "users.item.contacts.item.contact_item_request_builder", "ContactItemRequestBuilder"
    )
    MessageItem = generated(
        "users.item.messages.item.message_item_request_builder", "MessageItemRequestBuilder"
    )
    ODataError = generated("models.o_data_errors.o_data_error", "ODataError")
    MESSAGE = "messages.item"
    CopyBody, MoveBody = body_of(f"{MESSAGE}.copy", "Copy"), body_of(f"{MESSAGE}.move", "Move")
    CopyFolderBody = body_of("mail_folders.item.copy", "Copy")
    ReplyBody = body_of(f"{MESSAGE}.reply", "Reply")
    ReplyAllBody = body_of(f"{MESSAGE}.reply_all", "ReplyAll")
    ForwardBody = body_of(f"{MESSAGE}.forward", "Forward")
    CreateReplyBody = body_of(f"{MESSAGE}.create_reply", "CreateReply")
    UploadBody = body_of(f"{MESSAGE}.attachments.create_upload_session", "CreateUploadSession")
    SendMailBody = body_of("send_mail", "SendMail")
    Messages = generated("users.item.messages.messages_request_builder", "MessagesRequestBuilder")
    Delta = generated(
        "users.item.mail_folders.item.messages.delta.delta_request_builder", "DeltaRequestBuilder"
    )

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
ORIGINAL = (
    b"From: Bob <bob@contoso.com>\r\nTo: alice@contoso.com\r\nCc: carol@contoso.com\r\n"
    b"Subject: greetings\r\nMessage-ID: <original@contoso.com>\r\n\r\nhello\r\n"
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Credential:
    """Signs in with nothing: one token for every scope that is asked for."""

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        return AccessToken("a-token", int(time.time()) + 3600)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    people = ["bob@contoso.com", "carol@contoso.com"]
    with Emulator(me="alice@contoso.com", mailboxes=people, token="a-token") as emulator:
        yield emulator


@pytest.fixture
def alice(emulator: Emulator) -> Mailbox:
    return emulator.mailbox("alice@contoso.com")


@pytest.fixture
async def graph(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[GraphServiceClient]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = emulator.serve()
    try:
        client = GraphServiceClient(Credential(), ["https://graph.microsoft.com/.default"])
        client.request_adapter.base_url = f"{server.url}/v1.0"
        yield client
        # its own transport closes nothing: what it wraps has to be closed
        await client.request_adapter._http_client._transport.transport.aclose()
    finally:
        server.close()


def to(*addresses: str) -> list[Any]:
    return [Recipient(email_address=EmailAddress(address=one)) for one in addresses]


def a_message(subject: str, **more: Any) -> Any:
    body = ItemBody(content_type=BodyType.Text, content="hello")
    return Message(subject=subject, body=body, to_recipients=to("bob@contoso.com"), **more)


def asking(builder: Any, **query: Any) -> Any:
    name = next(one for one in vars(builder) if one.endswith("QueryParameters"))
    return RequestConfiguration(query_parameters=getattr(builder, name)(**query))


# The twenty ordinary calls


async def test_who_somebody_is(graph: GraphServiceClient) -> None:
    me = await graph.me.get()  # 1
    assert (me.mail, me.display_name) == ("alice@contoso.com", "Alice")
    bob = await graph.users.by_user_id("bob@contoso.com").get()  # 2
    assert bob.user_principal_name == "bob@contoso.com"
    assert len((await graph.users.get()).value) == 3


async def test_messages_are_listed_and_read(graph: GraphServiceClient, alice: Mailbox) -> None:
    planted = alice.put(ORIGINAL)
    query = {"top": 5, "select": ["subject", "from"], "orderby": ["receivedDateTime desc"]}
    found = await graph.me.messages.get(asking(Messages, **query))  # 3
    assert [one.subject for one in found.value] == ["greetings"]
    assert found.value[0].from_.email_address.address == "bob@contoso.com"
    query = {"filter": "internetMessageId eq '<original@contoso.com>'"}
    found = await graph.me.messages.get(asking(Messages, **query))  # 4
    assert [one.id for one in found.value] == [planted.id]
    one = graph.me.messages.by_message_id(planted.id)
    assert (await one.get()).body.content == "hello"  # 5
    assert await one.content.get() == ORIGINAL  # 6
    inbox = graph.me.mail_folders.by_mail_folder_id("inbox")
    assert (await inbox.get()).total_item_count == 1  # 7
    assert len((await inbox.messages.get()).value) == 1


async def test_a_draft_is_made_changed_and_sent(
    graph: GraphServiceClient, emulator: Emulator, alice: Mailbox
) -> None:
    draft = await graph.me.messages.post(a_message("one"))  # 8
    assert (draft.is_draft, draft.subject) == (True, "one")
    place = graph.me.messages.by_message_id(draft.id)
    flag = FollowupFlag(flag_status=FollowupFlagStatus.Flagged)
    changed = await place.patch(Message(subject="two", categories=["red"], flag=flag))  # 9
    assert (changed.subject, changed.categories) == ("two", ["red"])
    assert changed.flag.flag_status == FollowupFlagStatus.Flagged
    file = FileAttachment(name="a.txt", content_type="text/plain", content_bytes=b"file")
    file.odata_type = "#microsoft.graph.fileAttachment"
    attached = await place.attachments.post(file)  # 10
    listed = (await place.attachments.get()).value  # 11
    assert [one.id for one in listed] == [attached.id]
    assert (listed[0].name, listed[0].content_bytes) == ("a.txt", b"file")
    await place.send.post()  # 12
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    assert received.subject == "two"
    assert b"a.txt" in received.raw
    assert [one.subject for one in alice.messages("sentitems")] == ["two"]


async def test_mail_is_sent_at_once(graph: GraphServiceClient, emulator: Emulator) -> None:
    body = SendMailBody(message=a_message("at once"), save_to_sent_items=True)
    await graph.me.send_mail.post(body)  # 13
    assert [m.subject for m in emulator.mailbox("bob@contoso.com").messages()] == ["at once"]


async def test_mail_is_answered(
    graph: GraphServiceClient, emulator: Emulator, alice: Mailbox
) -> None:
    place = graph.me.messages.by_message_id(alice.put(ORIGINAL).id)
    await place.reply.post(ReplyBody(comment="yes"))  # 14
    await place.reply_all.post(ReplyAllBody(comment="all"))  # 15
    forward = ForwardBody(comment="see", to_recipients=to("carol@contoso.com"))
    await place.forward.post(forward)  # 16
    draft = await place.create_reply.post(CreateReplyBody(comment="later"))  # 17
    assert draft.body.content.startswith("later")
    bob, carol = (emulator.mailbox(f"{name}@contoso.com").messages() for name in ("bob", "carol"))
    assert [one.subject for one in bob] == ["RE: greetings"] * 2
    assert [one.subject for one in carol] == ["RE: greetings", "FW: greetings"]


async def test_mail_is_marked_moved_copied_and_taken_away(
    graph: GraphServiceClient, alice: Mailbox
) -> None:
    place = graph.me.messages.by_message_id(alice.put(ORIGINAL).id)
    assert (await place.patch(Message(is_read=True))).is_read is True  # 18
    copy = await place.copy.post(CopyBody(destination_id="archive"))  # 19
    moved = await place.move.post(MoveBody(destination_id="junkemail"))  # 20
    assert [one.id for one in alice.messages("archive")] == [copy.id]
    assert [one.id for one in alice.messages("junkemail")] == [moved.id]
    await graph.me.messages.by_message_id(moved.id).delete()
    assert len(alice.messages("deleteditems")) == 1
    with pytest.raises(ODataError) as caught:
        await place.get()
    assert caught.value.response_status_code == 404
    assert caught.value.error.code == "ErrorItemNotFound"


# What goes beyond


async def test_folders_are_made(graph: GraphServiceClient, alice: Mailbox) -> None:
    made = await graph.me.mail_folders.post(MailFolder(display_name="Projects"))
    inner = graph.me.mail_folders.by_mail_folder_id(made.id).child_folders
    child = await inner.post(MailFolder(display_name="Inner"))
    assert [one.id for one in (await inner.get()).value] == [child.id]
    place = graph.me.messages.by_message_id(alice.put(ORIGINAL).id)
    moved = await place.move.post(MoveBody(destination_id=child.id))
    assert moved.parent_folder_id == child.id
    await graph.me.mail_folders.by_mail_folder_id(made.id).delete()


async def test_a_message_is_attached(graph: GraphServiceClient) -> None:
    draft = await graph.me.messages.post(a_message("outer"))
    place = graph.me.messages.by_message_id(draft.id).attachments
    inner = Message(subject="inner", body=ItemBody(content_type=BodyType.Text, content="hello"))
    inner.odata_type = "#microsoft.graph.message"
    made = await place.post(ItemAttachment(name="see this", item=inner))
    link = await place.post(ReferenceAttachment(name="share"))
    assert [one.name for one in (await place.get()).value] == ["see this", "share"]
    wanted = asking(AttachmentItems, expand=["microsoft.graph.itemAttachment/item"])
    found = await place.by_attachment_id(made.id).get(wanted)
    assert (type(found), type(found.item)) == (ItemAttachment, Message)
    assert (found.item.subject, found.item.body.content) == ("inner", "hello")
    assert isinstance(await place.by_attachment_id(link.id).get(), ReferenceAttachment)


async def test_contacts_are_written_with_their_certificates(graph: GraphServiceClient) -> None:
    def held(value: str) -> list[Any]:
        return [MultiValue(id="BinaryArray 0x3A70", value=[value])]

    made = await graph.me.contacts.post(
        Contact(
            given_name="Bob",
            surname="Baker",
            email_addresses=[EmailAddress(name="Bob", address="bob@contoso.com")],
            multi_value_extended_properties=held("REVS"),
        )
    )
    assert made.display_name == "Bob Baker"
    place = graph.me.contacts.by_contact_id(made.id)
    wanted = ["multiValueExtendedProperties($filter=id eq 'BinaryArray 0x3A70')"]
    found = await place.get(asking(ContactItem, expand=wanted))
    assert found.multi_value_extended_properties[0].value == ["REVS"]
    changes = Contact(nick_name="B", multi_value_extended_properties=held("TkVX"))
    assert (await place.patch(changes)).nick_name == "B"
    found = await place.get(asking(ContactItem, expand=wanted))
    assert found.multi_value_extended_properties[0].value == ["TkVX"]
    await place.delete()
    assert (await graph.me.contacts.get()).value == []
    with pytest.raises(APIError) as caught:
        await graph.me.contacts.post(Contact(home_address=PhysicalAddress(city="Rome")))
    assert caught.value.response_status_code == 501


async def test_a_message_is_given_a_class(graph: GraphServiceClient) -> None:
    kind = SingleValue(id="String 0x001A", value="IPM.Note.Custom")
    draft = await graph.me.messages.post(a_message("kind", single_value_extended_properties=[kind]))
    wanted = ["singleValueExtendedProperties($filter=id eq 'String 0x001A')"]
    place = graph.me.messages.by_message_id(draft.id)
    found = await place.get(asking(MessageItem, expand=wanted))
    assert found.single_value_extended_properties[0].value == "IPM.Note.Custom"


async def test_a_large_file_is_uploaded(graph: GraphServiceClient) -> None:
    """In the pieces of the client's own upload task, but not by it: version 1.5.2 of it takes
    `nextExpectedRanges` in the form of OneDrive alone, which is not that of Outlook.
    """
    draft = await graph.me.messages.post(a_message("large"))
    data = bytes(range(256)) * 16 * 1024 + b"end"
    item = AttachmentItem(
        attachment_type=AttachmentType.File, name="large.bin", size=len(data), is_inline=False
    )
    place = graph.me.messages.by_message_id(draft.id).attachments
    session = await place.create_upload_session.post(UploadBody(attachment_item=item))
    assert session.next_expected_ranges == ["0-"]
    assert session.expiration_date_time.tzinfo is not None
    start, url = 0, session.upload_url
    while start < len(data):
        piece = data[start : start + 2 * 1024 * 1024]
        info = RequestInformation(Method.PUT)
        info.url = url
        last = start + len(piece) - 1
        info.headers.try_add("Content-Range", f"bytes {start}-{last}/{len(data)}")
        info.set_stream_content(piece)
        answer = await graph.request_adapter.send_async(info, LargeFileUploadSession, {})
        start += len(piece)
        assert start == len(data) or answer.next_expected_ranges == [str(start)]
    (attached,) = (await place.get()).value
    assert (attached.name, attached.size) == ("large.bin", len(data))
    whole = await place.by_attachment_id(attached.id).get()
    assert whole.content_bytes == data


async def test_several_calls_are_one(graph: GraphServiceClient, alice: Mailbox) -> None:
    planted = alice.put(ORIGINAL)
    place = graph.me.messages.by_message_id(planted.id)
    content = BatchRequestContent()
    content.add_request_information(graph.me.to_get_request_information())
    content.add_request_information(place.to_patch_request_information(Message(is_read=True)))
    answers = await graph.batch.post(content)
    # of a body that is JSON version 1.5.2 of the client keeps nothing
    assert list(answers.get_response_status_codes().values()) == [200, 200]
    assert alice.messages()[0].is_read is True


async def test_a_folder_is_followed(graph: GraphServiceClient, alice: Mailbox) -> None:
    for _ in range(3):
        alice.put(ORIGINAL)
    place = graph.me.mail_folders.by_mail_folder_id("inbox").messages.delta
    page = await place.get(asking(Delta, top=2, select=["subject"]))
    assert [one.subject for one in page.value] == ["greetings"] * 2
    page = await place.with_url(page.odata_next_link).get()
    assert len(page.value) == 1
    alice.put(ORIGINAL)
    await graph.me.messages.by_message_id(alice.messages()[0].id).delete()
    page = await place.with_url(page.odata_delta_link).get()
    new, gone = page.value
    assert new.subject == "greetings"
    assert gone.additional_data["@removed"] == {"reason": "deleted"}


async def test_the_folders_are_followed(graph: GraphServiceClient) -> None:
    place = graph.me.mail_folders.delta
    page = await place.get()
    assert len(page.value) == 7
    made = await graph.me.mail_folders.post(MailFolder(display_name="Projects"))
    page = await place.with_url(page.odata_delta_link).get()
    assert [(one.id, one.display_name) for one in page.value] == [(made.id, "Projects")]
    copy = CopyFolderBody(destination_id="archive")
    copied = await graph.me.mail_folders.by_mail_folder_id(made.id).copy.post(copy)
    page = await place.with_url(page.odata_delta_link).get()
    assert [one.id for one in page.value] == [copied.id]


async def test_a_refusal_is_an_error_of_the_client(graph: GraphServiceClient) -> None:
    with pytest.raises(APIError) as caught:
        await graph.me.calendar.get()
    assert caught.value.response_status_code == 501
