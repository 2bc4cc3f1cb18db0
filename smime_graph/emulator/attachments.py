"""What is attached to a message, found in its bytes.

Of S/MIME it is one thing ([MS-OXOSMIME]): the CMS of an encrypted or opaque-signed message, or the
whole multipart/signed with its Content-Type field.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from .headers import header_fields
from .mime import Part, part_of, parts_of, summarise
from .records import Item
from .resources import timestamp


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment: `kind` is "file", "item" or "reference", `content` its bytes without an
    encoding, or the address that it refers to.
    """

    id: str
    kind: str
    name: str
    type: str
    is_inline: bool
    content_id: str | None
    content: bytes
    entity: bytes


_KINDS = {"message/rfc822": "item", "message/external-body": "reference"}


def attachments_of(item: Item, raw: bytes) -> tuple[Attachment, ...]:
    """The attachments of a message, in their order."""
    fields, start = header_fields(raw)
    top = part_of(raw, fields, start)
    if top.is_opaque:
        return (_attachment(item, 0, top, name="smime.p7m", content=top.content()),)
    if top.is_smime:
        kind = next(raw[one.start : one.end] for one in fields if one.name == "content-type")
        content = kind.rstrip(b"\r\n") + b"\r\n\r\n" + top.body
        return (_attachment(item, 0, top, name="smime.p7m", content=content),)
    found = []
    seen: dict[bytes, int] = {}
    for part in parts_of(raw)[2]:
        content = part.content()
        if part.type == "message/external-body":
            content = part.parameters.get("url", "").encode("utf-8", "replace")
        digest = hashlib.sha256(part.entity).digest()
        seen[digest] = seen.get(digest, -1) + 1
        found.append(_attachment(item, seen[digest], part, name=_name(part), content=content))
    return tuple(found)


def _attachment(item: Item, copies: int, part: Part, *, name: str, content: bytes) -> Attachment:
    # An id that stays while others come and go: it is that of the message and of the bytes.
    seed = f"{item.immutable_id}/{copies}/".encode() + hashlib.sha256(part.entity).digest()
    digest = hashlib.sha256(seed).digest()
    own_id = part.fields.get("content-id", "").strip().strip("<>")
    return Attachment(
        id="AAMkADA" + base64.urlsafe_b64encode(digest[:30]).decode(),
        kind=_KINDS.get(part.type, "file"),
        name=name,
        type=part.type or "application/octet-stream",
        is_inline=part.disposition == "inline",
        content_id=own_id or None,
        content=content,
        entity=part.entity,
    )


def _name(part: Part) -> str:
    if part.file_name:
        return part.file_name[:255]
    if part.type == "message/rfc822":
        try:
            return summarise(part.content()).subject[:255]
        except ValueError:
            pass
    return "attachment"


def _show(item: Item, attachment: Attachment, *, with_content: bool) -> dict[str, Any]:
    """An attachment as Graph shows it; of an item that is attached, not the item."""
    answer: dict[str, Any] = {
        "@odata.type": f"#microsoft.graph.{attachment.kind}Attachment",
        "id": attachment.id,
        "lastModifiedDateTime": timestamp(item.modified),
        "name": attachment.name,
        "contentType": attachment.type,
        "size": len(attachment.content),
        "isInline": attachment.is_inline,
    }
    if attachment.kind == "file":
        answer["@odata.mediaContentType"] = attachment.type
        answer["contentId"] = attachment.content_id
        answer["contentLocation"] = None
        if with_content:
            answer["contentBytes"] = base64.b64encode(attachment.content).decode()
    if attachment.kind == "reference":
        answer["sourceUrl"] = attachment.content.decode()  # which beta alone has
    return answer


def selected(item: Item, attachment: Attachment, names: frozenset[str] | None) -> dict[str, Any]:
    """An attachment with the properties that were selected."""
    answer = _show(item, attachment, with_content=names is None or "contentBytes" in names)
    if names is None:
        return answer
    return {name: v for name, v in answer.items() if name in names | {"id"} or name[0] == "@"}
