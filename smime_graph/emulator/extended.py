"""Extended properties: what Outlook's own properties are, by their tags ("Extended properties").

Of messages those are there that say something of S/MIME and of how a message came to be.
"""

from __future__ import annotations

import re

from .headers import header_fields
from .mime import PREVIEW_LIMIT, Part, part_of
from .records import Item

_TAG = re.compile(r"(\w{1,40})\s+0x([0-9a-f]{1,8})", re.I | re.ASCII)


def property_id(name: str) -> str:
    """One spelling for the id of a property by its tag: "String 0x001A" is "String 0x1a"."""
    found = _TAG.fullmatch(name.strip())
    if found is None:
        return name
    return f"{found[1][:1].upper()}{found[1][1:].lower()} {int(found[2], 16):#x}"


def properties_of(item: Item, raw: bytes) -> dict[str, str]:
    """The properties of a message that have one value, by their ids."""
    fields, start = header_fields(raw)
    summary = item.summary
    return {
        "String 0x1a": message_class(part_of(raw, fields, start)),
        "String 0x37": summary.subject,
        "String 0x7d": raw[:start].decode("utf-8", "replace"),
        "Integer 0xe08": str(item.size),
        "Boolean 0xe1b": str(summary.has_attachments).lower(),
        "Integer 0xe07": str(8 * item.is_draft + item.is_read),  # MSGFLAG_UNSENT, MSGFLAG_READ
        "String 0x1035": summary.message_id,
        "String 0x3fd9": summary.preview[:PREVIEW_LIMIT],
    }


def message_class(top: Part) -> str:
    """How Exchange stores a message ([MS-OXOSMIME])."""
    if top.is_opaque:
        return "IPM.Note.SMIME"
    if top.type == "multipart/signed":
        return "IPM.Note.SMIME.MultipartSigned"
    if top.type == "multipart/report":
        return "REPORT.IPM.Note.NDR"
    return "IPM.Note"
