"""What the endpoints of Graph give back: references to messages, pages of them, folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["accepted", "confirmed", "draft", "stored"]


@dataclass(frozen=True, slots=True)
class MessageRef:
    """A message as Graph knows it; what an endpoint does not tell is None.

    `status` is one word: `accepted` (Graph answered 202: it took the message, and reports later
    troubles by mail), `confirmed` (no answer said so, but the mailbox proves that it was sent),
    `draft` (in the mailbox, not sent) or `stored` (in the mailbox, not a draft). `id` is an
    immutable id: it survives sending and moving. sendMail, reply, replyAll and forward give none.
    `internet_message_id` has its angle brackets.
    """

    id: str | None
    internet_message_id: str | None
    status: Status
    subject: str | None = None
    sender: str | None = None
    sent_at: datetime | None = None
    received_at: datetime | None = None
    folder_id: str | None = None
    change_key: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage(MessageRef):
    """A message that is in the mailbox: it always has an id."""

    id: str


@dataclass(frozen=True, slots=True)
class Page:
    """The messages that were asked for, in Graph's order; `more`: the mailbox has more of them."""

    messages: tuple[StoredMessage, ...]
    more: bool = False

    def __iter__(self) -> Iterator[StoredMessage]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)


@dataclass(frozen=True, slots=True)
class DeltaPage:
    """What has changed in a folder: a page of it.

    `messages` came in, or were changed since; `removed` are the ids of those that are not there any
    more. `link` is what the next call is given, and is to be kept: where there is `more`, it asks
    for the rest, and otherwise for what will have changed by then. It is shown nowhere.
    """

    messages: tuple[StoredMessage, ...]
    removed: tuple[str, ...]
    link: str = field(repr=False)
    more: bool


@dataclass(frozen=True, slots=True)
class Folder:
    """A mail folder, with the number of messages in it."""

    id: str
    name: str
    total: int
    unread: int


@dataclass(frozen=True, slots=True)
class MailboxContact:
    """A person in the contacts folder. `values` are those of the extended property that was asked
    for, in their order; one that is no base64 is empty.
    """

    id: str
    name: str
    emails: tuple[str, ...]
    values: tuple[bytes, ...] = field(default=(), repr=False)
