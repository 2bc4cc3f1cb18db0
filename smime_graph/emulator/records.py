"""What is in a mailbox, as the store hands it out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .headers import Person
from .mime import Summary


@dataclass(frozen=True, slots=True)
class Account:
    """A mailbox: its row, its address as it was first written, and the user's id."""

    number: int
    address: str
    guid: str

    @property
    def key(self) -> str:
        return self.address.lower()


@dataclass(frozen=True, slots=True)
class Item:
    """A message in a folder, without its bytes. Times are Unix seconds."""

    number: int
    mailbox: int
    folder: str
    id: str
    immutable_id: str
    change_key: str
    digest: bytes
    size: int
    is_draft: bool
    is_read: bool
    created: float
    modified: float
    received: float
    sent: float
    leaves_at: float  # of a draft that is being sent; else 0
    shown: bytes
    marks: Mapping[str, Any]  # what a client has set, by the names of Graph
    summary: Summary


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes and what is shown of them, kept and not yet in any mailbox."""

    digest: bytes
    shown: bytes
    size: int
    summary: Summary


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a message in one folder; `item` is None for one that left it."""

    number: int
    id: str
    immutable_id: str
    is_new: bool
    item: Item | None


@dataclass(frozen=True, slots=True)
class Outbound:
    """One copy of a message that left the building: for whom, and the bytes they got."""

    sender: str
    recipient: str
    internet_message_id: str
    raw: bytes


_PEOPLE = ("authors", "sender", "reply_to", "to", "cc", "bcc")
_FIELDS = tuple(field.name for field in fields(Summary))


def dump(summary: Summary) -> bytes:
    """A summary as it is kept."""
    values = {name: getattr(summary, name) for name in _FIELDS}
    for name in _PEOPLE:
        if values[name]:
            values[name] = [{"name": p.name, "address": p.address} for p in values[name]]
    return json.dumps(values).encode()


def load(text: bytes) -> Summary:
    """The summary that was kept."""
    values: dict[str, Any] = json.loads(text)
    for name in _PEOPLE:
        if values[name] is not None:
            values[name] = tuple(Person(**person) for person in values[name])
    return Summary(**values)
