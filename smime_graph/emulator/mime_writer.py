"""MIME written here: from the JSON form of a message (a small part of it), and delivery reports.

Of a JSON message only subject, body, recipients, from, replyTo and internetMessageId are
taken; anything else is refused by name rather than dropped in silence. Replies in JSON carry
the comment without quoted text.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from .mime import Person, is_address
from .refusal import Refusal


@dataclass(frozen=True, slots=True)
class Draft:
    """The part of a JSON message that is supported."""

    subject: str | None = None
    body: str | None = None
    html: bool = False
    author: Person | None = None
    to: tuple[Person, ...] = ()
    cc: tuple[Person, ...] = ()
    bcc: tuple[Person, ...] = ()
    reply_to: tuple[Person, ...] = ()
    message_id: str = ""


def read_message(value: object) -> Draft:
    """Read a JSON message; raises `Refusal` for what is malformed or not supported."""
    properties = lower_keys(value, "message")
    known = ("subject", "body", "torecipients", "ccrecipients", "bccrecipients", "replyto", "from")
    for name in properties:
        if name not in (*known, "internetmessageid") and not name.startswith("@odata."):
            raise Refusal(
                501, "NotImplemented", f"The emulator takes no '{name[:60]}' in a message."
            )
    body = lower_keys(properties.get("body") or {}, "body")
    kind = _string(body, "contenttype") or "text"
    if kind.lower() not in ("text", "html"):
        raise _invalid("body.contentType")
    author = properties.get("from")
    return Draft(
        subject=_string(properties, "subject"),
        body=_string(body, "content"),
        html=kind.lower() == "html",
        author=read_people([author], "from")[0] if author is not None else None,
        to=read_people(properties.get("torecipients"), "toRecipients"),
        cc=read_people(properties.get("ccrecipients"), "ccRecipients"),
        bcc=read_people(properties.get("bccrecipients"), "bccRecipients"),
        reply_to=read_people(properties.get("replyto"), "replyTo"),
        message_id=_string(properties, "internetmessageid") or "",
    )


def read_people(value: object, name: str) -> tuple[Person, ...]:
    """Read a collection of recipients; None is an empty one."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _invalid(name)
    people = []
    for entry in value:
        email = lower_keys(lower_keys(entry, name).get("emailaddress"), name)
        address = (_string(email, "address") or "").strip()
        if not is_address(address) or not address.isprintable():
            raise Refusal(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
        people.append(Person(_clean(_string(email, "name") or ""), address))
    return tuple(people)


def lower_keys(value: object, name: str) -> dict[str, Any]:
    """A JSON object by its property names in lower case; two that differ in case alone are
    refused.
    """
    if not isinstance(value, dict):
        raise _invalid(name)
    lowered = {key.lower(): entry for key, entry in value.items()}
    if len(lowered) != len(value):
        raise _invalid(name)
    return lowered


def _string(properties: Mapping[str, Any], name: str) -> str | None:
    value = properties.get(name)
    if value is not None and not isinstance(value, str):
        raise _invalid(name)
    return value


def _invalid(name: str) -> Refusal:
    return Refusal(
        400, "ErrorInvalidParameter", f"The value of the parameter '{name}' is not valid."
    )


def _clean(text: str) -> str:
    # A line end in a subject or a name would start a header field of the client's choice.
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def write_message(draft: Draft, *, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Write a JSON message as MIME; `headers` are further fields, already fit for a header."""
    lines = [f"{name}: {value}" for name, value in headers]
    if draft.author:
        lines.append(f"From: {_mailbox(draft.author)}")
    for name, people in (
        ("To", draft.to),
        ("Cc", draft.cc),
        ("Bcc", draft.bcc),
        ("Reply-To", draft.reply_to),
    ):
        if people:
            lines.append(f"{name}: " + ",\r\n ".join(_mailbox(p) for p in people))
    if draft.message_id:
        lines.append(f"Message-ID: {_clean(draft.message_id)}")
    lines += [
        f"Subject: {_encode(_clean(draft.subject or ''))}",
        "MIME-Version: 1.0",
        f"Content-Type: text/{'html' if draft.html else 'plain'}; charset=utf-8",
        "Content-Transfer-Encoding: base64",
        "",
        "",
    ]
    body = (draft.body or "").encode("utf-8", "replace")
    return "\r\n".join(lines).encode() + base64.encodebytes(body).replace(b"\n", b"\r\n")


def _mailbox(person: Person) -> str:
    if not person.name:
        return person.address
    if person.name.isascii():
        name = person.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{name}" <{person.address}>'
    return f"{_encode(person.name)} <{person.address}>"


def _encode(text: str) -> str:
    if text.isascii() and "=?" not in text and len(text) < 900:
        return text
    # RFC 2047 2: a word has at most 75 characters, and 5 whole characters have at most 20 bytes.
    words = (text[i : i + 10].encode() for i in range(0, len(text), 10))
    return "\r\n ".join(f"=?utf-8?B?{base64.b64encode(word).decode()}?=" for word in words)


def write_non_delivery(
    *, postmaster: str, sender: str, recipients: Sequence[str], subject: str, now: float
) -> bytes:
    """A non-delivery report (RFC 3464) that lists the recipients nobody knows."""
    boundary = f"report-{uuid.uuid4()}"
    domain = postmaster.rpartition("@")[2]
    status = "\r\n".join(
        f"\r\nFinal-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: 5.1.10"
        for address in recipients
    )
    listed = "\r\n".join(recipients)
    return (
        f"From: Mail Delivery <{postmaster}>\r\nTo: {sender}\r\n"
        f"Subject: {_encode(_clean('Undeliverable: ' + subject))}\r\n"
        f"Message-ID: <{uuid.uuid4()}@{domain}>\r\nDate: {formatdate(now)}\r\n"
        "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; "
        f'boundary="{boundary}"\r\n\r\n'
        f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        f"Your message could not be delivered to:\r\n{listed}\r\n"
        f"--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n"
        f"Reporting-MTA: dns; {domain}\r\n{status}\r\n"
        f"--{boundary}--\r\n"
    ).encode()
