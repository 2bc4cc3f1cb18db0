"""The JSON form of a message, as it is read.

What is not taken is refused by name rather than dropped in silence.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pybase64

from . import metadata
from .extended import COMPUTED, MULTI, SINGLE, property_id, read_extended
from .headers import Person, is_address
from .mime import DEPTH_LIMIT
from .mime_writer import Draft, File, clean, write_message
from .refusal import Refusal

# What a client may write of a message ("Update message"); what only a draft has comes first.
DRAFT_ONLY = {
    name.lower(): name
    for name in (
        "subject",
        "body",
        "toRecipients",
        "ccRecipients",
        "bccRecipients",
        "replyTo",
        "from",
        "sender",
        "internetMessageId",
    )
}
_WRITABLE = DRAFT_ONLY.keys() | {
    "categories",
    "flag",
    "importance",
    "inferenceclassification",
    "isdeliveryreceiptrequested",
    "isread",
    "isreadreceiptrequested",
}
_EXTENDED = frozenset((SINGLE.lower(), MULTI.lower()))
_NOT_BUILT = frozenset(("extensions", "uniquebody"))
_HEADER_LIMIT = 5  # internetMessageHeaders


def read_message(value: object, *, depth: int = 0) -> Draft:
    """Read a JSON message; raises `Refusal` for what is malformed or not supported.

    `depth`: in how many messages it is attached.

    What a client cannot write (id, changeKey, createdDateTime...) is passed over, as on Graph:
    clients send back what they were given.
    """
    properties = lower_keys(value, "message")
    for name in properties:
        if name in _WRITABLE | _EXTENDED or name in ("internetmessageheaders", "attachments"):
            continue
        if name in _NOT_BUILT:
            raise Refusal(
                501, "NotImplemented", f"The emulator takes no '{name[:60]}' in a message."
            )
        if name not in metadata.TYPES["message"] and "@" not in name:
            raise Refusal(  # general knowledge: the text of the OData library
                400,
                "RequestBodyRead",
                f"The property '{name[:60]}' does not exist on type 'microsoft.graph.message'. "
                "Make sure to only use property names that are defined by the type.",
            )
    body = lower_keys(properties.get("body") or {}, "body")
    kind = string(body, "contenttype") or "text"
    if kind.lower() not in ("text", "html"):
        raise invalid("body.contentType")
    author = properties.get("from")
    receipt = _flag(properties, "isReadReceiptRequested")
    marks = _read_marks(properties)
    return Draft(
        given=frozenset(properties),
        subject=string(properties, "subject"),
        body=string(body, "content"),
        html=kind.lower() == "html",
        author=read_people([author], "from")[0] if author is not None else None,
        to=read_people(properties.get("torecipients"), "toRecipients"),
        cc=read_people(properties.get("ccrecipients"), "ccRecipients"),
        bcc=read_people(properties.get("bccrecipients"), "bccRecipients"),
        reply_to=read_people(properties.get("replyto"), "replyTo"),
        message_id=string(properties, "internetmessageid") or "",
        importance=_one_of(properties, "importance", ("low", "normal", "high")),
        wants_receipt=bool(receipt),
        is_read=_flag(properties, "isRead"),
        headers=_read_headers(properties.get("internetmessageheaders")),
        files=tuple(read_file(one, depth=depth) for one in _list(properties, "attachments")),
        marks=marks,
    )


def _read_marks(properties: Mapping[str, Any]) -> dict[str, Any]:
    marks: dict[str, Any] = {}
    if "categories" in properties:
        marks["categories"] = _list(properties, "categories")
        if not all(isinstance(one, str) and len(one) <= 255 for one in marks["categories"]):
            raise invalid("categories")
    if properties.get("flag") is not None:
        marks["flag"] = _read_flag(lower_keys(properties["flag"], "flag"))
    kind = _one_of(properties, "inferenceClassification", ("focused", "other"))
    if kind:
        marks["inferenceClassification"] = kind
    if "isdeliveryreceiptrequested" in properties:
        asked = _flag(properties, "isDeliveryReceiptRequested")
        marks["isDeliveryReceiptRequested"] = asked
    extended = read_extended(properties)
    for one in extended.get(SINGLE, ()):
        if property_id(one["id"]) in COMPUTED:
            raise Refusal(501, "NotImplemented", f"The emulator writes no '{one['id'][:60]}'.")
    return marks | extended


def _read_flag(properties: Mapping[str, Any]) -> dict[str, Any]:
    status = _one_of(properties, "flagStatus", ("notFlagged", "complete", "flagged"))
    flag: dict[str, Any] = {"flagStatus": status or "notFlagged"}
    for name in ("startDateTime", "dueDateTime", "completedDateTime"):
        if (given := properties.get(name.lower())) is not None:
            when = lower_keys(given, f"flag.{name}")
            text, zone = string(when, "datetime") or "", string(when, "timezone") or "UTC"
            if not re.fullmatch(r"\d{4}-\d\d-\d\d(T[\d:.]{5,20})?Z?", text, re.ASCII):
                raise invalid(f"flag.{name}")
            flag[name] = {"dateTime": text, "timeZone": zone[:100]}
    if "dueDateTime" in flag and "startDateTime" not in flag:  # "followupFlag"
        raise invalid("flag.startDateTime")
    return flag


def _read_headers(value: object) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise invalid("internetMessageHeaders")
    if len(value) > _HEADER_LIMIT:
        raise Refusal(
            400,
            "InvalidInternetMessageHeaderCollection",
            "Maximum number of headers in one message should be less than or equal to 5.",
        )
    found = []
    for one in value:
        field = lower_keys(one, "internetMessageHeaders")
        name = string(field, "name") or ""
        if not re.fullmatch(r"[xX]-[!-9;-~]{1,200}", name):
            raise Refusal(
                400,
                "InvalidInternetMessageHeader",
                f"The internet message header name '{clean(name)[:60]}' should start with 'x-' or "
                "'X-'.",
            )
        found.append((name, string(field, "value") or ""))
    return tuple(found)


def read_file(value: object, *, depth: int = 0) -> File:
    """Read an attachment of one of the three kinds."""
    properties = lower_keys(value, "attachment")
    kind = (string(properties, "@odata.type") or "").lstrip("#").lower()
    name = string(properties, "name") or ""
    if not clean(name):
        raise Refusal(  # general knowledge
            400, "ErrorInvalidProperty", "The property 'Name' is required when creating the entity."
        )
    if kind == "microsoft.graph.itemattachment":
        content = _read_item(properties.get("item"), depth + 1)
        return replace(describe_file(properties, name, content), kind="item")
    if kind == "microsoft.graph.referenceattachment":
        url = string(properties, "sourceurl") or ""  # which beta alone has
        if not re.fullmatch(r"(https?://[!#-\[\]-~]{1,1500})?", url):
            raise invalid("sourceUrl")
        return replace(describe_file(properties, name, url.encode()), kind="reference")
    if kind != "microsoft.graph.fileattachment":
        raise invalid("@odata.type")
    try:
        content = pybase64.b64decode(string(properties, "contentbytes") or "", validate=True)
    except (binascii.Error, ValueError):
        raise invalid("contentBytes") from None
    return describe_file(properties, name, content)


def _read_item(value: object, depth: int) -> bytes:
    """A message that is attached, as MIME; contacts and events are not built."""
    properties = lower_keys(value, "item")
    kind = (string(properties, "@odata.type") or "").lstrip("#").lower()
    if kind in ("microsoft.graph.contact", "microsoft.graph.event"):
        raise Refusal(501, "NotImplemented", f"The emulator attaches no '{kind}'.")
    if kind != "microsoft.graph.message":
        raise invalid("item")
    if depth > DEPTH_LIMIT:
        raise Refusal(400, "ErrorInvalidRequest", "The messages are nested too deeply.")
    return write_message(read_message(properties, depth=depth))


def describe_file(properties: Mapping[str, Any], name: str, content: bytes) -> File:
    """A file with what a client says of it, in an attachment or an attachmentItem."""
    return File(
        name=name,
        type=string(properties, "contenttype") or "application/octet-stream",
        content=content,
        is_inline=bool(_flag(properties, "isInline")),
        content_id=(string(properties, "contentid") or "").strip("<> "),
    )


def read_people(value: object, name: str) -> tuple[Person, ...]:
    """Read a collection of recipients; None is an empty one."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise invalid(name)
    people = []
    for entry in value:
        email = lower_keys(lower_keys(entry, name).get("emailaddress"), name)
        address = (string(email, "address") or "").strip()
        if not is_address(address) or not address.isprintable():
            raise Refusal(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
        people.append(Person(clean(string(email, "name") or ""), address))
    return tuple(people)


def lower_keys(value: object, name: str) -> dict[str, Any]:
    """A JSON object by its property names in lower case; two that differ in case alone are
    refused.
    """
    if not isinstance(value, dict):
        raise invalid(name)
    lowered = {key.lower(): entry for key, entry in value.items()}
    if len(lowered) != len(value):
        raise invalid(name)
    return lowered


def string(properties: Mapping[str, Any], name: str) -> str | None:
    """A property that is a text, or is not there."""
    value = properties.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(name)
    return value


def _flag(properties: Mapping[str, Any], name: str) -> bool | None:
    value = properties.get(name.lower())
    if value is not None and not isinstance(value, bool):
        raise invalid(name)
    return value


def _one_of(properties: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = (string(properties, name.lower()) or "").lower()
    found = next((one for one in known if one.lower() == value), "")
    if value and not found:
        raise invalid(name)
    return found


def _list(properties: Mapping[str, Any], name: str) -> list[Any]:
    value = properties.get(name)
    if value is not None and not isinstance(value, list):
        raise invalid(name)
    return value or []


def invalid(name: str) -> Refusal:
    return Refusal(
        400, "ErrorInvalidParameter", f"The value of the parameter '{name}' is not valid."
    )
