"""What becomes of a draft's bytes when a client changes one part of it: all others stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from .headers import UnusableMime, add_fields, header_fields, remove_fields
from .json_message import DRAFT_ONLY
from .mime import PART_LIMIT, Part, Summary, children, part_of, summarise
from .mime_writer import Draft, header_lines, put_together, text_entity
from .refusal import Refusal

_FIELDS = {
    "subject": "subject",
    "from": "from",
    "toRecipients": "to",
    "ccRecipients": "cc",
    "bccRecipients": "bcc",
    "replyTo": "reply-to",
    "internetMessageId": "message-id",
    "importance": "importance",
    "isReadReceiptRequested": "disposition-notification-to",
}


@dataclass(frozen=True, slots=True)
class Pieces:
    """A message taken apart: header without content fields, body, and what is attached."""

    head: bytes
    body: bytes | None
    attached: tuple[bytes, ...]

    def together(self) -> bytes:
        return put_together(self.head, self.body, self.attached)


def take_apart(raw: bytes) -> Pieces:
    """The pieces of a message; `Refusal` where it cannot be taken apart."""
    fields, start = header_fields(raw)
    top = part_of(raw, fields, start)
    if top.is_smime:
        raise Refusal(
            501, "NotImplemented", "The emulator does not change the parts of an S/MIME message."
        )
    head = b"".join(
        _line(raw[one.start : one.end])
        for one in fields
        if not one.name.startswith("content-") and one.name != "mime-version"
    )
    if top.type != "multipart/mixed" or not top.parameters.get("boundary"):
        return Pieces(head, content_of(raw), ())
    inner = tuple(islice(children(top), PART_LIMIT + 1))
    if len(inner) > PART_LIMIT:
        raise Refusal(501, "NotImplemented", "The emulator takes no message with so many parts.")
    if inner and _is_body(part_of(inner[0], *header_fields(inner[0]))):
        return Pieces(head, content_of(inner[0]), inner[1:])
    return Pieces(head, None, inner)


def _is_body(part: Part) -> bool:
    if part.disposition == "attachment" or part.file_name:
        return False
    return part.type.startswith(("text/", "multipart/alternative", "multipart/related"))


def content_of(entity: bytes) -> bytes:
    """An entity with its content fields alone: any other of a part is not one of the message's."""
    fields, start = header_fields(entity)
    kept = (one for one in fields if one.name.startswith("content-"))
    return b"".join(_line(entity[one.start : one.end]) for one in kept) + b"\r\n" + entity[start:]


def _line(field: bytes) -> bytes:
    return field if field.endswith((b"\r", b"\n")) else field + b"\r\n"


def change(raw: bytes, draft: Draft) -> tuple[bytes, Summary]:
    """The message with the properties that `draft` was given."""
    lines = header_lines(draft)
    changed = [name for name in _FIELDS if name.lower() in draft.given]
    if changed:
        cut = remove_fields(raw, {_FIELDS[name] for name in changed})
        added = [line.partition(": ") for name in changed if (line := lines[name]) is not None]
        raw = add_fields(cut, [(name, value) for name, _, value in added])
    if "body" in draft.given:
        pieces = take_apart(raw)
        body = text_entity(draft.body or "", html=draft.html)
        raw = Pieces(pieces.head, body, pieces.attached).together()
    return _checked(raw)


def attach(raw: bytes, entities: Sequence[bytes]) -> tuple[bytes, Summary]:
    """The message with further parts."""
    pieces = take_apart(raw)
    return _checked(Pieces(pieces.head, pieces.body, (*pieces.attached, *entities)).together())


def detach(raw: bytes, entity: bytes) -> tuple[bytes, Summary]:
    """The message without one of its parts."""
    pieces = take_apart(raw)
    if entity not in pieces.attached:
        raise Refusal(501, "NotImplemented", "The emulator takes no part out of another one.")
    place = pieces.attached.index(entity)
    left = pieces.attached[:place] + pieces.attached[place + 1 :]
    return _checked(Pieces(pieces.head, pieces.body, left).together())


def _checked(raw: bytes) -> tuple[bytes, Summary]:
    try:
        return raw, summarise(raw)
    except UnusableMime:  # more recipients than a header block holds
        raise Refusal(
            400, "ErrorInvalidRecipients", "The message has too many recipients."
        ) from None


def draft_only(draft: Draft) -> bool:
    """Whether a message has to be a draft to be changed so."""
    return bool(draft.given & DRAFT_ONLY.keys())


def is_in_header(draft: Draft) -> bool:
    """Whether a draft's bytes change with what was given."""
    return "body" in draft.given or any(name.lower() in draft.given for name in _FIELDS)
