"""MIME written here: messages that came as JSON, files that are attached, delivery reports."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Literal

from .headers import Person


@dataclass(frozen=True, slots=True)
class File:
    """What is attached: a file, a message ("item"), or a link ("reference"), whose content is the
    message or the address. `content_id` is without angle brackets.
    """

    name: str
    type: str
    content: bytes = field(repr=False)
    is_inline: bool = False
    content_id: str = ""
    kind: Literal["file", "item", "reference"] = "file"


@dataclass(frozen=True, slots=True)
class Draft:
    """What a JSON message says; `given` are the names of its properties in lower case.

    `headers` are header fields of the client's own, `marks` what no header field says, by the
    names of Graph.
    """

    given: frozenset[str] = frozenset()
    subject: str | None = None
    body: str | None = None
    html: bool = False
    author: Person | None = None
    to: tuple[Person, ...] = ()
    cc: tuple[Person, ...] = ()
    bcc: tuple[Person, ...] = ()
    reply_to: tuple[Person, ...] = ()
    message_id: str = ""
    importance: str = ""
    wants_receipt: bool = False
    is_read: bool | None = None
    headers: tuple[tuple[str, str], ...] = ()
    files: tuple[File, ...] = ()
    marks: Mapping[str, Any] = field(default_factory=dict)


def header_lines(draft: Draft) -> dict[str, str | None]:
    """The header fields of a draft by the properties that they stand for; None: no such field."""
    people = {
        "from": () if draft.author is None else (draft.author,),
        "toRecipients": draft.to,
        "ccRecipients": draft.cc,
        "bccRecipients": draft.bcc,
        "replyTo": draft.reply_to,
    }
    fields = {"from": "From", "toRecipients": "To", "ccRecipients": "Cc", "bccRecipients": "Bcc"}
    lines: dict[str, str | None] = {
        name: f"{fields.get(name, 'Reply-To')}: " + ",\r\n ".join(_mailbox(p) for p in found)
        if found
        else None
        for name, found in people.items()
    }
    lines["internetMessageId"] = (
        f"Message-ID: {clean(draft.message_id)}" if draft.message_id else None
    )
    lines["importance"] = (
        f"Importance: {draft.importance}" if draft.importance in ("low", "high") else None
    )
    lines["isReadReceiptRequested"] = (
        f"Disposition-Notification-To: {_mailbox(draft.author)}"
        if draft.wants_receipt and draft.author
        else None
    )
    lines["subject"] = f"Subject: {encode_words(clean(draft.subject or ''))}"
    return lines


def write_message(
    draft: Draft,
    *,
    headers: Sequence[tuple[str, str]] = (),
    attached: Sequence[bytes] = (),
) -> bytes:
    """Write a JSON message as MIME; `headers` are further fields, already fit for a header, and
    `attached` further parts.
    """
    lines = [f"{name}: {value}" for name, value in headers]
    lines += [line for line in header_lines(draft).values() if line is not None]
    lines += [f"{name}: {encode_words(clean(value))}" for name, value in draft.headers]
    head = "".join(f"{line}\r\n" for line in lines).encode()
    text = text_entity(draft.body or "", html=draft.html)
    return put_together(head, text, [*attached, *(file_entity(one) for one in draft.files)])


def text_entity(text: str, *, html: bool) -> bytes:
    """A part that is text, or the body of a message."""
    kind = "html" if html else "plain"
    return _entity(f"text/{kind}; charset=utf-8", (), text.encode("utf-8", "replace"))


def file_entity(file: File) -> bytes:
    """A part that is attached."""
    kind = "application/octet-stream"
    # what has parts of its own would be taken apart again
    if re.fullmatch(r"(?!multipart|message)[\w.+-]{1,60}/[\w.+-]{1,100}", file.type, re.A | re.I):
        kind = file.type
    name = encode_words(clean(file.name)[:180]).replace("\\", "\\\\").replace('"', '\\"')
    place = "inline" if file.is_inline else "attachment"
    # Exchange gives every attachment one; here two files of the same bytes are told apart by it
    own_id = clean(file.content_id)[:200] or f"{uuid.uuid4()}@emulator"
    more = (
        f'Content-Disposition: {place}; filename="{name}"; size={len(file.content)}',
        f"Content-ID: <{own_id}>",
    )
    if file.kind == "item":
        return _head(f'message/rfc822; name="{name}"', more) + file.content
    if file.kind == "reference":  # RFC 2017
        link = f'message/external-body; access-type=URL; URL="{file.content.decode()}"'
        return _head(link, more) + f"Content-Type: {kind}\r\n\r\n".encode()
    return _entity(f'{kind}; name="{name}"', more, file.content)


def _entity(kind: str, more: Sequence[str], content: bytes) -> bytes:
    head = _head(kind, ("Content-Transfer-Encoding: base64", *more))
    return head + base64.encodebytes(content).replace(b"\n", b"\r\n")


def _head(kind: str, more: Sequence[str]) -> bytes:
    return "\r\n".join((f"Content-Type: {kind}", *more, "", "")).encode()


def put_together(head: bytes, body: bytes | None, attached: Sequence[bytes]) -> bytes:
    """A message of a header without content fields, and of entities whose bytes stay."""
    head += b"MIME-Version: 1.0\r\n"
    if not attached:
        return head + (text_entity("", html=False) if body is None else body)
    boundary = f"=_{uuid.uuid4()}".encode()
    parts = ([] if body is None else [body]) + list(attached)
    inner = b"".join(b"\r\n--" + boundary + b"\r\n" + part for part in parts)
    kind = b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n'
    return head + kind + inner + b"\r\n--" + boundary + b"--\r\n"


def clean(text: str) -> str:
    """Text fit for a header field: a line end would start a field of the client's choice."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _mailbox(person: Person) -> str:
    if not person.name:
        return person.address
    if person.name.isascii():
        name = person.name.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{name}" <{person.address}>'
    return f"{encode_words(person.name)} <{person.address}>"


def encode_words(text: str) -> str:
    """Text as encoded words, unless it can stand as it is."""
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
        f"Subject: {encode_words(clean('Undeliverable: ' + subject))}\r\n"
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
