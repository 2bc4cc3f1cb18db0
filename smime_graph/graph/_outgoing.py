"""A message on its way out: the checks before Graph sees it, and the body of its request. No I/O.

Nothing here changes a byte of the message: it may be signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import pybase64

from ..errors import Hint, MalformedMessage, UsageError
from ._mailbox import Mailbox

# A thousand recipients need about 60 KB; beyond this it is no header block.
_HEADER_LIMIT = 1024 * 1024
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)  # RFC 5322 2.2, 4.5 (obsolete: space)
# An unclosed quote runs to the end, so that every alternative matches and the search stays linear.
_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_COMMENT = re.compile(r"\([^()]*+\)")
_PIECE = re.compile(
    r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|\([^()]*+\)|<[^<>]*+>|[,;:]|[^"(<,;:]++|.', re.DOTALL
)
_ADDRESS = re.compile(r"[^\s<>@,;:()]@[^\s<>@,;:()]")
_MESSAGE_ID = re.compile(r"<[^\s<>\x00-\x1f\x7f]{1,990}>")

Via: TypeAlias = Literal["auto", "sendmail", "draft"]
# what is done with a message; `draft` leaves it in Drafts
Action: TypeAlias = Literal["send", "reply", "reply-all", "forward", "draft"]

THREE_LAYERS = (
    "base64 is paid up to three times: for attachments inside the message, for the CMS around them,"
    " and for the whole MIME in the request; compress before signing, send it by SMTP"
    " (send_by_smtp), or raise size_limit where the tenant is known to take more"
)

Fields: TypeAlias = list[tuple[str, str]]  # of a header: name in lower case, unfolded value


@dataclass(frozen=True, slots=True)
class Checked:
    """What a message that may be sent says of itself: its Message-ID, with its angle brackets
    ("": a draft that has none), and the addresses of To, Cc and Bcc, in lower case.
    """

    message_id: str
    recipients: frozenset[str]


def checked(
    box: Mailbox,
    raw: bytes,
    *,
    action: Action = "send",
    via: Via = "auto",
    save_to_sent_items: bool = True,
) -> Checked:
    """Hold a message against all that must be right before it is sent; its size is left to
    `body_of`. The recipients of an answer are those of the original, but for a forward.

    UsageError for arguments that make no sense, MalformedMessage for what nobody could send.
    """
    if via not in ("auto", "sendmail", "draft"):
        raise UsageError(f"via is {via!r}, wanted 'auto', 'sendmail' or 'draft'")
    fields = header_fields(raw)
    if action == "draft":
        return Checked(message_id_of(fields) or "", recipients(fields))  # as check_draft
    message_id = check_to_send(fields, recipients=action in ("send", "forward"))
    if not save_to_sent_items:
        _check_unsaved(box, via)
    return Checked(message_id, recipients(fields))


def body_of(
    box: Mailbox,
    raw: bytes,
    *,
    action: Action = "send",
    via: Via = "auto",
    save_to_sent_items: bool = True,
) -> tuple[str, bytes]:
    """Content type and body of the request that carries the message; UsageError if it is larger
    than the limit.
    """
    if action == "draft" or (action == "send" and via == "draft"):
        return body_of_item(box, raw)
    return body_of_action(box, raw, save=save_to_sent_items if action == "send" else None)


def size_of(
    box: Mailbox,
    raw: bytes,
    *,
    action: Action = "send",
    via: Via = "auto",
    save_to_sent_items: bool = True,
) -> int:
    """The octets of that body, whatever the limit is."""
    _, body = body_of(
        replace(box, size_limit=None),
        raw,
        action=action,
        via=via,
        save_to_sent_items=save_to_sent_items,
    )
    return len(body)


def check_size(box: Mailbox, raw: bytes, *, via: Via) -> None:
    """UsageError if a request that sends it would be larger than the limit."""
    if via != "sendmail":
        body_of_item(box, raw)
    if via != "draft":
        body_of_action(box, raw, save=True)


def _check_unsaved(box: Mailbox, via: Via) -> None:
    if box.wire == "text-plain":
        raise UsageError(
            "save_to_sent_items=False cannot be told to Graph: its text/plain form has no place for"
            " it, and the live service has no mimeContent form that would",
            hint="delete the copy in Sent Items afterwards; wire='mime-content' is the design"
            " document's form, for services that have it",
        )
    if via == "draft":
        raise UsageError(
            "save_to_sent_items=False cannot be told when a draft is sent: that is always saved",
            hint="use via='sendmail'",
        )


def check_to_send(fields: Fields, *, recipients: bool) -> str:
    """Check the header of a message that is about to be sent, and give its Message-ID, with its
    angle brackets.

    A message without Message-ID is refused: after a lost answer nothing else could tell whether it
    was sent. MalformedMessage if it is no message, if it lacks the id or one author, or if it lacks
    an address while `recipients` are taken from its header (a reply has those of the original).
    """
    _check_author([value for name, value in fields if name == "from"])
    if recipients and not any(
        _has_address(value) for name, value in fields if name in ("to", "cc", "bcc")
    ):
        raise MalformedMessage(
            "the message names no recipient in To, Cc or Bcc",
            hint="Graph has no envelope apart from the header: put every recipient into a field",
        )
    message_id = message_id_of(fields)
    if message_id is None:
        raise MalformedMessage(
            "the message has no Message-ID, wanted one to find it by if an answer is lost",
            hint="sign and seal add one; otherwise add it before the message is signed",
        )
    return message_id


def check_draft(raw: bytes) -> str | None:
    """Check what becomes a draft: a message, which may still lack recipients and Message-ID."""
    return message_id_of(header_fields(raw))


def message_id_of(fields: Fields) -> str | None:
    """The Message-ID of a parsed header, None without one; MalformedMessage if it is malformed."""
    found = [value.strip() for name, value in fields if name == "message-id"]
    if not found:
        return None
    if len(found) > 1:
        raise MalformedMessage(f"the message has {len(found)} Message-ID fields, wanted one")
    is_one = _MESSAGE_ID.fullmatch(found[0]) and found[0].isprintable()
    if not is_one or "\N{REPLACEMENT CHARACTER}" in found[0]:
        raise MalformedMessage("the Message-ID is malformed, wanted <left@right>")
    return found[0]


def header_fields(raw: bytes) -> Fields:
    """The header as (lower-case name, unfolded value); MalformedMessage unless there is one.

    Written here because the answer must be the same for hostile bytes under every Python version;
    only the names that matter are looked at, no value is decoded (RFC 2047).
    """
    if not isinstance(raw, bytes):
        raise UsageError(
            f"the message is {type(raw).__name__}, wanted bytes",
            hint="sign and seal give bytes; so does as_bytes(policy=email.policy.SMTP)",
        )
    end = raw.find(b"\n\r\n", 0, _HEADER_LIMIT)
    bare = raw.find(b"\n\n", 0, _HEADER_LIMIT if end < 0 else end + 1)
    end = end if bare < 0 else bare
    if end < 0 and len(raw) > _HEADER_LIMIT:
        raise MalformedMessage(f"the message has no blank line in its first {_HEADER_LIMIT} bytes")
    lines = raw[: len(raw) if end < 0 else end].split(b"\n")
    fields: list[tuple[bytes, list[bytes]]] = []
    for number, full in enumerate(lines, 1):
        line = full.removesuffix(b"\r")
        if b"\r" in line or b"\0" in line:
            raise MalformedMessage(f"line {number} of the header holds a bare CR or a NUL")
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1][1].append(line)
        elif match := _FIELD.fullmatch(line):
            fields.append((match[1], [match[2]]))
        elif line or number < len(lines):  # the very last piece is empty where there is no body
            raise MalformedMessage(
                f"line {number} is no header field, wanted 'Name: value'",
                hint="give the whole message, header and body, without an mbox 'From ' line",
            )
    if not fields:
        raise MalformedMessage("the message has no header", hint="give the whole message")
    return [
        (name.decode("ascii").lower(), b"".join(pieces).decode("utf-8", "replace"))
        for name, pieces in fields
    ]


def _check_author(found: list[str]) -> None:
    # RFC 5322 3.6: exactly one From. What Graph does with a message that has none, or more than
    # one, is documented nowhere; its message resource has one `from`.
    if len(found) != 1:
        raise MalformedMessage(
            f"the message has {len(found) or 'no'} From {'fields' if found else 'field'},"
            " wanted one",
            hint="say who writes in one From field, before the message is signed",
        )
    count = sum(map(_has_address, re.split("[,;]", _bare(found[0]))))
    if count != 1:
        raise MalformedMessage(
            f"From names {count or 'no'} address{'es' if count else ''}, wanted one",
            hint="put the address of the mailbox that sends into From; Graph has one for a message",
        )


def _has_address(value: str) -> bool:
    return bool(_ADDRESS.search(_bare(value)))


def _bare(value: str) -> str:
    """A field's value without its comments and quoted strings, which may look like anything."""
    return _COMMENT.sub(" ", _QUOTED.sub("q", value))


def recipients(fields: Fields) -> frozenset[str]:
    """The addresses in To, Cc and Bcc of a header that was checked, in lower case.

    They are for comparison with what Graph shows: an address that is written in a way that is not
    understood here (with a route, in quotes) is in it as something that equals none.
    """
    return frozenset(one.lower() for one in addresses(fields, "to", "cc", "bcc"))


def addresses(fields: Fields, *names: str) -> Iterator[str]:
    """Those in the fields of these names, as they are written; see `recipients`."""
    for name, value in fields:
        if name in names:
            yield from _addresses(value)


def _addresses(value: str) -> Iterator[str]:
    bare, angle = "", ""
    for piece in (*_PIECE.findall(value), ","):
        if piece in (",", ";"):
            address = (angle or bare).strip()
            if address:
                yield address
            bare, angle = "", ""
        elif piece == ":":  # what stood before it is the name of a group
            bare, angle = "", ""
        elif piece.startswith("<") and piece.endswith(">"):
            angle = piece[1:-1]
        elif not piece.startswith("("):
            bare += piece


def body_of_action(box: Mailbox, raw: bytes, *, save: bool | None = None) -> tuple[str, bytes]:
    """Content type and body of sendMail and the reply family.

    `save` is saveToSentItems, which only the JSON form has a place for; None leaves it out.
    """
    if box.wire == "text-plain":
        return _base64_text(box, raw)
    head, tail = b'{"mimeContent":"', b'"}'
    if save is not None:
        # A boolean, as the design document's CSDL has it; its example shows a string.
        tail = b'","saveToSentItems":' + (b"true" if save else b"false") + b"}"
    _check_size(box, raw, len(head) + _base64_length(raw) + len(tail))
    return "application/json", b"".join((head, pybase64.b64encode(raw), tail))


def body_of_item(box: Mailbox, raw: bytes) -> tuple[str, bytes]:
    """Content type and body of a new draft, and of one that is replaced."""
    if box.wire == "text-plain":
        return _base64_text(box, raw)
    _check_size(box, raw, len(raw))  # the design document's examples carry the bare MIME here
    return "text/plain", raw


def _base64_text(box: Mailbox, raw: bytes) -> tuple[str, bytes]:
    _check_size(box, raw, _base64_length(raw))
    return "text/plain", pybase64.b64encode(raw)


def _base64_length(raw: bytes) -> int:
    return (len(raw) + 2) // 3 * 4


def _check_size(box: Mailbox, raw: bytes, size: int) -> None:
    if box.size_limit is not None and size > box.size_limit:
        raise UsageError(
            f"the message of {len(raw)} bytes makes a request of {size} bytes,"
            f" the limit is {box.size_limit}",
            hint=Hint(THREE_LAYERS, "size"),
        )
