"""Extended properties: what Outlook's own properties are, by their tags ("Extended properties").

Of messages those are there that say something of S/MIME and of how a message came to be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pybase64

from .headers import header_fields
from .mime import PREVIEW_LIMIT, Part, part_of
from .records import Item
from .refusal import Refusal

SINGLE, MULTI = "singleValueExtendedProperties", "multiValueExtendedProperties"
LIMIT = 100  # of one kind in a request
_NAMED = re.compile(
    r"(\w{1,40})\s+(?:0x[0-9a-f]{1,8}|"
    r"\{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}\s+"
    r"(?:Name\s+[!-~ ]{1,250}|Id\s+0x[0-9a-f]{1,8}))",
    re.I | re.ASCII,
)
_TAG = re.compile(r"(\w{1,40})\s+0x([0-9a-f]{1,8})", re.I | re.ASCII)


def property_id(name: str) -> str:
    """One spelling for the id of a property by its tag: "String 0x001A" is "String 0x1a"."""
    found = _TAG.fullmatch(name.strip())
    if found is None:
        return name
    kind = found[1].capitalize().replace("array", "Array").replace("time", "Time")
    return f"{kind} {int(found[2], 16):#x}"


def read_extended(properties: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The extended properties of a JSON object, whose names are in lower case, by their kind."""
    return {
        kind: [_read_one(kind, one) for one in _list(kind, properties[kind.lower()])]
        for kind in (SINGLE, MULTI)
        if properties.get(kind.lower()) is not None
    }


def _list(kind: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > LIMIT:
        raise _invalid(kind)
    return value


def _read_one(kind: str, one: Any) -> dict[str, Any]:
    own_id, value = (one.get("id"), one.get("value")) if isinstance(one, dict) else (None, None)
    own_id = own_id.strip() if isinstance(own_id, str) else ""
    found = _NAMED.fullmatch(own_id)
    if found is None:
        raise Refusal(  # general knowledge: the code is that of Exchange
            400, "ErrorInvalidProperty", f"The id of a property in '{kind}' is not valid."
        )
    values = value if kind == MULTI else [value]
    many = found[1].lower().endswith("array")
    if many is not (kind == MULTI) or not isinstance(values, list):
        raise _invalid(kind)
    if not all(isinstance(text, str) for text in values):
        raise _invalid(kind)
    if found[1].lower().startswith("binary"):
        try:
            for text in values:
                pybase64.b64decode(text, validate=True)
        except ValueError:
            raise _invalid(kind) from None
    return {"id": own_id, "value": value}


def _invalid(kind: str) -> Refusal:
    return Refusal(
        400, "ErrorInvalidParameter", f"The value of the parameter '{kind}' is not valid."
    )


def merged(held: Sequence[dict[str, Any]], given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is held, with what is given in the place of what has the same id."""
    return list({property_id(one["id"]): one for one in (*held, *given)}.values())


# What is made of the message itself, and cannot be written here.
COMPUTED = frozenset(
    (
        *("String 0x37", "String 0x7d", "String 0x1035", "String 0x3fd9"),
        *("Integer 0xe07", "Integer 0xe08", "Boolean 0xe1b"),
    )
)


def properties_of(item: Item, raw: bytes) -> dict[str, str]:
    """The properties of a message that have one value, by their ids."""
    fields, start = header_fields(raw)
    summary = item.summary
    written = {property_id(one["id"]): one["value"] for one in item.marks.get(SINGLE, ())}
    return {
        "String 0x1a": message_class(part_of(raw, fields, start)),
        "String 0x37": summary.subject,
        "String 0x7d": raw[:start].decode("utf-8", "replace"),
        "Integer 0xe08": str(item.size),
        "Boolean 0xe1b": str(summary.has_attachments).lower(),
        "Integer 0xe07": str(8 * item.is_draft + item.is_read),  # MSGFLAG_UNSENT, MSGFLAG_READ
        "String 0x1035": summary.message_id,
        "String 0x3fd9": summary.preview[:PREVIEW_LIMIT],
        **written,
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
